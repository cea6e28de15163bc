import { execFile, spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { promisify } from 'node:util'
import t from 'tap'
import { stringify } from 'yaml'
import { freePort } from '../support/free-port.ts'
import { loggedIn } from '../support/logged-in.ts'
import { scrape, type Scrape } from '../support/metrics.ts'
import { application, chart, configurationIn, helm, of, render, values, withValues, type Manifest } from './helm.ts'
import { mistakesIn } from './kubernetes-schemas.ts'

type Labels = Readonly<Record<string, string>>
type Rule = {
  readonly alert: string
  readonly expr: string
  readonly for?: string
  readonly labels: Labels
  readonly annotations: Labels
}
type Relabeling = { readonly targetLabel: string; readonly replacement: string }
type Monitor = {
  readonly metadata: { readonly name: string; readonly namespace: string; readonly labels: Labels }
  readonly spec: {
    readonly jobLabel?: string
    readonly selector: { readonly matchLabels: Labels }
    readonly namespaceSelector: { readonly matchNames: readonly string[] }
    readonly endpoints?: readonly Readonly<Record<string, unknown>>[]
    readonly podMetricsEndpoints?: readonly { readonly port: string; readonly relabelings: readonly Relabeling[] }[]
  }
}
type Case = {
  /** The values of series by their names, in promtool's notation, one value a minute. */
  readonly series: Readonly<Record<string, string>>
  readonly at: string
  /** The labels of the alert besides those of its rule; `null` if no alert fires. */
  readonly fires: Labels | null
}

const on = { enabled: true }

const ruleOf = (manifests: readonly Manifest[]): { readonly groups: readonly { readonly rules: readonly Rule[] }[] } =>
  (of(manifests, 'PrometheusRule') as unknown as { spec: { groups: { rules: Rule[] }[] } }).spec

const alertsOf = (manifests: readonly Manifest[]): readonly Rule[] =>
  ruleOf(manifests).groups.flatMap(({ rules }) => rules)

const queriesOf = (manifests: readonly Manifest[]): string[] => {
  const { data } = of(manifests, 'ConfigMap', 'shop-gatehouse-dashboard') as unknown as { data: Record<string, string> }
  return [...(data['gatehouse.json'] ?? '').matchAll(/"expr": ("(?:[^"\\]|\\.)*")/g)].map(([, quoted = '']) =>
    String(JSON.parse(quoted)),
  )
}

/** The labels that the Prometheus Operator gives to the target of a ServiceMonitor's endpoint. */
const targetOfService = (manifests: readonly Manifest[]): Labels => {
  const { metadata, spec } = of(manifests, 'ServiceMonitor') as unknown as Monitor
  const service = manifests.find(
    (one) =>
      one.kind === 'Service' &&
      Object.entries(spec.selector.matchLabels).every(
        ([name, value]) => (one as unknown as Monitor).metadata.labels[name] === value,
      ),
  ) as unknown as Monitor
  return {
    namespace: spec.namespaceSelector.matchNames[0] ?? metadata.namespace,
    service: service.metadata.name,
    job: service.metadata.labels[spec.jobLabel ?? ''] ?? service.metadata.name,
    ...POD,
  }
}

/** The labels that the Prometheus Operator gives to the target of a PodMonitor's endpoint. */
const targetOfPod = (manifests: readonly Manifest[]): Labels => {
  const { metadata, spec } = of(manifests, 'PodMonitor') as unknown as Monitor
  const relabelings = spec.podMetricsEndpoints?.[0]?.relabelings ?? []
  return {
    namespace: spec.namespaceSelector.matchNames[0] ?? metadata.namespace,
    job: `${metadata.namespace}/${metadata.name}`,
    ...POD,
    ...Object.fromEntries(relabelings.map(({ targetLabel, replacement }) => [targetLabel, replacement])),
  }
}

const POD = { pod: 'shop-gatehouse-0', container: 'gatehouse', endpoint: 'admin', instance: '10.0.0.7:9090' }

const seriesName = (name: string, labels: Labels): string =>
  `${name}{${Object.entries(labels)
    .map(([label, value]) => `${label}=${JSON.stringify(value)}`)
    .join(',')}}`

/** Adds the labels of a target to a series such as `up` or `name{label="value"}`. */
const ofTarget = (series: string, target: Labels): string => {
  const [, name = '', own = ''] = /^(\w+)(?:\{(.*)\})?$/.exec(series) ?? []
  return seriesName(name, target).replace('{', own === '' ? '{' : `{${own},`)
}

/** What makes each alert fire, and values that are close to it with which the alert does not fire. */
const cases: Readonly<Record<string, (target: Labels) => readonly Case[]>> = {
  GatehouseDown: (target) => [
    { series: { up: '0x9' }, at: '3m', fires: target },
    { series: { up: '1 0 1 0 1 0 1' }, at: '5m', fires: null },
  ],
  GatehouseAbsent: ({ job = '' }) => [
    { series: { 'up{other="target"}': '_x9' }, at: '6m', fires: { job } },
    { series: { up: '0x9' }, at: '6m', fires: null },
  ],
  GatehouseNotReady: (target) => [
    { series: { gatehouse_ready: '0x9' }, at: '3m', fires: target },
    { series: { gatehouse_ready: '1x9' }, at: '5m', fires: null },
  ],
  GatehouseLoginsFail: (target) => [
    {
      series: {
        'gatehouse_logins_total{outcome="ok"}': '0+2x30',
        'gatehouse_logins_total{outcome="provider_unavailable"}': '0+1x30',
      },
      at: '20m',
      fires: gateway(target),
    },
    {
      series: {
        'gatehouse_logins_total{outcome="ok"}': '0+2x30',
        'gatehouse_logins_total{outcome="silent_failed"}': '0+9x30',
        'gatehouse_logins_total{outcome="login_failed"}': '0 0 0 1 2 2 2 2 2 2 3 3 3 3',
      },
      at: '13m',
      fires: null,
    },
  ],
  GatehouseRefreshesFail: (target) => [
    {
      series: {
        'gatehouse_refreshes_total{outcome="refreshed",cause="due"}': '0+2x30',
        'gatehouse_refreshes_total{outcome="failed",cause="expired"}': '0+1x30',
      },
      at: '20m',
      fires: gateway(target),
    },
    {
      series: {
        'gatehouse_refreshes_total{outcome="refreshed",cause="due"}': '0+9x30',
        'gatehouse_refreshes_total{outcome="failed",cause="expired"}': '0+1x30',
      },
      at: '20m',
      fires: null,
    },
  ],
  GatehouseStoreErrors: (target) => [
    {
      series: { 'gatehouse_store_seconds_count{operation="read",outcome="failed"}': '0x9 0+10x20' },
      at: '20m',
      fires: { ...gateway(target), instance: POD.instance },
    },
    {
      series: { 'gatehouse_store_seconds_count{operation="read",outcome="ok"}': '0+1000x30' },
      at: '20m',
      fires: null,
    },
  ],
  GatehouseProviderErrors: (target) => [
    {
      series: { 'gatehouse_provider_seconds_count{operation="token",outcome="failed"}': '0x9 0+10x30' },
      at: '30m',
      fires: gateway(target),
    },
    {
      series: { 'gatehouse_provider_seconds_count{operation="token",outcome="refused"}': '0+1000x30' },
      at: '20m',
      fires: null,
    },
  ],
  GatehouseUpstreamErrors: (target) => [
    {
      series: { [requests('forward', '2xx')]: '0+90x30', [requests('upstream_unreachable', '5xx')]: '0+10x30' },
      at: '15m',
      fires: { ...gateway(target), route: '/api/**' },
    },
    {
      series: { [requests('forward', '5xx')]: '0+90x30', [requests('upstream_timeout', '5xx')]: '0+1x30' },
      at: '15m',
      fires: null,
    },
  ],
  GatehouseErrorBudget: (target) => [
    {
      series: { [requests('forward', '2xx')]: '0+90x90', [requests('forward', '5xx')]: '0+10x90' },
      at: '30m',
      fires: { ...gateway(target), route: '/api/**' },
    },
    {
      series: { [requests('forward', '2xx')]: '0+99x90', [requests('forward', '5xx')]: '0 0 0 4x90' },
      at: '30m',
      fires: null,
    },
  ],
  GatehouseAddsLatency: (target) => [
    {
      series: {
        'gatehouse_added_seconds_bucket{le="0.1"}': '0+90x30',
        'gatehouse_added_seconds_bucket{le="0.25"}': '0+100x30',
        'gatehouse_added_seconds_bucket{le="+Inf"}': '0+100x30',
      },
      at: '20m',
      fires: gateway(target),
    },
    {
      series: {
        'gatehouse_added_seconds_bucket{le="0.1"}': '0+100x30',
        'gatehouse_added_seconds_bucket{le="+Inf"}': '0+100x30',
      },
      at: '20m',
      fires: null,
    },
  ],
  GatehouseEventLoopLag: (target) => [
    { series: { gatehouse_nodejs_eventloop_lag_p99_seconds: '0.2x20' }, at: '15m', fires: target },
    { series: { gatehouse_nodejs_eventloop_lag_p99_seconds: '0.02x20' }, at: '15m', fires: null },
  ],
  GatehouseSessionsLost: (target) => [
    { series: { 'gatehouse_sessions_ended_total{reason="lost"}': '0x5 0+1x20' }, at: '20m', fires: gateway(target) },
    { series: { 'gatehouse_sessions_ended_total{reason="logout"}': '0+9x30' }, at: '20m', fires: null },
  ],
}

const gateway = ({ namespace = '', service = '', job = '' }: Labels): Labels => ({ namespace, service, job })

const requests = (verdict: string, status: string): string =>
  `gatehouse_requests_total{route="/api/**",kind="navigation",verdict="${verdict}",status="${status}"}`

const run = promisify(execFile)

/** Runs `promtool` with files of these contents as its last arguments. */
const promtool = async (
  args: readonly string[],
  files: Readonly<Record<string, unknown>>,
): Promise<{ status: number; output: string }> => {
  const folder = mkdtempSync(join(tmpdir(), 'gatehouse-promtool-'))
  try {
    for (const [name, content] of Object.entries(files)) writeFileSync(join(folder, name), stringify(content))
    const { stdout, stderr } = await run('promtool', [...args, Object.keys(files).at(-1) ?? ''], { cwd: folder })
    return { status: 0, output: `${stdout}${stderr}` }
  } catch (error) {
    const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string }
    return { status: code, output: `${stdout}${stderr}` }
  } finally {
    rmSync(folder, { recursive: true })
  }
}

