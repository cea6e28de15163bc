import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { connect as connectPlain } from 'node:net'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { connect, type ConnectionOptions, type TLSSocket } from 'node:tls'
import t, { type Test } from 'tap'
import { loadConfig } from '../../../src/config/load.ts'
import { startIdp } from '../../../src/demo/idp.ts'
import { startUpstream } from '../../../src/demo/upstream.ts'
import { createAuthority } from '../../support/certificates.ts'
import { eventually } from '../../support/eventually.ts'
import { freePort } from '../../support/free-port.ts'
import { asFile, startGateway, type Running } from '../../support/gateway.ts'
import { ask, header, open, sendRaw } from '../../support/raw-http.ts'

const [idp, upstream] = await Promise.all([startIdp(), startUpstream()])
t.teardown(async () => Promise.all([idp.close(), upstream.close()]))

const authority = createAuthority()
const { cert, key } = authority.issue(['127.0.0.1'])
const folder = t.testdir({})
const pair = { certFile: join(folder, 'cert.pem'), keyFile: join(folder, 'key.pem') }
writeFileSync(pair.certFile, cert)
writeFileSync(pair.keyFile, key)

const routes = [{ path: '/**', access: 'public' }]

const start = async (t: Test, tls: object = {}, config: Record<string, unknown> = {}): Promise<Running> => {
  const port = await freePort()
  return startGateway(t, {
    idp,
    upstream,
    port,
    publicUrl: `https://127.0.0.1:${port}`,
    config: { tls: { ...pair, ...tls }, routes, ...config },
  })
}

type Offer = Pick<ConnectionOptions, 'minVersion' | 'maxVersion' | 'ciphers' | 'ALPNProtocols'>

const handshake = async ({ url }: Pick<Running, 'url'>, offer: Offer): Promise<TLSSocket> => {
  const { hostname: host, port } = new URL(url)
  const socket = connect({ host, port: Number(port), ca: authority.ca, ...offer })
  await once(socket, 'secureConnect')
  // In TLS 1.3, a server can still refuse the client behind its handshake.
  return socket
}

/** The protocol and the cipher that a client gets, or the error of its handshake. */
const offered = async (running: Pick<Running, 'url'>, offer: Offer): Promise<string> => {
  try {
    const socket = await handshake(running, offer)
    const found = `${socket.getProtocol()} ${socket.getCipher().name}`
    socket.destroy()
    return found
  } catch (error) {
    return error instanceof Error && 'code' in error ? String(error.code) : String(error)
  }
}

/** A client of one version. At the default security level, OpenSSL offers nothing below TLS 1.2. */
const only = (version: 'TLSv1' | 'TLSv1.1' | 'TLSv1.2' | 'TLSv1.3'): Offer => ({
  minVersion: version,
  maxVersion: version,
  ...(version === 'TLSv1' || version === 'TLSv1.1' ? { ciphers: 'DEFAULT@SECLEVEL=0' } : {}),
})

void t.test('tls.minVersion is 1.2 by default, and 1.3 keeps out older clients', async (t) => {
  const [usual, strict] = await Promise.all([start(t), start(t, { minVersion: 1.3 })])
  for (const version of ['TLSv1', 'TLSv1.1'] as const) {
    t.match(await offered(usual, only(version)), /PROTOCOL_VERSION|ECONNRESET/, version)
    t.match(await offered(strict, only(version)), /PROTOCOL_VERSION|ECONNRESET/, version)
  }
  t.match(await offered(usual, only('TLSv1.2')), /^TLSv1\.2 ECDHE-ECDSA-/)
  t.match(await offered(usual, only('TLSv1.3')), /^TLSv1\.3 TLS_/)
  t.match(await offered(strict, only('TLSv1.2')), /PROTOCOL_VERSION/)
  t.match(await offered(strict, only('TLSv1.3')), /^TLSv1\.3 TLS_/)
})

void t.test(
  'a client that offers HTTP/1.0 only is served, and one that offers another protocol is refused',
  async (t) => {
    const running = await start(t)
    const socket = await handshake(running, { ALPNProtocols: ['http/1.0'] })
    t.equal(socket.alpnProtocol, 'http/1.0')
    socket.write('GET / HTTP/1.0\r\nHost: a\r\n\r\n')
    t.match(await text(socket), /^HTTP\/1\.1 200/)
    t.match(await offered(running, { ALPNProtocols: ['smtp'] }), /NO_APPLICATION_PROTOCOL/)
  },
)

