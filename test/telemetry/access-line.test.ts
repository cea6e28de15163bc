import t from 'tap'
import { boundFields, formatAccessLine, type AccessLine } from '../../src/telemetry/access-line.ts'
import { openLog } from '../../src/telemetry/log.ts'

const usual: AccessLine = {
  id: 'm3x-1a-9',
  method: 'GET',
  host: 'orders.example.com',
  path: '/orders/7',
  status: 200,
  verdict: 'forward',
  route: 'GET orders.example.com/orders/**',
  ms: 1.5,
  client: '192.0.2.7',
  traceId: null,
  aborted: false,
}
const usualFields = { event: 'request', id: usual.id, status: 200 }
const TIME = Date.UTC(2026, 10, 25, 1, 2, 3, 4)

void t.test('an access line equals pino’s output', async (t) => {
  const lines: string[] = []
  const { log } = openLog('info', { stream: { write: (line) => lines.push(line) } })
  const { traceId: _traceId, aborted: _aborted, ...fields } = usual
  log.info({ event: 'request', ...fields })
  const expected: unknown = JSON.parse(
    (lines[0] ?? '').replace(/"time":"[^"]*"/, `"time":"${new Date(TIME).toISOString()}"`),
  )
  const line = formatAccessLine(usual, TIME)
  t.same(JSON.parse(line), expected)
  t.equal(line.indexOf('\n'), line.length - 1, 'one line')
})

void t.test('an access line has the fields of every log line', async (t) => {
  const { log } = openLog('info', { stream: { write: () => {} } })
  t.match(JSON.parse(formatAccessLine(usual, TIME, boundFields(log.child({ worker: 3 })))), {
    worker: 3,
    ...usualFields,
  })
  t.match(JSON.parse(formatAccessLine(usual, TIME, boundFields(log))), usualFields)
})

void t.test('any path or route stays one line of JSON', async (t) => {
  for (const odd of ['/"', '/\\', '/a\nb', '/\u2028', '/\u0000', '/ä', '/\ud800', '/"}\n{"event":"login"']) {
    const line = formatAccessLine({ ...usual, path: odd, route: odd }, TIME)
    t.equal(line.indexOf('\n'), line.length - 1)
    t.match(JSON.parse(line), { event: 'request', path: odd, route: odd })
  }
})

void t.test('an access line has its trace id, and says whether the response was aborted', async (t) => {
  const line = formatAccessLine({ ...usual, traceId: '4bf92f3577b34da6a3ce929d0e0e4736', aborted: true }, TIME)
  t.match(JSON.parse(line), { trace_id: '4bf92f3577b34da6a3ce929d0e0e4736', aborted: true })
  t.notOk('aborted' in JSON.parse(formatAccessLine(usual, TIME)))
})

void t.test('the time follows the clock', async (t) => {
  const times = [TIME, TIME, TIME + 1, TIME].map((time): unknown => JSON.parse(formatAccessLine(usual, time)).time)
  t.same(
    times,
    [TIME, TIME, TIME + 1, TIME].map((time) => new Date(time).toISOString()),
  )
})