const test = ({ alert, labels, annotations }: Rule, target: Labels, { series, at, fires }: Case): object => {
  const all = { ...labels, ...fires }
  const filled = Object.fromEntries(
    Object.entries(annotations).map(([name, value]) => [
      name,
      value.replace(/\{\{ \$labels\.(\w+) \}\}/g, (_, label: string) => all[label as keyof typeof all] ?? ''),
    ]),
  )
  return {
    name: `${alert} ${fires === null ? 'is quiet' : 'fires'}`,
    interval: '1m',
    input_series: Object.entries(series).map(([name, written]) => ({
      series: ofTarget(name, target),
      values: written,
    })),
    alert_rule_test: [
      {
        alertname: alert,
        eval_time: at,
        exp_alerts: fires === null ? [] : [{ exp_labels: all, exp_annotations: filled }],
      },
    ],
  }
}

const monitored = async (change: object, folder = chart): Promise<Manifest[]> =>
  render(folder, ...withValues(t, values({ prometheusRule: on, dashboard: on, ...change })))

const serviceMonitor = {
  enabled: true,
  namespace: 'monitoring',
  prometheusInstance: 'default',
  interval: '60s',
  scrapeTimeout: '30s',
  labels: { release: 'prometheus' },
  scheme: 'https',
  tlsConfig: { insecureSkipVerify: true },
  bearerTokenFile: '/var/run/token',
  annotations: { owner: 'platform' },
  metricRelabelings: [{ action: 'drop', regex: 'gatehouse_nodejs_.*', sourceLabels: ['__name__'] }],
  relabelings: [{ sourceLabels: ['__meta_kubernetes_pod_node_name'], targetLabel: 'node', action: 'replace' }],
}

