import { createHash, randomBytes, randomUUID } from 'node:crypto'
import { SignJWT, calculateJwkThumbprint, exportJWK, generateKeyPair, type CryptoKey, type JWK } from 'jose'
import {
  ClientSecretPost,
  allowInsecureRequests,
  clientCredentialsGrant,
  discovery,
  fetchProtectedResource,
  getDPoPHandle,
  randomDPoPKeyPair,
} from 'openid-client'
import t, { type Test } from 'tap'
import { createBrowser } from '../support/browser.ts'
import { moveClock } from '../support/clock.ts'
import type { Answer } from '../support/exchange.ts'
import { eventually } from '../support/eventually.ts'
import { startGateway, type Running } from '../support/gateway.ts'
import { loggedIn } from '../support/logged-in.ts'
import { ask } from '../support/raw-http.ts'
import { startRedis } from '../support/redis.ts'
import { openWebSocket } from '../support/websocket.ts'

const routes = [
  { path: '/**' },
  {
    path: '/api/**',
    bearer: { audience: 'api://orders', dpop: 'accepted' },
    headers: { set: { 'X-User': '{claims.sub}' } },
  },
  { path: '/api/echo/strict', bearer: { audience: 'api://orders', dpop: 'required', scopes: ['orders.read'] } },
  { path: '/ws', bearer: { audience: 'api://orders', dpop: 'required' } },
  { path: '/api/echo/plain', bearer: { audience: 'api://orders' } },
  { path: '/api/echo/optional', access: 'optional', bearer: { audience: 'api://orders', dpop: 'accepted' } },
]

type Key = { readonly privateKey: CryptoKey; readonly jwk: JWK; readonly jkt: string }

const newKey = async (alg = 'ES256'): Promise<Key> => {
  const { publicKey, privateKey } = await generateKeyPair(alg, { extractable: true })
  const jwk = await exportJWK(publicKey)
  return { privateKey, jwk, jkt: await calculateJwkThumbprint(jwk) }
}

type Made = {
  readonly claims?: Record<string, unknown>
  readonly header?: Record<string, unknown>
  readonly key?: Key
}

type Started = Running & {
  readonly key: Key
  /** A token that is bound to the key, with these claims changed. */
  readonly token: (claims?: Record<string, unknown>) => Promise<string>
  /** A proof for this request with the current nonce, with these parts changed. */
  readonly proof: (token: string, path: string, made?: Made) => Promise<string>
  readonly send: (token: string, path: string, proof?: string, scheme?: string) => Promise<Answer>
  /** Sends a request with a good proof. */
  readonly call: (token: string, path?: string, made?: Made) => Promise<Answer>
}

const get = async (url: string, headers: Record<string, string> = {}): Promise<Answer> =>
  createBrowser().get(url, { kind: 'none', headers })

const hash = (token: string): string => createHash('sha256').update(token).digest('base64url')

const start = async (
  t: Test,
  config: object = {},
  options: Parameters<typeof startGateway>[1] = {},
): Promise<Started> => {
  const running = await startGateway(t, { config: { routes, ...config }, ...options })
  const key = await newKey()
  const { url, idp } = running
  const nonce = async (): Promise<string> => String((await get(`${url}/api/echo`)).headers['dpop-nonce'])
  const proof: Started['proof'] = async (token, path, { claims = {}, header = {}, key: signer = key } = {}) =>
    new SignJWT({
      jti: randomUUID(),
      htm: 'GET',
      htu: url + path,
      iat: Math.floor(Date.now() / 1000),
      ath: hash(token),
      nonce: await nonce(),
      ...claims,
    })
      .setProtectedHeader({ typ: 'dpop+jwt', alg: 'ES256', jwk: signer.jwk, ...header })
      .sign(signer.privateKey)
  const send: Started['send'] = async (token, path, dpop, scheme = 'DPoP') =>
    get(url + path, { authorization: `${scheme} ${token}`, ...(dpop === undefined ? {} : { dpop }) })
  return {
    ...running,
    key,
    proof,
    send,
    call: async (token, path = '/api/echo', made) => send(token, path, await proof(token, path, made)),
    token: async (claims = {}) => {
      const now = Math.floor(Date.now() / 1000)
      return idp.sign(
        {
          iss: idp.issuer,
          aud: 'api://orders',
          sub: 'alice',
          client_id: 'robot',
          iat: now,
          exp: now + 3600,
          cnf: { jkt: key.jkt },
          ...claims,
        },
        { typ: 'at+jwt' },
      )
    },
  }
}