void t.test('the log says what to set if a proxy sends the PROXY protocol', async (t) => {
  const { url, events } = await start(t)
  const socket = connectPlain(Number(new URL(url).port), '127.0.0.1')
  socket.write('PROXY TCP4 203.0.113.7 192.0.2.1 1 2\r\n')
  await once(socket.resume(), 'close')
  await eventually(() => events('tls_failed').length === 1, { what: 'the line' })
  t.match(events('tls_failed'), [{ cause: /set listenProxyProtocol: true$/ }])
})

void t.test('by default, the suites have forward secrecy and authenticated encryption if the client can', async (t) => {
  const usual = await start(t)
  const version = only('TLSv1.2')
  t.match(await offered(usual, { ...version, ciphers: 'ALL' }), /-(?:GCM|POLY1305)/)
  for (const weak of ['NULL', 'aNULL', 'RC4', '3DES', 'MD5', 'PSK']) {
    const got = await offered(usual, { ...version, ciphers: `${weak}:@SECLEVEL=0` })
    t.notMatch(got, /^TLS/, weak)
  }
})

void t.test('tls.ciphers restricts the suites, as one string or as a list, with names of IANA too', async (t) => {
  const one = 'ECDHE-ECDSA-AES256-GCM-SHA384'
  for (const ciphers of [one, [one], 'TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384', `${one}:TLS_AES_128_GCM_SHA256`]) {
    const running = await start(t, { ciphers })
    t.equal(await offered(running, only('TLSv1.2')), `TLSv1.2 ${one}`)
    const refused = await offered(running, { ...only('TLSv1.2'), ciphers: 'ECDHE-ECDSA-AES128-GCM-SHA256' })
    t.match(refused, /HANDSHAKE_FAILURE/)
    const tls13 = await offered(running, only('TLSv1.3'))
    if (String(ciphers).includes('TLS_AES_128')) t.equal(tls13, 'TLSv1.3 TLS_AES_128_GCM_SHA256')
    else t.match(tls13, /^TLSv1\.3 TLS_/)
  }
})

