import { once } from 'node:events'
import { createServer } from 'node:http'
import t from 'tap'
import { boundPort } from '../../../src/demo/bound-port.ts'
import { Fault } from '../../../src/errors.ts'
import { readBody } from '../../../src/http/server/read-body.ts'
import { eventually } from '../../support/eventually.ts'
import { open, openAndRead } from '../../support/raw-http.ts'

const server = createServer((request, response) => {
  readBody(request, 100, 500).then(
    (body) => {
      response.end(body === null ? 'too large' : `${body.length} bytes`)
    },
    (error: unknown) => {
      if (error instanceof Fault) response.writeHead(error.status, { connection: 'close' }).end(error.code)
    },
  )
}).listen(0, '127.0.0.1')
await once(server, 'listening')
const url = `http://127.0.0.1:${boundPort(server)}`
t.teardown(() => {
  server.close()
  server.closeAllConnections()
})

void t.test('a body in pieces is read whole, and a body that is too large lets the next request through', async (t) => {
  const socket = open(url)
  let text = ''
  socket.on('data', (chunk: Buffer) => {
    text += chunk.toString()
  })
  for (const [body, said] of [
    ['x'.repeat(99), '99 bytes'],
    ['x'.repeat(101), 'too large'],
    ['', '0 bytes'],
  ] as const) {
    text = ''
    socket.write(`POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n`)
    for (const half of [body.slice(0, 50), body.slice(50)])
      if (half !== '') socket.write(`${half.length.toString(16)}\r\n${half}\r\n`)
    if (said !== 'too large') socket.write('0\r\n\r\n')
    await eventually(() => text.includes(said))
    if (said === 'too large') socket.write(`ffff\r\n${'x'.repeat(0xffff)}\r\n0\r\n\r\n`)
  }
  text = ''
  socket.write(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 50000\r\n\r\n`)
  await eventually(() => text.includes('too large'))
  socket.write('x'.repeat(50_000))
  socket.write(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi`)
  await eventually(() => text.includes('2 bytes'))
  socket.destroy()
  t.same(
    [...text.matchAll(/\r\n\r\n(too large|\d bytes)/g)].map(([, said]) => said),
    ['too large', '2 bytes'],
  )
})

void t.test('a client that trickles a body gets a response and is cut off', async (t) => {
  const { socket, text } = openAndRead(url)
  socket.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 90\r\n\r\n')
  const timer = setInterval(() => {
    if (!socket.closed) socket.write('x')
  }, 50)
  t.teardown(() => {
    clearInterval(timer)
  })
  await eventually(() => text().includes('bad_request'))
  clearInterval(timer)
  t.match(text(), /^HTTP\/1\.1 408 /)
  socket.end()
  await eventually(() => socket.closed)
})
