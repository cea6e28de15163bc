import { once } from 'node:events'
import { createServer as createHttp, type RequestListener } from 'node:http'
import { connect, createSecureServer, createServer as createHttp2 } from 'node:http2'
import { createServer as createHttps } from 'node:https'
import type { Server } from 'node:net'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { boundPort } from '../../src/demo/bound-port.ts'
import { startIdp } from '../../src/demo/idp.ts'
import { createAuthority } from '../support/certificates.ts'
import { startGateway } from '../support/gateway.ts'
import { ask, sendRaw } from '../support/raw-http.ts'

// One provider for all gateways here: what it does is not what these tests are about.
const idp = await startIdp()
t.teardown(() => idp.close())

const authority = createAuthority()
const stranger = createAuthority()
const server = authority.issue(['127.0.0.1'])
const client = authority.issue(['client.internal'])
const folder = t.testdir({ 'ca.pem': authority.ca, 'cert.pem': client.cert, 'key.pem': client.key })
const caFile = join(folder, 'ca.pem')
const pair = { certFile: join(folder, 'cert.pem'), keyFile: join(folder, 'key.pem') }
const demands = { requestCert: true, rejectUnauthorized: true, ca: authority.ca }

/** Starts an application that responds to every request, and returns its port. */
const listen = async (t: Test, application: Server): Promise<number> => {
  application.listen(0, '127.0.0.1')
  await once(application, 'listening')
  t.teardown(() => application.close())
  return boundPort(application)
}

/** Returns the cause in the log of a request that fails at the application. */
const causeOf = async (t: Test, upstream: string, route: object): Promise<unknown> => {
  const routes = [{ path: '/**', access: 'public', ...route }]
  const { url, events } = await startGateway(t, { idp, config: { upstream, routes } })
  t.equal((await ask(url, 'GET', '/')).status, 502)
  return events('upstream_unreachable')[0]?.['cause']
}

const respond: RequestListener = (_request, response) => {
  response.end('ok')
}
const https = (options: object = {}): Server => createHttps({ ...server, ...options }, respond)
const h2 = (options: object = {}): Server =>
  createSecureServer({ ...server, ...options }, (_request, response) => {
    response.end('ok')
  })
const h2c = (): Server =>
  createHttp2((_request, response) => {
    response.end('ok')
  })

const setClientCertificate =
  /^the application demands a client certificate: set upstreamTls\.certFile .* ← .*ALERT_CERTIFICATE_REQUIRED/
const perhapsClientCertificate =
  /^the application ended the TLS connection: if it demands a client certificate, set upstreamTls\.certFile/
const setCaFile =
  /^upstreamTls\.caFile must contain the CA .* ← (?:UNABLE_TO_VERIFY_LEAF_SIGNATURE|SELF_SIGNED_CERT_IN_CHAIN): /