const [ofServices, ofPods, renamed, sidecar, theirs, changed] = await Promise.all([
  monitored({ serviceMonitor: on }),
  monitored({ podMonitor: on }),
  monitored({ serviceMonitor: on, nameOverride: 'front' }),
  render(application(t), ...withValues(t, { gatehouse: { podMonitor: on, prometheusRule: on, dashboard: on } })),
  monitored({
    metrics: { enabled: true, port: 44180, service: { appProtocol: 'http' }, serviceMonitor },
  }),
  monitored({
    prometheusRule: {
      ...on,
      namespace: 'monitoring',
      labels: { release: 'prometheus' },
      annotations: { owner: 'platform' },
      alerts: { GatehouseDown: { for: '10m', labels: { severity: 'page' } }, GatehouseSessionsLost: false },
      groups: [{ name: 'orders', rules: [{ alert: 'OrdersQuiet', expr: 'absent(gatehouse_ready)' }] }],
    },
  }),
])

void t.test('the objects for Prometheus and Grafana are valid', async (t) => {
  t.same(await mistakesIn([ofServices, ofPods, sidecar, theirs, changed].flat()), [])
})

for (const [what, manifests, target] of [
  ['the ServiceMonitor', ofServices, targetOfService(ofServices)],
  ['the ServiceMonitor with nameOverride', renamed, targetOfService(renamed)],
  ['the PodMonitor of a sidecar', sidecar, targetOfPod(sidecar)],
] as const)
  void t.test(`each alert fires for the targets of ${what}, and is quiet otherwise`, async (t) => {
    const rules = alertsOf(manifests)
    t.same(
      rules.map(({ alert }) => alert),
      Object.keys(cases),
    )
    const tests = rules.flatMap((rule) => (cases[rule.alert]?.(target) ?? []).map((one) => test(rule, target, one)))
    t.equal(tests.length, 2 * rules.length)
    const { status, output } = await promtool(['test', 'rules'], {
      'rules.yaml': ruleOf(manifests),
      'tests.yaml': { rule_files: ['rules.yaml'], evaluation_interval: '1m', tests },
    })
    t.equal(status, 0, output)
  })

