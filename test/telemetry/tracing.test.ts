import { randomBytes } from 'node:crypto'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { startIdp, type Idp } from '../../src/demo/idp.ts'
import { startUpstream, type Upstream } from '../../src/demo/upstream.ts'
import { VERSION } from '../../src/version.ts'
import { createBrowser } from '../support/browser.ts'
import { freePort } from '../support/free-port.ts'
import { open } from '../support/raw-http.ts'
import { startProgram, type Program } from '../support/program.ts'
import { startTraceReceiver, type ReceivedSpan } from './trace-receiver.ts'
import { eventually } from '../support/eventually.ts'
import { openWebSocket } from '../support/websocket.ts'

const script = { kind: 'script' } as const
const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736'
const PARENT = '00f067aa0ba902b7'
const context = { traceparent: `00-${TRACE}-${PARENT}-01`, tracestate: 'vendor=opaque' }

type Running = {
  readonly url: string
  readonly program: Program
  readonly idp: Idp
  readonly upstream: Upstream
  readonly stop: () => Promise<string>
}

/** Runs a gateway in its own process with additional variables; `stop` returns its output. */
const start = async (t: Test, env: Readonly<Record<string, string>>): Promise<Running> => {
  const [idp, upstream] = [await startIdp(), await startUpstream()]
  t.teardown(async () => {
    await idp.close()
    await upstream.close()
  })
  const url = `http://127.0.0.1:${await freePort()}`
  const clientSecret = randomBytes(16).toString('hex')
  await idp.registerClient({ clientId: 'traced', clientSecret, redirectUris: [`${url}/oauth2/callback`] })
  const program = startProgram(t, ['start'], {
    GATEHOUSE_LISTEN: new URL(url).host,
    GATEHOUSE_PUBLIC_URL: url,
    GATEHOUSE_UPSTREAM: upstream.url,
    GATEHOUSE_ADMIN: 'false',
    GATEHOUSE_PROVIDER_ISSUER: idp.issuer,
    GATEHOUSE_PROVIDER_CLIENT_ID: 'traced',
    GATEHOUSE_PROVIDER_CLIENT_SECRET: clientSecret,
    GATEHOUSE_SESSION_KEYS: randomBytes(32).toString('base64'),
    GATEHOUSE_ROUTES: '[{ path: /** }, { path: /api/**, access: optional }]',
    ...env,
  })
  await program.line(/"event":"listening"/)
  return {
    url,
    program,
    idp,
    upstream,
    async stop() {
      program.child.kill('SIGTERM')
      const { stdout, stderr, status } = await program.ended
      t.equal(status, 0, stderr)
      return stdout
    },
  }
}

const lines = (stdout: string): Record<string, unknown>[] =>
  stdout
    .split('\n')
    .filter((line) => line !== '')
    .map((line): Record<string, unknown> => JSON.parse(line))

const lastHeaders = ({ upstream }: Running): Record<string, unknown> => ({ ...upstream.requests.at(-1)?.headers })

