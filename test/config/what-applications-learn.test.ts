import { generateKeyPairSync } from 'node:crypto'
import t from 'tap'
import { stringify } from 'yaml'
import { toMaskedYaml } from '../../src/config/masked-yaml.ts'
import { loadConfigFile } from '../../src/cli/command.ts'
import { asFile } from '../support/gateway.ts'
import { brief, key, loadText, problemsOf } from './configuration.ts'

const folder = t.testdir({})

const p256 = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
const pem = p256.export({ type: 'pkcs8', format: 'pem' }).toString()
const jwk = p256.export({ format: 'jwk' })
const ed25519 = generateKeyPairSync('ed25519').privateKey
const edwards = ed25519.export({ type: 'pkcs8', format: 'pem' }).toString()
const otherJwk = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ format: 'jwk' })

type Settings = { readonly route?: object; readonly provider?: object; readonly more?: object }

const settings = ({ route = {}, provider = {}, more = {} }: Settings) => ({
  publicUrl: 'https://orders.example.com',
  upstream: 'http://127.0.0.1:3000',
  provider: { issuer: 'https://login.example.com', clientId: 'orders', clientSecret: 'hush', ...provider },
  session: { keys: [key] },
  routes: [{ path: '/**', ...route }],
  ...more,
})

const refusals = (given: Settings): string[] =>
  problemsOf(() => loadText(folder, stringify(settings(given)))).map((problem) => brief(problem).replace(/^\S+ /, ''))

const set = (template: string, more: object = {}): Settings => ({
  route: { headers: { set: { 'X-A': template } }, ...more },
})

void t.test('a header’s value may have placeholders with text around them, and tokens alone or behind Bearer', (t) => {
  for (const template of [
    'user {sub} of {provider}',
    '{claims.email} {claims.a.b} {session.id}/{request.id}',
    '{idToken}',
    'Bearer {idToken}',
    '{accessToken}',
    'Bearer {accessToken}',
    '{assertion}',
    'JWT {assertion}',
  ])
    t.same(refusals(set(template)), [], template)
  for (const [template, name] of [
    ['x {idToken}', 'idToken'],
    ['{idToken} ', 'idToken'],
    ['bearer {accessToken}', 'accessToken'],
    ['Token {accessToken}', 'accessToken'],
    ['{accessToken}{idToken}', 'accessToken'],
    ['{sub}:{accessToken}', 'accessToken'],
  ] as const)
    t.same(
      refusals(set(template)),
      [
        `routes[0].headers.set.X-A: must not have other text than "Bearer " around {${name}}` +
          ` | write "{${name}}" or "Bearer {${name}}"`,
      ],
      template,
    )
  for (const [template, near] of [
    ['{id_token}', 'idToken'],
    ['{access-token}', 'accessToken'],
    ['{sessionId}', 'session.id'],
    ['{request_id}', 'request.id'],
    ['{asserion}', 'assertion'],
  ] as const)
    t.same(refusals(set(template)), [
      `routes[0].headers.set.X-A: must not contain "${template}" | did you mean {${near}}?`,
    ])
  t.match(refusals(set('{email}')), [/only \{claims\.NAME\}, \{sub\}, .*\{assertion\} are filled in$/])
  t.end()
})

void t.test('a token in headers.set takes the place of the one that the route would send', (t) => {
  const grantOf = (route: object): string | undefined =>
    loadText(folder, stringify(settings({ route }))).config.routes[0]?.token.grant
  for (const [name, template] of [
    ['Authorization', 'Bearer {idToken}'],
    ['authorization', '{accessToken}'],
    ['AUTHORIZATION', 'Bearer {assertion}'],
  ] as const)
    t.equal(grantOf({ headers: { set: { [name]: template } } }), 'none', template)
  t.equal(grantOf({ headers: { set: { 'X-A': 'Bearer {idToken}' } } }), 'session')
  t.equal(grantOf({ headers: { set: { 'X-A': '{idToken}' } }, token: { header: 'x-a' } }), 'none')
  const written = /^routes\[0\]\.headers\.set\.Authorization: is the header that carries the token/
  for (const grant of ['session', 'id-token'])
    t.match(refusals({ route: { headers: { set: { Authorization: 'Bearer {idToken}' } }, token: { grant } } }), [
      written,
    ])
  t.match(refusals({ route: { headers: { set: { Authorization: 'Basic {sub}' } } } }), [written])
  t.end()
})

