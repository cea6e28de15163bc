import t from 'tap'
import { createBrowser } from '../support/browser.ts'
import { moveClock } from '../support/clock.ts'
import { eventually } from '../support/eventually.ts'
import { exchange } from '../support/exchange.ts'
import { freePort } from '../support/free-port.ts'
import { startGateway } from '../support/gateway.ts'
import { loggedIn } from '../support/logged-in.ts'
import { scrape, type Scrape } from '../support/metrics.ts'
import { callbackFor } from '../support/sign-in.ts'
import { startApplication } from '../support/application.ts'
import { openWebSocket } from '../support/websocket.ts'

const script = { kind: 'script' } as const

/** The names that dashboards and alerts of operators build on, with their types and the labels that they have. */
const promised: readonly [name: string, type: string, labels: readonly string[]][] = [
  ['gatehouse_requests_total', 'counter', ['kind', 'route', 'verdict']],
  ['gatehouse_upstream_seconds', 'histogram', []],
  ['gatehouse_added_seconds', 'histogram', []],
  ['gatehouse_logins_total', 'counter', ['outcome']],
  ['gatehouse_refreshes_total', 'counter', ['cause', 'outcome']],
  ['gatehouse_refresh_lock_wait_seconds', 'histogram', []],
  ['gatehouse_sessions_ended_total', 'counter', ['reason']],
  ['gatehouse_store_seconds', 'histogram', ['operation', 'outcome']],
  ['gatehouse_session_cache_total', 'counter', ['result']],
  ['gatehouse_streams_open', 'gauge', ['kind']],
  ['gatehouse_nodejs_eventloop_lag_seconds', 'gauge', []],
  ['gatehouse_nodejs_eventloop_lag_p99_seconds', 'gauge', []],
  ['gatehouse_ready', 'gauge', []],
  ['gatehouse_sessions_begun_total', 'counter', []],
  ['gatehouse_provider_seconds', 'histogram', ['operation', 'outcome']],
  ['gatehouse_store_evictions_total', 'counter', []],
  ['gatehouse_store_sessions', 'gauge', []],
]

