import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { Agent, get as getHttp, type ClientRequest, type IncomingMessage } from 'node:http'
import { Agent as TlsAgent, get } from 'node:https'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect as connectTls } from 'node:tls'
import t, { type Test } from 'tap'
import { boundPort } from '../../src/demo/bound-port.ts'
import { startIdp } from '../../src/demo/idp.ts'
import { startUpstream } from '../../src/demo/upstream.ts'
import { createAuthority } from '../support/certificates.ts'
import { eventually } from '../support/eventually.ts'
import { freePort } from '../support/free-port.ts'
import { asFile } from '../support/gateway.ts'
import { runProgram } from '../support/program.ts'
import { startRedis } from '../support/redis.ts'
import { nextEvent, serveFile, type ServedFile } from '../support/served-file.ts'

const [idp, upstream] = await Promise.all([startIdp(), startUpstream()])
const redis = await startRedis(t)
t.teardown(async () => Promise.all([idp.close(), upstream.close()]))

const authority = createAuthority()
const session = { keys: [Buffer.alloc(32, 7).toString('base64')], store: redis.url }
const routes = [{ path: '/**', access: 'public' }]
const header = (client: string): string => `PROXY TCP4 ${client} 127.0.0.1 5000 443\r\n`

type Secure = ServedFile & {
  readonly plain: string
  readonly tls: { readonly certFile: string; readonly keyFile: string; readonly redirectFrom: string }
  readonly replacePair: () => void
}

/** Starts two workers with TLS and with a listener that redirects to them. */
const startSecure = async (t: Test, settings: Record<string, unknown> = {}): Promise<Secure> => {
  const [port, plainPort] = [await freePort(), await freePort()]
  const folder = t.testdir({})
  const tls = {
    certFile: join(folder, 'cert.pem'),
    keyFile: join(folder, 'key.pem'),
    redirectFrom: `127.0.0.1:${plainPort}`,
  }
  const replacePair = (): void => {
    const pair = authority.issue(['127.0.0.1'])
    writeFileSync(tls.certFile, pair.cert)
    writeFileSync(tls.keyFile, pair.key)
  }
  replacePair()
  const gateway = await serveFile(
    t,
    { idp, upstream, port },
    {
      publicUrl: `https://127.0.0.1:${port}`,
      tls,
      workers: 2,
      session,
      routes,
      ...settings,
    },
  )
  return { ...gateway, plain: `http://${tls.redirectFrom}`, tls, replacePair }
}

const workersOf = (gateway: ServedFile): Set<unknown> => new Set(gateway.events('request').map(({ worker }) => worker))