void t.test(
  'a reload changes versions, ciphers and certificate for new connections, and keeps the open ones',
  async (t) => {
    const running = await start(t)
    const open = await handshake(running, { ...only('TLSv1.2'), ALPNProtocols: ['http/1.1'] })
    const second = authority.issue(['127.0.0.1'])
    writeFileSync(pair.certFile, second.cert)
    writeFileSync(pair.keyFile, second.key)
    const { config } = loadConfig({
      env: {},
      file: asFile(t, {
        publicUrl: running.url,
        upstream: upstream.url,
        provider: { issuer: idp.issuer, clientId: running.config.provider.clientId, clientSecret: 'x' },
        session: { keys: [Buffer.alloc(32, 3).toString('base64')] },
        routes,
        tls: { ...pair, minVersion: '1.3', ciphers: ['TLS_AES_256_GCM_SHA384'] },
      }),
    })
    await running.gateway.reload(config)
    t.match(await offered(running, only('TLSv1.2')), /PROTOCOL_VERSION/)
    t.equal(
      await offered(running, { ciphers: 'TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384' }),
      'TLSv1.3 TLS_AES_256_GCM_SHA384',
    )
    const next = await handshake(running, {})
    t.not(next.getPeerCertificate().serialNumber, open.getPeerCertificate().serialNumber)
    next.destroy()
    open.write('GET /public/x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
    t.match(await text(open), /^HTTP\/1\.1 200/)
  },
)

const startRedirect = async (
  t: Test,
  config: Record<string, unknown> = {},
): Promise<Running & { readonly plain: string }> => {
  const port = await freePort()
  const running = await start(t, { redirectFrom: `127.0.0.1:${port}` }, config)
  return { ...running, plain: `http://127.0.0.1:${port}` }
}

const HOSTS = ['https://orders.example.com', 'https://shop.example.com:8443', 'https://*.apps.example.com']
const severalHosts = {
  publicUrl: HOSTS,
  loginHost: 'https://orders.example.com',
  session: { cookie: { domain: 'example.com' } },
}

void t.test('tls.redirectFrom redirects to the same path and query of the public URL with 308', async (t) => {
  const { plain, url, events } = await startRedirect(t)
  const targets = ['/', '/a/b?c=d&e=%2F', '//evil.example/x', '/a/%2e%2e/b;c', '/?', '/%ff?x=%00']
  for (const target of targets) {
    const answer = await ask(plain, 'GET', target)
    t.equal(answer.status, 308, target)
    t.equal(header(answer, 'location'), url + target, target)
  }
  t.equal(header(await ask(plain, 'GET', '/x?\u00fc=\u00e4'), 'location'), `${url}/x?%FC=%E4`, 'raw bytes are encoded')
  for (const method of ['HEAD', 'POST', 'PUT', 'DELETE', 'OPTIONS', 'PROPFIND']) {
    const answer = await ask(plain, method, '/x?y', method === 'POST' ? ['Content-Length: 0'] : [])
    t.same([answer.status, header(answer, 'location')], [308, `${url}/x?y`], method)
  }
  t.equal((await ask(plain, 'TRACE', '/')).status, 405)
  t.match(events('request')[0], { status: 308, verdict: 'https_redirect', path: '/', client: '127.0.0.1' })
})

void t.test('the redirect leads to a host of publicUrl only', async (t) => {
  const { plain } = await startRedirect(t, severalHosts)
  const location = async (host: string, target = '/x'): Promise<string | null> =>
    header(await ask(plain, 'GET', target, [`Host: ${host}`]), 'location')
  t.equal(await location('orders.example.com'), 'https://orders.example.com/x')
  t.equal(await location('ORDERS.example.com:80'), 'https://orders.example.com/x')
  t.equal(await location('shop.example.com'), 'https://shop.example.com:8443/x', 'on the port of the public URL')
  t.equal(await location('shop.example.com:8080'), 'https://shop.example.com:8443/x')
  t.equal(await location('one.apps.example.com:8080'), 'https://one.apps.example.com/x')
  for (const foreign of [
    'evil.example',
    'orders.example.com.evil.example',
    'a.b.apps.example.com',
    '',
    '[::1]',
    'evil@x',
  ])
    t.equal(await location(foreign), 'https://orders.example.com/x', foreign)
  t.equal(await location('orders.example.com', 'http://orders.example.com/y'), 'https://orders.example.com/y')
  t.equal((await ask(plain, 'GET', 'http://evil.example/y')).status, 400)
  t.equal((await ask(plain, 'GET', '/a\\b')).status, 400)
  const forged = await ask(plain, 'GET', '/x', ['X-Forwarded-Host: evil.example', 'X-Forwarded-Proto: https'])
  t.equal(header(forged, 'location'), 'https://orders.example.com/x')
})

void t.test(
  'the redirecting listener keeps connections alive, has the same limits, and stops with the gateway',
  async (t) => {
    const { plain, gateway, url } = await startRedirect(t, { limits: { headers: '8kb', headersTimeout: '1s' } })
    const two = await sendRaw(
      plain,
      `GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`,
    )
    t.equal(two.toString().match(/location: \S+/g)?.length, 2)
    t.match(
      (
        await sendRaw(plain, 'POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbody')
      ).toString(),
      /^HTTP\/1.1 308/,
    )
    t.equal((await ask(plain, 'GET', `/${'x'.repeat(9_000)}`)).status, 431)
    t.match((await sendRaw(plain, 'GET / HTTP/1.1\r\nHost: a\r\nX-')).toString(), /^HTTP\/1.1 408/, 'a slow head')
    const socket = await sendRaw(
      plain,
      'GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n',
    )
    t.match(socket.toString(), /^HTTP\/1.1 308/)
    const idle = open(plain)
    await once(idle, 'connect')
    const last = open(plain)
    last.write('GET /late HTTP/1.1\r\nHost: a\r\n')
    await eventually(() => last.bytesWritten > 0)
    const closed = gateway.close()
    last.write('\r\n')
    t.match(await text(last), new RegExp(`location: ${url}/late`, 'i'), 'a request in progress is finished')
    await closed
    t.equal(await text(idle).catch(() => ''), '')
  },
)
