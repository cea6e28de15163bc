import { createHash, randomBytes } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { startApplication, type Application } from '../../support/application.ts'
import { eventually } from '../../support/eventually.ts'
import { moveClock } from '../../support/clock.ts'
import { freePort } from '../../support/free-port.ts'
import { scrape } from '../../support/metrics.ts'
import { loggedIn, type LoggedIn } from '../../support/logged-in.ts'
import { ask, openAndRead } from '../../support/raw-http.ts'

type Started = LoggedIn & {
  readonly application: Application
  readonly streams: ServerResponse[]
  readonly closed: () => number
}

/** A gateway with alice logged in, whose application leaves every response open; the first byte may take a second. */
const start = async (t: Test, type = 'text/event-stream', config: object = {}): Promise<Started> => {
  const streams: ServerResponse[] = []
  let closed = 0
  const application = await startApplication(t, (_req, res) => {
    res.on('close', () => {
      closed += 1
    })
    res.writeHead(200, { 'content-type': type }).flushHeaders()
    streams.push(res)
  })
  const running = await loggedIn(t, {
    config: { routes: [{ path: '/**' }, { path: '/stream/**', upstream: application.url, timeout: '1s' }], ...config },
  })
  return { ...running, application, streams, closed: () => closed }
}

type Client = { readonly text: () => string; readonly ended: () => boolean; readonly destroy: () => void }

const cookieOf = ({ url, browser }: LoggedIn): string => browser.cookies.header(new URL(url))

const get = (running: LoggedIn, path: string, more: readonly string[] = [], cookie = cookieOf(running)): Client => {
  const { url } = running
  const { socket, text } = openAndRead(url)
  socket.write(
    [`GET ${path} HTTP/1.1`, `Host: ${new URL(url).host}`, `Cookie: ${cookie}`, ...more, '', ''].join('\r\n'),
  )
  return {
    text,
    ended: () => socket.closed,
    destroy: () => {
      socket.destroy()
    },
  }
}

const complete = ({ text }: Client): boolean => text().endsWith('\r\n0\r\n\r\n')

void t.test(
  'event streams end with their session: by logout, expiry, administration or a refused refresh',
  async (t) => {
    const admin = await freePort()
    const ends: Record<string, (running: Started, t: Test) => Promise<unknown>> = {
      logout: async ({ browser, url }) => browser.post(`${url}/oauth2/logout/local`, undefined, { kind: 'script' }),
      clock: async (_running, t) => {
        moveClock(t, 600_000)
      },
      administration: async () => ask(`http://127.0.0.1:${admin}`, 'DELETE', '/sessions?sub=alice'),
      refused: async ({ idp, call }, t) => {
        idp.revokeGrantsOf('alice')
        moveClock(t, 101_000)
        return call()
      },
    }
    for (const [name, end] of Object.entries(ends)) {
      await t.test(name, async (t) => {
        const running = await start(t, 'text/event-stream', {
          session: { lifetime: '10m' },
          admin: { listen: `127.0.0.1:${admin}`, sessions: 'loopback' },
        })
        const cookie = cookieOf(running)
        const clients = [
          get(running, '/stream/1', ['Accept: text/event-stream']),
          get(running, '/stream/2', ['Accept: text/event-stream']),
        ]
        await eventually(() => running.streams.length === 2)
        for (const stream of running.streams) stream.write('data: one\n\n')
        await eventually(() => clients.every((client) => client.text().includes('data: one\n\n')))
        await end(running, t)
        await eventually(() => clients.every(complete), { timeoutMs: 3_000 })
        t.ok(
          clients.every(complete),
          `${name}: they end as a stream that is over does, so that a browser asks again and hears why`,
        )
        await eventually(() => running.closed() === 2)
        const again = get(running, '/stream/3', ['Accept: text/event-stream'], cookie)
        await eventually(() => again.text().includes('401'))
        t.match(again.text(), 'session_expired')
        again.destroy()
      })
    }
  },
)

void t.test('another user’s stream continues, and so does the stream of the same user’s next login', async (t) => {
  const running = await start(t)
  const client = get(running, '/stream/1', ['Accept: text/event-stream'])
  await eventually(() => running.streams.length === 1)
  await running.browser.login(`${running.url}/oauth2/login?prompt=login`, 'alice')
  running.streams[0]?.write('data: still here\n\n')
  await eventually(() => client.text().includes('still here'))
  t.notOk(complete(client))
  await running.browser.login(`${running.url}/oauth2/login?prompt=login`, 'bob')
  await eventually(() => complete(client))
})

void t.test(
  'gRPC-web, multipart and JSON streams arrive piece by piece, unchanged, and end with the session',
  async (t) => {
    for (const type of [
      'application/grpc-web+proto',
      'application/grpc-web-text',
      'multipart/x-mixed-replace; boundary=x',
      'application/x-ndjson',
    ]) {
      const running = await start(t, type)
      const client = get(running, '/stream/1', ['Content-Type: application/grpc-web+proto', 'X-Grpc-Web: 1'])
      await eventually(() => client.text().includes(type))
      // A message frame, then the trailers, which gRPC-web sends in the body.
      const frames = [
        Buffer.from([0, 0, 0, 0, 3, 0xff, 0x00, 0x0a]),
        Buffer.from('\u0080\u0000\u0000\u0000\u000fgrpc-status: 0\r\n', 'latin1'),
      ]
      for (const frame of frames) {
        running.streams[0]?.write(frame)
        await eventually(() => client.text().includes(frame.toString('latin1')))
      }
      await running.browser.post(`${running.url}/oauth2/logout/local`, undefined, { kind: 'script' })
      await eventually(() => complete(client), { timeoutMs: 3_000 })
      t.ok(complete(client), type)
      client.destroy()
    }
  },
)

