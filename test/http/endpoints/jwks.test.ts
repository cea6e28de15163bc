import { generateKeyPairSync } from 'node:crypto'
import { createRemoteJWKSet, decodeJwt, decodeProtectedHeader, jwtVerify } from 'jose'
import t, { type Test } from 'tap'
import { startIdp } from '../../../src/demo/idp.ts'
import { loggedIn, type LoggedIn } from '../../support/logged-in.ts'
import { ask, header } from '../../support/raw-http.ts'
import { openWebSocket } from '../../support/websocket.ts'

const idp = await startIdp()
t.teardown(() => idp.close())

const script = { kind: 'script' } as const

const assertionKeys = {
  ed25519: generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
  p256: { ...generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ format: 'jwk' }), kid: 'next' },
}

const routes = [
  {
    path: '/**',
    headers: { set: { 'X-Assertion': '{assertion}', 'X-Session': '{session.id}' } },
    bearer: { audience: 'api://orders' },
  },
  { path: '/public/**', access: 'public' },
]

const start = async (t: Test, config: object = {}): Promise<LoggedIn> =>
  loggedIn(t, { idp, config: { routes, ...config } })

/** Verifies what an application receives as it would itself: with the public URL of the gateway and nothing else. */
const verify = async ({ url }: LoggedIn, assertion: unknown, audience = url) =>
  jwtVerify(String(assertion), createRemoteJWKSet(new URL(`${url}/oauth2/jwks`)), { issuer: url, audience, typ: 'JWT' })

const received = ({ upstream }: LoggedIn) => upstream.requests.at(-1)?.headers ?? {}

void t.test('an application verifies the assertion with the keys of jwks', async (t) => {
  const running = await start(t, {
    assertion: { claims: ['email', 'groups'], audience: 'orders', lifetime: '10s', keys: Object.values(assertionKeys) },
  })
  const { browser, url, idp } = running
  await running.call()
  const first = received(running)['x-assertion']
  const { payload, protectedHeader } = await verify(running, first, 'orders')
  t.match(payload, { sub: 'alice', email: 'alice@example.com', groups: ['staff', 'admin'], aud: 'orders', iss: url })
  t.equal(Number(payload.exp) - Number(payload.iat), 10)
  t.equal(payload['sid'], received(running)['x-session'])
  t.match(protectedHeader, { alg: 'EdDSA', typ: 'JWT', kid: String })
  await running.call()
  t.equal(received(running)['x-assertion'], first, 'made once')
  const cookie = `Cookie: ${browser.cookies.header(new URL(url))}`
  await ask(url, 'GET', '/api/orders', [cookie, 'X-Assertion: forged', 'x_assertion: forged', 'X.Assertion: forged'])
  t.equal(received(running)['x-assertion'], first)
  t.notMatch(running.upstream.requests.at(-1)?.rawHeaders, /forged/)
  await ask(url, 'GET', '/public/x', [cookie, 'X-Assertion: forged', 'x_assertion: forged'])
  t.notMatch(running.upstream.requests.at(-1)?.rawHeaders.join(), /assertion/i)
  const socket = await openWebSocket(`${url}/ws`, { headers: [cookie] })
  t.equal(received(running)['x-assertion'], first, 'WebSockets too')
  socket.socket.destroy()
  const now = Math.floor(Date.now() / 1000)
  const token = {
    iss: idp.issuer,
    aud: 'api://orders',
    sub: 'robot',
    client_id: 'robot',
    iat: now,
    exp: now + 60,
    jti: '1',
  }
  const authorization = `Authorization: Bearer ${await idp.sign(token, { typ: 'at+jwt' })}`
  await ask(url, 'GET', '/api/orders', [authorization])
  const ofClient = (await verify(running, received(running)['x-assertion'], 'orders')).payload
  t.equal(ofClient.sub, 'robot')
  t.notOk('sid' in ofClient, 'a client with a token has no session')
  await browser.post(`${url}/oauth2/logout/local`, '', script)
  t.match(running.events('session_ended'), [{ session: payload['sid'] }], 'sid is the id in the log')
})

