import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { join } from 'node:path'
import { connect } from 'node:tls'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { boundPort } from '../../../src/demo/bound-port.ts'
import { startIdp } from '../../../src/demo/idp.ts'
import { createAuthority } from '../../support/certificates.ts'
import { startGateway } from '../../support/gateway.ts'
import { open, openAndRead } from '../../support/raw-http.ts'
import { eventually } from '../../support/eventually.ts'

const idp = await startIdp()
t.teardown(() => idp.close())

const limits = { idleRead: '1200ms' }
const routes = [{ path: '/**', access: 'public' }]
const piece = randomBytes(64 * 1024)

type Application = {
  readonly url: string
  /** How many responses have begun, and how many of them have ended. */
  readonly count: { begun: number; ended: number; websockets: number; closed: number }
}

/** An application whose responses have no end, whose WebSockets either never stop talking or do not listen. */
async function startEndless(t: Test): Promise<Application> {
  const count = { begun: 0, ended: 0, websockets: 0, closed: 0 }
  const sockets = new Set<Socket>()
  const pour = (into: ServerResponse | Socket): void => {
    const more = (): void => {
      while (!into.destroyed && into.write(piece)) {
        /* As much as is taken. */
      }
    }
    into.on('drain', more).on('error', () => {})
    more()
  }
  const server = createServer((req, res) => {
    count.begun += 1
    res.on('close', () => {
      count.ended += 1
    })
    const type = req.url === '/events' ? 'text/event-stream' : 'application/octet-stream'
    res.writeHead(200, { 'content-type': type })
    pour(res)
  })
  server.on('upgrade', (req, socket: Socket) => {
    count.websockets += 1
    socket
      .on('error', () => {})
      .on('close', () => {
        count.closed += 1
      })
    const accept = createHash('sha1')
      .update(`${req.headers['sec-websocket-key'] ?? ''}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)
      .digest('base64')
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`,
    )
    if (req.url === '/talks') pour(socket)
    else socket.pause()
  })
  server.on('connection', (socket: Socket) => {
    sockets.add(socket)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.close()
    for (const socket of sockets) socket.destroy()
  })
  return { url: `http://127.0.0.1:${boundPort(server)}`, count }
}

const get = (path: string): string => `GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`
const upgrade = (path: string): string =>
  `GET ${path} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n` +
  `Sec-WebSocket-Key: ${randomBytes(16).toString('base64')}\r\n\r\n`

void t.test('a client that does not read its response is cut off, and so is its upstream request', async (t) => {
  const application = await startEndless(t)
  const { url } = await startGateway(t, { idp, config: { upstream: application.url, routes, limits } })
  const { count } = application
  const clients = ['/download', '/events', '/download'].map((path) => {
    const socket = open(url)
    socket.pause()
    socket.write(get(path))
    return socket
  })
  await eventually(() => count.begun === 3, { what: 'all answers have started' })
  await sleep(600)
  t.equal(count.ended, 0, 'not at once')
  await eventually(() => count.ended === 3, { what: 'all answers have ended', timeoutMs: 5_000 })
  for (const socket of clients) socket.resume()
  await eventually(() => clients.every(({ closed }) => closed), { what: 'the connections are closed' })
})

void t.test('a client that does not read is cut off over TLS', async (t) => {
  const application = await startEndless(t)
  const { cert, key } = createAuthority().issue(['localhost'])
  const folder = t.testdir({ 'cert.pem': cert, 'key.pem': key })
  const tls = { certFile: join(folder, 'cert.pem'), keyFile: join(folder, 'key.pem') }
  const { url } = await startGateway(t, { idp, config: { upstream: application.url, routes, limits, tls } })
  const socket = connect({ host: '127.0.0.1', port: Number(new URL(url).port), rejectUnauthorized: false })
  socket.on('error', () => {})
  await once(socket, 'secureConnect')
  socket.pause()
  socket.write(get('/download'))
  await eventually(() => application.count.begun === 1, { what: 'the answer has started' })
  await eventually(() => application.count.ended === 1, { what: 'the answer has ended', timeoutMs: 5_000 })
  socket.destroy()
})

