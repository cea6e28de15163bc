import { mkdtempSync, rmSync } from 'node:fs'
import type { IncomingMessage } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { decodeJwt } from 'jose'
import t, { type Test } from 'tap'
import { startUpstream, type ReceivedRequest } from '../../../src/demo/upstream.ts'
import { startApplication } from '../../support/application.ts'
import { createProofCheck, NonceError } from '../../support/dpop.ts'
import { loggedIn, type LoggedIn } from '../../support/logged-in.ts'
import { openWebSocket } from '../../support/websocket.ts'

const script = { kind: 'script' } as const
const DPOP = { idp: { dpop: 'on', lifetimes: { accessToken: 100 } } } as const

/** Starts a gateway with `dpop: on` whose application requires a valid proof, and its own nonce if `nonces` has one. */
const withApplication = async (
  t: Test,
  { nonces = [], route = {} }: { nonces?: string[]; route?: object } = {},
): Promise<LoggedIn & { refusals: string[]; received: readonly IncomingMessage[] }> => {
  const check = createProofCheck()
  const refusals: string[] = []
  const application = await startApplication(t, (req, res) => {
    const { pathname } = new URL(req.url ?? '/', 'http://application')
    const [nonce = null] = nonces
    check(req, { htu: `http://${req.headers.host ?? ''}${pathname}`, nonce }).then(
      (proof) => {
        if (nonces.length > 1) nonces.shift()
        const [next] = nonces
        res.writeHead(proof.token === null ? 401 : 200, next === undefined ? {} : { 'dpop-nonce': next }).end(proof.jkt)
      },
      (error: unknown) => {
        refusals.push(String(error))
        const challenge = error instanceof NonceError ? 'use_dpop_nonce' : 'invalid_dpop_proof'
        res.writeHead(401, {
          'www-authenticate': `DPoP error="${challenge}", algs="ES256"`,
          ...(nonce === null ? {} : { 'dpop-nonce': nonce }),
        })
        res.end()
      },
    )
  })
  const running = await loggedIn(t, {
    ...DPOP,
    config: {
      provider: { dpop: 'on' },
      routes: [{ path: '/**' }, { path: '/api/**', upstream: application.url, ...route }],
    },
  })
  return { ...running, refusals, received: application.requests }
}

void t.test('each request has a proof of its own for the URL that the application receives', async (t) => {
  const { browser, url, refusals, received } = await withApplication(t)
  const answers = [
    await browser.get(`${url}/api/orders?page=2`, script),
    await browser.get(`${url}/api/orders`, script),
    await browser.request('HEAD', `${url}/api/orders/7`, script),
    await browser.post(`${url}/api/orders`, 'x=1', script),
  ]
  t.same(
    answers.map(({ status }) => status),
    [200, 200, 200, 200],
  )
  t.same(refusals, [])
  t.equal(new Set(answers.filter(({ body }) => body !== '').map(({ body }) => body)).size, 1, 'one key for the session')
  t.match(received[0]?.headers.authorization, /^DPoP /)
})

for (const [name, route, path] of [
  ['stripPrefix', { stripPrefix: '/api' }, '/orders'],
  ['rewritePrefix', { rewritePrefix: { from: '/api', to: '/v2' } }, '/v2/orders'],
] as const)
  void t.test(`with ${name}, the proof is for the new path`, async (t) => {
    const { browser, url, refusals, received } = await withApplication(t, { route })
    t.equal((await browser.get(`${url}/api/orders`, script)).status, 200)
    t.same(refusals, [])
    t.equal(received[0]?.url, path)
  })

void t.test('with upstreamHost, the proof is for the Host that the application receives', async (t) => {
  for (const upstreamHost of ['upstream', 'orders.internal:8443']) {
    const { browser, url, refusals, received } = await withApplication(t, { route: { upstreamHost } })
    t.equal((await browser.get(`${url}/api/orders`, script)).status, 200)
    t.same(refusals, [])
    t.not(received[0]?.headers.host, new URL(url).host)
    const { htu } = decodeJwt(String(received[0]?.headers['dpop']))
    t.equal(htu, `http://${received[0]?.headers.host ?? ''}/api/orders`)
  }
})

