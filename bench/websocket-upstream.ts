/**
 * The application behind the WebSockets, run as a separate process. It answers each message with one message at the
 * least possible cost, because the benchmark measures the proxies in front. Other requests get a 200. Environment:
 * PORT.
 */
import { createHash } from 'node:crypto'
import { createServer } from 'node:http'
import { CLIENT_FRAME, SERVER_FRAME } from './frames.ts'

const ANSWERS = Buffer.concat(Array.from({ length: 64 }, () => SERVER_FRAME))

createServer((_request, response) => {
  response.end('ok\n')
})
  .on('upgrade', (request, socket) => {
    // https://www.rfc-editor.org/rfc/rfc6455#section-1.3
    const accept = createHash('sha1')
      .update(`${request.headers['sec-websocket-key'] ?? ''}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)
      .digest('base64')
    let received = 0
    socket.on('error', () => socket.destroy())
    socket.on('end', () => socket.end())
    socket.on('data', (chunk) => {
      received += chunk.length
      const messages = Math.floor(received / CLIENT_FRAME.length)
      received -= messages * CLIENT_FRAME.length
      if (messages > 0) socket.write(ANSWERS.subarray(0, Math.min(64, messages) * SERVER_FRAME.length))
    })
    socket.write(
      [
        'HTTP/1.1 101 Switching Protocols',
        'Upgrade: websocket',
        'Connection: Upgrade',
        `Sec-WebSocket-Accept: ${accept}`,
        '',
        '',
      ].join('\r\n'),
    )
  })
  .listen({ port: Number(process.env['PORT']), host: '127.0.0.1', backlog: 4096 })
