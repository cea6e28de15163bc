import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { createServer } from 'node:https'
import { join } from 'node:path'
import { TLSSocket } from 'node:tls'
import type { Test } from 'tap'
import t from 'tap'
import { boundPort } from '../../../src/demo/bound-port.ts'
import { startIdp } from '../../../src/demo/idp.ts'
import { startUpstream } from '../../../src/demo/upstream.ts'
import { createBrowser } from '../../support/browser.ts'
import { createAuthority, type Certificate } from '../../support/certificates.ts'
import { freePort } from '../../support/free-port.ts'
import { startGateway } from '../../support/gateway.ts'
import { ask } from '../../support/raw-http.ts'
import { nextEvent, serveFile } from '../../support/served-file.ts'

// One provider for all gateways here: what it does is not what these tests are about.
const idp = await startIdp()
t.teardown(() => idp.close())

const authority = createAuthority()
const stranger = createAuthority()

type UpstreamTls = { readonly caFile?: string; readonly serverName?: string; readonly insecureSkipVerify?: boolean }

const caFile = (t: Test, pem = authority.ca): string => join(t.testdir({ 'ca.pem': pem }), 'ca.pem')

/** The status of a request to an application with this certificate, behind a gateway whose public host is a name. */
const statusThrough = async (
  t: Test,
  tls: Certificate,
  upstreamTls: UpstreamTls,
  route: object = {},
): Promise<number> => {
  const upstream = await startUpstream({ tls })
  t.teardown(() => upstream.close())
  const port = await freePort()
  const publicUrl = `http://gateway.localhost:${port}`
  await startGateway(t, {
    idp,
    port,
    upstream,
    publicUrl,
    config: { routes: [{ path: '/**', access: 'public', upstreamTls, ...route }] },
  })
  const browser = createBrowser({ origins: { [publicUrl]: `http://127.0.0.1:${port}` } })
  return (await browser.get(`${publicUrl}/api/orders`, { kind: 'script' })).status
}

void t.test('an application over TLS is trusted by its certificate', async (t) => {
  t.equal(await statusThrough(t, authority.issue(['127.0.0.1']), { caFile: caFile(t) }), 200)
})

void t.test('a certificate of an unknown authority is a 502', async (t) => {
  t.equal(await statusThrough(t, authority.issue(['127.0.0.1']), {}), 502)
  t.equal(await statusThrough(t, authority.issue(['127.0.0.1']), { caFile: caFile(t, stranger.ca) }), 502)
})

void t.test('a certificate must match the application’s address, not the gateway’s public name', async (t) => {
  const file = caFile(t)
  t.equal(await statusThrough(t, authority.issue(['gateway.localhost']), { caFile: file }), 502)
  t.equal(await statusThrough(t, authority.issue(['other.internal']), { caFile: file }), 502)
})

void t.test(
  'with upstreamHost, the certificate must still match the application’s address or serverName',
  async (t) => {
    const file = caFile(t)
    const host = { upstreamHost: 'shop.internal' }
    t.equal(await statusThrough(t, authority.issue(['127.0.0.1']), { caFile: file }, host), 200)
    t.equal(await statusThrough(t, authority.issue(['shop.internal']), { caFile: file }, host), 502)
    const named = { caFile: file, serverName: 'orders.internal' }
    t.equal(await statusThrough(t, authority.issue(['orders.internal']), named, host), 200)
  },
)

void t.test('serverName is the name that the certificate must have', async (t) => {
  const file = caFile(t)
  t.equal(
    await statusThrough(t, authority.issue(['orders.internal']), { caFile: file, serverName: 'orders.internal' }),
    200,
  )
  t.equal(await statusThrough(t, authority.issue(['127.0.0.1']), { caFile: file, serverName: 'orders.internal' }), 502)
})

void t.test('an expired certificate is a 502', async (t) => {
  const day = 86_400_000
  t.equal(
    await statusThrough(t, authority.issue(['127.0.0.1'], { from: Date.now() - 2 * day, to: Date.now() - day }), {
      caFile: caFile(t),
    }),
    502,
  )
})