void t.test('each promised metric is there after real flows, with its type and its labels', async (t) => {
  const port = await freePort()
  const admin = `http://127.0.0.1:${port}`
  const { url, idp, browser, call } = await loggedIn(t, {
    idp: { lifetimes: { accessToken: 100 } },
    config: {
      admin: { listen: `127.0.0.1:${port}` },
      routes: [{ path: '/**' }, { path: '/admin/**', require: { claims: { groups: ['nobody'] } } }],
    },
  })
  // Every outcome of a login, a refresh of each kind, a stream of each kind, and an end.
  await browser.get(`${url}/orders`)
  await browser.get(`${url}/admin/panel`)
  await createBrowser().get(`${url}/orders`, script)
  const other = createBrowser()
  const failing = await callbackFor(other, url)
  idp.fail('token', { status: 500 })
  t.equal((await other.get(failing.href)).status, 503)
  idp.fail('token', null)
  const cookie = browser.cookies.header(new URL(url), { crossSite: false, topLevelGet: true })
  const socket = await openWebSocket(`${url}/ws`, { headers: [`Cookie: ${cookie}`, `Origin: ${url}`] })
  t.equal(socket.status, 101)
  const events = exchange({
    method: 'GET',
    url: new URL(`${url}/api/stream`),
    headers: { cookie, accept: 'text/event-stream' },
  })
  await eventually(async () => (await scrape(admin)).value('gatehouse_streams_open', { kind: 'event-stream' }) === 1)
  t.equal((await scrape(admin)).value('gatehouse_streams_open', { kind: 'websocket' }), 1)
  moveClock(t, 101_000)
  t.equal((await call()).status, 200)
  await browser.post(`${url}/oauth2/logout/local`, undefined, script)
  await Promise.all([events, socket.closed])

  const metrics = await scrape(admin)
  for (const [name, type, labels] of promised) {
    t.equal(metrics.types.get(name), type, name)
    const own = metrics.samples.filter(
      (sample) => sample.name === name || (type === 'histogram' && sample.name === `${name}_count`),
    )
    t.ok(own.length > 0, `${name} has a sample`)
    for (const sample of own) t.same(Object.keys(sample.labels).toSorted(), labels, name)
  }
  t.same(
    [...metrics.types.keys()].filter((name) => !name.startsWith('gatehouse_')),
    [],
    'every name begins with gatehouse_',
  )
  t.ok(metrics.value('gatehouse_requests_total', { route: '/**', kind: 'navigation', verdict: 'forward' }) >= 1)
  t.equal(metrics.value('gatehouse_requests_total', { route: '/**', kind: 'websocket', verdict: 'forward' }), 1)
  t.equal(metrics.value('gatehouse_requests_total', { route: '/**', kind: 'script', verdict: 'login_required' }), 1)
  t.equal(
    metrics.value('gatehouse_requests_total', { route: '/admin/**', kind: 'navigation', verdict: 'forbidden' }),
    1,
  )
  t.equal(metrics.value('gatehouse_logins_total', { outcome: 'ok' }), 1)
  t.equal(metrics.value('gatehouse_logins_total', { outcome: 'provider_unavailable' }), 1)
  t.equal(
    metrics.value('gatehouse_logins_total', { outcome: 'login_failed' }),
    0,
    'what has not happened is 0, so that its first time is a rise',
  )
  t.equal(metrics.value('gatehouse_refreshes_total', { outcome: 'refreshed', cause: 'expired' }), 1)
  t.equal(metrics.value('gatehouse_refresh_lock_wait_seconds_count'), 1)
  t.equal(metrics.value('gatehouse_sessions_ended_total', { reason: 'local_logout' }), 1)
  t.equal(metrics.value('gatehouse_store_seconds_count', { operation: 'create', outcome: 'ok' }), 1)
  t.equal(metrics.value('gatehouse_provider_seconds_count', { operation: 'discovery', outcome: 'ok' }), 1)
  t.equal(metrics.value('gatehouse_provider_seconds_count', { operation: 'token', outcome: 'failed' }), 1)
  t.equal(
    metrics.value('gatehouse_provider_seconds_count', { operation: 'token', outcome: 'ok' }),
    2,
    'a login and a refresh',
  )
  t.ok(metrics.value('gatehouse_session_cache_total', { result: 'hit' }) >= 3)
  t.equal(metrics.value('gatehouse_streams_open', { kind: 'websocket' }), 0)
  t.equal(metrics.value('gatehouse_streams_open', { kind: 'event-stream' }), 0)
  t.equal(metrics.value('gatehouse_ready'), 1)
  const passed = metrics.value('gatehouse_upstream_seconds_count')
  t.equal(metrics.value('gatehouse_added_seconds_count'), passed, 'one of each for each request that went through')
  t.equal(metrics.value('gatehouse_upstream_seconds_bucket', { le: '+Inf' }), passed)
  t.equal(passed, metrics.value('gatehouse_requests_total', { verdict: 'forward' }))
})

void t.test('the wait for the upstream is the upstream’s, the wait for a token is the gateway’s', async (t) => {
  const slow = 300
  const application = await startApplication(t, (_req, res) => {
    setTimeout(() => {
      res.end('done')
    }, slow)
  })
  const { call, idp, gateway } = await loggedIn(t, {
    config: { admin: { listen: `127.0.0.1:${await freePort()}` }, upstream: application.url },
  })
  const sums = async (): Promise<[upstream: number, added: number]> => {
    const text = (await gateway.admin?.inject('/metrics'))?.body ?? ''
    const sum = (name: string): number =>
      Number(new RegExp(`^gatehouse_${name}_seconds_sum (\\S+)$`, 'm').exec(text)?.[1])
    return [sum('upstream'), sum('added')]
  }
  const before = await sums()
  t.equal((await call()).status, 200)
  const usual = await sums()
  t.ok(usual[0] - before[0] >= slow / 1000 - 0.01, `${usual[0] - before[0]} s at the upstream`)
  t.ok(usual[1] - before[1] < 0.2, `${usual[1] - before[1]} s added`)
  moveClock(t, 101_000)
  idp.fail('token', { delay: slow })
  t.equal((await call()).status, 200)
  const refreshed = await sums()
  t.ok(refreshed[1] - usual[1] >= slow / 1000 - 0.01, `${refreshed[1] - usual[1]} s added while the provider was asked`)
})