void t.test('the tests of alerts fail for the target of another job', async (t) => {
  const target = { ...targetOfService(ofServices), job: 'shop-gatehouse-admin' }
  const [rule] = alertsOf(ofServices)
  if (rule === undefined) throw new Error('no rule')
  const { status, output } = await promtool(['test', 'rules'], {
    'rules.yaml': ruleOf(ofServices),
    'tests.yaml': {
      rule_files: ['rules.yaml'],
      tests: cases[rule.alert]?.(target).map((one) => test(rule, target, one)),
    },
  })
  t.not(status, 0)
  t.match(output, /GatehouseDown/)
})

void t.test('the failures of one gateway do not disappear among the requests of another', async (t) => {
  const failing = targetOfService(ofServices)
  const busy = { ...failing, service: 'bigger-gatehouse-admin', instance: '10.0.0.8:9090', pod: 'bigger-0' }
  const rule = alertsOf(ofServices).find(({ alert }) => alert === 'GatehouseLoginsFail')
  const [fires] = cases['GatehouseLoginsFail']?.(failing) ?? []
  if (rule === undefined || fires === undefined) throw new Error('no rule')
  const both = test(rule, failing, fires) as { input_series: object[] }
  both.input_series.push({ series: ofTarget('gatehouse_logins_total{outcome="ok"}', busy), values: '0+1000x30' })
  const { status, output } = await promtool(['test', 'rules'], {
    'rules.yaml': ruleOf(ofServices),
    'tests.yaml': { rule_files: ['rules.yaml'], evaluation_interval: '1m', tests: [both] },
  })
  t.equal(status, 0, output)
})