const authenticate = (answer: Answer): string => String(answer.headers['www-authenticate'])
const dpopError = (answer: Answer): string | undefined => / DPoP .*?error="(\w+)"/.exec(authenticate(answer))?.[1]

const resource = { path: '/api/**', bearer: { metadata: true, dpop: 'required', scopes: ['orders.read'] } }

void t.test('openid-client calls the application with a bound token of the provider', async (t) => {
  const running = await startGateway(t, { idp: { dpop: 'on' }, config: { routes: [resource] } })
  const { url, idp, upstream } = running
  await idp.registerClient({
    clientId: 'robot',
    clientSecret: 'secret',
    redirectUris: [`${url}/unused`],
    dpopBound: true,
  })
  const configuration = await discovery(new URL(idp.issuer), 'robot', 'secret', ClientSecretPost('secret'), {
    execute: [allowInsecureRequests],
  })
  const DPoP = getDPoPHandle(configuration, await randomDPoPKeyPair('ES256'))
  const parameters = { resource: `${url}/api`, scope: 'orders.read' }
  const { access_token, token_type } = await clientCredentialsGrant(configuration, parameters, { DPoP })
  t.equal(token_type, 'dpop')
  for (const path of ['/api/echo/a?b=1', '/api/echo']) {
    const address = new URL(url + path)
    const answer = await fetchProtectedResource(configuration, access_token, address, 'POST', '{}', new Headers(), {
      DPoP,
    })
    t.equal(answer.status, 200, path)
    t.ok(answer.headers.get('dpop-nonce'), 'a nonce for the next request')
    await answer.arrayBuffer()
    t.match(upstream.requests.at(-1)?.headers, { authorization: `Bearer ${access_token}`, dpop: undefined })
  }
  t.equal(upstream.requests.length, 2, 'the request without a nonce did not reach the application')
})

void t.test('the application receives a bearer token and no proof', async (t) => {
  const { token, call } = await start(t)
  const mine = await token()
  const answer = await call(mine)
  t.equal(answer.status, 200)
  const { headers }: { headers?: Record<string, string> } = answer.json()
  t.match(headers, { 'authorization': `Bearer ${mine}`, 'x-user': 'alice' })
  t.notOk('dpop' in (headers ?? {}))
})

void t.test('a request without a token gets both challenges, and a nonce', async (t) => {
  const { url } = await start(t)
  const algs = 'DPoP algs="ES256 ES384 ES512 EdDSA Ed25519 PS256 PS384 PS512 RS256 RS384 RS512"'
  const accepted = await get(`${url}/api/echo`)
  t.match(accepted.json(), { status: 401, code: 'login_required' })
  t.equal(authenticate(accepted), `Bearer realm="${new URL(url).host}", ${algs}`)
  t.ok(accepted.headers['dpop-nonce'])
  const required = await get(`${url}/api/echo/strict`)
  t.equal(authenticate(required), `Bearer realm="${new URL(url).host}", scope="orders.read", ${algs}`)
  t.notOk((await get(`${url}/api/echo/plain`)).headers['dpop-nonce'])
})

