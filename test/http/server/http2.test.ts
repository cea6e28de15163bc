import { once } from 'node:events'
import type { ServerResponse } from 'node:http'
import {
  connect,
  constants,
  type ClientHttp2Session,
  type ClientHttp2Stream,
  type IncomingHttpHeaders,
} from 'node:http2'
import type { Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { startIdp } from '../../../src/demo/idp.ts'
import { startUpstream } from '../../../src/demo/upstream.ts'
import { startApplication, type Application } from '../../support/application.ts'
import { createAuthority } from '../../support/certificates.ts'
import { eventually } from '../../support/eventually.ts'
import { startGateway, type Running } from '../../support/gateway.ts'
import { FLAG, FRAME, frame, get, openFrames } from '../../support/http2-frames.ts'
import { loggedIn } from '../../support/logged-in.ts'
import { countOf } from '../../support/metrics.ts'
import { ask, open as openRaw } from '../../support/raw-http.ts'

const { NGHTTP2_CANCEL, NGHTTP2_NO_ERROR, NGHTTP2_INTERNAL_ERROR } = constants

const idp = await startIdp()
const upstream = await startUpstream()
t.teardown(async () => Promise.all([idp.close(), upstream.close()]))

/** Whether this version of Node.js sends all repeated fields as they are. */
const sendsRepeated = Number.parseInt(process.versions.node, 10) >= 24

const open = (access = 'public'): object[] => [{ path: '/**', access }]

type Answer = {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  /** Name, value, name, value … */
  readonly raw: readonly string[]
  readonly body: string
  /** The code of the frame that reset the stream, or 0. */
  readonly reset: number
}

/** Opens an HTTP/2 connection, which ends with the test. */
const openSession = (t: Test, url: string): ClientHttp2Session => {
  const session = connect(url, { rejectUnauthorized: false })
  session.on('error', () => {})
  t.teardown(() => {
    session.destroy()
  })
  return session
}

const answerOf = async (stream: ClientHttp2Stream): Promise<Answer> => {
  let headers: IncomingHttpHeaders = {}
  let raw: readonly string[] = []
  const chunks: Buffer[] = []
  stream
    .on('response', (received, _flags, rawHeaders: string[]) => {
      headers = received
      raw = rawHeaders
    })
    .on('data', (chunk: Buffer) => chunks.push(chunk))
    .on('error', () => {})
  if (!stream.closed) await once(stream, 'close').catch(() => {})
  const body = Buffer.concat(chunks).toString('latin1')
  return { status: Number(headers[':status'] ?? 0), headers, raw, body, reset: stream.rstCode ?? 0 }
}

const request = async (
  session: ClientHttp2Session,
  headers: Record<string, string | string[]>,
  body?: string | Buffer,
): Promise<Answer> => {
  const stream = session.request({ ':path': '/', ...headers }, { endStream: body === undefined })
  if (body !== undefined) stream.end(body)
  return answerOf(stream)
}

/** Starts a gateway with `listenH2c` in front of an application that answers with this listener. */
const startWith = async (
  t: Test,
  listener: Parameters<typeof startApplication>[1],
  config: Record<string, unknown> = {},
): Promise<Running & { readonly application: Application }> => {
  const application = await startApplication(t, listener)
  const settings = { listenH2c: true, upstream: application.url, routes: open(), ...config }
  return { ...(await startGateway(t, { idp, upstream, config: settings })), application }
}

void t.test('listenH2c: one port speaks HTTP/2 to clients that begin with it, and HTTP/1.1 to others', async (t) => {
  const { url, gateway } = await startWith(t, (req, res) => {
    res.end(`${req.method} ${req.url} ${req.headers.host}`)
  })
  const session = openSession(t, url)
  const answers = await Promise.all(['/1', '/2?a=b', '/3'].map(async (path) => request(session, { ':path': path })))
  const { host } = new URL(url)
  t.same(
    answers.map(({ status, body }) => [status, body]),
    ['/1', '/2?a=b', '/3'].map((path) => [200, `GET ${path} ${host}`]),
  )
  t.equal((await ask(url, 'GET', '/4')).status, 200, 'HTTP/1.1')
  t.equal(await countOf(gateway, { verdict: 'forward' }), 4)
})

void t.test('without listenH2c, the preface of HTTP/2 is a bad request', async (t) => {
  const { url, gateway } = await startWith(t, (_req, res) => res.end(), { listenH2c: false })
  const session = openSession(t, url)
  t.equal((await request(session, {})).status, 0)
  await eventually(async () => (await countOf(gateway, { verdict: 'bad_request' })) === 1, { what: 'it is counted' })
})

void t.test('over TLS, clients negotiate HTTP/2 or HTTP/1.1', async (t) => {
  const authority = createAuthority()
  const { cert, key } = authority.issue(['127.0.0.1'])
  const directory = t.testdir({ 'cert.pem': cert, 'key.pem': key })
  const tls = { certFile: `${directory}/cert.pem`, keyFile: `${directory}/key.pem` }
  const application = await startApplication(t, (_req, res) => res.end('hello'))
  const { gateway } = await startGateway(t, {
    idp,
    upstream,
    publicUrl: 'https://127.0.0.1',
    config: { tls, upstream: application.url, routes: open() },
  })
  const address = gateway.listener.address()
  const port = typeof address === 'object' && address !== null ? address.port : 0
  const negotiated = async (ALPNProtocols?: string[]): Promise<string | false | null> => {
    const socket = connectTls({
      host: '127.0.0.1',
      port,
      rejectUnauthorized: false,
      ...(ALPNProtocols && { ALPNProtocols }),
    })
    await once(socket, 'secureConnect')
    const { alpnProtocol } = socket
    socket.destroy()
    return alpnProtocol
  }
  t.same(
    [await negotiated(['h2', 'http/1.1']), await negotiated(['http/1.1']), await negotiated()],
    ['h2', 'http/1.1', false],
  )
  const session = openSession(t, `https://127.0.0.1:${port}`)
  t.match(await request(session, {}), { status: 200, body: 'hello' })
  t.equal((await ask(`https://127.0.0.1:${port}`, 'GET', '/')).status, 200)
})

void t.test('a session, its cookie in several fields, and a login over HTTP/2', async (t) => {
  const {
    url,
    browser,
    upstream: application,
  } = await loggedIn(t, {
    idp,
    config: { listenH2c: true, routes: open('required') },
  })
  const session = openSession(t, url)
  const cookies = browser.cookies.header(new URL(url)).split('; ')
  const received = application.requests.length
  t.equal((await request(session, { ':path': '/', 'cookie': ['a=1', ...cookies, 'b=2'] })).status, 200)
  const passed = application.requests[received]?.headers.cookie ?? ''
  t.match(passed, /^a=1; (?:.*; )?b=2$/)
  t.notMatch(passed, /gatehouse/, "without the gateway's own cookie")

  const script = await request(session, { ':path': '/api/echo', 'referer': `${url}/page` })
  t.match(script, { status: 401, headers: { 'gatehouse': 'login_required', 'www-authenticate': 'Bearer' } })
  t.match(JSON.parse(script.body), { code: 'login_required', login_url: `${url}/oauth2/login?redirect=%2Fpage` })
  const navigation = await request(session, { ':path': '/page', 'accept': 'text/html' })
  t.match(navigation, { status: 302, headers: { location: /^\/oauth2\/login\?redirect=%2Fpage$|\/oauth2\/login/ } })
  const form = await request(
    session,
    {
      ':path': '/orders',
      ':method': 'POST',
      'sec-fetch-mode': 'navigate',
      'sec-fetch-dest': 'document',
      'content-type': 'application/x-www-form-urlencoded',
    },
    'note=kept',
  )
  t.match(form, { status: 401, headers: { 'content-type': /text\/html/ }, body: /kept/ }, 'the page keeps the form')
})

void t.test('what a client must not send is refused, and other streams of the connection go on', async (t) => {
  const { url, events } = await startWith(t, (req, res) => res.end(JSON.stringify(req.rawHeaders)), {
    routes: [...open(), { path: '/admin/**', access: 'required' }],
    publicUrl: 'http://127.0.0.1',
  })
  const session = openSession(t, url)
  const refused: [string, Record<string, string>, number][] = [
    ['a Host that differs from :authority', { ':authority': '127.0.0.1', 'host': 'evil.example' }, 400],
    ['a path of another route after dot segments', { ':path': '/x/..%2fadmin/x' }, 400],
    ['a raw backslash', { ':path': '/x\\y' }, 400],
    ['a raw number sign', { ':path': '/x#y' }, 400],
    ['a malformed percent-encoding', { ':path': '/%zz' }, 400],
    ['TRACE', { ':method': 'TRACE' }, 405],
    ['TRACK', { ':method': 'TRACK' }, 405],
    ['an unknown method', { ':method': 'BAN' }, 400],
    ['too many fields', Object.fromEntries(Array.from({ length: 101 }, (_, i) => [`a${i}`, '1'])), 431],
    ['too large a cookie', { cookie: 'c'.repeat(40_000) }, 431],
    ['too long a path', { ':path': `/${'p'.repeat(40_000)}` }, 431],
  ]
  const lines = (): number => events('request').length
  for (const [what, headers, status] of refused) {
    const before = lines()
    t.equal((await request(session, headers)).status, status, what)
    await eventually(() => lines() === before + 1, { what: `${what} has its access line` })
    t.match(events('request').at(-1), { status }, what)
  }
  const page = await request(session, { cookie: 'c'.repeat(40_000), accept: 'text/html' })
  t.match(page, { status: 431, headers: { 'content-type': /^text\/html/ }, body: /cookies/ }, 'a browser gets a page')

  const forged = {
    'x-forwarded-for': '6.6.6.6',
    'x_forwarded_for': '6.6.6.6',
    'x-real-ip': '6.6.6.6',
    'te': 'trailers',
  }
  const seen: unknown = JSON.parse((await request(session, { ...forged, 'x-own': 'stays' })).body)
  const names = Array.isArray(seen) ? seen.filter((_, i) => i % 2 === 0).map((name) => String(name).toLowerCase()) : []
  t.notMatch(JSON.stringify(seen), /6\.6\.6\.6/)
  t.ok(names.includes('x-own') && names.includes('via') && !names.some((name) => name.startsWith(':')))
})

void t.test('bytes and repeated fields of a response stay as they are', async (t) => {
  const { url } = await startWith(t, (req, res) => {
    const repeated = req.url?.startsWith('/equal') === true ? ['1', '1'] : ['1', '2']
    const headers =
      req.url === '/'
        ? [
            'Set-Cookie',
            'a=1',
            'X-Bytes',
            'Pr\u00fcf\u00c3\u00bc',
            'Set-Cookie',
            'a=1',
            'X-A',
            '1',
            'X-A',
            '1',
            'X-Empty',
            '',
            'HTTP2-Settings',
            'AAMAAABk',
          ]
        : ['Age', repeated[0] ?? '', 'Age', repeated[1] ?? '']
    const isSized = req.url !== '/equal/unsized'
    res.writeHead(200, ['Date', 'today', ...(isSized ? ['Content-Length', '0'] : []), ...headers])
    res.end(isSized ? '' : 'x')
  })
  const session = openSession(t, url)
  const { raw } = await request(session, {})
  const pairs = raw
    .map((name, i) => (i % 2 === 0 ? `${name}: ${raw[i + 1] ?? ''}` : ''))
    .filter((pair) => pair !== '' && !pair.startsWith('x-request-id: '))
  t.same(
    pairs.toSorted(),
    [
      ':status: 200',
      'content-length: 0',
      'date: today',
      'set-cookie: a=1',
      'set-cookie: a=1',
      'x-a: 1',
      'x-a: 1',
      'x-bytes: Pr\u00fcf\u00c3\u00bc',
      'x-empty: ',
    ],
    'in lower case, without fields of the connection',
  )
  t.match(await request(session, { ':path': '/equal' }), { status: 200, headers: { age: '1' } })
  t.match(await request(session, { ':path': '/equal/unsized' }), { status: 200, headers: { age: '1' }, body: 'x' })
  const different = await request(session, { ':path': '/different' })
  // Node.js 20 does not send a field that may occur only once with two values.
  t.ok(different.status === 502 || different.raw.filter((name) => name === 'age').length === 2)
})

void t.test('a list in several fields of a response arrives, and its trailers may repeat fields', async (t) => {
  const { url } = await startWith(t, (req, res) => {
    res.writeHead(200, ['Content-Encoding', 'gzip', 'Content-Encoding', 'br', 'Date', 'today'])
    res.write('x')
    const etags = req.url === '/equal' ? ['"a"', '"a"'] : ['"a"', '"b"']
    res.addTrailers([...etags.map((etag): [string, string] => ['ETag', etag]), ['X-Sum', '1'], ['X-Sum', '2']])
    res.end()
  })
  const session = openSession(t, url)
  const trailersOf = async (path: string): Promise<unknown> => {
    const stream = session.request({ ':path': path })
    let trailers: unknown = null
    stream.on('trailers', (_headers, _flags, raw: string[]) => {
      trailers = raw
    })
    const answer = await answerOf(stream)
    t.match(answer, { status: 200, body: 'x', reset: 0 })
    const codings = answer.raw.filter((_, i) => answer.raw[i - 1] === 'content-encoding')
    t.same(codings, sendsRepeated ? ['gzip', 'br'] : ['gzip, br'])
    return trailers
  }
  const sums = ['x-sum', '1', 'x-sum', '2']
  const equal = sendsRepeated ? ['etag', '"a"', 'etag', '"a"'] : ['etag', '"a"']
  t.same(await trailersOf('/equal'), [...equal, ...sums])
  const different = sendsRepeated ? ['etag', '"a"', 'etag', '"b"', ...sums] : null
  t.same(await trailersOf('/different'), different, 'a gateway may discard trailers that it cannot send')
})

void t.test(
  'bodies: large, both ways, of unknown length, with 100-continue, and refused before they are sent',
  async (t) => {
    const { url, events } = await startWith(
      t,
      (req, res) => {
        req.pipe(res)
      },
      { routes: [{ path: '/**', access: 'public', maxBody: '4mb' }] },
    )
    const session = openSession(t, url)
    const large = Buffer.alloc(3_000_000, 'x')
    const echoed = await request(session, { ':method': 'POST' }, large)
    t.same([echoed.status, echoed.body.length], [200, 3_000_000])

    const expecting = session.request({ ':method': 'POST', ':path': '/', 'expect': '100-continue' })
    let continued = 0
    expecting.on('headers', () => {
      continued += 1
      expecting.end('later')
    })
    t.match(await answerOf(expecting), { status: 200, body: 'later' })
    t.equal(continued, 1)

    const tooLarge = session.request({ ':method': 'POST', ':path': '/', 'content-length': '5000000' })
    tooLarge.write('x')
    t.match(
      await answerOf(tooLarge),
      { status: 413, reset: NGHTTP2_NO_ERROR },
      'the client is told to stop, without an error',
    )
    const grown = session.request({ ':method': 'POST', ':path': '/' })
    grown.write(large)
    grown.write(large)
    const { status, reset } = await answerOf(grown)
    t.ok(status === 413 || reset !== 0, `a body that grows too large is cut (${status}, ${reset})`)
    t.equal((await request(session, {})).status, 200, 'the connection goes on')
    t.equal(events('request').length, 5, 'each request has one line')
  },
)

void t.test('a client that resets a stream ends its request at the application, with one line', async (t) => {
  let aborted = 0
  const { url, events } = await startWith(t, (req, res) => {
    if (req.url === '/') {
      res.end('hello')
      return
    }
    res.on('close', () => {
      if (!res.writableFinished) aborted += 1
    })
    if (req.url === '/begun') res.write('begun')
  })
  const session = openSession(t, url)
  for (const path of ['/begun', '/silent']) {
    const stream = session.request({ ':path': path })
    if (path === '/begun') await once(stream, 'response')
    else await sleep(100)
    stream.close(NGHTTP2_CANCEL)
    await answerOf(stream)
  }
  await eventually(() => aborted === 2, { what: 'both requests end at the application' })
  await eventually(() => events('request').length === 2, { what: 'both have their line' })
  t.match(events('request'), [
    { path: '/begun', status: 200, aborted: true },
    { path: '/silent', status: 499, aborted: true },
  ])
  t.equal((await request(session, {})).status, 200)
})

void t.test('a response that the application breaks off is broken off', async (t) => {
  const { url } = await startWith(t, (req, res) => {
    res.writeHead(200, req.url === '/sized' ? { 'content-length': '100' } : {})
    res.write('part', () => req.socket.destroy())
  })
  const session = openSession(t, url)
  t.match(await request(session, {}), { status: 200, body: 'part', reset: NGHTTP2_INTERNAL_ERROR })
  const sized = await request(session, { ':path': '/sized' })
  t.match(sized, { status: 200, body: 'part' })
  t.not(sized.reset, NGHTTP2_NO_ERROR)
})

/** Writes an endless body, as fast as it is read. */
const pour = (res: ServerResponse): void => {
  const more = (): void => {
    while (!res.destroyed && res.write(Buffer.alloc(65_536)));
  }
  res.on('drain', more)
  more()
}

void t.test('a client that does not read one stream for limits.idleRead loses that stream only', async (t) => {
  let ended = 0
  const { url } = await startWith(
    t,
    (req, res) => {
      if (req.url === '/') {
        res.end('hello')
        return
      }
      res.on('close', () => {
        ended += 1
      })
      pour(res)
    },
    { limits: { idleRead: '1200ms' } },
  )
  const session = openSession(t, url)
  const unread = session.request({ ':path': '/endless' })
  await once(unread, 'response')
  const begun = performance.now()
  unread.on('error', () => {})
  const slow = session.request({ ':path': '/endless' })
  slow.on('error', () => {})
  slow.on('data', () => {
    slow.pause()
    setTimeout(() => slow.resume(), 200)
  })
  await eventually(() => ended === 1, { what: 'the unread response ends', timeoutMs: 8_000 })
  t.ok(performance.now() - begun > 1_100)
  t.equal((await request(session, {})).status, 200, 'the connection goes on')
  t.notOk(slow.closed, 'a slow reader stays')
  slow.close()
})

void t.test('event streams end with the session, and other streams of the connection go on', async (t) => {
  const {
    url,
    browser,
    upstream: application,
  } = await loggedIn(t, {
    idp,
    config: { listenH2c: true, routes: [...open('required'), { path: '/public/**', access: 'public' }] },
  })
  const session = openSession(t, url)
  const cookie = browser.cookies.header(new URL(url))
  const stream = session.request({ ':path': '/api/stream', cookie, 'accept': 'text/event-stream' })
  const [head] = await once(stream, 'response')
  t.match(head, { ':status': 200 })
  t.equal((await request(session, { ':path': '/oauth2/logout/local', ':method': 'POST', cookie })).status, 204)
  t.match(await answerOf(stream), { reset: NGHTTP2_NO_ERROR }, 'a proper end')
  await eventually(() => application.openStreams() === 0, { what: 'the stream ends at the application' })
  t.equal((await request(session, { ':path': '/public/x' })).status, 200)
  t.equal((await request(session, { ':path': '/api/echo', cookie })).status, 401)
})

void t.test('a gateway that stops announces it, finishes the open streams and closes the connection', async (t) => {
  const finish: (() => void)[] = []
  const { url, gateway } = await startWith(t, (req, res) => {
    if (req.url === '/slow') finish.push(() => res.end('finished'))
    else res.end('hello')
  })
  const session = openSession(t, url)
  const idle = openSession(t, url)
  await request(idle, {})
  const slow = answerOf(session.request({ ':path': '/slow' }))
  await eventually(() => finish.length === 1, { what: 'the request has arrived' })
  const announced = once(session, 'goaway')
  gateway.drain()
  const [code, lastStream] = await announced
  t.same([code, lastStream], [NGHTTP2_NO_ERROR, 1], 'the client may send all later requests again')
  const closed = gateway.close()
  await once(idle, 'close')
  await sleep(1_200)
  finish[0]?.()
  t.match(await slow, { status: 200, body: 'finished' })
  await Promise.all([once(session, 'close'), closed])
})

void t.test(
  'a gateway that stops serves the first requests of a new connection, and then announces its end',
  async (t) => {
    const { url, gateway } = await startWith(t, (_req, res) => res.end('hello'))
    gateway.drain()
    const session = openSession(t, url)
    const announced = once(session, 'goaway')
    const answers = await Promise.all([request(session, {}), request(session, {})])
    t.match(answers, [{ status: 200 }, { status: 200 }])
    t.equal((await announced)[1], 3)
    const silent = openSession(t, url)
    await once(silent, 'close')
  },
)

void t.test('a connection without open streams is closed after limits.keepAlive', async (t) => {
  const { url } = await startWith(
    t,
    (req, res) => {
      if (req.url === '/stream') res.write('begun')
      else res.end()
    },
    { limits: { keepAlive: '1s' } },
  )
  const [idle, busy] = [openSession(t, url), openSession(t, url)]
  await request(idle, {})
  busy.request({ ':path': '/stream' }).on('error', () => {})
  await once(idle, 'close')
  t.notOk(busy.closed, 'an open stream keeps the connection open')
})

void t.test(
  'a connection without a first byte does not delay a gateway that stops, and is cut with the others',
  async (t) => {
    const { url, gateway } = await startWith(t, (_req, res) => res.end())
    const [silent, begun] = [openRaw(url), openRaw(url)]
    begun.write('PRI * HTTP')
    await eventually(async () => (await ask(url, 'GET', '/')).status === 200, { what: 'the gateway listens' })
    const before = performance.now()
    await gateway.close()
    t.ok(performance.now() - before < 3_000)
    await eventually(() => silent.closed && begun.closed, { what: 'both connections are closed' })
  },
)

void t.test('a head or trailers that HTTP/2 cannot carry harm only their own response', async (t) => {
  const { url, events } = await startWith(t, (req, res) => {
    const path = req.url ?? ''
    const later = (): void => {
      setTimeout(() => {
        if (path.startsWith('/trailers')) res.addTrailers([...trailers(path)])
        res.end('later')
      }, 50)
    }
    if (path.startsWith('/status')) res.writeHead(Number(path.slice('/status/'.length)))
    else if (path === '/settings') res.writeHead(200, { 'HTTP2-Settings': 'x', 'Connection': 'close' })
    else if (path === '/ages') res.writeHead(200, ['Age', '1', 'Age', '2'])
    else res.writeHead(200, { trailer: 'etag' })
    res.flushHeaders()
    later()
  })
  const session = openSession(t, url)
  const statusOf = async (path: string): Promise<number> => (await request(session, { ':path': path })).status
  t.same(await Promise.all(['/status/600', '/status/999', '/settings'].map(statusOf)), [502, 502, 200])
  t.ok([200, 502].includes(await statusOf('/ages')), 'Node.js 20 does not send two ages')
  const causes = events('upstream_unreachable').map(({ cause }) => String(cause))
  t.ok(
    causes.some((cause) => cause.includes('999')),
    'the log says why',
  )
  for (const path of ['/trailers/equal', '/trailers/different']) t.equal(await statusOf(path), 200, path)
  t.equal(await statusOf('/'), 200, 'the connection goes on')
})

function* trailers(path: string): Iterable<[string, string]> {
  yield ['ETag', '"a"']
  yield ['ETag', path === '/trailers/equal' ? '"a"' : '"b"']
}

void t.test('a client that stops reading its connection loses it after limits.idleRead', async (t) => {
  let ended = 0
  const { url } = await startWith(
    t,
    (_req, res) => {
      res.on('close', () => {
        ended += 1
      })
      pour(res)
    },
    { limits: { idleRead: '1200ms' } },
  )
  const { socket } = openFrames(url)
  const wide = Buffer.from([0x3f, 0xff, 0xff, 0xff])
  socket.write(frame(FRAME.settings, 0, 0, Buffer.concat([Buffer.from([0, 4]), wide])))
  socket.write(frame(FRAME.windowUpdate, 0, 0, wide))
  socket.write(frame(FRAME.headers, FLAG.endHeaders | FLAG.endStream, 1, get(url, '/endless')))
  socket.pause()
  await eventually(() => ended === 1, { what: 'the request ends at the application', timeoutMs: 8_000 })
  socket.destroy()
})

void t.test('a client that disconnects has one line for each of its requests, and no other', async (t) => {
  const { url, events } = await startWith(t, (req, res) => {
    if (req.url === '/') res.end()
  })
  const settled = async (lines: number): Promise<Record<string, unknown>[]> => {
    await eventually(() => events('request').length >= lines, { what: 'the lines' })
    await sleep(100)
    return events('request')
  }
  const upload = (): Socket => {
    const socket = openRaw(url)
    socket.write(`POST /upload HTTP/1.1\r\nHost: ${new URL(url).host}\r\nContent-Length: 100\r\n\r\npart`)
    return socket
  }
  const [finished, reset] = [upload(), upload()]
  await sleep(200)
  finished.end()
  reset.resetAndDestroy()
  t.match(await settled(2), [
    { status: 499, aborted: true },
    { status: 499, aborted: true },
  ])
  const [idle, busy] = [openFrames(url), openFrames(url)]
  for (const [{ socket }, path] of [[idle, '/'] as const, [busy, '/silent'] as const])
    socket.write(frame(FRAME.headers, FLAG.endHeaders | FLAG.endStream, 1, get(url, path)))
  await eventually(() => idle.frames.some(({ type }) => type === FRAME.headers), { what: 'the idle one is answered' })
  await sleep(100)
  idle.socket.resetAndDestroy()
  busy.socket.resetAndDestroy()
  const lines = await settled(4)
  t.equal(lines.length, 4)
  t.match(lines.slice(2), [
    { path: '/', status: 200 },
    { path: '/silent', status: 499, aborted: true },
  ])
})

void t.test('a client gets a limited number of interim responses', async (t) => {
  const { url } = await startWith(t, (_req, res) => {
    for (let i = 0; i < 100; i += 1) res.writeEarlyHints({ link: `</${i}.css>; rel=preload; as=style` })
    res.end('done')
  })
  const session = openSession(t, url)
  const stream = session.request({ ':path': '/', 'accept': 'text/html' })
  let hints = 0
  stream.on('headers', () => {
    hints += 1
  })
  t.match(await answerOf(stream), { status: 200, body: 'done' })
  t.equal(hints, 16)
})