void t.test(
  'the application’s nonce is used from the next request on, and a 401 for it is repeated once',
  async (t) => {
    const { browser, url, refusals, received } = await withApplication(t, { nonces: ['n1', 'n1', 'n2', 'n3'] })
    for (let i = 0; i < 5; i += 1) {
      const answer = await browser.get(`${url}/api/orders`, script)
      t.equal(answer.status, 200)
      t.notOk(answer.headers['www-authenticate'])
    }
    t.equal(refusals.length, 1, 'only the first request had no nonce')
    t.equal(received.length, 6)
    t.same(
      received.map(({ headers }) => decodeJwt(String(headers['dpop']))['nonce']),
      [undefined, 'n1', 'n1', 'n2', 'n3', 'n3'],
    )
  },
)

void t.test('a request with a body is not repeated, and the next one has the nonce', async (t) => {
  const { browser, url, received } = await withApplication(t, { nonces: ['n1'] })
  const first = await browser.post(`${url}/api/orders`, 'x=1', script)
  t.equal(first.status, 401)
  t.match(first.headers['www-authenticate'], /use_dpop_nonce/, 'the client gets the application’s response')
  t.equal((await browser.post(`${url}/api/orders`, 'x=1', script)).status, 200)
  t.equal(received.length, 2)
})

void t.test('an application that never accepts a nonce gets the request twice', async (t) => {
  let count = 0
  const application = await startApplication(t, (_req, res) => {
    count += 1
    res.writeHead(401, { 'www-authenticate': 'DPoP error="use_dpop_nonce"', 'dpop-nonce': `n${count}` }).end()
  })
  const { browser, url } = await loggedIn(t, {
    ...DPOP,
    config: { provider: { dpop: 'on' }, routes: [{ path: '/**' }, { path: '/api/**', upstream: application.url }] },
  })
  t.equal((await browser.get(`${url}/api/orders`, script)).status, 401)
  t.equal(count, 2)
})

void t.test('invalid_token in a DPoP challenge refreshes the tokens, which stay bound to the same key', async (t) => {
  const check = createProofCheck()
  const keys: string[] = []
  const tokens: unknown[] = []
  const application = await startApplication(t, (req, res) => {
    const nonce = tokens.length === 0 ? null : 'n1'
    check(req, { htu: `http://${req.headers.host ?? ''}/api/orders`, nonce }).then(
      ({ jkt, token }) => {
        keys.push(jkt)
        tokens.push(token)
        if (tokens.length > 1) res.writeHead(200).end()
        else res.writeHead(401, { 'www-authenticate': 'DPoP error="invalid_token", algs="ES256"' }).end()
      },
      () => {
        res.writeHead(401, { 'www-authenticate': 'DPoP error="use_dpop_nonce"', 'dpop-nonce': 'n1' }).end()
      },
    )
  })
  const { browser, url, idp } = await loggedIn(t, {
    ...DPOP,
    config: { provider: { dpop: 'on' }, routes: [{ path: '/**' }, { path: '/api/**', upstream: application.url }] },
  })
  t.equal((await browser.get(`${url}/api/orders`, script)).status, 200, 'with the new token, and then with the nonce')
  t.equal(idp.grants['refresh_token'], 1)
  t.equal(new Set(keys).size, 1)
  t.equal(new Set(tokens).size, 2)
})

