import { readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { parse } from 'yaml'
import { faults } from '../../src/errors.ts'
import { createMetrics } from '../../src/telemetry/metrics.ts'
import { loggedIn } from '../support/logged-in.ts'

type Line = { readonly [field: string]: unknown; readonly event: string; readonly path?: string }

const root = fileURLToPath(new URL('../../', import.meta.url))
const read = (file: string): string => readFileSync(join(root, file), 'utf8')

const section = (title: string): string => {
  const [, text] =
    new RegExp(`^## ${title}$([\\s\\S]*?)(?=^## |(?![\\s\\S]))`, 'm').exec(read('docs/operations.md')) ?? []
  if (text === undefined) throw new Error(`docs/operations.md has no section ${title}`)
  return text
}

const firstColumn = (text: string): string[] =>
  [...text.matchAll(/^\| (`.*?`) \|/gm)].flatMap(([, cell = '']) =>
    [...cell.matchAll(/`([^`]+)`/g)].map(([, name = '']) => name),
  )

const metrics = createMetrics()
metrics.watchReady(async () => true)
metrics.watchStore(() => 0)
metrics.watchSessions(() => 0)
metrics.watchStreams([], () => 0)
const registered = new Map((await metrics.registry.getMetricsAsJSON()).map(({ name, type }) => [name, String(type)]))

const ofTheProcess = /^gatehouse_(?:process|nodejs)_/

void t.test('the table of metrics lists exactly the registered metrics', async (t) => {
  t.same(
    firstColumn(section('Metrics'))
      .filter((name) => !ofTheProcess.test(name))
      .toSorted(),
    [...registered.keys()].filter((name) => !ofTheProcess.test(name)).toSorted(),
  )
  for (const name of firstColumn(section('Metrics'))) t.ok(registered.has(name), name)
})

void t.test('the table of events lists exactly the events that the source logs', async (t) => {
  const sources = readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' }).filter(
    (name) => name.endsWith('.ts') && !/^(?:demo|browser)\//.test(name),
  )
  const logged = sources.flatMap((file) =>
    [...read(`src/${file}`).matchAll(/\bevent(?:: '|":")(\w+)/g)].map(([, event = '']) => event),
  )
  t.same(
    [...new Set(firstColumn(section('Logs')))].toSorted(),
    [...new Set([...logged, ...Object.keys(faults)])].toSorted(),
  )
})

/** The names of metrics in PromQL: what is neither a function, a label, a keyword nor text. */
const namesIn = (expression: string): string[] => {
  const bare = expression
    .replace(/"(?:[^"\\]|\\.)*"/g, '')
    .replace(/\{[^}]*\}/g, ' ')
    .replace(/\b(?:by|without|on|ignoring)\s*\([^)]*\)/g, ' ')
    .replace(/\[[^\]]*\]/g, ' ')
  return [...bare.matchAll(/\b[a-z_][a-z0-9_]*\b(?!\s*\()/g)]
    .map(([name]) => name)
    .filter((name) => !['and', 'or', 'unless', 'by', 'up'].includes(name))
}

const isKnown = (name: string): boolean => {
  const [, base = ''] = /^(.*)_(?:bucket|sum|count)$/.exec(name) ?? []
  return registered.get(base) === 'histogram' || (registered.has(name) && registered.get(name) !== 'histogram')
}

const balanced = (expression: string): boolean =>
  ['()', '{}', '[]'].every(
    ([open = '', close = '']) => expression.split(open).length === expression.split(close).length,
  )

const objectsIn = (value: unknown): Record<string, unknown>[] =>
  typeof value !== 'object' || value === null
    ? []
    : [...(Array.isArray(value) ? [] : [{ ...value }]), ...Object.values(value).flatMap(objectsIn)]

void t.test('the alerts are well formed, and use only existing metrics', async (t) => {
  const rules = objectsIn(parse(read('helm/alerts/gatehouse.yaml'))).filter((one) => 'alert' in one)
  const names = rules.map(({ alert }) => String(alert))
  t.equal(new Set(names).size, names.length)
  for (const wanted of [
    'Down',
    'NotReady',
    'LoginsFail',
    'RefreshesFail',
    'StoreErrors',
    'AddsLatency',
    'EventLoopLag',
    'SessionsLost',
  ])
    t.ok(names.includes(`Gatehouse${wanted}`), wanted)
  for (const { alert, expr, labels, annotations, ...rest } of rules) {
    t.ok(typeof expr === 'string' && balanced(expr), String(alert))
    t.match(labels, { severity: /^(?:critical|warning)$/ })
    t.match(annotations, { summary: /./, description: /./ })
    t.ok(Object.keys(rest).every((key) => key === 'for'))
    const used = namesIn(String(expr))
    t.ok(used.every(isKnown), `${String(alert)}: ${used.filter((name) => !isKnown(name)).join()}`)
  }
  t.notOk(
    isKnown('gatehouse_added_seconds') ||
      isKnown('gatehouse_unknown_total') ||
      isKnown('gatehouse_logins_total_bucket'),
    'and others would be found',
  )
})

void t.test('the dashboard is well formed, and its panels use only existing metrics', async (t) => {
  const dashboard: unknown = JSON.parse(read('helm/dashboards/gatehouse.json'))
  t.match(dashboard, { title: 'Gatehouse', uid: 'gatehouse', schemaVersion: Number })
  const panels = objectsIn(dashboard).filter((one) => 'gridPos' in one && one['type'] !== 'row')
  t.ok(panels.length > 15)
  const ids = objectsIn(dashboard)
    .filter((one) => 'gridPos' in one)
    .map(({ id }) => id)
  t.equal(new Set(ids).size, ids.length)
  const used = new Set<string>()
  for (const { expr, legendFormat } of objectsIn(dashboard).filter((one) => 'expr' in one)) {
    t.ok(typeof expr === 'string' && typeof legendFormat === 'string' && balanced(expr))
    for (const name of namesIn(String(expr))) {
      t.ok(isKnown(name), name)
      used.add(name.replace(/_(?:bucket|count)$/, ''))
    }
  }
  const unseen = [...registered.keys()].filter((name) => !ofTheProcess.test(name) && !used.has(name))
  t.same(unseen, [], 'each of the gateway’s own has a place')
})

void t.test('the queries of the objectives use only existing metrics', async (t) => {
  const queries = [...section('Metrics').matchAll(/```promql\n([\s\S]*?)```/g)].map(([, query = '']) => query)
  t.ok(queries.length >= 4)
  for (const query of queries) {
    t.ok(balanced(query), query)
    t.same(
      namesIn(query).filter((name) => !isKnown(name)),
      [],
      query,
    )
  }
})

void t.test('the lines of the documentation have the fields of real lines', async (t) => {
  const documented = [...read('docs/operations.md').matchAll(/^\{"level".*\}$/gm)].map(([line]): Line =>
    JSON.parse(line),
  )
  t.same(
    documented.map(({ event }) => event),
    ['login', 'request', 'forbidden', 'request', 'session_ended'],
  )
  const { url, browser, events } = await loggedIn(t, {
    config: { routes: [{ path: '/**' }, { path: '/payroll/**', require: { claims: { groups: ['hr'] } } }] },
  })
  await browser.get(`${url}/salaries`)
  await browser.get(`${url}/payroll/2026`)
  await browser.get(`${url}/oauth2/logout`, { from: `${url}/` })
  for (const line of documented) {
    const real = events(line.event).find(({ path }) => path === undefined || path === line.path)
    t.same(Object.keys(line), Object.keys(real ?? {}), line.event)
    for (const name of ['verdict', 'route', 'why', 'reason', 'msg']) t.equal(line[name], real?.[name], name)
  }
})