/** The metrics in a PromQL expression, with the labels and values that the expression compares. */
const selectorsIn = (expression: string): { name: string; matchers: [label: string, values: string[]][] }[] =>
  [...expression.matchAll(/\b((?:gatehouse_\w+|up))\b(?:\{([^}]*)\})?/g)].map(([, name = '', inside = '']) => ({
    name,
    matchers: [...inside.matchAll(/(\w+)\s*[!=]~?\s*"([^"]*)"/g)].map(([, label = '', value = '']) => [
      label,
      value.split('|'),
    ]),
  }))

const groupingsIn = (expression: string): string[] =>
  [...expression.matchAll(/\bby \(([^)]*)\)/g)].flatMap(([, list = '']) => list.split(/,\s*/))

const ofPrometheus = new Set(['job', 'instance', 'namespace', 'service'])

void t.test('what alerts and dashboard query is what a real gateway measures', async (t) => {
  const port = await freePort()
  const { browser, url } = await loggedIn(t, { config: { admin: { listen: `127.0.0.1:${port}` } } })
  await browser.get(`${url}/orders`)
  const measured: Scrape = await scrape(`http://127.0.0.1:${port}`)

  await t.test('promtool finds nothing wrong with the metrics', async (t) => {
    const child = spawn('promtool', ['check', 'metrics'], { stdio: ['pipe', 'pipe', 'pipe'] })
    child.stdin.end(measured.text)
    const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr)])
    t.equal(`${stdout}${stderr}`, '')
  })

  await t.test('each metric, label and value of a query exists before the first failure', async (t) => {
    const queries = [...alertsOf(ofServices).map(({ expr }) => expr), ...queriesOf(ofServices)]
    t.ok(queries.length > 35)
    for (const query of queries) {
      const selectors = selectorsIn(query)
      t.ok(selectors.length > 0, query)
      const grouped = new Set(ofPrometheus)
      for (const { name, matchers } of selectors) {
        const samples = name === 'up' ? [] : measured.samples.filter((sample) => sample.name === name)
        t.ok(name === 'up' || samples.length > 0, `${name} in ${query}`)
        for (const label of samples.flatMap(({ labels }) => Object.keys(labels))) grouped.add(label)
        for (const [label, wanted] of matchers.filter(([label]) => !ofPrometheus.has(label)))
          for (const value of wanted)
            t.ok(
              samples.some(({ labels }) => labels[label] === value),
              `${name}{${label}="${value}"} in ${query}`,
            )
      }
      t.same(
        groupingsIn(query).filter((label) => !grouped.has(label)),
        [],
        query,
      )
    }
  })

  await t.test('promtool answers each query of the dashboard with what the gateway has measured', async (t) => {
    const target = targetOfService(ofServices)
    const input = measured.samples.map(({ name, labels, value }) => ({
      series: seriesName(name, { ...labels, ...target }),
      // Without exponents, which promtool does not read in sequences.
      values: `${Number.isFinite(value) ? value.toFixed(9) : 0}+1x20`,
    }))
    const promql = queriesOf(ofServices).map((query) => ({
      expr: `absent(${query.replaceAll('$__rate_interval', '5m').replaceAll('$job', 'gatehouse')})`,
      eval_time: '15m',
      exp_samples: [],
    }))
    t.ok(promql.length > 25)
    const check = async (promql_expr_test: readonly object[]): Promise<{ status: number; output: string }> =>
      promtool(['test', 'rules'], {
        'tests.yaml': { tests: [{ interval: '1m', input_series: input, promql_expr_test }] },
      })
    const { status, output } = await check(promql)
    t.equal(status, 0, output)
    const unknown = { expr: 'absent(gatehouse_unknown_total{job="gatehouse"})', eval_time: '15m', exp_samples: [] }
    t.match(await check([unknown]), { status: 1, output: /gatehouse_unknown_total/ }, 'an unknown metric is found')
  })
})