void t.test('jwks lists all public keys, for caches, and sets no cookie', async (t) => {
  const { url } = await start(t, { assertion: { keys: Object.values(assertionKeys) } })
  const answer = await ask(url, 'GET', '/oauth2/jwks', ['Cookie: gatehouse=x'])
  t.equal(answer.status, 200)
  t.match(header(answer, 'content-type'), /^application\/json/)
  t.equal(header(answer, 'cache-control'), 'public, max-age=300')
  t.equal(header(answer, 'set-cookie'), null)
  const { keys }: { keys: Record<string, unknown>[] } = JSON.parse(answer.body.toString())
  const names = keys.map((key) =>
    Object.keys(key)
      .toSorted((a, b) => a.localeCompare(b))
      .join(),
  )
  t.same(names, ['alg,crv,kid,kty,use,x', 'alg,crv,kid,kty,use,x,y'])
  t.match(keys, [
    { alg: 'EdDSA', use: 'sig' },
    { alg: 'ES256', use: 'sig', kid: 'next' },
  ])
  const head = await ask(url, 'HEAD', '/oauth2/jwks')
  t.equal(head.status, 200)
  t.equal(header(head, 'content-length'), String(answer.body.length))
  const post = await ask(url, 'POST', '/oauth2/jwks', ['Content-Length: 0'])
  t.equal(post.status, 405)
  t.equal(header(post, 'gatehouse'), 'method_not_allowed')
})

void t.test(
  'jwks lists the configured keys, even if no route sends assertions, and is empty without keys',
  async (t) => {
    const keyed = await start(t, { routes: [{ path: '/**' }], assertion: { keys: assertionKeys.p256 } })
    const listed: unknown = JSON.parse((await ask(keyed.url, 'GET', '/oauth2/jwks')).body.toString())
    t.match(listed, { keys: [{ kid: 'next', alg: 'ES256' }] })
    const { url } = await start(t, { routes: [{ path: '/**' }] })
    t.equal((await ask(url, 'GET', '/oauth2/jwks')).body.toString(), '{"keys":[]}')
  },
)

void t.test('a reload changes the key that signs, and applications find the new one', async (t) => {
  const running = await start(t, { assertion: { keys: [assertionKeys.ed25519] } })
  const { url, gateway, config } = running
  await running.call()
  const before = received(running)['x-assertion']
  const { assertion } = config
  if (assertion === null) throw new Error('no assertion is configured')
  await gateway.reload({ ...config, assertion: { ...assertion, keys: [JSON.stringify(assertionKeys.p256)] } })
  await running.call()
  const after = received(running)['x-assertion']
  t.equal(decodeProtectedHeader(String(after)).kid, 'next')
  await verify(running, after)
  await t.rejects(verify(running, before), { code: 'ERR_JWKS_NO_MATCHING_KEY' })
  t.equal(decodeJwt(String(after)).aud, url)
})

void t.test('a proxy that uses forward-auth gets assertions, made with a key of the gateway by default', async (t) => {
  const running = await start(t, { forwardAuth: { listen: '127.0.0.1:0' } })
  const { url, verdicts, browser } = running
  const cookie = `Cookie: ${browser.cookies.header(new URL(url))}`
  const verdict = async () => ask(verdicts, 'GET', '/auth', [cookie, `X-Original-URL: ${url}/api/orders`])
  const answer = await verdict()
  const assertion = header(answer, 'x-assertion')
  t.match((await verify(running, assertion)).payload, { sub: 'alice', sid: header(answer, 'x-session') })
  t.equal(header(await verdict(), 'x-assertion'), assertion)
  const forged = await ask(verdicts, 'GET', '/auth', [cookie, `X-Original-URL: ${url}/`, 'x_assertion: forged'])
  t.equal(forged.status, 400)
})