void t.test('a public route can send only the id of the request', (t) => {
  for (const template of [
    '{sub}',
    '{provider}',
    '{session.id}',
    '{idToken}',
    '{accessToken}',
    '{assertion}',
    '{claims.a}',
  ])
    t.match(refusals(set(template, { access: 'public' })), [
      /^routes\[0\]\.headers\.set\.X-A: no (?:claims are|user is) known/,
    ])
  t.same(refusals(set('{request.id}', { access: 'public' })), [])
  for (const access of ['optional', 'required']) t.same(refusals(set('{assertion}', { access })), [], access)
  t.end()
})

void t.test('an ID token is not requested for an audience, and providers without ID tokens have none to send', (t) => {
  const token = { grant: 'id-token' }
  t.same(refusals({ route: { token } }), [])
  t.same(refusals({ route: { token: { ...token, header: 'X-Id-Token' } } }), [])
  t.match(refusals({ route: { token: { ...token, audience: 'a', scopes: ['b'] } } }), [
    'routes[0].token.audience: has no effect with grant: id-token',
    'routes[0].token.scopes: has no effect with grant: id-token',
  ])
  t.match(refusals({ route: { token, headers: { set: { authorization: '{sub}' } } } }), [
    /is the header that carries the token/,
  ])
  const github = { issuer: 'https://github.com' }
  t.match(refusals({ route: { token }, provider: github }), [
    /^routes\[0\]\.token\.grant: needs ID tokens, which GitHub does not/,
  ])
  t.match(refusals({ ...set('{idToken}'), provider: github }), [
    /^routes\[0\]\.headers\.set: needs ID tokens, which GitHub/,
  ])
  t.same(refusals({ ...set('{accessToken}'), provider: github }), [])
  t.end()
})

void t.test('an access token that needs a proof is sent only where the gateway sends the proof', (t) => {
  const provider = { dpop: 'on' }
  const bare = /^routes\[0\]\.headers\.set\.X-A: cannot carry the access token with provider\.dpop: .* without a proof/
  for (const grant of ['none', 'id-token'])
    t.match(refusals({ ...set('{accessToken}', { token: { grant } }), provider }), [bare], grant)
  t.same(refusals({ ...set('{accessToken}'), provider }), [], 'the proof for the session’s token goes with it')
  t.same(refusals({ route: { token: { grant: 'id-token' } }, provider }), [], 'an ID token is not bound')
  const forwardAuth = { listen: '127.0.0.1:8081' }
  t.same(refusals({ route: { token: { grant: 'id-token' } }, provider, more: { forwardAuth } }), [])
  t.match(refusals({ ...set('{accessToken}', { token: { grant: 'none' } }), provider, more: { forwardAuth } }), [bare])
  t.end()
})

