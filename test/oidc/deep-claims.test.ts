import { text } from 'node:stream/consumers'
import t from 'tap'
import { startIdp } from '../../src/demo/idp.ts'
import { compileUserName } from '../../src/http/identity.ts'
import { isTooDeep } from '../../src/oidc/token-set.ts'
import { callWith } from '../support/api-client.ts'
import { startGateway } from '../support/gateway.ts'
import { startScriptedProvider } from './scripted-provider.ts'

const unused = await startIdp()
t.teardown(async () => unused.close())

/** A list in a list in a list … */
const nested = (depth: number): unknown => {
  let value: unknown = 'x'
  for (let i = 0; i < depth; i += 1) value = i % 2 === 0 ? [value] : { name: value }
  return value
}

const AUDIENCE = 'api://orders'
const encoded = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url')

void t.test('the depth of claims is measured without recursion', (t) => {
  t.notOk(isTooDeep({ a: nested(30), nothing: null }))
  t.ok(isTooDeep({ a: nested(40) }))
  t.ok(isTooDeep(JSON.parse(`${'['.repeat(100_000)}${']'.repeat(100_000)}`)))
  t.end()
})

void t.test('the name in the log is the start of a claim’s text, whatever the claim', (t) => {
  const nameOf = compileUserName('name') ?? (() => undefined)
  t.equal(nameOf({ name: ['a', 2, true, null] }), 'a,2,true,')
  t.equal(nameOf({ name: [['a']] }), undefined)
  t.equal(nameOf({ name: JSON.parse(`${'['.repeat(100_000)}${']'.repeat(100_000)}`) }), undefined)
  t.equal(nameOf({ name: Array.from({ length: 100_000 }, () => 'ab') })?.length, 256)
  t.end()
})

void t.test(
  'a token with deeply nested claims is refused, valid or forged, and an introspection answer too',
  async (t) => {
    const provider = await startScriptedProvider(t)
    provider.document['introspection_endpoint'] = `${provider.origin}/introspect`
    provider.paths.set('/introspect', (request, response) => {
      void text(request).then((form) => {
        const name = nested(form.includes('shallow') ? 3 : 4_000)
        const answer = { active: true, aud: AUDIENCE, sub: 'alice', token_type: 'Bearer', name }
        response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(answer))
      })
    })
    const set = { 'X-Name': '{claims.name}', 'X-Assertion': '{assertion}' }
    const gateway = await startGateway(t, {
      idp: unused,
      config: {
        provider: { issuer: provider.issuer, clientId: 'orders', clientSecret: 'secret' },
        log: { user: 'name' },
        assertion: { audience: 'orders', claims: ['name'] },
        routes: [{ path: '/**', bearer: { audience: AUDIENCE, dpop: 'accepted' }, headers: { set } }],
      },
    })
    const now = Math.floor(Date.now() / 1000)
    const claims = { iss: provider.issuer, aud: AUDIENCE, sub: 'alice', client_id: 'robot', iat: now, exp: now + 60 }
    const sign = async (more: object): Promise<string> => provider.sign({ ...claims, ...more }, { typ: 'at+jwt' })
    t.equal((await callWith(gateway, await sign({ name: nested(3) }))).status, 200)
    t.equal((await callWith(gateway, 'shallow')).status, 200)
    const header = encoded({ alg: 'RS256', typ: 'at+jwt' })
    const refused = {
      'signed': await sign({ name: nested(2_000) }),
      'with a deep iss': await sign({ iss: nested(2_000) }),
      'forged': `${header}.${encoded({ ...claims, iss: nested(2_000) })}.AAAA`,
      'with a deep header': `${encoded({ alg: 'RS256', typ: nested(2_000) })}.${encoded(claims)}.AAAA`,
      'opaque': 'deep',
    }
    for (const [name, token] of Object.entries(refused)) {
      const answer = await callWith(gateway, token)
      t.match([answer.status, answer.headers.gatehouse], [401, 'invalid_token'], name)
    }
    t.match(gateway.events('invalid_token')[0], { why: /nested deeper than 32 levels/ })
    t.equal(gateway.events('request').length, 7, 'each request has an access line')
    t.same(gateway.events('internal_error'), [])
  },
)

void t.test('a login with deeply nested claims fails as a fault of the provider', async (t) => {
  const provider = await startScriptedProvider(t)
  const gateway = await startGateway(t, {
    idp: unused,
    config: {
      provider: { issuer: provider.issuer, clientId: 'orders', clientSecret: 'secret' },
      log: { user: 'name' },
    },
  })
  for (const claim of ['name', 'acr']) {
    const { answer } = await provider.login(gateway.url, { [claim]: nested(2_000) })
    t.match([answer.status, answer.headers.gatehouse], [502, 'login_failed'])
    t.match(gateway.events('login_failed').at(-1), { cause: /nested deeper than 32 levels/ })
  }
  t.same(gateway.events('internal_error'), [])
})

void t.test('an exception while the upstream’s headers are built is a 500 with an access line', async (t) => {
  const provider = await startScriptedProvider(t)
  const gateway = await startGateway(t, {
    idp: unused,
    config: {
      provider: { issuer: provider.issuer, clientId: 'orders', clientSecret: 'secret' },
      routes: [{ path: '/**', bearer: { audience: AUDIENCE }, headers: { set: { 'X-Name': '{claims.name}' } } }],
    },
  })
  const now = Math.floor(Date.now() / 1000)
  const claims = { iss: provider.issuer, aud: AUDIENCE, sub: 'alice', client_id: 'robot', iat: now, exp: now + 60 }
  const token = await provider.sign({ ...claims, name: { explosive: 'yes' } }, { typ: 'at+jwt' })
  const { stringify } = JSON
  t.intercept(JSON, 'stringify', {
    value: (value: unknown, ...more: [undefined, undefined]) => {
      if (typeof value === 'object' && value !== null && 'explosive' in value) throw new RangeError('no stack is left')
      return stringify(value, ...more)
    },
  })
  // The first request is forwarded after the verification, the second at once.
  for (const when of ['later', 'at once']) {
    const answer = await callWith(gateway, token)
    t.match([answer.status, answer.headers.gatehouse], [500, 'internal_error'], when)
  }
  t.match(gateway.events('internal_error'), [{ cause: /no stack is left/ }, {}])
  t.match(gateway.events('request'), [{ status: 500 }, { status: 500 }])
})