void t.test(
  'a login and a request become spans, the upstream gets the gateway’s context, and the log has the trace id',
  async (t) => {
    const receiver = await startTraceReceiver(t)
    const running = await start(t, {
      OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url,
      OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json',
      OTEL_SERVICE_NAME: 'orders-gateway',
      OTEL_BSP_SCHEDULE_DELAY: '100',
    })
    const { url, idp, stop } = running
    const browser = createBrowser()
    await browser.login(`${url}/orders`, 'alice')
    t.equal(
      (await browser.get(`${url}/api/echo/alice@example.com?token=in-the-query`, { ...script, headers: context }))
        .status,
      200,
    )
    const passed = lastHeaders(running)
    await browser.get(`${url}/nowhere`, script)
    const stdout = await stop()

    const spans = receiver.spans()
    t.equal(receiver.requests[0]?.path, 'POST /v1/traces')
    t.match(receiver.resource(), {
      'service.name': 'orders-gateway',
      'service.version': VERSION,
      'telemetry.sdk.language': 'nodejs',
    })
    const named = (name: string, among: readonly ReceivedSpan[] = spans): ReceivedSpan => {
      const found = among.find((span) => span.name === name)
      if (found === undefined) throw new Error(`no span ${name} among ${among.map((span) => span.name).join(', ')}`)
      return found
    }
    const inTrace = spans.filter(({ traceId }) => traceId === TRACE)
    const server = named('GET /api/**', inTrace)
    t.match(server, {
      parentSpanId: PARENT,
      kind: 2,
      isError: false,
      attributes: {
        'http.request.method': 'GET',
        'http.route': '/api/**',
        'http.response.status_code': 200,
        'gatehouse.verdict': 'forward',
        'gatehouse.kind': 'script',
      },
    })
    const client = named('GET', inTrace)
    t.match(client, {
      parentSpanId: server.spanId,
      kind: 3,
      attributes: { 'http.response.status_code': 200, 'server.address': '127.0.0.1' },
    })
    t.match(
      passed,
      { traceparent: `00-${TRACE}-${client.spanId}-01`, tracestate: 'vendor=opaque' },
      'the upstream goes on from there',
    )

    const callback = named('GET /oauth2/callback')
    t.match(callback.attributes, { 'gatehouse.verdict': 'login', 'http.response.status_code': 302 })
    const token = named('provider token')
    t.match(token, { parentSpanId: callback.spanId, traceId: callback.traceId, kind: 3 })
    t.match(named('store create'), { parentSpanId: callback.spanId, attributes: { 'db.operation.name': 'create' } })
    t.equal(named('provider discovery').parentSpanId, '', 'during the start, not during a request')

    const told = JSON.stringify(spans)
    t.notOk(/alice|in-the-query|\?|code=|state=/.test(told), 'no path, no query, no user')
    for (const secret of idp.secretsIssued) t.notOk(told.includes(secret), secret.slice(0, 8))
    const access = lines(stdout).filter(({ event }) => event === 'request')
    t.equal(access.filter(({ trace_id: id }) => id === TRACE).length, 1)
    t.ok(
      access.every(({ trace_id: id }) => spans.some(({ traceId }) => traceId === id)),
      'each access line leads to a trace',
    )
  },
)

void t.test('a request whose client leaves, and a WebSocket at its end, end their spans', async (t) => {
  const receiver = await startTraceReceiver(t)
  const { url, upstream, stop } = await start(t, {
    OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url,
    OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json',
    GATEHOUSE_ROUTES: '[{ path: /**, access: public }]',
  })
  const socket = open(url)
  socket.write('GET /api/slow?ms=20000 HTTP/1.1\r\nHost: a\r\n\r\n')
  await eventually(() => upstream.requests.length === 1, { what: 'the request is in progress' })
  socket.destroy()
  const webSocket = await openWebSocket(`${url}/ws`, { headers: [`Origin: ${url}`] })
  t.equal(webSocket.status, 101)
  webSocket.socket.destroy()
  await webSocket.closed
  await stop()
  const statuses = receiver
    .spans()
    .filter(({ name, kind }) => name === 'GET /**' && kind === 2)
    .map(({ attributes }) => attributes['http.response.status_code'])
  t.same(new Set(statuses), new Set([101, 499]))
  t.equal(statuses.length, 2)
})

void t.test('protobuf is the default, headers are sent, and the sampler is respected', async (t) => {
  const receiver = await startTraceReceiver(t)
  const { url, stop } = await start(t, {
    OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: `${receiver.url}/collect`,
    OTEL_EXPORTER_OTLP_HEADERS: 'authorization=Bearer%20of-the-collector',
  })
  await createBrowser().get(`${url}/api/echo`, script)
  const stdout = await stop()
  t.match(receiver.requests[0], {
    path: 'POST /collect',
    headers: { 'content-type': 'application/x-protobuf', 'authorization': 'Bearer of-the-collector' },
  })
  t.ok(receiver.requests.some(({ body }) => body.includes('GET /api/**') && body.includes('gatehouse')))
  t.notOk(stdout.includes('of-the-collector'))

  const silent = await startTraceReceiver(t)
  const unsampled = await start(t, { OTEL_EXPORTER_OTLP_ENDPOINT: silent.url, OTEL_TRACES_SAMPLER: 'always_off' })
  await createBrowser().get(`${unsampled.url}/api/echo`, { ...script, headers: context })
  t.match(
    lastHeaders(unsampled),
    { traceparent: new RegExp(`^00-${TRACE}-[0-9a-f]{16}-00$`) },
    'the upstream need not sample it either',
  )
  await unsampled.stop()
  t.same(silent.requests, [])
})