void t.test('a client’s own proof never reaches an application together with the session’s token', async (t) => {
  const running = await loggedIn(t, {
    ...DPOP,
    config: {
      provider: { dpop: 'on' },
      routes: [
        { path: '/**' },
        { path: '/public/**', access: 'public' },
        { path: '/api/echo/none/**', token: { grant: 'none' } },
        { path: '/api/echo/header/**', token: { header: 'X-Access-Token' } },
      ],
    },
  })
  const received = async (path: string) => {
    await running.browser.get(`${running.url}${path}`, { kind: 'script', headers: { dpop: 'a-forged-proof' } })
    const { rawHeaders = [], headers = {} }: Partial<ReceivedRequest> = running.upstream.requests.at(-1) ?? {}
    return { proofs: rawHeaders.filter((_, i) => rawHeaders[i - 1]?.toLowerCase() === 'dpop'), headers }
  }
  const { proofs } = await received('/api/echo')
  t.equal(proofs.length, 1)
  t.notMatch(proofs[0], /forged/)
  t.same((await received('/api/echo/none/x')).proofs, [])
  t.same((await received('/public/')).proofs, ['a-forged-proof'])
  const other = await received('/api/echo/header/x')
  t.equal(other.proofs.length, 1, 'a token in a header of its own has a proof, too')
  t.notMatch(other.headers['x-access-token'], /^(?:DPoP|Bearer) /)
  t.notMatch(other.proofs[0], /forged/)
})

void t.test('without dpop, tokens are bearer tokens and no proof is sent', async (t) => {
  const running = await loggedIn(t)
  await running.browser.get(`${running.url}/api/echo`, { kind: 'script', headers: { dpop: 'a-forged-proof' } })
  const { headers = {} }: Partial<ReceivedRequest> = running.upstream.requests.at(-1) ?? {}
  t.match(headers.authorization, /^Bearer /)
  t.notOk('dpop' in headers)
})

void t.test('WebSockets, event streams and applications on a Unix socket get proofs', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'gatehouse-'))
  const upstream = await startUpstream({ socketPath: join(folder, 'app.sock') })
  t.teardown(async () => {
    await upstream.close()
    rmSync(folder, { recursive: true })
  })
  const running = await loggedIn(t, { ...DPOP, upstream, config: { provider: { dpop: 'on' } } })
  const { browser, url } = running
  const check = createProofCheck()
  const last = async (path: string): Promise<void> => {
    const request = upstream.requests.at(-1)
    const host = new URL(url).host
    t.equal(request?.headers.host, host)
    const proof = await check(request ?? { headers: {} }, { htu: `http://${host}${path}` })
    t.type(proof.token, 'string')
  }
  await browser.get(`${url}/api/echo`, script)
  await last('/api/echo')
  await browser.get(`${url}/api/stream?count=1`, { kind: 'script', headers: { accept: 'text/event-stream' } })
  await last('/api/stream')
  const { socket, status } = await openWebSocket(`${url}/ws`, {
    headers: [`Cookie: ${browser.cookies.header(new URL(url))}`, `Origin: ${url}`],
  })
  t.equal(status, 101)
  await last('/ws')
  socket.destroy()
})

void t.test(
  'tokens of routes are bound to a key of the session, and those of the client to a key of the gateway',
  async (t) => {
    const running = await loggedIn(t, {
      ...DPOP,
      config: {
        provider: { dpop: 'on' },
        routes: [
          { path: '/**' },
          { path: '/api/echo/exchange', token: { grant: 'token-exchange', audience: 'api://orders' } },
          { path: '/api/echo/behalf', token: { grant: 'on-behalf-of', scopes: ['api://orders/.default'] } },
          { path: '/api/echo/resource', token: { resource: 'api://stock' } },
          { path: '/api/echo/robot', token: { grant: 'client-credentials', resource: 'api://orders' } },
        ],
      },
    })
    running.idp.settings.resources = ['api://stock']
    const check = createProofCheck()
    const keyAt = async (path: string): Promise<string> => {
      t.equal((await running.browser.get(running.url + path, script)).status, 200, path)
      const request = running.upstream.requests.at(-1) ?? { headers: {} }
      const { token, jkt } = await check(request, { htu: running.url + path })
      if (path.includes('/echo/')) t.match(decodeJwt(token ?? ''), { cnf: { jkt } }, path)
      return jkt
    }
    const own = await keyAt('/api/echo')
    for (const path of ['/api/echo/exchange', '/api/echo/behalf', '/api/echo/resource'])
      t.equal(await keyAt(path), own, path)
    t.not(await keyAt('/api/echo/robot'), own)
  },
)
