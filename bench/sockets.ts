import { randomBytes } from 'node:crypto'
import net from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { CLIENT_FRAME, SERVER_FRAME } from './frames.ts'

/** An open WebSocket. `answers` is the number of messages that have come back. */
interface OpenSocket {
  socket: net.Socket
  answers: number
  onAnswer: () => void
}

export type Sockets = readonly OpenSocket[]

const BATCH_SIZE = 50
const TIMEOUT_MS = 20_000

/** Opens WebSockets in batches. Rejects if one is refused. */
export async function openSockets(port: number, cookie: string | null, count: number): Promise<Sockets> {
  const sockets: OpenSocket[] = []
  while (sockets.length < count) {
    const batch = Math.min(BATCH_SIZE, count - sockets.length)
    sockets.push(...(await Promise.all(Array.from({ length: batch }, async () => openSocket(port, cookie)))))
  }
  return sockets
}

export function closeSockets(sockets: Sockets): void {
  for (const { socket } of sockets) socket.destroy()
}

/** Sends one message over each WebSocket and waits for all responses, which proves that all WebSockets are open. */
export async function sendOnce(sockets: Sockets): Promise<void> {
  const before = answersOf(sockets)
  for (const { socket } of sockets) socket.write(CLIENT_FRAME)
  for (const since = performance.now(); answersOf(sockets) < before + sockets.length;) {
    if (performance.now() - since > TIMEOUT_MS) throw new Error('not every WebSocket answered a message')
    await sleep(10)
  }
}

/**
 * Sends a message over each WebSocket as soon as the previous one is answered. Returns the number of responses and
 * their rate.
 */
export async function pingPong(sockets: Sockets, seconds: number): Promise<{ messages: number; perSecond: number }> {
  const first = answersOf(sockets)
  const since = performance.now()
  for (const open of sockets) {
    open.onAnswer = () => open.socket.write(CLIENT_FRAME)
    open.socket.write(CLIENT_FRAME)
  }
  await sleep(seconds * 1000)
  const messages = answersOf(sockets) - first
  const perSecond = messages / ((performance.now() - since) / 1000)
  for (const open of sockets) open.onAnswer = () => {}
  // Lets messages in flight return before the next measurement.
  await sleep(200)
  if (messages === 0) throw new Error('no message came back')
  return { messages, perSecond }
}

function answersOf(sockets: Sockets): number {
  return sockets.reduce((sum, { answers }) => sum + answers, 0)
}

async function openSocket(port: number, cookie: string | null): Promise<OpenSocket> {
  const socket = net.connect({ host: '127.0.0.1', port, noDelay: true })
  const key = randomBytes(16).toString('base64')
  socket.write(
    [
      'GET /ws HTTP/1.1',
      `Host: 127.0.0.1:${port}`,
      'Connection: Upgrade',
      'Upgrade: websocket',
      'Sec-WebSocket-Version: 13',
      `Sec-WebSocket-Key: ${key}`,
      ...(cookie === null ? [] : [`Cookie: ${cookie}`]),
      '',
      '',
    ].join('\r\n'),
  )
  return new Promise((resolve, reject) => {
    const fail = (reason: string): void => reject(new Error(`port ${port} opened no WebSocket: ${reason}`))
    let head = ''
    const readHead = (chunk: Buffer): void => {
      head += chunk.toString('latin1')
      if (!head.includes('\r\n\r\n')) return
      socket.off('data', readHead)
      if (!head.startsWith('HTTP/1.1 101 ')) return fail(head.slice(0, head.indexOf('\r\n')))
      const open: OpenSocket = { socket, answers: 0, onAnswer: () => {} }
      let received = 0
      socket.on('data', (bytes: Buffer) => {
        for (received += bytes.length; received >= SERVER_FRAME.length; received -= SERVER_FRAME.length) {
          open.answers++
          open.onAnswer()
        }
      })
      resolve(open)
    }
    socket.on('data', readHead)
    socket.on('error', (error) => fail(error.message))
    socket.on('close', () => fail('the connection was closed'))
  })
}