void t.test('an unreachable collector fails no request and delays no stop, and is logged once', async (t) => {
  const { url, stop } = await start(t, {
    OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${await freePort()}`,
    OTEL_BSP_SCHEDULE_DELAY: '50',
    OTEL_EXPORTER_OTLP_TIMEOUT: '300',
  })
  const browser = createBrowser()
  for (let i = 0; i < 5; i += 1) t.equal((await browser.get(`${url}/api/echo`, script)).status, 200)
  const stdout = await stop()
  t.equal(lines(stdout).filter(({ event }) => event === 'traces_lost').length, 1)
})

void t.test(
  'OpenTelemetry is loaded only on request, and without it the client’s context passes unchanged',
  async (t) => {
    const loaded = async (
      env: Readonly<Record<string, string>>,
    ): Promise<{ isLoaded: boolean; headers: Record<string, unknown>; log: Record<string, unknown>[] }> => {
      // V8's coverage names every module that the process loads.
      const coverage = mkdtempSync(join(tmpdir(), 'gatehouse-coverage-'))
      t.teardown(() => {
        rmSync(coverage, { recursive: true })
      })
      const running = await start(t, { NODE_V8_COVERAGE: coverage, ...env })
      await createBrowser().get(`${running.url}/api/echo`, { ...script, headers: context })
      const log = lines(await running.stop())
      const reports = readdirSync(coverage).map((name) => readFileSync(join(coverage, name), 'utf8'))
      t.ok(reports.some((report) => report.includes('/dist/main.js')))
      const isLoaded = reports.some((report) => /\/dist\/chunks\/open-telemetry-\w+\.js/.test(report))
      return { isLoaded, headers: lastHeaders(running), log }
    }
    const endpoint = 'http://127.0.0.1:9'
    for (const env of [
      {},
      { OTEL_SERVICE_NAME: 'x' },
      { OTEL_EXPORTER_OTLP_ENDPOINT: endpoint, OTEL_SDK_DISABLED: 'true' },
      { OTEL_EXPORTER_OTLP_ENDPOINT: endpoint, OTEL_TRACES_EXPORTER: 'none' },
    ]) {
      const { isLoaded, headers, log } = await loaded(env)
      t.notOk(isLoaded, JSON.stringify(env))
      t.match(headers, context, 'byte for byte')
      t.match(
        log.find(({ event }) => event === 'request'),
        { trace_id: TRACE },
        'a client with its own tracing finds the line',
      )
    }
    const { isLoaded, log } = await loaded({ OTEL_TRACES_EXPORTER: 'console' })
    t.notOk(isLoaded)
    t.match(
      log.find(({ event }) => event === 'configuration'),
      { level: 'warn', msg: /OTEL_TRACES_EXPORTER/ },
    )
    t.ok((await loaded({ OTEL_TRACES_EXPORTER: 'otlp' })).isLoaded)
  },
)

void t.test('an invalid traceparent is ignored', async (t) => {
  const { url, stop } = await start(t, {})
  for (const traceparent of ['00-<script>-x-01', `00-${TRACE}-${PARENT}`, `00-${TRACE.toUpperCase()}-${PARENT}-01`])
    await createBrowser().get(`${url}/api/echo`, { ...script, headers: { traceparent } })
  t.notOk(lines(await stop()).some((line) => 'trace_id' in line))
})
