import { once } from 'node:events'
import { connect, type ClientHttp2Session, type ClientHttp2Stream, type IncomingHttpHeaders } from 'node:http2'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { startIdp } from '../../../src/demo/idp.ts'
import { startUpstream } from '../../../src/demo/upstream.ts'
import { eventually } from '../../support/eventually.ts'
import { loggedIn, type LoggedIn } from '../../support/logged-in.ts'

const [idp, upstream] = await Promise.all([startIdp(), startUpstream()])
t.teardown(async () => Promise.all([idp.close(), upstream.close()]))

const start = async (t: Test, config: Record<string, unknown> = {}): Promise<LoggedIn> =>
  loggedIn(t, { idp, upstream, config: { listenH2c: true, ...config } })

const openSession = async (t: Test, url: string): Promise<ClientHttp2Session> => {
  const session = connect(url).on('error', () => {})
  t.teardown(() => {
    session.destroy()
  })
  await once(session, 'remoteSettings')
  return session
}

type End = {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly stream: ClientHttp2Stream
  /** The bytes that have arrived. */
  readonly bytes: () => Buffer
  readonly send: (text: string) => void
}

/** Returns a client's text frame with a mask of zeros. */
const frame = (text: string): Buffer =>
  Buffer.concat([Buffer.of(0x81, 0x80 | text.length), Buffer.alloc(4), Buffer.from(text)])

/** Requests a WebSocket on a stream of this connection, as the page's own script. */
const openWebSocket = async (
  session: ClientHttp2Session,
  running: LoggedIn,
  headers: Record<string, string> = {},
): Promise<End> => {
  const stream = session.request(
    {
      ':method': 'CONNECT',
      ':protocol': 'websocket',
      ':scheme': 'http',
      ':authority': new URL(running.url).host,
      ':path': '/ws',
      'sec-websocket-version': '13',
      'origin': running.url,
      'cookie': running.browser.cookies.header(new URL(running.url)),
      ...headers,
    },
    { endStream: false },
  )
  const chunks: Buffer[] = []
  stream.on('error', () => {}).on('data', (chunk: Buffer) => chunks.push(chunk))
  const [answer]: IncomingHttpHeaders[] = await once(stream, 'response')
  return {
    status: Number(answer?.[':status']),
    headers: answer ?? {},
    stream,
    bytes: () => Buffer.concat(chunks),
    send: (text) => stream.write(frame(text)),
  }
}

const echoes = async ({ send, bytes }: End, text = 'hello'): Promise<void> => {
  send(text)
  await eventually(() => bytes().includes(text), { what: 'the echo' })
}

/** The code of the close frame at the end of the bytes that have arrived. */
const closeCode = (bytes: Buffer): number | null =>
  bytes.at(-4) === 0x88 && bytes.at(-3) === 2 ? bytes.readUInt16BE(bytes.length - 2) : null

void t.test('several WebSockets and requests share one HTTP/2 connection', async (t) => {
  const running = await start(t, { log: { fields: ['bytes'] } })
  const session = await openSession(t, running.url)
  t.equal(session.remoteSettings.enableConnectProtocol, true)
  const fromHttp1 = { 'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==' }
  const [one, other] = await Promise.all([
    openWebSocket(session, running, fromHttp1),
    openWebSocket(session, running, fromHttp1),
  ])
  t.equal(one.status, 200)
  t.notOk(
    ['sec-websocket-accept', 'upgrade', 'connection'].some((name) => name in one.headers),
    'no fields of HTTP/1.1',
  )
  t.ok(one.headers['x-request-id'])
  await Promise.all([echoes(one), echoes(other, 'other')])
  t.match(running.upstream.requests.findLast(({ url }) => url === '/ws')?.headers, {
    'authorization': /^Bearer /,
    'upgrade': 'websocket',
    // The application gets one key, and it is not the client's.
    'sec-websocket-key': /^(?!dGhl)[\w+/]{22}==$/,
    'host': new URL(running.url).host,
  })
  const plain = session.request({ ':path': '/without-cookie' })
  t.match(await once(plain, 'response'), [{ ':status': 401 }])
  plain.resume()
  t.equal(running.events('websocket_open').length, 2)
  const lines = () => running.events('request').filter(({ path }) => path === '/ws')
  t.same(lines(), [], 'the access line comes at the end')
  await sleep(150)
  one.stream.end(Buffer.from('888000000000', 'hex'))
  await eventually(() => lines().length === 1, { what: 'the line' })
  t.match(lines(), [{ status: 101, verdict: 'forward', aborted: undefined }])
  t.ok(Number(lines()[0]?.['ms']) >= 150, 'with its duration')
  t.ok(Number(lines()[0]?.['bytes']) >= 7, 'with its bytes')
  await echoes(other, 'again')
  session.destroy()
  await eventually(() => running.upstream.openStreams() === 0, { what: 'the application sees the disconnect' })
})

