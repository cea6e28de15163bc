import t from 'tap'
import { startIdp } from '../../src/demo/idp.ts'
import { startApplication, until } from '../support/application.ts'
import { startGateway } from '../support/gateway.ts'
import { ask, header, open, parseAnswers, sendRaw } from '../support/raw-http.ts'

// One provider for all gateways here: what it does is not what these tests are about.
const idp = await startIdp()
t.teardown(() => idp.close())

const everybody = [{ path: '/**', access: 'public' }]

void t.test('what the HTTP parser refuses gets a problem, and the connection closes', async (t) => {
  const { url, upstream } = await startGateway(t, { idp, config: { routes: everybody } })
  const rows: [name: string, bytes: string, status: number][] = [
    ['headers beyond 16 kB', `GET / HTTP/1.1\r\nHost: a\r\nX-Long: ${'x'.repeat(20_000)}\r\n\r\n`, 431],
    ['a target beyond 16 kB', `GET /${'x'.repeat(20_000)} HTTP/1.1\r\nHost: a\r\n\r\n`, 431],
    ['many small headers', `GET / HTTP/1.1\r\nHost: a\r\n${'abcd: efgh\r\n'.repeat(5000)}\r\n`, 431],
    ['no HTTP at all', 'hello\r\n\r\n', 400],
    ['a TLS greeting', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03', 400],
    ['HTTP/2 without asking', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 400],
    ['another version', 'GET / HTTP/3.0\r\nHost: a\r\n\r\n', 400],
    ['a header with a space before its colon', 'GET / HTTP/1.1\r\nHost : a\r\n\r\n', 400],
    ['a folded header', 'GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n', 400],
    ['a NUL in a header', 'GET / HTTP/1.1\r\nHost: a\r\nX: y\0z\r\n\r\n', 400],
    ['a space in the target', 'GET /a b HTTP/1.1\r\nHost: a\r\n\r\n', 400],
    ['a control character in the target', 'GET /a\x01b HTTP/1.1\r\nHost: a\r\n\r\n', 400],
  ]
  for (const [name, bytes, status] of rows) {
    const [answer, ...more] = parseAnswers(await sendRaw(url, bytes))
    t.equal(more.length, 0, name)
    t.equal(answer?.status, status, name)
    if (answer === undefined) continue
    t.equal(header(answer, 'content-type'), 'application/problem+json', name)
    t.equal(header(answer, 'gatehouse'), 'bad_request', name)
    t.equal(header(answer, 'connection'), 'close', name)
    t.equal(header(answer, 'x-content-type-options'), 'nosniff', name)
    t.match(JSON.parse(answer.body.toString()), { status, code: 'bad_request' }, name)
  }
  t.equal(upstream.requests.length, 0)
  t.equal((await ask(url, 'GET', '/api/orders')).status, 200, 'and the process lives')
})

void t.test('rubbish behind a request never ends up in the middle of its answer', async (t) => {
  let answer: (() => void) | null = null
  const application = await startApplication(t, (_req, res) => {
    res.writeHead(200, { 'content-length': '10' })
    res.write('first')
    answer = () => {
      res.end('later')
    }
  })
  const { url } = await startGateway(t, { idp, config: { upstream: application.url, routes: everybody } })
  const socket = open(url)
  let text = ''
  socket.on('data', (chunk: Buffer) => {
    text += chunk.toString()
  })
  socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
  await until(() => text.includes('first'))
  socket.write('rubbish\r\n\r\n')
  await until(() => socket.closed)
  ;(answer as (() => void) | null)?.()
  t.match(text, /^HTTP\/1\.1 200 [^]*\r\n\r\nfirst$/)
})

void t.test('several requests on one connection are answered in their order', async (t) => {
  const { url } = await startGateway(t, { idp, config: { routes: everybody } })
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

void t.test('a client that goes before it has said anything is no matter', async (t) => {
  const { url, log } = await startGateway(t, { idp, config: { routes: everybody } })
  for (const bytes of [
    '',
    'G',
    'GET / HTTP/1.1\r\n',
    'POST /api/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf',
  ]) {
    const socket = open(url)
    socket.end(bytes)
    socket.resume()
    await until(() => socket.closed)
  }
  t.equal((await ask(url, 'GET', '/api/orders')).status, 200)
  t.notMatch(log.join(), /internal_error|"level":"fatal"/)
})