void t.test('a client that does not read the gateway’s own responses is cut off', async (t) => {
  const { url } = await startGateway(t, { idp, config: { routes, limits } })
  const socket = open(url)
  socket.pause()
  const asking = setInterval(() => {
    if (socket.writableLength === 0) socket.write(get('/oauth2/client.js').repeat(50))
  }, 5)
  t.teardown(() => {
    clearInterval(asking)
  })
  await eventually(() => socket.closed, { what: 'the connection is closed', timeoutMs: 15_000 })
  t.pass()
})

void t.test('a slow client that reads is never cut off', async (t) => {
  const application = await startEndless(t)
  const { url } = await startGateway(t, { idp, config: { upstream: application.url, routes, limits } })
  const socket = open(url)
  let read = 0
  socket.pause()
  socket.write(get('/download'))
  socket.on('readable', () => {})
  const reading = setInterval(() => {
    const bytes: unknown = socket.read(Math.min(40_000, socket.readableLength))
    if (Buffer.isBuffer(bytes)) read += bytes.length
  }, 20)
  await sleep(5_000)
  clearInterval(reading)
  t.notOk(socket.closed, `it has read ${read} bytes`)
  t.equal(application.count.ended, 0)
  socket.destroy()
})

void t.test('a client that waits for a response is not cut off', async (t) => {
  const { url } = await startGateway(t, { idp, config: { routes, limits } })
  const socket = open(url)
  socket.write(get('/api/slow?ms=3000'))
  let text = ''
  socket.on('data', (chunk: Buffer) => {
    text += chunk.toString()
  })
  await eventually(() => text.includes('HTTP/1.1 200'), { what: 'the answer has arrived', timeoutMs: 8_000 })
  t.pass()
  socket.destroy()
})

void t.test('a WebSocket ends when either end stops reading', async (t) => {
  const application = await startEndless(t)
  const { url } = await startGateway(t, { idp, config: { upstream: application.url, routes, limits } })
  const deaf = open(url)
  deaf.pause()
  deaf.write(upgrade('/talks'))
  await eventually(() => application.count.websockets === 1, { what: 'the WebSocket is open' })
  await eventually(() => application.count.closed === 1, {
    what: 'the application’s end is closed',
    timeoutMs: 15_000,
  })

  const talker = open(url)
  talker.resume()
  talker.write(upgrade('/deaf'))
  await eventually(() => application.count.websockets === 2, { what: 'the WebSocket is open' })
  const header = Buffer.from([0x82, 0xff, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0])
  const talking = setInterval(() => {
    if (talker.writableLength === 0) talker.write(Buffer.concat([header, Buffer.alloc(65_536)]))
  }, 1)
  t.teardown(() => {
    clearInterval(talking)
  })
  await eventually(() => talker.closed, { what: 'the client’s end is closed', timeoutMs: 10_000 })
  t.pass()
})

void t.test('an application that does not read an upload is a 504, and the client is not blamed', async (t) => {
  const deaf = createServer((req) => {
    req.pause()
  })
  const taken = new Set<Socket>()
  deaf.on('connection', (socket: Socket) => {
    taken.add(socket)
  })
  deaf.listen(0, '127.0.0.1')
  await once(deaf, 'listening')
  t.teardown(() => {
    deaf.close()
    for (const socket of taken) socket.destroy()
  })
  const { url } = await startGateway(t, {
    idp,
    config: {
      upstream: `http://127.0.0.1:${boundPort(deaf)}`,
      routes: [{ path: '/**', access: 'public', timeout: '2s' }],
      limits,
    },
  })
  const { socket: client, text } = openAndRead(url)
  client.write(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${500 * piece.length}\r\n\r\n`)
  for (let i = 0; i < 500; i += 1) client.write(piece)
  await eventually(() => text().includes('\r\n\r\n'), { what: 'the request is answered', timeoutMs: 10_000 })
  t.match(text(), /^HTTP\/1\.1 504 /)
  client.destroy()
})