const ROWS: readonly (readonly [what: string, application: () => Server, route: object, cause: RegExp])[] = [
  ['the CA is not known', https, {}, setCaFile],
  ['the CA is not known, HTTP/2', h2, { upstreamProtocol: 'h2' }, setCaFile],
  ['the CA is not known, and the chain is complete', () => https({ cert: server.cert + authority.ca }), {}, setCaFile],
  [
    'a self-signed certificate',
    () => https(stranger.selfSigned(['127.0.0.1'])),
    {},
    /^upstreamTls\.caFile must contain .* ← DEPTH_ZERO_SELF_SIGNED_CERT: /,
  ],
  [
    'a certificate with another name',
    () => https(authority.issue(['a.internal', 'b.internal'])),
    { upstreamTls: { caFile } },
    /is for DNS:a\.internal, DNS:b\.internal: set upstreamTls\.serverName .* ← ERR_TLS_CERT_ALTNAME_INVALID: /,
  ],
  ['a client certificate is missing', () => https(demands), { upstreamTls: { caFile } }, setClientCertificate],
  [
    'a client certificate is missing, HTTP/2',
    () => h2(demands),
    { upstreamTls: { caFile }, upstreamProtocol: 'h2' },
    setClientCertificate,
  ],
  [
    'a client certificate is missing, TLS 1.2',
    () => https({ ...demands, maxVersion: 'TLSv1.2' }),
    { upstreamTls: { caFile } },
    perhapsClientCertificate,
  ],
  [
    'the client certificate is not trusted',
    () => https({ ...demands, ca: stranger.ca }),
    { upstreamTls: { caFile, ...pair } },
    perhapsClientCertificate,
  ],
  [
    'an application with h2c alone',
    h2c,
    {},
    /^the application speaks HTTP\/2 without TLS: set upstreamProtocol: h2c ← .*HTTP\/2 frame: .*, in the status line$/,
  ],
  [
    'an application with h2 alone',
    h2,
    { upstreamTls: { caFile } },
    /set upstreamProtocol: h2 ← ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL: /,
  ],
  [
    'an application without TLS',
    () => createHttp(respond),
    { upstreamTls: { caFile } },
    /: use http in upstream ← ERR_SSL_/,
  ],
]

void t.test('the log says what to set if a connection to the application fails', async (t) => {
  for (const [what, application, route, cause] of ROWS) {
    const isPlain = what.includes('h2c')
    const port = await listen(t, application())
    t.match(await causeOf(t, `${isPlain ? 'http' : 'https'}://127.0.0.1:${port}`, route), cause, what)
  }
})

void t.test('the log gives no hint about a failure that no key can mend', async (t) => {
  const application = createHttp((request) => {
    request.socket.destroy()
  })
  const port = await listen(t, application)
  t.equal(await causeOf(t, `http://127.0.0.1:${port}`, {}), 'UND_ERR_SOCKET: other side closed')
  const secure = await listen(
    t,
    createHttps({ ...server, requestCert: true, rejectUnauthorized: false }, (request, response) => {
      if (request.url === '/end') request.socket.destroy()
      else response.end('ok')
    }),
  )
  const upstream = `https://127.0.0.1:${secure}`
  const routes = [{ path: '/**', access: 'public', upstreamTls: { caFile } }]
  const { url, events } = await startGateway(t, { idp, config: { upstream, routes } })
  t.equal((await ask(url, 'GET', '/')).status, 200)
  t.equal((await ask(url, 'POST', '/end', ['Content-Length: 0'])).status, 502)
  t.match(events('upstream_unreachable')[0]?.['cause'], /^UND_ERR_SOCKET: other side closed$/, 'on a used connection')
})

void t.test('a client that speaks HTTP/2 without TLS is refused with the key that accepts it', async (t) => {
  const { url, events } = await startGateway(t, { idp })
  const session = connect(url)
  session.on('error', () => undefined)
  session.request({ ':path': '/' }).on('error', () => undefined)
  await new Promise((resolve) => session.once('close', resolve))
  const cause = /^the client speaks HTTP\/2 without TLS: set listenH2c: true ← HPE_PAUSED_H2_UPGRADE: /
  t.match(events('bad_request')[0]?.['cause'], cause)
  t.match(events('request')[0]?.['cause'], cause)
})

void t.test('a proxy that sends the PROXY protocol without need is refused with the key that expects it', async (t) => {
  const { url, events } = await startGateway(t, { idp })
  const line = 'PROXY TCP4 203.0.113.7 192.0.2.1 1 2\r\n'
  const binary = Buffer.from('0d0a0d0a000d0a515549540a21110000', 'hex').toString('latin1')
  for (const [index, header] of [line, binary].entries()) {
    await sendRaw(url, `${header}GET / HTTP/1.1\r\nHost: a\r\n\r\n`)
    const cause =
      /^a proxy sends the PROXY protocol, which only `listen` accepts, with listenProxyProtocol: true ← HPE_/
    t.match(events('bad_request')[index]?.['cause'], cause)
  }
})