void t.test('the monitors have the names and keys of oauth2-proxy’s chart', async (t) => {
  const expected = {
    metadata: {
      namespace: 'monitoring',
      labels: { release: 'prometheus', prometheus: 'default' },
      annotations: { owner: 'platform' },
    },
    spec: {
      jobLabel: 'app.kubernetes.io/name',
      namespaceSelector: { matchNames: ['orders'] },
      endpoints: [
        {
          port: 'admin',
          path: '/metrics',
          interval: '60s',
          scrapeTimeout: '30s',
          scheme: 'https',
          bearerTokenFile: '/var/run/token',
          tlsConfig: { insecureSkipVerify: true },
          metricRelabelings: serviceMonitor.metricRelabelings,
          relabelings: serviceMonitor.relabelings,
        },
      ],
    },
  }
  t.match(of(theirs, 'ServiceMonitor'), expected)
  t.match(of(theirs, 'Service', 'shop-gatehouse-admin'), { spec: { ports: [{ port: 44180, appProtocol: 'http' }] } })
  t.match(configurationIn(theirs), 'listen: 0.0.0.0:44180')
  const ours = await monitored({ serviceMonitor })
  t.same(of(ours, 'ServiceMonitor'), of(theirs, 'ServiceMonitor'))
  const off = await monitored({ metrics: { enabled: false, serviceMonitor } })
  t.notOk(off.some(({ kind }) => kind === 'ServiceMonitor'))
})

void t.test('a PodMonitor scrapes the sidecars that an application’s pods contain', async (t) => {
  const { spec } = of(sidecar, 'PodMonitor') as unknown as Monitor
  const { template } = (
    of(sidecar, 'Deployment') as unknown as { spec: { template: Monitor & { spec: { initContainers: object[] } } } }
  ).spec
  t.match(template.metadata.labels, spec.selector.matchLabels)
  t.match(template.spec.initContainers, [{ ports: [{ name: 'http' }, { name: spec.podMetricsEndpoints?.[0]?.port }] }])
  const own = await render(
    application(t),
    ...withValues(t, { gatehouse: { podMonitor: { ...on, matchLabels: { app: 'orders' } } } }),
  )
  t.same((of(own, 'PodMonitor') as unknown as Monitor).spec.selector, { matchLabels: { app: 'orders' } })
})

void t.test('a PodMonitor selects the pods of the Deployment, whose targets are those of a sidecar', async (t) => {
  const { template } = (of(ofPods, 'Deployment') as unknown as { spec: { template: Monitor } }).spec
  t.match(template.metadata.labels, (of(ofPods, 'PodMonitor') as unknown as Monitor).spec.selector.matchLabels)
  t.same(targetOfPod(ofPods), targetOfPod(sidecar))
})

void t.test('alerts can be changed, dropped and added', async (t) => {
  t.match(of(changed, 'PrometheusRule'), {
    metadata: { namespace: 'monitoring', labels: { release: 'prometheus' }, annotations: { owner: 'platform' } },
  })
  const alerts = alertsOf(changed)
  t.match(alerts[0], {
    alert: 'GatehouseDown',
    for: '10m',
    expr: 'up{job="gatehouse"} == 0',
    labels: { severity: 'page' },
  })
  t.notOk(alerts.some(({ alert }) => alert === 'GatehouseSessionsLost'))
  t.equal(alerts.at(-1)?.alert, 'OrdersQuiet')
  t.equal(alerts.length, Object.keys(cases).length)
  const { status, output } = await promtool(['check', 'rules'], { 'rules.yaml': ruleOf(changed) })
  t.equal(status, 0, output)
})