void t.test('a gRPC request with an event stream as its response is one stream until the stream ends', async (t) => {
  const port = await freePort()
  const running = await start(t, 'text/event-stream', { admin: { listen: `127.0.0.1:${port}` } })
  const client = get(running, '/stream/1', ['Content-Type: application/grpc'])
  await eventually(() => client.text().includes('text/event-stream'))
  const open = async (kind: string): Promise<number> =>
    (await scrape(`http://127.0.0.1:${port}`)).value('gatehouse_streams_open', { kind })
  t.same([await open('event-stream'), await open('grpc')], [1, 0])
  running.streams[0]?.end()
  await eventually(() => complete(client))
  t.same([await open('event-stream'), await open('grpc')], [0, 0])
})

void t.test('a gRPC call over HTTP/1.1 that ends during its upload closes the connection', async (t) => {
  const application = await startApplication(t, () => {})
  const running = await loggedIn(t, {
    config: { routes: [{ path: '/**' }, { path: '/call', upstream: application.url }] },
  })
  const { socket, text } = openAndRead(running.url)
  const lines = [
    'POST /call HTTP/1.1',
    `Host: ${new URL(running.url).host}`,
    `Cookie: ${cookieOf(running)}`,
    'Content-Type: application/grpc',
    'Content-Length: 100',
  ]
  socket.write([...lines, '', 'the first bytes'].join('\r\n'))
  await eventually(() => application.requests.length === 1)
  await running.browser.post(`${running.url}/oauth2/logout/local`, undefined, { kind: 'script' })
  await eventually(() => text().includes('grpc-status: 16'))
  t.match(text(), /^connection: close\r$/im)
})

void t.test('a long poll waits as long as its route allows, and a started response is never cut off', async (t) => {
  const waiting: ServerResponse[] = []
  const application = await startApplication(t, (_req, res) => {
    waiting.push(res)
  })
  const running = await loggedIn(t, {
    config: {
      routes: [
        { path: '/**' },
        { path: '/poll', upstream: application.url, timeout: '4s' },
        { path: '/short', upstream: application.url, timeout: '1s' },
      ],
    },
  })
  const [long, short, slow] = [get(running, '/poll'), get(running, '/short'), get(running, '/short')]
  await eventually(() => waiting.length === 3)
  waiting.at(-1)?.writeHead(200, { 'content-type': 'text/plain' }).write('begun,')
  await eventually(() => [short, slow].some(({ text }) => text().includes('504')), { timeoutMs: 5_000 })
  await sleep(1_000)
  waiting[0]?.end('news')
  await eventually(() => long.text().includes('news'))
  t.match(long.text(), /^HTTP\/1\.1 200 /)
  const begun = [short, slow].find(({ text }) => text().includes('begun,'))
  waiting.at(-1)?.end('done')
  await eventually(() => begun?.text().includes('done') === true)
  t.notMatch(begun?.text(), '504')
})

void t.test('a large body of any kind is streamed in both directions', async (t) => {
  const piece = randomBytes(1_000_000)
  const hash = createHash('sha256')
  let got = 0
  let request: IncomingMessage | null = null
  const application = await startApplication(t, (req, res) => {
    request = req
    req
      .on('data', (chunk: Buffer) => {
        got += chunk.length
        hash.update(chunk)
      })
      .on('end', () => {
        res.writeHead(200, { 'content-type': 'application/octet-stream' }).end(hash.digest('hex'))
      })
  })
  const running = await loggedIn(t, {
    config: { routes: [{ path: '/**' }, { path: '/upload', upstream: application.url, timeout: '1s' }] },
  })
  const { socket, text } = openAndRead(running.url)
  const expected = createHash('sha256')
  socket.write(
    'POST /upload HTTP/1.1\r\nHost: a\r\nCookie: ' +
      `${running.browser.cookies.header(new URL(running.url))}\r\nContent-Type: multipart/form-data; ` +
      `boundary=no\r\nContent-Length: ${20 * piece.length}\r\n\r\n`,
  )
  for (let i = 1; i <= 20; i += 1) {
    socket.write(piece)
    expected.update(piece)
    if (i === 10) {
      await eventually(() => got === 10 * piece.length)
      t.equal(got, 10 * piece.length, 'half of it is there before the rest has been sent')
      // Longer than the time for the first byte of the response.
      await sleep(1_300)
    }
  }
  const digest = expected.digest('hex')
  await eventually(() => text().includes(digest))
  t.match(text(), /^HTTP\/1\.1 200 /)
  t.ok(request !== null)
  socket.destroy()
})
