import { once } from 'node:events'
import { createServer, request as httpRequest } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import { connect } from 'node:net'
import { join } from 'node:path'
import { TLSSocket } from 'node:tls'
import t, { type Test } from 'tap'
import { boundPort } from '../../src/demo/bound-port.ts'
import { startIdp } from '../../src/demo/idp.ts'
import { startUpstream } from '../../src/demo/upstream.ts'
import { proxyFor } from '../../src/oidc/outgoing-proxy.ts'
import { startScriptedProvider, type ScriptedProvider } from './scripted-provider.ts'
import { callWith } from '../support/api-client.ts'
import { createBrowser } from '../support/browser.ts'
import { createAuthority, type Certificate } from '../support/certificates.ts'
import { eventually } from '../support/eventually.ts'
import { freePort } from '../support/free-port.ts'
import { startGateway, type Running } from '../support/gateway.ts'
import { plainPage } from '../support/sign-in.ts'

const { ca, issue } = createAuthority()

const caFile = join(t.testdir({ 'ca.pem': ca }), 'ca.pem')

/** Gateways with a scripted provider do not use this provider. */
const shared = { idp: await startIdp(), upstream: await startUpstream() }
t.teardown(async () => Promise.all([shared.idp.close(), shared.upstream.close()]))

/** A name that no resolver knows: only the proxy can connect to the provider. */
const HOST = 'login.example.test'

type Mode = 'ok' | 'refuse' | 'hang'

interface ForwardProxy {
  readonly url: string
  /** The method and the target of each request, with the credentials if there are any. */
  readonly requests: string[]
  mode: Mode
}

/** Starts a forward proxy that connects every host name to this machine; it ends with the test. */
const startForwardProxy = async (t: Test, tls?: Certificate): Promise<ForwardProxy> => {
  const proxy = { url: '', requests: [] as string[], mode: 'ok' as Mode }
  const note = (method: string, target: string, authorization = ''): void => {
    const credentials = Buffer.from(authorization.replace('Basic ', ''), 'base64').toString()
    proxy.requests.push([method, target, credentials].join(' ').trim())
  }
  const server = tls === undefined ? createServer() : createTlsServer(tls)
  server.on('request', (request, response) => {
    const { method = '', url = '', headers } = request
    note(method, url, headers['proxy-authorization'])
    const { port, pathname, search } = new URL(url)
    const forwarded = { host: '127.0.0.1', port, method, path: pathname + search, headers }
    request.pipe(
      httpRequest(forwarded, (answer) => {
        response.writeHead(answer.statusCode ?? 500, answer.headers)
        answer.pipe(response)
      }),
    )
  })
  server.on('connect', (request, socket) => {
    note('CONNECT', request.url ?? '', request.headers['proxy-authorization'])
    socket.on('error', () => {})
    if (proxy.mode === 'hang') return
    if (proxy.mode === 'refuse') {
      socket.end('HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n')
      return
    }
    const target = connect(Number(request.url?.split(':').at(-1)), '127.0.0.1', () => {
      socket.write('HTTP/1.1 200 Connection established\r\n\r\n')
      target.pipe(socket).pipe(target)
    })
    target.on('error', () => socket.destroy())
    t.teardown(() => target.destroy())
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.close()
    server.closeAllConnections()
  })
  proxy.url = `${tls === undefined ? 'http' : 'https'}://127.0.0.1:${boundPort(server)}`
  return proxy
}

/** Starts a provider that is reached by `HOST`, with every endpoint that the gateway calls. */
const startProvider = async (t: Test, tls: object | null = issue([HOST])): Promise<ScriptedProvider> => {
  const provider = await startScriptedProvider(t, '', { host: HOST, ...(tls === null ? {} : { tls }) })
  const { document, origin, paths } = provider
  document['pushed_authorization_request_endpoint'] = `${origin}/par`
  document['revocation_endpoint'] = `${origin}/revoke`
  paths.set('/par', (_request, response) => {
    response.writeHead(201, { 'content-type': 'application/json' })
    response.end(JSON.stringify({ request_uri: 'urn:example:1', expires_in: 60 }))
  })
  paths.set('/userinfo', { sub: 'alice', department: 'sales' })
  paths.set('/revoke', {})
  return provider
}

const gatewayFor = async (t: Test, provider: ScriptedProvider, keys: object): Promise<Running> => {
  const settings = { issuer: provider.issuer, caFile, userinfo: true, ...keys }
  return startGateway(t, { ...shared, config: { provider: settings } })
}

/** Sets environment variables for this test. */
const withEnvironment = (t: Test, variables: Record<string, string>): void => {
  Object.assign(process.env, variables)
  t.teardown(() => {
    for (const name of Object.keys(variables)) delete process.env[name]
  })
}

