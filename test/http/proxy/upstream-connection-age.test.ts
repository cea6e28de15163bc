import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type Server, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { boundPort } from '../../../src/demo/bound-port.ts'
import { startIdp } from '../../../src/demo/idp.ts'
import { eventually } from '../../support/eventually.ts'
import { startGateway } from '../../support/gateway.ts'
import { ask, header, openAndRead, parseAnswers } from '../../support/raw-http.ts'
import { startSockets } from '../../support/sockets.ts'
import { openWebSocket } from '../../support/websocket.ts'

// One provider for all gateways here: what it does is not what these tests are about.
const idp = await startIdp()
t.teardown(() => idp.close())

const AGE_MS = 1_000

const startWithAge = async (t: Test, upstream: string): Promise<string> => {
  const routes = [{ path: '/**', access: 'public', upstreamConnectionAge: `${AGE_MS}ms` }]
  return (await startGateway(t, { idp, config: { upstream, routes } })).url
}

/** An application that keeps its connections, and offers to keep idle ones for a long time. */
const answerAs =
  (name: string) =>
  (socket: Socket): void => {
    socket.on('error', () => undefined)
    socket.on('data', () => {
      socket.write(`HTTP/1.1 200 OK\r\nX-From: ${name}\r\nKeep-Alive: timeout=60\r\nContent-Length: 2\r\n\r\nok`)
    })
  }

const listenOn = async (t: Test, port: number, accept: (socket: Socket) => void): Promise<Server> => {
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    accept(socket)
  }).listen(port, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.close()
    for (const socket of sockets) socket.destroy()
  })
  return server
}

void t.test('requests move to another server when the connections to the old one reach their age', async (t) => {
  const old = await listenOn(t, 0, answerAs('old'))
  const port = boundPort(old)
  const url = await startWithAge(t, `http://127.0.0.1:${port}`)
  const from = async (method: string): Promise<string> => {
    const answer = await ask(url, method, '/', method === 'POST' ? ['Content-Length: 0'] : [])
    t.equal(answer.status, 200)
    return header(answer, 'x-from') ?? ''
  }
  t.equal(await from('GET'), 'old')
  const begun = performance.now()
  // As after a change of a name's address: the old server keeps its connections, and new connections reach another one.
  old.close()
  await listenOn(t, port, answerAs('new'))
  const seen = [await from('POST')]
  for (let at = 0; at < 1.3 * AGE_MS; at = performance.now() - begun) {
    const name = await from(seen.length % 2 === 0 ? 'POST' : 'GET')
    seen.push(name)
    if (at > AGE_MS) t.equal(name, 'new', `after ${Math.round(at)} ms`)
    await sleep(20)
  }
  t.equal(seen[0], 'old', 'a young connection is used again')
  t.equal(seen.at(-1), 'new')
})

void t.test('an idle connection closes when it reaches its age', async (t) => {
  let closed = 0
  const upstream = await startSockets(t, (socket) => {
    answerAs('only')(socket)
    const begun = performance.now()
    socket.on('close', () => (closed = performance.now() - begun))
  })
  const url = await startWithAge(t, upstream)
  await ask(url, 'GET', '/')
  await eventually(() => closed > 0, { timeoutMs: 5 * AGE_MS })
  t.ok(closed >= AGE_MS - 50, `closed after ${Math.round(closed)} ms`)
})

void t.test('a response that lasts longer than the age is complete, and its connection then closes', async (t) => {
  let connections = 0
  let isClosed = false
  const upstream = await startSockets(t, (socket, count) => {
    connections = count
    socket.on('close', () => (isClosed = true))
    socket.on('data', () => {
      socket.write('HTTP/1.1 200 OK\r\nContent-Length: 10\r\nKeep-Alive: timeout=60\r\n\r\nfirst')
      setTimeout(() => socket.write('later'), 1.3 * AGE_MS)
    })
  })
  const url = await startWithAge(t, upstream)
  t.equal((await ask(url, 'GET', '/')).body.toString(), 'firstlater')
  await eventually(() => isClosed)
  t.equal(connections, 1)
})

void t.test('WebSockets and connections that a login authenticates have no age', async (t) => {
  let connections = 0
  const upstream = await startSockets(t, (socket, count) => {
    connections = count
    socket.on('data', (chunk) => {
      const text = chunk.toString('latin1')
      const [, key] = /^sec-websocket-key: (\S+)/im.exec(text) ?? []
      if (key !== undefined) {
        const accept = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64')
        const lines = ['Connection: Upgrade', 'Upgrade: websocket', `Sec-WebSocket-Accept: ${accept}`, '', '']
        socket.write(['HTTP/1.1 101 Switching Protocols', ...lines].join('\r\n'))
      } else if (text.startsWith('GET')) socket.write(`HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n${count}`)
      // A text frame with `ok`.
      else socket.write(Buffer.from([0x81, 2, 0x6f, 0x6b]))
    })
  })
  const url = await startWithAge(t, upstream)
  const webSocket = await openWebSocket(`${url}/`)
  t.equal(webSocket.status, 101)
  const { socket, bytes } = openAndRead(url)
  const login = 'GET / HTTP/1.1\r\nHost: a\r\nAuthorization: NTLM x\r\n\r\n'
  socket.write(login)
  await eventually(() => bytes().length > 0 && parseAnswers(bytes()).length === 1)
  await sleep(1.3 * AGE_MS)
  socket.write(login)
  await eventually(() => parseAnswers(bytes()).length === 2)
  socket.destroy()
  const [before, after] = parseAnswers(bytes())
  t.same(after?.body, before?.body, 'the same connection')
  t.equal(connections, 2)
  webSocket.send('question')
  t.match(await webSocket.next(), { payload: Buffer.from('ok') })
  webSocket.socket.destroy()
})