void t.test('a key for assertions is EC P-256 or Ed25519, as PEM, as JSON or as a map', (t) => {
  const keysOf = (keys: unknown) =>
    loadText(folder, stringify(settings({ more: { assertion: { keys } } }))).config.assertion?.keys
  t.same(keysOf([pem, edwards]), [pem, edwards])
  t.same(keysOf(pem), [pem])
  t.same(keysOf(jwk), [JSON.stringify(jwk)])
  t.same(keysOf([JSON.stringify(jwk)]), [JSON.stringify(jwk)])
  t.same(keysOf([jwk, { ...otherJwk, kid: 'b' }]), [JSON.stringify(jwk), JSON.stringify({ ...otherJwk, kid: 'b' })])
  t.same(
    loadText(folder, stringify(settings({ more: { assertion: { keys: [{ ...otherJwk, d: '${D}' }] } } })), {
      D: otherJwk.d ?? '',
    }).config.assertion?.keys,
    [JSON.stringify(otherJwk)],
    'variables are filled in',
  )
  const { d, ...publicJwk } = jwk
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey
  const p384 = generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey
  const wrong: [unknown, RegExp][] = [
    [
      rsa.export({ type: 'pkcs8', format: 'pem' }),
      /has a key that cannot sign assertions.* \| use a key of EC P-256 \(ES256\) or Ed25519/,
    ],
    [p384.export({ format: 'jwk' }), /use a key of EC P-256 \(ES256\) or Ed25519 \(EdDSA\)$/],
    [{ ...jwk, alg: 'ES384' }, /a JWK whose alg does not fit/],
    [publicJwk, /must be a private key in PEM/],
    [{ ...jwk, d: otherJwk.d }, /is a JWK whose x and y do not belong to d/],
    [5, /must be a private key/],
    ['hunter2', /must be a private key/],
  ]
  for (const [one, message] of wrong) {
    const found = refusals({ more: { assertion: { keys: [edwards, one] } } })
    t.match(found, [message])
    t.match(found, [/^assertion\.keys\[1\]: /])
    t.notOk(found.join().includes(String(d)) || found.join().includes('hunter2'), 'no part of the key')
  }
  t.match(refusals({ more: { assertion: { keys: [pem, jwk] } } }), [
    /^assertion\.keys\[1\]: has the same kid as assertion\.keys\[0\]/,
  ])
  t.end()
})

void t.test('claims of an assertion are those of the user, and its lifetime is at least ten seconds', (t) => {
  t.same(refusals({ more: { assertion: { claims: ['email', 'sub', 'acr', 'realm_access.roles'] } } }), [])
  t.match(refusals({ more: { assertion: { claims: ['email', 'iss', 'sid'] } } }), [
    /^assertion\.claims\[1\]: iss cannot be a claim of the user/,
    /^assertion\.claims\[2\]: sid cannot be/,
  ])
  t.match(refusals({ more: { assertion: { lifetime: '9s' } } }), [/^assertion\.lifetime: /])
  t.end()
})

void t.test(
  'without keys, the gateway makes one where assertions are sent, and warns if there may be replicas',
  (t) => {
    const load = (given: Settings) => loadText(folder, stringify(settings(given)))
    t.equal(load({}).config.assertion, null)
    const used = load(set('{assertion}'))
    t.match(used.config.assertion, {
      audience: null,
      lifetime: 300_000,
      claims: [],
      keys: [/^-----BEGIN PRIVATE KEY-----/],
    })
    t.same(used.warnings, [])
    t.equal(load({ more: { assertion: { audience: 'a' } } }).config.assertion?.keys.length, 1)
    const session = { keys: [key], store: 'redis://127.0.0.1' }
    const redis = load({ ...set('{assertion}'), more: { session } })
    t.match(redis.warnings, [
      /assertion\.keys: is not set: each replica generates a key when it starts.*openssl genpkey/,
    ])
    t.same(load({ ...set('{assertion}'), more: { session, assertion: { keys: [pem] } } }).warnings, [])
    t.same(load({ more: { session } }).warnings, [])
    t.end()
  },
)

void t.test('a key that the gateway makes lives as long as the process, so a reload does not change it', (t) => {
  const file = asFile(t, settings(set('{assertion}')))
  const [first, second] = [loadConfigFile(file), loadConfigFile(file)]
  t.same(first.config.assertion, second.config.assertion)
  t.end()
})

void t.test('keys are masked, and templates with tokens are not', (t) => {
  const { config } = loadText(
    folder,
    stringify(settings({ ...set('Bearer {idToken}'), more: { assertion: { keys: [pem, otherJwk] } } })),
  )
  const printed = toMaskedYaml(config)
  t.match(printed, 'X-A: Bearer {idToken}')
  t.match(printed, /assertion:\n {2}keys:\n {4}- "\*{8}"\n {4}- "\*{8}"\n/)
  t.notOk(printed.includes(String(otherJwk.d)) || printed.includes('PRIVATE KEY'))
  t.end()
})
