import { readFileSync } from 'node:fs'
import type { ServerResponse } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { startIdp } from '../../../src/demo/idp.ts'
import { startApplication } from '../../support/application.ts'
import { eventually } from '../../support/eventually.ts'
import { createBrowser } from '../../support/browser.ts'
import { startGateway } from '../../support/gateway.ts'
import { open, openAndRead } from '../../support/raw-http.ts'

// One provider for all gateways here: what it does is not what these tests are about.
const idp = await startIdp()
t.teardown(() => idp.close())

const publicRoutes = [{ path: '/**', access: 'public', timeout: '1s' }]

const get = (
  url: string,
  path: string,
  headers: readonly string[] = [],
): { text: () => string; destroy: () => void; closed: () => boolean; port: () => number } => {
  const { socket, text } = openAndRead(url)
  socket.write([`GET ${path} HTTP/1.1`, `Host: ${new URL(url).host}`, ...headers, '', ''].join('\r\n'))
  return {
    text,
    destroy: () => {
      socket.destroy()
    },
    closed: () => socket.closed,
    port: () => socket.localPort ?? 0,
  }
}

void t.test('an event stream shows its headers before its first event, and each event at once', async (t) => {
  const streams: ServerResponse[] = []
  const application = await startApplication(t, (_req, res) => {
    res.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders()
    streams.push(res)
  })
  const { url } = await startGateway(t, { idp, config: { upstream: application.url, routes: publicRoutes } })
  const client = get(url, '/events', ['Accept: text/event-stream'])
  await eventually(() => client.text().includes('text/event-stream'))
  for (const event of ['one', 'two', 'three']) {
    const start = Date.now()
    streams[0]?.write(`data: ${event}\n\n`)
    await eventually(() => client.text().includes(`data: ${event}\n\n`))
    t.ok(Date.now() - start < 500, event)
  }
  client.destroy()
})

void t.test('a stream that is silent for longer than the timeout is not cut off', async (t) => {
  const streams: ServerResponse[] = []
  const application = await startApplication(t, (_req, res) => {
    res.writeHead(200).write('first,')
    streams.push(res)
  })
  const { url } = await startGateway(t, { idp, config: { upstream: application.url, routes: publicRoutes } })
  const client = get(url, '/slow')
  await eventually(() => client.text().includes('first,'))
  await sleep(2500)
  streams[0]?.end('second')
  await eventually(() => client.text().includes('second'))
  t.notOk(client.text().includes('504'))
  client.destroy()
})

void t.test('a client disconnect ends the upstream request, before and during its response', async (t) => {
  let gone = 0
  const application = await startApplication(t, (req, res) => {
    res.on('close', () => {
      if (!res.writableFinished) gone += 1
    })
    if (req.url === '/middle') res.writeHead(200).write('begun')
  })
  const { url } = await startGateway(t, {
    idp,
    config: { upstream: application.url, routes: [{ path: '/**', access: 'public' }] },
  })
  const before = get(url, '/before')
  await eventually(() => application.requests.length === 1)
  before.destroy()
  await eventually(() => gone === 1)
  const middle = get(url, '/middle')
  await eventually(() => middle.text().includes('begun'))
  middle.destroy()
  await eventually(() => gone === 2)
  t.equal(gone, 2)
})

void t.test('a client disconnect ends its pipelined requests, with and without bodies', async (t) => {
  let gone = 0
  const application = await startApplication(t, (req, res) => {
    req.resume()
    res.on('close', () => {
      if (!res.writableFinished) gone += 1
    })
  })
  const { url, log } = await startGateway(t, {
    idp,
    config: { upstream: application.url, routes: [{ path: '/**', access: 'public' }] },
  })
  const count = 30
  const socket = open(url)
  for (let i = 0; i < count; i += 1) {
    socket.write(
      i % 2 === 0
        ? `GET /${i} HTTP/1.1\r\nHost: a\r\n\r\n`
        : `POST /${i} HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody`,
    )
  }
  await eventually(() => application.requests.length === count)
  socket.destroy()
  await eventually(() => gone === count)
  t.equal(gone, count)
  t.notMatch(log.join(), /internal_error/)
})

void t.test('a client disconnect during an upload ends it upstream', async (t) => {
  let aborted = false
  const application = await startApplication(t, (req) => {
    req.resume().on('error', () => {
      aborted = true
    })
  })
  const { url } = await startGateway(t, { idp, config: { upstream: application.url, routes: publicRoutes } })
  const socket = open(url)
  socket.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nbegun')
  await eventually(() => application.requests.length === 1)
  socket.destroy()
  await eventually(() => aborted)
  t.ok(aborted)
})

void t.test('an application that dies during a response ends the client’s connection', async (t) => {
  const application = await startApplication(t, (req, res) => {
    if (req.url === '/sized') res.writeHead(200, { 'content-length': '1000' })
    res.write('begun')
    setTimeout(() => {
      res.destroy()
    }, 50)
  })
  const { url } = await startGateway(t, { idp, config: { upstream: application.url, routes: publicRoutes } })
  for (const path of ['/sized', '/chunked']) {
    const client = get(url, path)
    await eventually(() => client.closed())
    t.match(client.text(), /^HTTP\/1\.1 200 [^]*begun/, path)
    t.notMatch(client.text(), /\r\n0\r\n\r\n$|502/, `${path} does not look complete`)
  }
})

void t.test('many open streams do not delay other requests', async (t) => {
  const { url, upstream } = await startGateway(t, { idp })
  const browser = createBrowser()
  await browser.login(`${url}/`, 'alice')
  const cookie = `Cookie: ${browser.cookies.header(new URL(url))}`
  const clients = Array.from({ length: 50 }, () => get(url, '/api/stream?ms=50', [cookie, 'Accept: text/event-stream']))
  await eventually(() => clients.every((client) => client.text().includes('data:')))
  t.equal(upstream.openStreams(), 50)
  t.equal((await browser.get(`${url}/api/orders`, { kind: 'script' })).status, 200)
  for (const client of clients) client.destroy()
  await eventually(() => upstream.openStreams() === 0)
})

void t.test('TCP keep-alive probes the client of a silent stream', async (t) => {
  const application = await startApplication(t, (_req, res) => {
    res.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders()
  })
  const { url } = await startGateway(t, { idp, config: { upstream: application.url, routes: publicRoutes } })
  const client = get(url, '/events')
  await eventually(() => client.text().includes('\r\n\r\n'))
  const hex = (port: number): string => port.toString(16).toUpperCase().padStart(4, '0')
  /** The kind of timer that runs for the gateway's end: 02 is keep-alive (proc_net_tcp.rst). */
  const timer = (): string | undefined =>
    readFileSync('/proc/net/tcp', 'utf8')
      .split('\n')
      .map((line) => line.trim().split(/\s+/))
      .find(
        ([, local, remote, state]) =>
          local?.endsWith(`:${hex(Number(new URL(url).port))}`) === true &&
          remote?.endsWith(`:${hex(client.port())}`) === true &&
          state === '01',
      )?.[5]
      ?.slice(0, 2)
  await eventually(() => timer() === '02')
  t.equal(timer(), '02')
  client.destroy()
})
