import t from 'tap'
import { startIdp } from '../../../src/demo/idp.ts'
import { startApplication } from '../../support/application.ts'
import { eventually } from '../../support/eventually.ts'
import { freePort } from '../../support/free-port.ts'
import { startGateway } from '../../support/gateway.ts'
import { countOf } from '../../support/metrics.ts'
import { header, openAndRead, parseAnswers, type RawAnswer, sendRaw } from '../../support/raw-http.ts'

// One provider for all gateways here: what it does is not what these tests are about.
const idp = await startIdp()
t.teardown(() => idp.close())

const publicRoutes = [{ path: '/**', access: 'public' }]
const fields = (count: number): string => Array.from({ length: count }, (_, i) => `A${i}: 1\r\n`).join('')

/** A request with `count` fields, the last of which say where its body ends. */
const post = (count: number, body = 'hello'): string =>
  `POST /api/echo HTTP/1.1\r\nHost: a\r\n${fields(count - 3)}Connection: close\r\nContent-Length: ${body.length}\r\n\r\n${body}`

const only = (bytes: Buffer): RawAnswer => {
  const [answer, ...more] = parseAnswers(bytes)
  if (answer === undefined || more.length > 0) throw new Error(`${more.length + 1} answers`)
  return answer
}

void t.test('a request has at most 100 header fields, and one more is a 431 that is not forwarded', async (t) => {
  const bodies: string[] = []
  const application = await startApplication(t, (req, res) => {
    let body = ''
    req.on('data', (chunk: Buffer) => {
      body += chunk.toString()
    })
    req.on('end', () => {
      bodies.push(body)
      res.end(String(Object.keys(req.headers).length))
    })
  })
  const { url, events, gateway } = await startGateway(t, {
    idp,
    config: { upstream: application.url, routes: publicRoutes },
  })
  t.equal(only(await sendRaw(url, post(100))).status, 200)
  t.same(bodies, ['hello'])
  for (const count of [101, 1000, 1024, 1100, 2000]) {
    const answer = only(await sendRaw(url, post(count)))
    t.equal(answer.status, 431, `${count} fields`)
    t.equal(header(answer, 'gatehouse'), 'bad_request')
    t.match(JSON.parse(answer.body.toString()), { code: 'bad_request', detail: /header fields/ })
    t.match(events('request').at(-1), { status: 431, verdict: 'bad_request', client: '127.0.0.1' })
    t.match(events('bad_request').at(-1), { cause: /more than 100 header fields \(limits\.headerFields\)/ })
  }
  t.equal(application.requests.length, 1, 'the application has heard of one')
  t.equal(await countOf(gateway, { verdict: 'bad_request' }), 5)
})

void t.test('a higher limit drops no header fields', async (t) => {
  const application = await startApplication(t, (req, res) => {
    req.resume().on('end', () => res.end(String(req.rawHeaders.filter((name) => /^A\d+$/.test(name)).length)))
  })
  const { url } = await startGateway(t, {
    idp,
    config: { upstream: application.url, routes: publicRoutes, limits: { headerFields: 990 } },
  })
  t.equal(only(await sendRaw(url, post(903))).body.toString(), '900')
  t.equal(only(await sendRaw(url, post(991))).status, 431)
})

void t.test('a navigation with too many header fields gets a page', async (t) => {
  const { url } = await startGateway(t, { idp, config: { routes: publicRoutes } })
  const bytes = `GET / HTTP/1.1\r\nHost: a\r\nAccept: text/html\r\nConnection: close\r\n${fields(100)}\r\n`
  const answer = only(await sendRaw(url, bytes))
  t.equal(answer.status, 431)
  t.equal(header(answer, 'content-type'), 'text/html; charset=utf-8')
})

void t.test('the limit of header fields holds on every listener', async (t) => {
  const { url, upstream } = await startGateway(t, { idp, config: { routes: publicRoutes } })
  const many = fields(100)
  const rows: [name: string, bytes: string, statuses: number[]][] = [
    ['HTTP/1.0', `GET / HTTP/1.0\r\n${fields(101)}\r\n`, [431]],
    [
      'a WebSocket',
      `GET /ws HTTP/1.1\r\nHost: a\r\n${many}Connection: Upgrade\r\nUpgrade: websocket\r\n` +
        'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n',
      [431],
    ],
    [
      'Expect: 100-continue',
      `POST /api/echo HTTP/1.1\r\nHost: a\r\n${many}Connection: close\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n`,
      [431],
    ],
    [
      'behind another request',
      `GET /api/status/204 HTTP/1.1\r\nHost: a\r\n\r\nGET /api/orders HTTP/1.1\r\nHost: a\r\n${many}Connection: close\r\n\r\n`,
      [204, 431],
    ],
    [
      'one of the gateway’s own URLs',
      `GET /oauth2/session HTTP/1.1\r\nHost: a\r\n${many}Connection: close\r\n\r\n`,
      [431],
    ],
  ]
  for (const [name, bytes, statuses] of rows) {
    const answers = parseAnswers(await sendRaw(url, bytes))
    t.same(
      answers.map(({ status }) => status),
      statuses,
      name,
    )
  }
  t.equal(upstream.requests.length, 1)
})

void t.test('trailers have the same limit, and a request with more is aborted', async (t) => {
  let complete = 0
  const application = await startApplication(t, (req, res) => {
    req.resume().on('error', () => {})
    req.on('end', () => {
      complete += 1
      res.end('done')
    })
  })
  const { url, events } = await startGateway(t, { idp, config: { upstream: application.url, routes: publicRoutes } })
  const head =
    'POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n'
  t.equal(only(await sendRaw(url, `${head}${fields(100)}\r\n`)).status, 200)
  for (const count of [101, 1001]) {
    const answer = only(await sendRaw(url, `${head}${fields(count)}\r\n`))
    t.equal(answer.status, 431, `${count} trailer fields`)
    t.match(events('bad_request').at(-1), { cause: /more than 100 trailer fields/ })
  }
  t.equal(complete, 1)
})

void t.test('the admin listener refuses too many header fields', async (t) => {
  const port = await freePort()
  await startGateway(t, { idp, config: { admin: { listen: `127.0.0.1:${port}` } } })
  const get = (count: number): string =>
    `GET /livez HTTP/1.1\r\n${fields(count - 2)}Host: 127.0.0.1:${port}\r\nConnection: close\r\n\r\n`
  t.equal(only(await sendRaw(`http://127.0.0.1:${port}`, get(100))).status, 200)
  for (const count of [101, 1001, 1200]) {
    const answer = only(await sendRaw(`http://127.0.0.1:${port}`, get(count)))
    t.equal(answer.status, 431, `${count} fields`)
    t.equal(header(answer, 'gatehouse'), 'bad_request')
  }
})

void t.test('an idle connection stays open for the configured time', async (t) => {
  const { url } = await startGateway(t, { idp, config: { routes: publicRoutes, limits: { keepAlive: '2s' } } })
  const { socket, text } = openAndRead(url)
  socket.write('GET /api/orders HTTP/1.1\r\nHost: a\r\n\r\n')
  await eventually(() => text().includes('Keep-Alive'))
  t.match(text(), /Keep-Alive: timeout=2\r\n/)
  const since = Date.now()
  await eventually(() => socket.closed, { timeoutMs: 20_000 })
  t.ok(Date.now() - since >= 1_500, `${Date.now() - since} ms`)
})