void t.test('every kind of invalid proof is refused with the error of its kind', async (t) => {
  const { url, token, proof, send, key, upstream } = await start(t)
  const mine = await token()
  const path = '/api/echo'
  const now = Math.floor(Date.now() / 1000)
  const other = await newKey()
  const secret = new TextEncoder().encode('a secret of thirty-two bytes or more')
  const privateJwk = await exportJWK(key.privateKey)
  const symmetric = await new SignJWT({ jti: 'x', htm: 'GET', htu: url + path, iat: now, ath: hash(mine) })
    .setProtectedHeader({ typ: 'dpop+jwt', alg: 'HS256', jwk: { kty: 'oct' } })
    .sign(secret)
  const good = await proof(mine, path)
  const rows: [what: string, proof: string | undefined, error: string][] = [
    ['none', undefined, 'invalid_dpop_proof'],
    ['empty', '', 'invalid_dpop_proof'],
    ['not a JWT', 'a.b.c', 'invalid_dpop_proof'],
    ['two', `${good}, ${await proof(mine, path)}`, 'invalid_dpop_proof'],
    ['typ', await proof(mine, path, { header: { typ: 'JWT' } }), 'invalid_dpop_proof'],
    ['no typ', await proof(mine, path, { header: { typ: undefined } }), 'invalid_dpop_proof'],
    ['HS256', symmetric, 'invalid_dpop_proof'],
    ['no jwk', await proof(mine, path, { header: { jwk: undefined } }), 'invalid_dpop_proof'],
    ['a private jwk', await proof(mine, path, { header: { jwk: privateJwk } }), 'invalid_dpop_proof'],
    ['another jwk', await proof(mine, path, { header: { jwk: other.jwk } }), 'invalid_token'],
    ['a changed signature', `${good.slice(0, -8)}AAAAAAAA`, 'invalid_dpop_proof'],
    ['htm', await proof(mine, path, { claims: { htm: 'POST' } }), 'invalid_dpop_proof'],
    ['no htm', await proof(mine, path, { claims: { htm: undefined } }), 'invalid_dpop_proof'],
    ['another path', await proof(mine, '/api/echo/x'), 'invalid_dpop_proof'],
    ['another case of the path', await proof(mine, '/api/Echo'), 'invalid_dpop_proof'],
    [
      'another origin',
      await proof(mine, path, { claims: { htu: `https://evil.example${path}` } }),
      'invalid_dpop_proof',
    ],
    ['no URL', await proof(mine, path, { claims: { htu: path } }), 'invalid_dpop_proof'],
    ['no htu', await proof(mine, path, { claims: { htu: undefined } }), 'invalid_dpop_proof'],
    ['too old', await proof(mine, path, { claims: { iat: now - 200 } }), 'invalid_dpop_proof'],
    ['too new', await proof(mine, path, { claims: { iat: now + 200 } }), 'invalid_dpop_proof'],
    ['no iat', await proof(mine, path, { claims: { iat: undefined } }), 'invalid_dpop_proof'],
    ['another token', await proof(await token({ sub: 'bob' }), path), 'invalid_dpop_proof'],
    ['no ath', await proof(mine, path, { claims: { ath: undefined } }), 'invalid_dpop_proof'],
    ['no jti', await proof(mine, path, { claims: { jti: undefined } }), 'invalid_dpop_proof'],
    ['no nonce', await proof(mine, path, { claims: { nonce: undefined } }), 'use_dpop_nonce'],
    ['another nonce', await proof(mine, path, { claims: { nonce: 'x'.repeat(22) } }), 'use_dpop_nonce'],
    ['another key', await proof(mine, path, { key: other }), 'invalid_token'],
    ['signed with another key', await proof(mine, path, { key: { ...other, jwk: key.jwk } }), 'invalid_dpop_proof'],
    ['a malformed jwk', await proof(mine, path, { header: { jwk: { kty: 'EC' } } }), 'invalid_dpop_proof'],
  ]
  for (const [what, dpop, error] of rows) {
    const answer = await send(mine, path, dpop)
    t.match(answer.json(), { status: 401, code: 'invalid_token' }, what)
    t.equal(dpopError(answer), error, what)
    t.match(authenticate(answer), /^Bearer realm="[^"]+", DPoP algs="/, 'the error is that of DPoP alone')
    t.ok(answer.headers['dpop-nonce'], what)
  }
  const two = await ask(url, 'GET', path, [`Authorization: DPoP ${mine}`, `DPoP: ${good}`, 'DPoP: '])
  t.equal(two.status, 401, 'two headers')
  t.same(upstream.requests, [])
  t.equal((await send(mine, path, good)).status, 200, 'the good one is good')
})

