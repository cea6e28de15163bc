import t from 'tap'
import { aggregateMetrics, createMetrics } from '../../src/telemetry/metrics.ts'
import { VERSION } from '../../src/version.ts'
import { createBrowser } from '../support/browser.ts'
import { moveClock } from '../support/clock.ts'
import { eventually } from '../support/eventually.ts'
import { exchange } from '../support/exchange.ts'
import { freePort } from '../support/free-port.ts'
import { startGateway } from '../support/gateway.ts'
import { loggedIn } from '../support/logged-in.ts'
import { readMetrics, scrape, type Scrape } from '../support/metrics.ts'
import { ask } from '../support/raw-http.ts'
import { callbackFor } from '../support/sign-in.ts'
import { startApplication } from '../support/application.ts'
import { openWebSocket } from '../support/websocket.ts'

const script = { kind: 'script' } as const

/** The names that dashboards and alerts of operators build on, with their types and the labels that they have. */
const promised: readonly [name: string, type: string, labels: readonly string[]][] = [
  ['gatehouse_requests_total', 'counter', ['kind', 'route', 'status', 'verdict']],
  ['gatehouse_upstream_seconds', 'histogram', ['route']],
  ['gatehouse_added_seconds', 'histogram', []],
  ['gatehouse_logins_total', 'counter', ['outcome']],
  ['gatehouse_refreshes_total', 'counter', ['cause', 'outcome']],
  ['gatehouse_refresh_lock_wait_seconds', 'histogram', []],
  ['gatehouse_sessions_ended_total', 'counter', ['reason']],
  ['gatehouse_store_seconds', 'histogram', ['operation', 'outcome']],
  ['gatehouse_session_cache_total', 'counter', ['result']],
  ['gatehouse_session_cache_sessions', 'gauge', []],
  ['gatehouse_streams_open', 'gauge', ['kind']],
  ['gatehouse_nodejs_eventloop_lag_seconds', 'gauge', []],
  ['gatehouse_nodejs_eventloop_lag_p99_seconds', 'gauge', []],
  ['gatehouse_ready', 'gauge', []],
  ['gatehouse_sessions_begun_total', 'counter', []],
  ['gatehouse_provider_seconds', 'histogram', ['operation', 'outcome']],
  ['gatehouse_store_evictions_total', 'counter', []],
  ['gatehouse_store_sessions', 'gauge', []],
  ['gatehouse_build_info', 'gauge', ['node_version', 'version']],
]

void t.test('each documented metric exists after real flows, with its type and labels', async (t) => {
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
  t.equal((await scrape(admin)).value('gatehouse_session_cache_sessions'), 1)
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
    'a series without events is 0, so that its first event is an increase',
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
  t.equal(metrics.value('gatehouse_session_cache_sessions'), 0)
  t.equal(metrics.value('gatehouse_ready'), 1)
  const passed = metrics.value('gatehouse_upstream_seconds_count')
  t.equal(metrics.value('gatehouse_added_seconds_count'), passed, 'one of each for each request that went through')
  t.equal(metrics.value('gatehouse_upstream_seconds_bucket', { le: '+Inf' }), passed)
  t.equal(passed, metrics.value('gatehouse_requests_total', { verdict: 'forward' }))
})