void t.test(
  'an upstream that can’t be reached has been waited for, but nothing was added to an answer of its own',
  async (t) => {
    const { call, gateway } = await loggedIn(t, {
      config: { admin: { listen: `127.0.0.1:${await freePort()}` }, upstream: `http://127.0.0.1:${await freePort()}` },
    })
    const before = (await gateway.admin?.inject('/metrics'))?.body ?? ''
    t.equal((await call()).status, 502)
    const after = (await gateway.admin?.inject('/metrics'))?.body ?? ''
    const count = (text: string, name: string): number =>
      Number(new RegExp(`^gatehouse_${name}_seconds_count (\\d+)$`, 'm').exec(text)?.[1])
    t.equal(count(after, 'upstream') - count(before, 'upstream'), 1)
    t.equal(count(after, 'added') - count(before, 'added'), 0)
  },
)

/** What requests could make, as opposed to the scrape itself and to the garbage collector. */
const seriesOf = ({ samples }: Scrape): string[] =>
  samples
    .map(({ name, labels }) => `${name} ${JSON.stringify(labels)}`)
    .filter((series) => !/_gc_|"ping"/.test(series))
    .toSorted()

void t.test('clients can’t make series: paths, hosts, methods, users and headers are in no label', async (t) => {
  const [port, own] = [await freePort(), await freePort()]
  const admin = `http://127.0.0.1:${port}`
  const { url, browser } = await loggedIn(t, {
    port: own,
    config: {
      publicUrl: [`http://127.0.0.1:${own}`, 'http://a.example', 'http://b.example'],
      admin: { listen: `127.0.0.1:${port}` },
      rateLimit: { login: 'off' },
      routes: [
        { path: '/**' },
        { path: '/api/**', host: 'a.example', access: 'public' },
        { path: '/api/**', host: 'b.example', access: 'public' },
      ],
    },
  })
  const visit = async (from: number): Promise<void> => {
    for (let i = from; i < from + 20; i += 1) {
      await browser.request(['GET', 'PROPFIND', 'DELETE', 'PURGE'][i % 4] ?? 'GET', `${url}/page-${i}/x?y=${i}`, {
        kind: 'none',
        headers: {
          'host': `host-${i}.example`,
          'x-forwarded-host': `other-${i}.example`,
          'accept': `type/of-${i}`,
          'sec-fetch-mode': `mode-${i}`,
        },
      })
      await browser.get(`${url}/oauth2/unknown-${i}`)
      await browser.get(`${url}/oauth2/login?redirect=/page-${i}&prompt=prompt-${i}`)
      await browser.get(`${url}/oauth2/callback?error=error-${i}&state=state-${i}`)
      await browser.get(`${url}/oauth2/silent?outcome=outcome-${i}`)
      await browser.request('GET', `${url}/`, { kind: 'none', target: `/%2e%2e/%zz${i}` })
    }
  }
  for (const host of ['a.example', 'b.example']) await browser.get(`${url}/api/x`, { headers: { host } })
  await visit(0)
  const once = await scrape(admin)
  await visit(20)
  const twice = await scrape(admin)
  t.same(seriesOf(twice), seriesOf(once))
  t.ok(twice.value('gatehouse_requests_total') >= once.value('gatehouse_requests_total') + 120)
  t.notOk(
    /example|page-|alice|error-|127\.0\.0\.1|PROPFIND|prompt-|state-|outcome-/.test(twice.text),
    'nothing of what was sent',
  )
  const routes = new Set(
    twice.samples.filter(({ name }) => name === 'gatehouse_requests_total').map(({ labels }) => labels['route'] ?? ''),
  )
  t.same(
    [...routes].toSorted(),
    ['-', '/**', '/api/** [1]', '/api/** [2]'],
    'two hosts with the same path are told apart without their names',
  )
})

void t.test('liveness is the process alone; readiness and its metric say what is missing', async (t) => {
  const port = await freePort()
  const admin = `http://127.0.0.1:${port}`
  const { gateway } = await startGateway(t, {
    config: { admin: { listen: `127.0.0.1:${port}` }, provider: { issuer: `http://127.0.0.1:${await freePort()}` } },
  })
  const ask = async (path: string): Promise<[status: number, body: unknown]> => {
    const answer = await fetch(admin + path)
    return [answer.status, await answer.json()]
  }
  t.same(await ask('/livez'), [200, { alive: true }])
  t.same(await ask('/readyz'), [
    503,
    { ready: false, checks: { provider: 'unavailable', store: 'ok', draining: false } },
  ])
  t.equal((await scrape(admin)).value('gatehouse_ready'), 0)
  gateway.drain()
  t.match(await ask('/readyz'), [503, { checks: { draining: true } }])
  t.same(await ask('/livez'), [200, { alive: true }], 'who drains is alive')
})