void t.test('a token must be bound to the key of the proof, and to nothing else', async (t) => {
  const { token, call, key } = await start(t)
  for (const cnf of [undefined, null, {}, { jkt: 1 }, { jkt: 'x' }, { 'jkt': key.jkt, 'x5t#S256': 'x' }, key.jkt]) {
    const answer = await call(await token({ cnf }))
    t.match(answer.json(), { status: 401, code: 'invalid_token' }, JSON.stringify(cnf))
    t.equal(dpopError(answer), 'invalid_token')
  }
  const expired = await call(await token({ exp: 1 }))
  t.equal(dpopError(expired), 'invalid_token', 'a token that is invalid for another reason')
})

void t.test('a bound token is not a bearer token, and a route may require proofs', async (t) => {
  const { token, send, call, proof } = await start(t)
  const bound = await token()
  const bearer = await token({ cnf: undefined })
  const challenge = / error="invalid_token", DPoP algs="[^"]+"$/
  for (const path of ['/api/echo', '/api/echo/strict']) {
    const answer = await send(bound, path, await proof(bound, path), 'Bearer')
    t.equal(answer.status, 401, path)
    t.match(authenticate(answer), challenge, 'the error is that of Bearer')
  }
  t.equal((await send(bound, '/api/echo/plain', undefined, 'Bearer')).status, 401, 'dpop: off')
  t.equal((await send(bearer, '/api/echo', undefined, 'Bearer')).status, 200)
  const refused = await send(bearer, '/api/echo/strict', undefined, 'Bearer')
  t.equal(refused.status, 401)
  t.match(authenticate(refused), challenge)
  const few = await call(bound, '/api/echo/strict')
  t.match(few.json(), { status: 403, code: 'forbidden' })
  t.match(
    authenticate(few),
    /^Bearer realm="[^"]+", scope="orders.read", DPoP algs="[^"]+", error="insufficient_scope", scope="orders.read"$/,
  )
  t.equal((await call(await token({ scope: 'openid orders.read' }), '/api/echo/strict')).status, 200)
  t.equal((await send(bound, '/api/echo/plain', await proof(bound, '/api/echo/plain'))).status, 401, 'dpop: off')
})

void t.test('a proof is accepted once', async (t) => {
  const { token, proof, send } = await start(t)
  const mine = await token()
  const once = await proof(mine, '/api/echo')
  t.equal((await send(mine, '/api/echo', once)).status, 200)
  const again = await send(mine, '/api/echo', once)
  t.equal(dpopError(again), 'invalid_dpop_proof')
  const sameId = await proof(mine, '/api/echo/x', { claims: { jti: 'one' } })
  t.equal((await send(mine, '/api/echo/x', sameId)).status, 200)
  t.equal(
    dpopError(await send(mine, '/api/echo', await proof(mine, '/api/echo', { claims: { jti: 'one' } }))),
    'invalid_dpop_proof',
  )
})

