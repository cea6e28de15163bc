import { once } from 'node:events'
import type { Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { startIdp } from '../../../src/demo/idp.ts'
import { eventually } from '../../support/eventually.ts'
import { startGateway, type Running } from '../../support/gateway.ts'
import { open, openAndRead, parseAnswers } from '../../support/raw-http.ts'
import { startSockets } from '../../support/sockets.ts'

const idp = await startIdp()
t.teardown(() => idp.close())

const get = (path: string): string => `GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`
const PIECE = Buffer.alloc(65_536, 'x')

interface Endless {
  readonly running: Running
  /** How many bytes the connection for `/endless` has accepted. */
  readonly taken: () => number
  /** The connection for `/events`. */
  readonly stream: () => Socket | null
}

/** Starts a gateway whose application sends an endless body at `/endless`, and the head of a stream at `/events`. */
async function startEndless(t: Test): Promise<Endless> {
  let taken = 0
  let stream: Socket | null = null
  async function send(socket: Socket): Promise<void> {
    socket.write('HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n')
    while (!socket.destroyed) {
      if (!socket.write(PIECE)) await once(socket, 'drain')
      taken += PIECE.length
    }
  }
  const upstream = await startSockets(t, (socket) => {
    socket.on('data', (bytes) => {
      if (bytes.includes(' /endless ')) send(socket).catch(() => undefined)
      else if (bytes.includes(' /events ')) {
        stream = socket
        socket.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n')
      } else socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
    })
  })
  const config = { upstream, routes: [{ path: '/**', access: 'public' }] }
  return { running: await startGateway(t, { idp, config }), taken: () => taken, stream: () => stream }
}

/** Resolves when the client's connection and the buffers in front of it are full. */
async function untilBlocked({ taken, stream }: Endless): Promise<void> {
  await eventually(async () => {
    const before = taken()
    await sleep(200)
    return before > 0 && taken() === before && stream() !== null
  })
}

async function sendEvents(stream: Socket | null, count: number): Promise<void> {
  for (let i = 0; i < count; i += 1) {
    stream?.write('1\r\nx\r\n')
    await sleep(3)
  }
}

function completeAnswers(bytes: Buffer): number {
  try {
    return parseAnswers(bytes).length
  } catch {
    return 0
  }
}

void t.test(
  'a stream behind a response that the client does not read does not let that response fill the memory',
  async (t) => {
    const endless = await startEndless(t)
    const { running, taken, stream } = endless
    const client = open(running.url).pause()
    client.write(get('/endless') + get('/events'))
    await untilBlocked(endless)
    const before = taken()
    await sendEvents(stream(), 100)
    t.equal(taken(), before)
    client.destroy()
  },
)

void t.test('a client that closes its side while responses are waiting does not keep the gateway busy', async (t) => {
  const endless = await startEndless(t)
  const { running, taken, stream } = endless
  const client = open(running.url).pause()
  client.write(get('/endless') + get('/events'))
  await untilBlocked(endless)
  const before = taken()
  client.end()
  await sleep(50)
  await sendEvents(stream(), 20)
  t.equal(taken(), before)
  const other = openAndRead(running.url)
  other.socket.write(get('/'))
  await eventually(() => other.text().endsWith('ok'))
  client.resume()
  await eventually(() => stream()?.destroyed === true)
  await eventually(() => running.events('request').length === 3)
})

void t.test('a complete response arrives even if its connection closes while the response waits', async (t) => {
  const held: (() => void)[] = []
  const upstream = await startSockets(t, (socket) => {
    socket.on('data', (bytes) => {
      const [, framing = '', size = '0'] = / \/(\w+)\/(\d+) /.exec(bytes.toString()) ?? []
      if (framing === 'held') {
        held.push(() => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nheld'))
        return
      }
      const body = Buffer.alloc(Number(size), 'x')
      const heads = {
        close: 'Connection: close\r\n\r\n',
        length: `Connection: close\r\nContent-Length: ${size}\r\n\r\n`,
        kept: `Content-Length: ${size}\r\n\r\n`,
        chunked: `Transfer-Encoding: chunked\r\n\r\n${Number(size).toString(16)}\r\n`,
        short: `Content-Length: ${Number(size) + 1}\r\n\r\n`,
        open: `Transfer-Encoding: chunked\r\n\r\n${(Number(size) + 1).toString(16)}\r\n`,
      }
      const head = Object.entries(heads).find(([name]) => name === framing)?.[1] ?? ''
      const end = framing === 'chunked' ? '\r\n0\r\n\r\n' : ''
      socket.write(Buffer.concat([Buffer.from(`HTTP/1.1 200 OK\r\n${head}`), body, Buffer.from(end)]))
      setTimeout(() => socket.end(), 30)
    })
  })
  const { url, events } = await startGateway(t, {
    idp,
    config: { upstream, routes: [{ path: '/**', access: 'public' }] },
  })
  const sizes = [1_000, 17_000, 40_000, 65_300, 70_000, 140_000, 300_000]
  await Promise.all(
    ['close', 'length', 'kept', 'chunked', 'short', 'open'].flatMap((framing) =>
      sizes.map(async (size) => {
        const what = `${framing}, ${size} bytes`
        const client = openAndRead(url)
        const closed = once(client.socket, 'close')
        client.socket.write(`${get('/held/0')}GET /${framing}/${size} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`)
        await sleep(150)
        for (const answer of held.splice(0)) answer()
        await closed
        if (framing === 'short' || framing === 'open') {
          t.ok(completeAnswers(client.bytes()) < 2, what)
          return
        }
        const [first, second] = parseAnswers(client.bytes())
        t.equal(first?.body.toString(), 'held', what)
        t.equal(second?.body.length, size, what)
      }),
    ),
  )
  t.equal(events('upstream_aborted').length, 2 * sizes.length)
})