void t.test('workers read PROXY protocol headers before TLS, and redirect from another port', async (t) => {
  const gateway = await startSecure(t, { listenProxyProtocol: true, trustedProxies: ['127.0.0.1'] })
  const { port } = new URL(gateway.url)
  t.match(gateway.events('listening'), [{ address: gateway.url, redirectFrom: gateway.plain }])
  t.match(gateway.events('listening')[0]?.['msg'], `, and on ${gateway.plain} to redirect`)
  for (let i = 0; i < 6; i += 1) {
    const plain = connect(Number(port), '127.0.0.1')
    plain.write(header(`203.0.113.${i}`))
    const socket = connectTls({ socket: plain, rejectUnauthorized: false })
    socket.write('GET /api/echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
    t.match(await text(socket), /^HTTP\/1\.1 200/)
  }
  await eventually(() => gateway.events('request').length === 6, { what: 'the access lines' })
  t.same(
    gateway
      .events('request')
      .map(({ client }) => client)
      .toSorted((a, b) => String(a).localeCompare(String(b))),
    Array.from({ length: 6 }, (_, i) => `203.0.113.${i}`),
  )
  t.equal(workersOf(gateway).size, 2)
  const answer = await fetch(`${gateway.plain}/x?y=z`, { redirect: 'manual' })
  t.same([answer.status, answer.headers.get('location')], [308, `${gateway.url}/x?y=z`])
  const { redirectFrom: _, ...tls } = gateway.tls
  gateway.rewrite({ listenProxyProtocol: false, tls })
  gateway.hangUp()
  t.match(await nextEvent(gateway, 'reload_refused', 0), { restart: ['listenProxyProtocol', 'tls.redirectFrom'] })
})

void t.test(
  'on a Unix socket, the client has the address in the header, and only that address is believed',
  async (t) => {
    // A socket's path may have 107 bytes.
    const folder = mkdtempSync(join(tmpdir(), 'gh-'))
    t.teardown(() => {
      rmSync(folder, { recursive: true })
    })
    const socketPath = join(folder, 'gate.sock')
    const settings = { listen: `unix:${socketPath}`, listenProxyProtocol: true, trustedProxies: ['10.0.0.0/8'], routes }
    const gateway = await serveFile(t, { idp, upstream }, settings)
    const send = async (client: string): Promise<void> => {
      const socket = connect(socketPath)
      socket.write(
        `${header(client)}GET /api/echo HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 6.6.6.6\r\nConnection: close\r\n\r\n`,
      )
      t.match(await text(socket), /^HTTP\/1\.1 200/)
    }
    await send('203.0.113.7')
    await send('10.1.2.3')
    await eventually(() => gateway.events('request').length === 2, { what: 'the access lines' })
    t.same(
      gateway.events('request').map(({ client }) => client),
      ['203.0.113.7', '6.6.6.6'],
    )
  },
)

void t.test('a taken port of the redirect is reported with its key', async (t) => {
  const taken = createServer().listen(0, '127.0.0.1')
  await once(taken, 'listening')
  t.teardown(() => taken.close())
  const { cert, key } = authority.issue(['127.0.0.1'])
  const folder = t.testdir({ 'cert.pem': cert, 'key.pem': key })
  const tls = {
    certFile: join(folder, 'cert.pem'),
    keyFile: join(folder, 'key.pem'),
    redirectFrom: `127.0.0.1:${boundPort(taken)}`,
  }
  for (const workers of [1, 2]) {
    const file = asFile(t, {
      listen: '127.0.0.1:0',
      publicUrl: 'https://127.0.0.1:1',
      upstream: upstream.url,
      admin: false,
      provider: { issuer: idp.issuer, clientId: 'a', clientSecret: 'b' },
      tls,
      session,
      workers,
    })
    const { status, stderr } = await runProgram(t, ['start', '--config', file])
    t.equal(status, 1)
    t.match(stderr, /^gatehouse: .*tls\.redirectFrom: port \d+ is taken; choose another one/)
  }
})

void t.test('under load, a new certificate, a broken one, other versions and a stop lose no request', async (t) => {
  const gateway = await startSecure(t)
  const { url, plain } = gateway
  const kept = new TlsAgent({ keepAlive: true, maxSockets: 4, ca: authority.ca })
  const keptPlain = new Agent({ keepAlive: true, maxSockets: 2 })
  t.teardown(() => {
    kept.destroy()
    keptPlain.destroy()
  })
  const counts: Record<string, number> = {}
  const count = (what: string): void => {
    counts[what] = (counts[what] ?? 0) + 1
  }
  const statusOf = async (request: ClientRequest): Promise<void> => {
    try {
      const [answer]: IncomingMessage[] = await once(request, 'response')
      if (answer !== undefined) await text(answer)
      count(String(answer?.statusCode))
    } catch (error) {
      count(String(error))
    }
  }
  const load = new AbortController()
  const running: Promise<void>[] = []
  const senders = [
    () => get(`${url}/api/echo`, { agent: kept }),
    () => get(`${url}/api/echo`, { agent: false, ca: authority.ca }),
    () => getHttp(`${plain}/x`, { agent: keptPlain }),
  ].map(async (send) => {
    while (!load.signal.aborted) {
      running.push(statusOf(send()))
      await sleep(20)
    }
  })
  const serial = async (): Promise<string> => {
    const { hostname: host, port } = new URL(url)
    const socket = connectTls({ host, port: Number(port), ca: authority.ca })
    await once(socket, 'secureConnect')
    const { serialNumber } = socket.getPeerCertificate()
    socket.destroy()
    return serialNumber
  }
  const serials = async (): Promise<string[]> => [
    ...new Set(await Promise.all([serial(), serial(), serial(), serial()])),
  ]

  const [first] = await serials()
  gateway.replacePair()
  await nextEvent(gateway, 'reloaded', 0)
  const second = await serials()
  t.equal(second.length, 1, 'both workers have the new certificate')
  t.not(second[0], first)
  writeFileSync(gateway.tls.certFile, authority.issue(['127.0.0.1']).cert)
  t.match(await nextEvent(gateway, 'reload_refused', 0), { problems: [{ path: 'tls.keyFile' }] })
  t.same(await serials(), second, 'the old pair stays')
  gateway.replacePair()
  gateway.rewrite({ tls: { ...gateway.tls, minVersion: '1.3', ciphers: 'TLS_AES_256_GCM_SHA384' } })
  gateway.hangUp()
  await nextEvent(gateway, 'reloaded', 1)
  t.not((await serials())[0], second[0])
  const old = get(`${url}/x`, { agent: false, ca: authority.ca, maxVersion: 'TLSv1.2' })
  await t.rejects(once(old, 'response'), /protocol version|PROTOCOL_VERSION/i)
  load.abort()
  await Promise.all([...senders, ...running])
  const late = getHttp(`${plain}/late`, { agent: false })
  t.equal((await once(late, 'response'))[0].statusCode, 308)
  t.equal((await gateway.stop()).status, 0)
  const { 200: served = 0, 308: redirected = 0, ...lost } = counts
  t.same(lost, {})
  t.ok(served > 100 && redirected > 50, `${served} requests, ${redirected} redirects`)
})