void t.test('every spelling of the URL of the request is accepted', async (t) => {
  const { url, token, call } = await start(t)
  const mine = await token()
  const rows: [path: string, htu: string][] = [
    ['/api/echo?a=b', `${url}/api/echo`],
    ['/api/echo?a=b', `${url}/api/echo?c=d#e`],
    ['/api/echo/%7Efiles', `${url}/api/echo/~files`],
    ['/api/echo/caf%c3%a9', `${url}/api/echo/caf%C3%A9`],
    ['/api/echo/caf%C3%A9', `${url}/api/echo/café`],
    ['/api/echo', `${url.toUpperCase().replace('HTTP', 'http')}/api/./x/../echo`],
  ]
  for (const [path, htu] of rows) t.equal((await call(mine, path, { claims: { htu } })).status, 200, `${path} ${htu}`)
})

void t.test('with several public URLs, the proof names the one that the client used', async (t) => {
  const config = {
    publicUrl: ['https://a.example.com', 'https://b.example.com:8443'],
    trustedProxies: ['127.0.0.0/8'],
  }
  const { url, token, proof } = await start(t, config)
  const mine = await token()
  const at = async (host: string, htu: string): Promise<number> => {
    const dpop = await proof(mine, '/api/echo', { claims: { htu } })
    const headers = [`Authorization: DPoP ${mine}`, `DPoP: ${dpop}`, `X-Forwarded-Host: ${host}`]
    return (await ask(url, 'GET', '/api/echo', headers)).status
  }
  t.equal(await at('a.example.com', 'https://a.example.com/api/echo'), 200)
  t.equal(await at('a.example.com', 'https://A.example.com:443/api/echo'), 200)
  t.equal(await at('b.example.com:8443', 'https://b.example.com:8443/api/echo'), 200)
  t.equal(await at('b.example.com:8443', 'https://a.example.com/api/echo'), 401)
  t.equal(await at('b.example.com:8443', 'http://b.example.com:8443/api/echo'), 401)
})

void t.test('proofs are accepted with algorithms of each family', async (t) => {
  const { token, call } = await start(t)
  for (const alg of ['ES512', 'Ed25519', 'EdDSA', 'PS256']) {
    const key = await newKey(alg)
    const mine = await token({ cnf: { jkt: key.jkt } })
    t.equal((await call(mine, '/api/echo', { key, header: { alg } })).status, 200, alg)
  }
})

void t.test('a nonce is replaced every two minutes, and the one before is accepted', async (t) => {
  const { token, call, proof, send, url } = await start(t)
  const mine = await token()
  const nonce = async (): Promise<string> => String((await get(`${url}/api/echo`)).headers['dpop-nonce'])
  const first = await nonce()
  const proven = await proof(mine, '/api/echo', { claims: { nonce: first } })
  t.equal((await send(mine, '/api/echo', proven)).status, 200)
  moveClock(t, 120_000)
  const second = await nonce()
  t.not(second, first)
  const answer = await call(mine, '/api/echo', { claims: { nonce: first } })
  t.equal(answer.status, 200)
  t.equal(answer.headers['dpop-nonce'], second, 'the client learns the new one')
  moveClock(t, 240_000)
  t.equal(dpopError(await call(mine, '/api/echo', { claims: { nonce: first } })), 'use_dpop_nonce')
})

void t.test('on an optional route, a token without a valid proof is refused and not passed on', async (t) => {
  const { token, send, url, upstream } = await start(t)
  const path = '/api/echo/optional'
  t.equal((await get(url + path)).status, 200)
  upstream.requests.length = 0
  t.equal((await send(await token(), path)).status, 401)
  t.equal((await get(url + path, { authorization: 'DPoP' })).status, 401)
  t.equal((await get(url + path, { authorization: 'DPoP a b' })).status, 401)
  t.same(upstream.requests, [])
})

void t.test('a token and a session cookie together: the token counts', async (t) => {
  const running = await loggedIn(t, { config: { routes } })
  const answer = await running.browser.get(`${running.url}/api/echo`, { headers: { authorization: 'DPoP wrong' } })
  t.equal(answer.status, 401)
})

