import t from 'tap'
import { startIdp } from '../../../src/demo/idp.ts'
import { startUpstream } from '../../../src/demo/upstream.ts'
import { eventually } from '../../support/eventually.ts'
import { startGateway } from '../../support/gateway.ts'
import { FLAG, FRAME, fields, frame, get, openFrames } from '../../support/http2-frames.ts'

const idp = await startIdp()
const upstream = await startUpstream()
t.teardown(async () => Promise.all([idp.close(), upstream.close()]))

const { url, events } = await startGateway(t, {
  idp,
  upstream,
  // Node.js stops reading after too many resets without closing the connection, which then counts as idle.
  config: { listenH2c: true, limits: { keepAlive: '1s' }, routes: [{ path: '/**', access: 'public' }] },
})

const WHOLE = FLAG.endHeaders | FLAG.endStream
const CANCEL = Buffer.from([0, 0, 0, 8])
const many = (count: number, one: (i: number) => Buffer): Buffer =>
  Buffer.concat(Array.from({ length: count }, (_, i) => one(i)))
const post = fields([
  [':method', 'POST'],
  [':scheme', 'http'],
  [':authority', new URL(url).host],
  [':path', '/api/echo'],
])

const floods: Record<string, Buffer> = {
  'requests that are reset at once': many(5_000, (i) =>
    Buffer.concat([
      frame(FRAME.headers, WHOLE, 2 * i + 1, get(url, '/public/x')),
      frame(FRAME.reset, 0, 2 * i + 1, CANCEL),
    ]),
  ),
  'SETTINGS': many(20_000, () => frame(FRAME.settings, 0, 0)),
  'PING': many(20_000, () => frame(FRAME.ping, 0, 0, Buffer.alloc(8))),
  'CONTINUATION': Buffer.concat([
    frame(FRAME.headers, FLAG.endStream, 1, get(url, '/public/x')),
    many(20_000, (i) => frame(FRAME.continuation, 0, 1, fields([[`a${i}`, 'b']]))),
  ]),
  'empty CONTINUATION': Buffer.concat([
    frame(FRAME.headers, FLAG.endStream, 1, get(url, '/public/x')),
    many(20_000, () => frame(FRAME.continuation, 0, 1)),
  ]),
  'empty DATA': Buffer.concat([
    frame(FRAME.headers, FLAG.endHeaders, 1, post),
    many(20_000, () => frame(FRAME.data, 0, 1)),
  ]),
}

for (const [name, bytes] of Object.entries(floods)) {
  void t.test(`a flood of ${name} ends its connection only`, async (t) => {
    const other = openFrames(url)
    const attacker = openFrames(url)
    const answered = (stream: number): boolean =>
      other.frames.some((one) => one.stream === stream && one.type === FRAME.headers)
    other.socket.write(frame(FRAME.headers, WHOLE, 1, get(url, '/public/x')))
    await eventually(() => answered(1), { what: 'the other client is answered' })
    const requests = upstream.requests.length
    attacker.socket.write(bytes)
    // A new request on the attacker's connection shows whether the gateway still reads it.
    attacker.socket.write(frame(FRAME.headers, WHOLE, 99_999, get(url, '/public/last')))
    other.socket.write(frame(FRAME.headers, WHOLE, 3, get(url, '/public/x')))
    await eventually(() => answered(3), { what: 'the other client is answered during the flood' })
    attacker.socket.end()
    await eventually(attacker.isClosed, { what: "the attacker's connection is closed" })
    t.notOk(
      attacker.frames.some((one) => one.stream === 99_999 && one.type === FRAME.headers),
      'the last request is not answered',
    )
    const reached = upstream.requests.length - requests
    t.ok(reached < 2_000, `${reached} requests have reached the application`)
    other.socket.destroy()
  })
}

void t.test('a violation of the protocol has an access line with its cause', async (t) => {
  const { socket } = openFrames(url)
  const before = events('request').length
  socket.write(frame(FRAME.windowUpdate, 0, 0, Buffer.from([0x7f, 0xff, 0xff, 0xff])))
  await eventually(() => events('request').length > before, { what: 'the line' })
  t.match(events('request').at(-1), {
    status: 400,
    verdict: 'bad_request',
    aborted: true,
    client: '127.0.0.1',
    cause: /Flow control error/,
  })
  socket.destroy()
})
