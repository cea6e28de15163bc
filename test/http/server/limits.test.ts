import { lookup } from 'node:dns/promises'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { connect as connectPlainly } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect, type TLSSocket } from 'node:tls'
import t, { type Test } from 'tap'
import { boundPort } from '../../../src/demo/bound-port.ts'
import { startIdp } from '../../../src/demo/idp.ts'
import { startUpstream } from '../../../src/demo/upstream.ts'
import { createAuthority } from '../../support/certificates.ts'
import { freePort } from '../../support/free-port.ts'
import { ask, open, sendRaw } from '../../support/raw-http.ts'
import { nextEvent, serveFile } from '../../support/served-file.ts'
import { eventually } from '../../support/eventually.ts'

const idp = await startIdp()
const upstream = await startUpstream()
t.teardown(async () => Promise.all([idp.close(), upstream.close()]))

const publicRoutes = [{ path: '/**', access: 'public' }]

/** An application whose responses have a header of as many characters as the path says. */
const startTalkative = async (t: Test): Promise<string> => {
  const server = createServer({ maxHeaderSize: 1024 * 1024 }, (req, res) => {
    res.setHeader('X-Long', 'x'.repeat(Number(req.url?.slice(1))))
    res.end()
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.close()
    server.closeAllConnections()
  })
  return `http://127.0.0.1:${boundPort(server)}`
}

/** A response on a connection that stays open. */
const keptAlive = async (url: string): Promise<string> => {
  const socket = open(url)
  socket.write('GET /1 HTTP/1.1\r\nHost: a\r\n\r\n')
  const [answer] = await once(socket, 'data')
  socket.destroy()
  return String(answer)
}

void t.test('limits apply as configured, and follow a reload', async (t) => {
  const application = await startTalkative(t)
  const routes = [{ path: '/**', access: 'public', upstream: application }]
  const gateway = await serveFile(t, { idp, upstream }, { routes })
  const { url } = gateway
  const statusOf = async (target: string, headers: string[] = []): Promise<number> =>
    (await ask(url, 'GET', target, headers)).status
  const cookie = (size: number): string[] => [`Cookie: ${'c'.repeat(size)}`]
  const fields = (count: number): string[] => Array.from({ length: count }, (_, i) => `A${i}: 1`)

  t.same([await statusOf('/1', cookie(31_000)), await statusOf('/1', cookie(34_000))], [200, 431], 'headers: 32kb')
  t.same([await statusOf('/1', fields(98)), await statusOf('/1', fields(99))], [200, 431], 'headerFields: 100')
  t.same([await statusOf('/60000'), await statusOf('/70000')], [200, 502], 'answerHeaders: 64kb')
  t.match(await keptAlive(url), /^Keep-Alive: timeout=75\r$/m)

  gateway.rewrite({
    routes,
    limits: { headers: '64kb', headerFields: 150, answerHeaders: '100kb', keepAlive: '90s', connections: 2 },
  })
  gateway.hangUp()
  await nextEvent(gateway, 'reloaded', 0)
  t.same([await statusOf('/1', cookie(63_000)), await statusOf('/1', cookie(66_000))], [200, 431], 'headers: 64kb')
  t.same([await statusOf('/1', fields(148)), await statusOf('/1', fields(149))], [200, 431], 'headerFields: 150')
  t.same([await statusOf('/90000'), await statusOf('/110000')], [200, 502], 'answerHeaders: 100kb')
  t.match(await keptAlive(url), /^Keep-Alive: timeout=90\r$/m)

  const held = [open(url), open(url)]
  await eventually(() => held.every(({ connecting }) => !connecting), { what: 'both are connected' })
  t.equal((await sendRaw(url, 'GET /1 HTTP/1.1\r\n\r\n')).length, 0, 'connections: 2')
  await eventually(() => gateway.events('too_many_connections').length === 1, {
    what: 'the refused connection is logged',
  })
  t.match(gateway.events('too_many_connections'), [{ most: 2, level: 'error' }])
  for (const socket of held) socket.destroy()
})

void t.test('the connection limit holds on every address of localhost', async (t) => {
  const port = await freePort()
  const gateway = await serveFile(
    t,
    { idp, upstream, port },
    { listen: `localhost:${port}`, routes: publicRoutes, limits: { connections: 1 } },
  )
  const addresses = await lookup('localhost', { all: true })
  for (const { address: host } of addresses) {
    const held = connectPlainly({ host, port })
    await once(held, 'connect')
    await sleep(100)
    const refused = connectPlainly({ host, port })
    refused.on('error', () => {}).resume()
    await once(refused, 'close')
    t.equal(refused.bytesRead, 0, host)
    held.destroy()
  }
  await eventually(
    () => gateway.events('too_many_connections').length === new Set(addresses.map(({ address }) => address)).size,
    { what: 'each worker has logged its refusal' },
  )
})

void t.test('unreadable requests on a TLS listener are logged', async (t) => {
  const { ca, issue } = createAuthority()
  const { cert, key } = issue(['127.0.0.1'])
  const folder = t.testdir({ cert, key })
  const gateway = await serveFile(
    t,
    { idp, upstream },
    { routes: publicRoutes, tls: { certFile: `${folder}/cert`, keyFile: `${folder}/key` } },
  )
  const { port } = new URL(gateway.url)
  await sendRaw(gateway.url, 'GET / HTTP/1.1\r\nHost: a\r\n\r\n')
  await eventually(() => gateway.events('request').length === 1, { what: 'the plain HTTP request is logged' })
  t.match(gateway.events('request'), [
    {
      status: 400,
      verdict: 'bad_request',
      cause: 'plain HTTP where TLS is spoken',
      client: '127.0.0.1',
      aborted: true,
    },
  ])

  const old = connect({
    port: Number(port),
    host: '127.0.0.1',
    ca,
    minVersion: 'TLSv1',
    maxVersion: 'TLSv1.1',
    ciphers: 'DEFAULT@SECLEVEL=0',
  })
  await once(old, 'error')
  await eventually(() => gateway.events('tls_failed').length === 1, { what: 'the outdated client is logged' })
  t.match(gateway.events('tls_failed'), [{ client: '127.0.0.1', cause: /^ERR_SSL_\w+: / }])

  const socket: TLSSocket = connect({ port: Number(port), host: '127.0.0.1', ca })
  await once(socket, 'secureConnect')
  socket.end('BAN / HTTP/1.1\r\n\r\n')
  const [answer] = await once(socket, 'data')
  t.match(String(answer), /^HTTP\/1\.1 400 /)
  await eventually(() => gateway.events('request').length === 2, { what: 'the bad request over TLS is logged' })
  t.match(gateway.events('request')[1], { method: 'BAN', status: 400, client: '127.0.0.1' })
})

void t.test('a request that is cut off at the end of a drain has its access line', async (t) => {
  const gateway = await serveFile(t, { idp, upstream }, { routes: publicRoutes, shutdown: { drain: '500ms' } })
  const socket = open(gateway.url)
  const before = upstream.requests.length
  socket.write('GET /api/slow?ms=20000 HTTP/1.1\r\nHost: a\r\n\r\n')
  await eventually(() => upstream.requests.length > before, { what: 'the request is in progress' })
  t.equal((await gateway.stop()).status, 0)
  t.match(gateway.events('request'), [{ path: '/api/slow', status: 499, aborted: true }])
})