void t.test('a proxy with forward-auth gets the bearer token, the challenges and the nonce', async (t) => {
  const { url, verdicts, token, proof } = await start(t, { forwardAuth: { listen: '127.0.0.1:0' } })
  const mine = await token()
  const about = async (headers: Record<string, string>): Promise<Answer> =>
    get(`${verdicts}/auth`, { 'x-original-url': `${url}/api/echo?a=b`, 'x-original-method': 'GET', ...headers })
  const dpop = await proof(mine, '/api/echo')
  const good = await about({ authorization: `DPoP ${mine}`, dpop })
  t.equal(good.status, 200)
  t.match(good.headers, { 'authorization': `Bearer ${mine}`, 'x-user': 'alice', 'dpop-nonce': /^[\w-]{22}$/ })
  t.notOk(good.headers['dpop'])
  for (const [headers, error] of [
    [{ authorization: `DPoP ${mine}`, dpop }, 'invalid_dpop_proof'],
    [{ authorization: `DPoP ${mine}` }, 'invalid_dpop_proof'],
    [{}, undefined],
    [{ 'accept': 'text/html', 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document' }, undefined],
  ] as const) {
    const denied = await about(headers)
    t.equal(denied.status, 401)
    t.equal(dpopError(denied), error)
    t.match(authenticate(denied), /^Bearer realm="[^"]+", DPoP algs="/)
    t.ok(denied.headers['dpop-nonce'])
  }
})

void t.test('a WebSocket opens with a proof', async (t) => {
  const { url, token, proof, upstream } = await start(t)
  const mine = await token()
  const headers = [`Authorization: DPoP ${mine}`, `DPoP: ${await proof(mine, '/ws')}`]
  const socket = await openWebSocket(`${url}/ws`, { headers })
  t.equal(socket.status, 101)
  t.ok(socket.headers.get('dpop-nonce'))
  t.match(upstream.requests.at(-1)?.headers, { authorization: `Bearer ${mine}`, dpop: undefined })
  socket.socket.destroy()
  t.equal((await openWebSocket(`${url}/ws`, { headers })).status, 401)
})

void t.test(
  'replicas accept the same nonces and each proof once, and Redis may be unavailable for outageGrace',
  async (t) => {
    const redis = await startRedis(t)
    const session = { store: redis.url, keys: [randomBytes(32).toString('base64')], outageGrace: '1500ms' }
    const config = { session, provider: { clientId: 'replicated' } }
    const a = await start(t, config)
    const b = await start(t, config, { idp: a.idp, upstream: a.upstream, publicUrl: a.url })
    const { port } = b.gateway.listener.address() as { port: number }
    const mine = await a.token()
    const atB = async (dpop: string): Promise<Answer> =>
      get(`http://127.0.0.1:${port}/api/echo`, { authorization: `DPoP ${mine}`, dpop })
    const proofs = await Promise.all(Array.from({ length: 6 }, async () => a.proof(mine, '/api/echo')))
    const next = (): string => proofs.pop() ?? ''
    const once = next()
    t.equal((await a.send(mine, '/api/echo', once)).status, 200)
    t.equal(dpopError(await atB(once)), 'invalid_dpop_proof', 'another replica has seen the proof')
    t.equal((await atB(next())).status, 200, 'with the nonce of the first replica')
    await redis.kill()
    const during = next()
    t.equal((await a.send(mine, '/api/echo', during)).status, 200, 'Redis has just gone')
    t.equal(
      dpopError(await a.send(mine, '/api/echo', during)),
      'invalid_dpop_proof',
      'this process remembers the proof',
    )
    await eventually(async () => (await a.send(mine, '/api/echo', await a.proof(mine, '/api/echo'))).status === 503)
    const late = await a.send(mine, '/api/echo', next())
    t.match(late.json(), { status: 503, code: 'store_unavailable' })
    await redis.start()
    await eventually(async () => (await a.send(mine, '/api/echo', await a.proof(mine, '/api/echo'))).status === 200)
  },
)