const loginStatus = async ({ url }: Running): Promise<number> =>
  (await createBrowser().get(`${url}/oauth2/login`, plainPage)).status

const causeOf = ({ events }: Running): string => String(events('provider_unavailable').at(-1)?.['cause'])

void t.test('every call to the provider goes through the proxy of the environment, and no other call', async (t) => {
  const proxy = await startForwardProxy(t)
  const provider = await startProvider(t)
  withEnvironment(t, { HTTPS_PROXY: proxy.url, HTTP_PROXY: proxy.url })
  t.equal(await loginStatus(await gatewayFor(t, provider, {})), 302)
  t.equal(provider.asked('/par'), 1)

  const running = await gatewayFor(t, provider, { pushedAuthorization: 'off' })
  const { browser, answer } = await provider.login(running.url, {}, { refresh_token: 'r1' })
  t.equal(answer.headers.location, '/orders')
  t.equal((await browser.get(`${running.url}/api/orders`, { kind: 'script' })).status, 200)
  await browser.get(`${running.url}/oauth2/logout`, { from: `${running.url}/` })
  await eventually(() => provider.asked('/revoke') === 1, { what: 'the refresh token is revoked' })
  for (const path of ['/keys', '/userinfo']) t.equal(provider.asked(path), 1, path)
  t.same(new Set(proxy.requests), new Set([`CONNECT ${new URL(provider.origin).host}`]))
})

void t.test('NO_PROXY and proxy: off lead to direct connections', async (t) => {
  const proxy = await startForwardProxy(t)
  const provider = await startProvider(t)
  withEnvironment(t, { https_proxy: proxy.url, no_proxy: 'internal,.example.test' })
  t.equal(await loginStatus(await gatewayFor(t, provider, {})), 503)
  delete process.env['no_proxy']
  t.equal(await loginStatus(await gatewayFor(t, provider, { proxy: 'off' })), 503)
  t.same(proxy.requests, [])
  t.equal(await loginStatus(await gatewayFor(t, provider, {})), 302)
})

void t.test('a configured proxy gets its credentials and takes precedence over the environment', async (t) => {
  const [proxy, other] = [await startForwardProxy(t), await startForwardProxy(t)]
  const provider = await startProvider(t)
  withEnvironment(t, { HTTPS_PROXY: other.url, NO_PROXY: '*' })
  const running = await gatewayFor(t, provider, { proxy: proxy.url.replace('//', '//gate%40way:p%3Aw@') })
  t.equal(await loginStatus(running), 302)
  t.same(new Set(proxy.requests), new Set([`CONNECT ${new URL(provider.origin).host} gate@way:p:w`]))
  t.same(other.requests, [])
})

void t.test('an https proxy is trusted by caFile and never sees the client certificate', async (t) => {
  const proxy = await startForwardProxy(t, issue(['127.0.0.1']))
  const subjects: unknown[] = []
  const provider = await startProvider(t, { ...issue([HOST]), ca, requestCert: true, rejectUnauthorized: true })
  provider.paths.set('/par', (request, response) => {
    const { socket } = request
    if (socket instanceof TLSSocket) subjects.push(socket.getPeerCertificate().subject)
    response.writeHead(201, { 'content-type': 'application/json' })
    response.end(JSON.stringify({ request_uri: 'urn:example:1', expires_in: 60 }))
  })
  const { cert, key } = issue(['gateway.example.com'])
  const folder = t.testdir({ 'client.pem': cert, 'client-key.pem': key })
  const clientCertificate = { certFile: join(folder, 'client.pem'), keyFile: join(folder, 'client-key.pem') }
  const running = await gatewayFor(t, provider, { proxy: proxy.url, clientCertificate })
  t.equal(await loginStatus(running), 302)
  t.same(subjects, [{ CN: 'gateway.example.com' }])
  t.ok(proxy.requests.length > 0)
})

void t.test('a request for an http provider is sent to the proxy itself, without a tunnel', async (t) => {
  const proxy = await startForwardProxy(t)
  const provider = await startProvider(t, null)
  withEnvironment(t, { HTTP_PROXY: proxy.url })
  t.equal(await loginStatus(await gatewayFor(t, provider, { allowHttp: true })), 302)
  t.same(proxy.requests, [`GET ${provider.origin}/.well-known/openid-configuration`, `POST ${provider.origin}/par`])
})

void t.test('a provider on this machine is reached without the proxy of the environment', async (t) => {
  const proxy = await startForwardProxy(t)
  withEnvironment(t, { HTTP_PROXY: proxy.url, HTTPS_PROXY: proxy.url })
  const { url } = await startGateway(t, shared)
  t.equal((await createBrowser().login(`${url}/orders`, 'alice')).answer.url, `${url}/orders`)
  t.same(proxy.requests, [])
})

