import t from 'tap'
import { createProxyWarning } from '../../src/http/rate-limit.ts'
import { openLog } from '../../src/telemetry/log.ts'
import { startIdp } from '../../src/demo/idp.ts'
import { createBrowser } from '../support/browser.ts'
import { startGateway } from '../support/gateway.ts'
import { ask, header, parseAnswers, sendRaw } from '../support/raw-http.ts'

// One provider for all gateways here: what it does is not what these tests are about.
const idp = await startIdp()
t.teardown(() => idp.close())

const limited = [
  { path: '/**', access: 'public', maxBody: '10kb' },
  { path: '/any/**', access: 'public' },
]

void t.test('a body with too large a Content-Length is refused before it is forwarded', async (t) => {
  const { url, upstream } = await startGateway(t, { idp, config: { routes: limited } })
  const answer = await createBrowser().post(`${url}/api/echo`, 'x'.repeat(10_241), { kind: 'script' })
  t.equal(answer.status, 413)
  t.equal(answer.headers.gatehouse, 'payload_too_large')
  t.match(answer.json(), { status: 413, code: 'payload_too_large' })
  t.equal(upstream.requests.length, 0)
  t.equal(
    (await createBrowser().post(`${url}/api/echo`, 'x'.repeat(10_240), { kind: 'script' })).status,
    200,
    'the limit itself is allowed',
  )
  t.not((await createBrowser().post(`${url}/any/thing`, 'x'.repeat(100_000), { kind: 'script' })).status, 413)
})

const chunks = (count: number): string => `${`400\r\n${'x'.repeat(1024)}\r\n`.repeat(count)}0\r\n\r\n`

void t.test('a body that grows too large is cut off', async (t) => {
  const { url } = await startGateway(t, { idp, config: { routes: limited } })
  const post = async (count: number) => {
    const bytes = await sendRaw(
      url,
      `POST /api/echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n${chunks(count)}`,
    )
    return parseAnswers(bytes)[0]
  }
  t.equal((await post(10))?.status, 200)
  const refused = await post(11)
  t.equal(refused?.status, 413)
  t.match(JSON.parse(refused?.body.toString() ?? ''), { code: 'payload_too_large' })
})

const from = (address: string): string[] => [`X-Forwarded-For: ${address}`]

void t.test('rate limits count each address separately, and answer with Retry-After', async (t) => {
  const { url } = await startGateway(t, {
    idp,
    config: { trustedProxies: ['127.0.0.1'], rateLimit: { session: '3/1m', login: '2/1m' } },
  })
  for (let i = 0; i < 3; i += 1) t.equal((await ask(url, 'GET', '/oauth2/session', from('192.0.2.1'))).status, 401)
  const answer = await ask(url, 'GET', '/oauth2/session', from('192.0.2.1'))
  t.equal(answer.status, 429)
  t.equal(header(answer, 'gatehouse'), 'rate_limited')
  t.match(JSON.parse(answer.body.toString()), { status: 429, code: 'rate_limited' })
  const seconds = Number(header(answer, 'retry-after'))
  t.ok(seconds >= 1 && seconds <= 60, `Retry-After: ${seconds}`)
  t.equal(
    (await ask(url, 'GET', '/oauth2/userinfo', from('192.0.2.1'))).status,
    429,
    'the session’s addresses share a limit',
  )
  t.equal((await ask(url, 'GET', '/oauth2/session', from('192.0.2.2'))).status, 401)
  for (let i = 0; i < 2; i += 1)
    t.equal((await ask(url, 'GET', '/oauth2/login', from('192.0.2.1'))).status, 401, 'the login has its own')
  t.equal((await ask(url, 'GET', '/oauth2/start', from('192.0.2.1'))).status, 429, 'which its aliases share')
  t.equal(
    (await ask(url, 'GET', '/api/orders', from('192.0.2.1'))).status,
    401,
    'the application’s addresses have none',
  )
})

void t.test('a navigation over the rate limit gets a page', async (t) => {
  const { url } = await startGateway(t, { idp, config: { rateLimit: { login: '1/1m' } } })
  const browser = createBrowser()
  await browser.get(`${url}/oauth2/login`)
  const answer = await browser.get(`${url}/oauth2/login`)
  t.equal(answer.status, 429)
  t.match(answer.headers['content-type'], /^text\/html/)
  t.ok(answer.headers['retry-after'])
})

void t.test('requests to the application are limited if configured', async (t) => {
  const { url, upstream } = await startGateway(t, {
    idp,
    config: { routes: [{ path: '/**', access: 'public' }], rateLimit: { requests: '5/1m' } },
  })
  const statuses = []
  for (let i = 0; i < 8; i += 1) statuses.push((await ask(url, 'GET', `/${i}`)).status)
  t.same(statuses, [404, 404, 404, 404, 404, 429, 429, 429])
  t.equal(upstream.requests.length, 5)
})

void t.test('a limit that is off does not apply', async (t) => {
  const { url } = await startGateway(t, { idp, config: { rateLimit: { session: false } } })
  const answers = await Promise.all(Array.from({ length: 700 }, () => ask(url, 'GET', '/oauth2/session')))
  t.ok(answers.every(({ status }) => status === 401))
})

void t.test(
  'the log says once that a proxy is not in trustedProxies, if a rate limit counts its requests',
  async (t) => {
    const shared = await startGateway(t, { idp, config: { forwardAuth: { listen: '127.0.0.1:0' } } })
    await ask(shared.url, 'GET', '/oauth2/session')
    t.same(shared.events('proxy_not_trusted'), [], 'no proxy')
    for (const path of ['/orders', '/oauth2/session', '/orders']) await ask(shared.url, 'GET', path, from('192.0.2.1'))
    await ask(shared.verdicts, 'GET', '/auth/orders', from('192.0.2.1'))
    const { config } = shared
    await shared.gateway.reload({ ...config, rateLimit: { ...config.rateLimit, session: null } })
    await ask(shared.url, 'GET', '/oauth2/session', from('192.0.2.1'))
    const [line, ...more] = shared.events('proxy_not_trusted')
    t.match(line, { level: /warn|40/, peer: '127.0.0.1', msg: /rateLimit .*add its address to trustedProxies$/ })
    t.same(more, [], 'once')

    for (const config of [
      { trustedProxies: ['127.0.0.1'] },
      { rateLimit: { login: 'off', callback: 'off', session: 'off', requests: 'off' } },
    ]) {
      const { url, events } = await startGateway(t, { idp, config })
      await ask(url, 'GET', '/oauth2/session', from('192.0.2.1'))
      t.same(events('proxy_not_trusted'), [], Object.keys(config).join())
    }
  },
)

void t.test('on a Unix socket, the log says that any trustedProxies trust its clients', (t) => {
  const lines: string[] = []
  const { log } = openLog('info', {
    stream: {
      write: (line: string) => {
        lines.push(line)
      },
    },
  })
  const warn = createProxyWarning(log)
  warn('')
  warn('')
  t.equal(lines.length, 1)
  t.match(lines[0], /from the Unix socket is ignored.*set trustedProxies to any address, such as \[127\.0\.0\.1\]/)
  t.end()
})