void t.test('a WebSocket ends with 4401 when its session ends', async (t) => {
  const running = await start(t)
  const session = await openSession(t, running.url)
  const socket = await openWebSocket(session, running)
  await echoes(socket)
  await running.browser.post(`${running.url}/oauth2/logout/local`, '', { kind: 'script' })
  await once(socket.stream, 'close')
  t.equal(closeCode(socket.bytes()), 4401)
  t.notOk(session.closed, 'the connection stays open')
})

void t.test('what may not open a WebSocket gets a response like any other request', async (t) => {
  const running = await start(t)
  const session = await openSession(t, running.url)
  const statusOf = async (headers: Record<string, string>): Promise<unknown> => {
    const { status, headers: answer, stream, bytes } = await openWebSocket(session, running, headers)
    if (!stream.closed) await once(stream, 'close')
    return [status, answer['gatehouse'], bytes().length > 0, stream.rstCode]
  }
  const opened = (): number => running.upstream.requests.filter(({ url }) => url.startsWith('/ws')).length
  const before = opened()
  t.same(await statusOf({ cookie: '' }), [401, 'login_required', true, 0])
  t.same(await statusOf({ origin: 'https://evil.example' }), [403, 'cross_origin', true, 0])
  t.same(await statusOf({ 'sec-fetch-site': 'cross-site' }), [403, 'cross_origin', true, 0])
  t.same(await statusOf({ 'content-length': '5' }), [400, 'bad_request', true, 0], 'a body')
  t.same(await statusOf({ ':protocol': 'connect-udp' }), [405, 'method_not_allowed', true, 0])
  t.equal(opened(), before)
  t.same(await statusOf({ ':path': '/ws?status=409' }), [409, undefined, true, 0], 'the application refuses')
  const socket = await openWebSocket(session, running)
  await echoes(socket)
})

void t.test('a client that does not read slows the application down, and one that reads gets everything', async (t) => {
  const running = await start(t)
  const session = await openSession(t, running.url)
  const socket = await openWebSocket(session, running)
  socket.stream.pause()
  const other = await openWebSocket(session, running)
  const text = 'x'.repeat(100)
  for (let i = 0; i < 20_000; i += 1) socket.send(text)
  await sleep(300)
  const memory = process.memoryUsage().arrayBuffers
  t.ok(memory < 50_000_000, `${memory} bytes`)
  await echoes(other)
  socket.stream.resume()
  await eventually(() => socket.bytes().length >= 20_000 * 102, { what: 'all echoes' })
})

void t.test('a gateway that stops closes WebSockets with 1001', async (t) => {
  const running = await start(t, { shutdown: { drain: '5s' } })
  const session = await openSession(t, running.url)
  const socket = await openWebSocket(session, running)
  await echoes(socket)
  const closed = running.gateway.close()
  await once(socket.stream, 'close')
  t.equal(closeCode(socket.bytes()), 1001)
  await closed
  t.ok(session.destroyed || session.closed)
})

void t.test('a client that stops reading loses its WebSocket after limits.idleRead', async (t) => {
  const running = await start(t, { limits: { idleRead: '1s' } })
  const session = await openSession(t, running.url)
  const socket = await openWebSocket(session, running)
  socket.stream.pause()
  const text = 'y'.repeat(120)
  for (let i = 0; i < 8_000; i += 1) socket.send(text)
  await eventually(() => running.events('websocket_closed').length === 1, { what: 'the end of the WebSocket' })
  await eventually(() => running.upstream.openStreams() === 0)
})