void t.test('the log says that a proxy refuses, is down, does not answer or is not a proxy', async (t) => {
  const proxy = await startForwardProxy(t)
  const provider = await startProvider(t)
  const down = `http://127.0.0.1:${await freePort()}`
  const failing = async (running: Running): Promise<string> => {
    t.equal(await loginStatus(running), 503)
    return causeOf(running)
  }
  const running = await gatewayFor(t, provider, {
    proxy: proxy.url.replace('//', '//gateway:hush-hush@'),
    timeout: '300ms',
  })
  proxy.mode = 'refuse'
  const refused = await failing(running)
  t.match(refused, /can’t be read ← .*through the proxy http:\/\/127\.0\.0\.1:\d+ ← .*407/)
  t.notMatch(refused, 'hush-hush')
  proxy.mode = 'hang'
  t.match(await failing(running), /timeout/)
  const toNothing = await gatewayFor(t, provider, { proxy: down })
  t.match(await failing(toNothing), new RegExp(`through the proxy ${down} ← ECONNREFUSED`))
  withEnvironment(t, { HTTPS_PROXY: 'socks5://user:hush-hush@proxy.example.com' })
  const unusable = await failing(await gatewayFor(t, provider, {}))
  t.match(unusable, /HTTPS_PROXY is not the URL of an http or https proxy/)
  t.notMatch(unusable, 'hush-hush')
})

void t.test('the environment selects the proxy as in Go programs', (t) => {
  const proxy = 'http://proxy.example.com:3128'
  const selected = (url: string, environment: Record<string, string>): string | null =>
    proxyFor(new URL(url), 'env', environment)?.href ?? null
  const all = { HTTPS_PROXY: proxy, HTTP_PROXY: 'http://other.example.com' }
  t.equal(selected('https://a.example.com', all), `${proxy}/`)
  t.equal(selected('http://a.example.com', all), 'http://other.example.com/')
  t.equal(selected('https://a.example.com', { HTTP_PROXY: proxy, ALL_PROXY: proxy }), null)
  t.equal(selected('https://a.example.com', { https_proxy: 'proxy.example.com:3128' }), `${proxy}/`, 'no scheme')
  t.equal(selected('https://a.example.com', { HTTPS_PROXY: '' }), null)
  for (const host of ['localhost', '127.0.0.1', '127.9.9.9', '[::1]']) t.equal(selected(`https://${host}`, all), null)

  const isExcepted = (url: string, exceptions: string): boolean =>
    selected(url, { ...all, NO_PROXY: exceptions }) === null
  const excepted: [url: string, exceptions: string][] = [
    ['https://login.example.com', '*'],
    ['https://login.example.com', 'a.test, login.example.com'],
    ['https://login.example.com', 'example.com'],
    ['https://login.example.com', '.Example.com'],
    ['https://login.example.com', '*.example.com'],
    ['https://login.example.com', 'example.com:443'],
    ['https://login.example.com:8443', 'example.com:8443'],
    ['https://10.1.2.3', '10.0.0.0/8'],
    ['https://10.1.2.3', '10.1.2.3'],
    ['https://10.1.2.3:8443', '10.1.2.3:8443'],
    ['https://[fd00::1]', 'fd00::/8'],
    ['https://[fd00::1]', 'fd00::1'],
    ['https://[fd00::1]:8443', '[fd00::1]:8443'],
  ]
  for (const [url, exceptions] of excepted) t.equal(isExcepted(url, exceptions), true, `${url} ${exceptions}`)
  const others: [url: string, exceptions: string][] = [
    ['https://login.example.com', ''],
    ['https://login.example.com', 'ogin.example.com'],
    ['https://login.example.com', 'example.com:8443'],
    ['https://10.1.2.3', '10.0.0.0/16, fd00::/8, 10.0.0.0/99, 10.1.2.0'],
    ['https://[fd00::1]', 'fd00::2, 10.0.0.0/8'],
  ]
  for (const [url, exceptions] of others) t.equal(isExcepted(url, exceptions), false, `${url} ${exceptions}`)
  t.end()
})

void t.test(
  'another issuer of tokens is reached through the proxy, with the CA certificates of the provider',
  async (t) => {
    const proxy = await startForwardProxy(t)
    const issuer = await startProvider(t)
    const bearer = { audience: 'orders', issuers: [{ issuer: issuer.issuer }] }
    const { url } = await startGateway(t, {
      ...shared,
      config: { provider: { caFile, proxy: proxy.url, allowHttp: true }, routes: [{ path: '/**', bearer }] },
    })
    const now = Math.floor(Date.now() / 1000)
    const token = await issuer.sign({ iss: issuer.issuer, aud: 'orders', sub: 'ci', iat: now, exp: now + 60 })
    t.equal((await callWith({ url }, token)).status, 200)
    t.ok(proxy.requests.includes(`CONNECT ${new URL(issuer.origin).host}`))
  },
)