void t.test('Grafana’s sidecar finds the dashboard by its label', async (t) => {
  t.match(of(ofServices, 'ConfigMap', 'shop-gatehouse-dashboard'), {
    metadata: { namespace: 'orders', labels: { grafana_dashboard: '1' } },
  })
  const placed = await monitored({
    dashboard: {
      ...on,
      namespace: 'monitoring',
      labels: { grafana_dashboard: 'yes' },
      annotations: { grafana_folder: 'Gateways' },
    },
  })
  const found = of(placed, 'ConfigMap', 'shop-gatehouse-dashboard') as unknown as { data: Record<string, string> }
  t.match(found, {
    metadata: {
      namespace: 'monitoring',
      labels: { grafana_dashboard: 'yes' },
      annotations: { grafana_folder: 'Gateways' },
    },
  })
  const dashboard = JSON.parse(found.data['gatehouse.json'] ?? '') as {
    templating: { list: { name: string; type: string }[] }
    panels: { type: string; datasource?: unknown; targets?: { datasource?: unknown }[] }[]
  }
  t.match(dashboard, { uid: 'gatehouse', title: 'Gatehouse', schemaVersion: 39, id: undefined })
  t.match(dashboard.templating.list[0], { name: 'datasource', type: 'datasource' })
  for (const panel of dashboard.panels.filter(({ type }) => type !== 'row'))
    t.same(panel.datasource, { type: 'prometheus', uid: '${datasource}' })
})

void t.test('contradictory values of monitors are refused', async (t) => {
  const refusals: [object, RegExp][] = [
    [{ serviceMonitor: on, podMonitor: on }, /serviceMonitor and podMonitor would scrape each gateway twice/],
    [
      { metrics: { serviceMonitor: on }, probes: { type: 'exec' } },
      /serviceMonitor needs the admin listener on the pod/,
    ],
    [{ podMonitor: on, probes: { type: 'exec' } }, /podMonitor needs the admin listener on the pod's address/],
    [
      { mode: 'sidecar', upstreamService: {}, serviceMonitor: on },
      /serviceMonitor is for mode: proxy.*write podMonitor\.enabled: true/,
    ],
    [
      { metrics: { port: 9191 }, config: { admin: { listen: '0.0.0.0:9090' } } },
      /metrics\.port: 9191 is not the port of config\.admin\.listen/,
    ],
    [
      { prometheusRule: { ...on, alerts: { GatehouseLost: false } } },
      /prometheusRule\.alerts\.GatehouseLost is the name of no alert: the alerts are GatehouseDown, /,
    ],
    [{ prometheusRule: { ...on, alerts: { GatehouseDown: true } } }, /GatehouseDown/],
  ]
  for (const [change, words] of refusals) {
    const { status, output } = await helm('template', 'shop', chart, ...withValues(t, values(change)))
    t.not(status, 0)
    t.match(output, words)
  }
})

void t.test('the installation notes say when the NetworkPolicy keeps Prometheus out', async (t) => {
  const notes = async (networkPolicy: object): Promise<string> => {
    const given = withValues(t, values({ podMonitor: on, networkPolicy: { ...on, ...networkPolicy } }))
    return (await helm('install', 'shop', chart, '--dry-run=client', ...given)).output
  }
  const prometheus = [{ podSelector: { matchLabels: { app: 'prometheus' } } }]
  t.match(await notes({}), /Prometheus cannot scrape the pods until you list it there/)
  t.notMatch(await notes({ adminFrom: prometheus }), /cannot scrape/)
})