void t.test('insecureSkipVerify accepts any certificate', async (t) => {
  t.equal(await statusThrough(t, stranger.issue(['other.internal']), { insecureSkipVerify: true }), 200)
})

void t.test(
  'an application that demands a client certificate gets the one of the route, and a new one after a reload',
  async (t) => {
    const clients = createAuthority()
    const [first, second, foreign] = [clients.issue(['first']), clients.issue(['second']), stranger.issue(['foreign'])]
    const seen: string[] = []
    const server = createServer(
      { ...authority.issue(['127.0.0.1']), ca: clients.ca, requestCert: true, rejectUnauthorized: true },
      (req, res) => {
        if (req.socket instanceof TLSSocket) seen.push(String(req.socket.getPeerCertificate().subject.CN))
        res.end('ok')
      },
    ).listen(0, '127.0.0.1')
    await once(server, 'listening')
    t.teardown(() => {
      server.close()
      server.closeAllConnections()
    })
    const folder = t.testdir({
      'ca.pem': authority.ca,
      'first.pem': first.cert,
      'first-key.pem': first.key,
      'foreign.pem': foreign.cert,
      'foreign-key.pem': foreign.key,
    })
    const certificate = (name: string): object => ({
      certFile: join(folder, `${name}.pem`),
      keyFile: join(folder, `${name}-key.pem`),
    })
    const file = join(folder, 'ca.pem')
    const upstream = await startUpstream()
    t.teardown(() => upstream.close())
    const settings = {
      upstream: `https://127.0.0.1:${boundPort(server)}`,
      routes: [
        { path: '/first/**', access: 'public', upstreamTls: { caFile: file, ...certificate('first') } },
        { path: '/foreign/**', access: 'public', upstreamTls: { caFile: file, ...certificate('foreign') } },
        { path: '/none/**', access: 'public', upstreamTls: { caFile: file } },
      ],
    }
    const gateway = await serveFile(t, { idp, upstream }, settings)
    const status = async (path: string): Promise<number> => (await ask(gateway.url, 'GET', path)).status
    t.same(await Promise.all(['/first/a', '/foreign/a', '/none/a'].map(status)), [200, 502, 502])
    t.same(seen, ['first'])
    writeFileSync(join(folder, 'first.pem'), second.cert)
    writeFileSync(join(folder, 'first-key.pem'), second.key)
    await nextEvent(gateway, 'reloaded', 0)
    t.equal(await status('/first/b'), 200)
    t.same(seen, ['first', 'second'])
  },
)

void t.test('an application is reached on an IPv6 address', async (t) => {
  const upstream = await startUpstream({ tls: authority.issue(['::1']), host: '::1' })
  t.teardown(() => upstream.close())
  const { url } = await startGateway(t, {
    idp,
    upstream,
    config: { routes: [{ path: '/**', access: 'public', upstreamTls: { caFile: caFile(t) } }] },
  })
  t.equal((await createBrowser().get(`${url}/api/orders`, { kind: 'script' })).status, 200)
})

void t.test('the gateway serves TLS itself, with Secure and __Host- cookies and X-Forwarded-Proto', async (t) => {
  const { cert, key } = authority.issue(['127.0.0.1'])
  const folder = t.testdir({})
  writeFileSync(join(folder, 'cert.pem'), cert)
  writeFileSync(join(folder, 'key.pem'), key)
  const port = await freePort()
  const url = `https://127.0.0.1:${port}`
  const { upstream } = await startGateway(t, {
    idp,
    port,
    publicUrl: url,
    config: { tls: { certFile: join(folder, 'cert.pem'), keyFile: join(folder, 'key.pem') } },
  })
  const browser = createBrowser({ ca: authority.ca })
  const { answer } = await browser.login(`${url}/orders`, 'alice')
  t.equal(answer.url, `${url}/orders`)
  const cookie = browser.cookies.list(url).find(({ name }) => name === '__Host-gatehouse')
  t.match(cookie, { secure: true, httpOnly: true, path: '/', hostOnly: true, sameSite: 'lax' })
  t.match(upstream.requests.at(-1)?.headers, { 'x-forwarded-proto': 'https', 'host': `127.0.0.1:${port}` })
})