void t.test('waiting for the upstream counts as upstream time, and waiting for a token as the gateway’s', async (t) => {
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
      Number(new RegExp(`^gatehouse_${name}_seconds_sum(?:\\{.*\\})? (\\S+)$`, 'm').exec(text)?.[1])
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

void t.test('an unreachable upstream has upstream time, and no overhead is measured for it', async (t) => {
  const { call, gateway } = await loggedIn(t, {
    config: { admin: { listen: `127.0.0.1:${await freePort()}` }, upstream: `http://127.0.0.1:${await freePort()}` },
  })
  const before = (await gateway.admin?.inject('/metrics'))?.body ?? ''
  t.equal((await call()).status, 502)
  const after = (await gateway.admin?.inject('/metrics'))?.body ?? ''
  const count = (text: string, name: string): number =>
    Number(new RegExp(`^gatehouse_${name}_seconds_count(?:\\{.*\\})? (\\d+)$`, 'm').exec(text)?.[1])
  t.equal(count(after, 'upstream') - count(before, 'upstream'), 1)
  t.equal(count(after, 'added') - count(before, 'added'), 0)
})

/** What requests could make, as opposed to the scrape itself and to the garbage collector. */
const seriesOf = ({ samples }: Scrape): string[] =>
  samples
    .map(({ name, labels }) => `${name} ${JSON.stringify(labels)}`)
    .filter((series) => !/_gc_|"ping"/.test(series))
    .toSorted()

void t.test('clients can’t create series: no label contains paths, hosts, methods, users or headers', async (t) => {
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
    'no label contains the client’s values',
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

void t.test('liveness depends only on the process, and readiness and its metric say what is missing', async (t) => {
  const port = await freePort()
  const admin = `http://127.0.0.1:${port}`
  const { gateway } = await startGateway(t, {
    config: { admin: { listen: `127.0.0.1:${port}` }, provider: { issuer: `http://127.0.0.1:${await freePort()}` } },
  })
  const ask = async (path: string): Promise<[status: number, body: unknown]> => {
    const answer = await fetch(admin + path)
    return [answer.status, await answer.json()]
  }
  t.same(await ask('/livez'), [200, { alive: true, version: VERSION }])
  t.same(await ask('/readyz'), [
    503,
    { ready: false, checks: { provider: 'unavailable', store: 'ok', draining: false } },
  ])
  t.equal((await scrape(admin)).value('gatehouse_ready'), 0)
  gateway.drain()
  t.match(await ask('/readyz'), [503, { checks: { draining: true } }])
  t.same(await ask('/livez'), [200, { alive: true, version: VERSION }], 'a draining process is alive')
})

void t.test('every counter starts at zero, with the series on which alerts build', async (t) => {
  const port = await freePort()
  await startGateway(t, {
    config: {
      admin: { listen: `127.0.0.1:${port}` },
      routes: [{ path: '/**' }, { path: '/assets/**', access: 'public' }],
    },
  })
  const { types, samples, value } = await scrape(`http://127.0.0.1:${port}`)
  for (const [name, type] of types)
    if (type === 'counter') t.ok(samples.filter((sample) => sample.name === name).length > 0, name)
  for (const { name, labels, value: count } of samples)
    if (types.get(name) === 'counter' && !name.includes('process_cpu')) t.equal(count, 0, `${name} ${String(labels)}`)
  for (const route of ['/**', '/assets/**']) {
    for (const status of ['2xx', '3xx', '4xx', '5xx'])
      t.equal(value('gatehouse_requests_total', { route, status, kind: 'script', verdict: 'forward' }), 0)
    for (const verdict of ['upstream_unreachable', 'upstream_timeout'])
      t.equal(value('gatehouse_requests_total', { route, verdict, kind: 'navigation', status: '5xx' }), 0)
    t.equal(value('gatehouse_upstream_seconds_count', { route }), 0)
  }
  t.equal(value('gatehouse_requests_total', { route: '/**', verdict: 'forbidden', status: '4xx' }), 0)
  t.equal(value('gatehouse_requests_total', { route: '-', verdict: 'store_unavailable', status: '5xx' }), 0)
  t.equal(value('gatehouse_logins_total', { outcome: 'gave_up' }), 0)
  t.equal(value('gatehouse_store_seconds_count', { operation: 'read', outcome: 'failed' }), 0)
  t.equal(value('gatehouse_provider_seconds_count', { operation: 'token', outcome: 'failed' }), 0)
  t.equal(value('gatehouse_refresh_lock_wait_seconds_count'), 0)
})

void t.test('requests are counted by the class of their status, and upstream time by route', async (t) => {
  const application = await startApplication(t, ({ url = '' }, res) => {
    res.statusCode = Number(url.slice(-3))
    res.end()
  })
  const port = await freePort()
  const { url } = await startGateway(t, {
    config: {
      upstream: application.url,
      admin: { listen: `127.0.0.1:${port}` },
      routes: [
        { path: '/**', access: 'public' },
        { path: '/api/**', access: 'public' },
      ],
    },
  })
  for (const path of ['/200', '/204', '/304', '/404', '/503', '/api/999']) await ask(url, 'GET', path)
  const { value } = await scrape(`http://127.0.0.1:${port}`)
  const count = (route: string, status: string): number =>
    value('gatehouse_requests_total', { route, status, kind: 'script', verdict: 'forward' })
  t.same(
    ['2xx', '3xx', '4xx', '5xx'].map((status) => count('/**', status)),
    [2, 1, 1, 1],
  )
  t.equal(count('/api/**', '9xx'), 1)
  t.equal(value('gatehouse_upstream_seconds_count', { route: '/**' }), 5)
  t.equal(value('gatehouse_upstream_seconds_bucket', { route: '/api/**', le: '+Inf' }), 1)
})

void t.test('the metrics of several workers are added, and the version counts once', async (t) => {
  const workers = [createMetrics(), createMetrics()]
  for (const metrics of workers) {
    metrics.initializeRequest('/**', 'script', 'forward', 500)
    metrics.countRequest('/**', 'script', 'forward', 200)
    metrics.upstreamSeconds.observeMs(20, '/**')
  }
  const all = await Promise.all(workers.map(async ({ registry }) => registry.getMetricsAsJSON()))
  const { value } = readMetrics((await aggregateMetrics(all)).text)
  t.equal(value('gatehouse_requests_total', { route: '/**', status: '2xx' }), 2)
  t.equal(value('gatehouse_requests_total', { route: '/**', status: '5xx' }), 0)
  t.equal(value('gatehouse_upstream_seconds_bucket', { route: '/**', le: '0.025' }), 2)
  t.equal(value('gatehouse_upstream_seconds_bucket', { route: '/**', le: '0.01' }), 0)
  t.equal(value('gatehouse_upstream_seconds_sum', { route: '/**' }), 0.04)
  t.equal(value('gatehouse_build_info', { version: VERSION, node_version: process.version }), 1)
})
