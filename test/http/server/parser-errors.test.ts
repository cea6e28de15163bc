import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { startIdp } from '../../../src/demo/idp.ts'
import { startApplication } from '../../support/application.ts'
import { eventually } from '../../support/eventually.ts'
import { startGateway } from '../../support/gateway.ts'
import { countOf } from '../../support/metrics.ts'
import { ask, header, open, openAndRead, parseAnswers, sendRaw } from '../../support/raw-http.ts'

// One provider for all gateways here: what it does is not what these tests are about.
const idp = await startIdp()
t.teardown(() => idp.close())

const publicRoutes = [{ path: '/**', access: 'public' }]

const refusals: [name: string, bytes: string, status: number, cause: RegExp][] = [
  [
    'headers beyond 32 kB',
    `GET / HTTP/1.1\r\nHost: a\r\nX-Long: ${'x'.repeat(33_000)}\r\n\r\n`,
    431,
    /limits\.headers/,
  ],
  ['a target beyond 32 kB', `GET /${'x'.repeat(33_000)} HTTP/1.1\r\nHost: a\r\n\r\n`, 431, /limits\.headers/],
  ['many small headers', `GET / HTTP/1.1\r\nHost: a\r\n${'abcd: efgh\r\n'.repeat(5000)}\r\n`, 431, /limits\.headers/],
  ['no HTTP at all', 'hello\r\n\r\n', 400, /method/],
  ['a TLS greeting', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03', 400, /^TLS where plain HTTP is spoken/],
  ['HTTP/2 without asking', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 400, /./],
  ['another version', 'GET / HTTP/3.0\r\nHost: a\r\n\r\n', 400, /version/],
  ['an unknown method', 'BAN /cache HTTP/1.1\r\nHost: a\r\n\r\n', 400, /method/],
  ['a header with a space before its colon', 'GET / HTTP/1.1\r\nHost : a\r\n\r\n', 400, /header/],
  ['a folded header', 'GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n', 400, /header/],
  ['a NUL in a header', 'GET / HTTP/1.1\r\nHost: a\r\nX: y\0z\r\n\r\n', 400, /header/],
  ['a space in the target', 'GET /a b HTTP/1.1\r\nHost: a\r\n\r\n', 400, /./],
  ['a control character in the target', 'GET /a\x01b HTTP/1.1\r\nHost: a\r\n\r\n', 400, /URL/],
]

void t.test('a request that the HTTP parser refuses gets a problem, and the connection closes', async (t) => {
  const { url, upstream } = await startGateway(t, { idp, config: { routes: publicRoutes } })
  for (const [name, bytes, status] of refusals) {
    const [answer, ...more] = parseAnswers(await sendRaw(url, bytes))
    t.equal(more.length, 0, name)
    t.equal(answer?.status, status, name)
    if (answer === undefined) continue
    t.equal(header(answer, 'content-type'), 'application/problem+json', name)
    t.equal(header(answer, 'gatehouse'), 'bad_request', name)
    t.equal(header(answer, 'connection'), 'close', name)
    t.equal(header(answer, 'cache-control'), 'no-store', name)
    t.match(JSON.parse(answer.body.toString()), { status, code: 'bad_request', request_id: /./ }, name)
    t.equal(header(answer, 'x-content-type-options'), 'nosniff', name)
  }
  t.equal(upstream.requests.length, 0)
  t.equal((await ask(url, 'GET', '/api/orders')).status, 200, 'and the process lives')
})

void t.test('a request that the HTTP parser refuses has one access line, with its cause, and is counted', async (t) => {
  const { url, events, gateway } = await startGateway(t, { idp, config: { routes: publicRoutes } })
  const counted = async (): Promise<number> => countOf(gateway, { route: '-', verdict: 'bad_request' })
  for (const [index, [name, bytes, status, cause]] of refusals.entries()) {
    const [answer] = parseAnswers(await sendRaw(url, bytes))
    t.equal(events('request').length, index + 1, name)
    const line = events('request').at(-1)
    t.match(line, { verdict: 'bad_request', status, cause, client: '127.0.0.1', route: '-', aborted: undefined }, name)
    t.equal(await counted(), index + 1, name)
    t.match(events('bad_request').at(-1), { id: line?.['id'], cause, client: '127.0.0.1', level: 'info' }, name)
    t.equal(JSON.parse(answer?.body.toString() ?? '').request_id, line?.['id'], `${name}: the answer has its id`)
  }
  t.match(
    events('request').filter(({ method }) => method === 'BAN'),
    [{ path: '/cache' }],
    'method and path where they could be read',
  )
  await sendRaw(url, 'GET /a b?code=hush HTTP/1.1\r\nHost: a\r\nCookie: hush\r\nX : y\r\n\r\n')
  t.notMatch(JSON.stringify(events('request')), 'hush', 'no query, and no cookie')
})

void t.test('a browser gets a page, which mentions cookies if the head is too large', async (t) => {
  const { url, events } = await startGateway(t, {
    idp,
    config: { routes: publicRoutes, pages: { title: 'Orders' } },
  })
  const head = 'GET /orders HTTP/1.1\r\nHost: a\r\nAccept: text/html,application/xhtml+xml\r\n'
  const [large] = parseAnswers(await sendRaw(url, `${head}Cookie: ${'c'.repeat(33_000)}\r\n\r\n`))
  t.equal(large?.status, 431)
  t.match(large?.headers.get('content-type'), ['text/html; charset=utf-8'])
  t.match(large?.headers.get('content-security-policy'), [/default-src 'none'/])
  t.match(large?.body.toString(), /<title>Bad request – Orders<\/title>/)
  t.match(large?.body.toString(), /cookies/)
  t.match(large?.body.toString(), new RegExp(`href="${url}/"`), 'the login continues')
  t.match(events('request'), [{ method: 'GET', path: '/orders', status: 431 }])

  const [broken] = parseAnswers(await sendRaw(url, `${head}X : y\r\n\r\n`))
  t.equal(broken?.status, 400)
  t.match(broken?.headers.get('content-type'), ['text/html; charset=utf-8'])
  t.notMatch(broken?.body.toString(), /cookies/)

  const script = head.replace(/Accept.*/, 'Accept: text/html\r\nX-Requested-With: XMLHttpRequest')
  const [told] = parseAnswers(await sendRaw(url, `${script}Cookie: ${'c'.repeat(33_000)}\r\n\r\n`))
  t.match(told?.headers.get('content-type'), ['application/problem+json'])
  t.match(JSON.parse(told?.body.toString() ?? ''), { status: 431, detail: /cookies/ }, 'a script gets a problem')
})

void t.test('a browser’s head that arrives in pieces gets the page', async (t) => {
  const { url } = await startGateway(t, { idp, config: { routes: publicRoutes } })
  const socket = open(url).setNoDelay()
  const chunks: Buffer[] = []
  socket.on('data', (chunk) => chunks.push(chunk))
  socket.write('GET /orders HTTP/1.1\r\nHost: a\r\nAccept: text/html\r\nCookie: a=b')
  for (let i = 0; i < 40 && chunks.length === 0; i += 1) {
    socket.write('c'.repeat(1000))
    await sleep(10)
  }
  await eventually(() => socket.closed)
  const [answer] = parseAnswers(Buffer.concat(chunks))
  t.equal(answer?.status, 431)
  t.match(answer?.headers.get('content-type'), ['text/html; charset=utf-8'])
})

void t.test('a body that the parser refuses ends its own request, in that request’s access line', async (t) => {
  const { url, events, gateway } = await startGateway(t, { idp, config: { routes: publicRoutes } })
  const head = 'POST /api/echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n'
  const rows: [name: string, bytes: string, status: number, code: string][] = [
    ['a chunk without a size', 'zz\r\n', 400, 'bad_request'],
    ['chunks with long extensions', `5;${'e'.repeat(20_000)}\r\nhello\r\n0\r\n\r\n`, 413, 'payload_too_large'],
    ['long trailers', `5\r\nhello\r\n0\r\nX: ${'t'.repeat(40_000)}\r\n\r\n`, 431, 'bad_request'],
  ]
  for (const [index, [name, bytes, status, code]] of rows.entries()) {
    const [answer] = parseAnswers(await sendRaw(url, head + bytes))
    t.equal(answer?.status, status, name)
    t.match(answer?.headers.get('gatehouse'), [code], name)
    await eventually(() => events('request').length === index + 1)
    const line = events('request').at(-1)
    t.match(line, { method: 'POST', path: '/api/echo', status, verdict: code, cause: /./, aborted: undefined }, name)
    t.match(events(code).at(-1), { id: line?.['id'] }, name)
  }
  t.equal(await countOf(gateway, { route: '/**', verdict: 'bad_request' }), 2)
  t.equal(await countOf(gateway, { route: '/**', verdict: 'payload_too_large' }), 1)
  const browser = head.replace('\r\n\r\n', '\r\nAccept: text/html\r\nSec-Fetch-Mode: navigate\r\n\r\n')
  for (const [name, bytes, status] of rows) {
    const [answer] = parseAnswers(await sendRaw(url, browser + bytes))
    t.equal(answer?.status, status, name)
    t.match(answer?.headers.get('content-type'), ['text/html; charset=utf-8'], `${name}: a browser gets the page`)
    t.notMatch(answer?.body.toString(), /cookies/, name)
  }
})

void t.test('CONNECT is a 405 with an access line, sent after any response in progress', async (t) => {
  const application = await startApplication(t, (_req, res) => {
    res.writeHead(200, { 'content-length': '10' })
    res.write('first')
    setTimeout(() => res.end('later'), 300)
  })
  const { url, events, gateway } = await startGateway(t, {
    idp,
    config: { upstream: application.url, routes: publicRoutes },
  })
  const connect = 'CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n'
  const [answer] = parseAnswers(await sendRaw(url, connect))
  t.equal(answer?.status, 405)
  t.match(events('request'), [{ method: 'CONNECT', path: 'example.com:443', status: 405, cause: 'CONNECT' }])
  t.equal(await countOf(gateway, { verdict: 'method_not_allowed' }), 1)

  const { socket, text } = openAndRead(url)
  socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
  await eventually(() => text().includes('first'))
  socket.write(connect)
  await eventually(() => socket.closed)
  t.match(text(), /\r\n\r\nfirstlaterHTTP\/1\.1 405 /)
  t.equal(events('request').filter(({ method, status }) => method === 'CONNECT' && status === 405).length, 2)
})

void t.test(
  'an upgrade pipelined after an unfinished response is refused after it, and has an access line',
  async (t) => {
    const { url, events } = await startGateway(t, { idp, config: { routes: publicRoutes } })
    const upgrade = [
      'GET /ws?code=hush HTTP/1.1',
      'Host: a',
      'Connection: Upgrade',
      'Upgrade: websocket',
      'Sec-WebSocket-Version: 13',
      'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==',
      '',
      '',
    ].join('\r\n')
    const bytes = await sendRaw(url, `GET /api/slow?ms=500 HTTP/1.1\r\nHost: a\r\n\r\n${upgrade}`)
    t.same(
      parseAnswers(bytes).map(({ status }) => status),
      [200, 400],
    )
    await eventually(() => events('request').length === 2)
    t.match(
      events('request').find(({ path }) => path === '/ws'),
      { status: 400, verdict: 'bad_request', aborted: undefined, cause: /upgrade/ },
    )
    t.match(
      events('request').find(({ path }) => path === '/api/slow'),
      { status: 200, verdict: 'forward', aborted: undefined },
    )
  },
)

void t.test('a slow head is a 408 with an access line, and a silent connection gets no response', async (t) => {
  const { url, events, gateway } = await startGateway(t, {
    idp,
    config: { routes: publicRoutes, limits: { headersTimeout: '1s' } },
  })
  const silent = open(url)
  silent.resume()
  const [answer] = parseAnswers(await sendRaw(url, 'GET / HTTP/1.1\r\nHost: a\r\n', 15_000))
  t.equal(answer?.status, 408)
  await eventually(() => silent.closed, { timeoutMs: 15_000 })
  t.match(events('request'), [{ status: 408, verdict: 'bad_request', cause: /limits\.headersTimeout/ }])
  t.equal(await countOf(gateway, { verdict: 'bad_request' }), 1)
})

void t.test('a flood of refusals is fully counted, and partly logged', async (t) => {
  const { url, events, gateway } = await startGateway(t, { idp, config: { routes: publicRoutes } })
  for (let i = 0; i < 30; i += 1)
    await Promise.all(Array.from({ length: 10 }, async () => sendRaw(url, 'BAN / HTTP/1.1\r\n\r\n')))
  t.equal(await countOf(gateway, { verdict: 'bad_request' }), 300)
  await eventually(() => {
    const leftOut = events('refusals_not_logged').reduce((sum, { count }) => sum + Number(count), 0)
    return events('request').length + leftOut === 300
  })
  t.ok(events('refusals_not_logged').length > 0, `${events('request').length} of 300 lines`)
  t.equal(events('request').length, events('bad_request').length)
})

void t.test('garbage after a request never causes an error in the middle of its response', async (t) => {
  let answer: (() => void) | null = null
  const application = await startApplication(t, (_req, res) => {
    res.writeHead(200, { 'content-length': '10' })
    res.write('first')
    answer = () => {
      res.end('later')
    }
  })
  const { url } = await startGateway(t, { idp, config: { upstream: application.url, routes: publicRoutes } })
  const { socket, text } = openAndRead(url)
  socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
  await eventually(() => text().includes('first'))
  socket.write('rubbish\r\n\r\n')
  await eventually(() => socket.closed)
  ;(answer as (() => void) | null)?.()
  t.match(text(), /^HTTP\/1\.1 200 [^]*\r\n\r\nfirst$/)
})

void t.test('several requests on one connection are answered in their order', async (t) => {
  const { url } = await startGateway(t, { idp, config: { routes: publicRoutes } })
  const requests = [
    '/api/slow?ms=100',
    '/api/status/201',
    '/nope',
    '/api/slow?ms=20',
    '/a\\b',
    '/api/status/204',
    '/oauth2/session',
  ]
  const bytes = requests
    .map(
      (path, i) => `GET ${path} HTTP/1.1\r\nHost: a\r\n${i === requests.length - 1 ? 'Connection: close\r\n' : ''}\r\n`,
    )
    .join('')
  t.same(
    parseAnswers(await sendRaw(url, bytes)).map(({ status }) => status),
    [200, 201, 404, 200, 400, 204, 401],
  )
})

void t.test('a client that disconnects before its request is complete causes no log line', async (t) => {
  const { url, log } = await startGateway(t, { idp, config: { routes: publicRoutes } })
  for (const bytes of [
    '',
    'G',
    'GET / HTTP/1.1\r\n',
    'POST /api/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf',
  ]) {
    const socket = open(url)
    socket.end(bytes)
    socket.resume()
    await eventually(() => socket.closed)
  }
  t.equal((await ask(url, 'GET', '/api/orders')).status, 200)
  t.notMatch(log.join(), /internal_error|"level":"fatal"/)
})
