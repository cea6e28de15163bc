import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { parse, stringify } from 'yaml'
import {
  application,
  chart,
  charts,
  configurationIn,
  helm,
  of,
  render,
  renderAs,
  values,
  withValues,
  type Manifest,
} from './helm.ts'
import { mistakesIn } from './kubernetes-schemas.ts'

type Container = Readonly<Record<string, unknown>> & { readonly name: string; readonly env: unknown }
interface Pod {
  readonly containers: readonly Container[]
  readonly initContainers?: readonly Container[]
}

/** The objects of all tests, which the last test checks with one run of the compiler. */
const rendered: Manifest[] = []

const podOf = (manifests: readonly Manifest[]): Pod =>
  (of(manifests, 'Deployment') as unknown as { spec: { template: { spec: Pod } } }).spec.template.spec

const gatewayIn = (manifests: readonly Manifest[]): Container => {
  const { containers, initContainers = [] } = podOf(manifests)
  const found = [...containers, ...initContainers].find(({ name }) => name === 'gatehouse')
  if (found === undefined) throw new Error('no gateway')
  return found
}

const messageOf = async (t: Test, given: object): Promise<string> => {
  const { status, output } = await helm('template', 'shop', chart, ...withValues(t, given))
  t.not(status, 0, 'refused')
  return output
}

void t.test('texts that refer to the release are rendered, in every value', async (t) => {
  const manifests = await render(
    chart,
    ...withValues(t, {
      global: { domain: 'example.com', team: 'shop' },
      existingSecret: '{{ .Release.Name }}-oidc',
      upstreamService: { name: '{{ .Release.Name }}-orders' },
      extraEnv: [{ name: 'TEAM', value: '{{ $.Values.global.team | upper }}' }],
      podAnnotations: { team: '{{.Values.global.team}}', chart: '{{- printf "%s!" .Chart.Name }}' },
      customLabels: { team: '{{ .Values.global.team }}' },
      ingress: { enabled: true, annotations: { name: '{{ include "gatehouse.fullname" $ }}' } },
      gatewayApi: {
        enabled: true,
        gatewayRef: { name: '{{ .Release.Namespace }}' },
        hostnames: ['{{ .Release.Name }}.test'],
      },
      extraVolumes: [{ name: 'more', secret: { secretName: '{{ .Release.Name }}-more' } }],
      extraObjects: [
        { apiVersion: 'v1', kind: 'Secret', metadata: { name: '{{ .Release.Name }}-map' } },
        'apiVersion: v1\nkind: Secret\nmetadata: { name: {{ .Release.Name }}-text }\n',
      ],
      config: {
        publicUrl: 'https://{{ .Release.Name }}.{{ .Values.global.domain }}',
        provider: { issuer: 'https://login.{{ .Values.global.domain }}', clientId: 'orders' },
        routes: [{ path: '/**', require: { claims: { team: ['{{ .Values.global.team }}'] } } }],
      },
    }),
  )
  rendered.push(...manifests)
  t.match(parse(configurationIn(manifests)), {
    publicUrl: 'https://shop.example.com',
    provider: { issuer: 'https://login.example.com' },
    upstream: 'http://shop-orders:80',
    routes: [{ require: { claims: { team: ['shop'] } } }],
  })
  t.match(gatewayIn(manifests), {
    env: [{ name: 'GATEHOUSE_CONFIG' }, { name: 'TEAM', value: 'SHOP' }],
    envFrom: [{ secretRef: { name: 'shop-oidc' } }],
  })
  t.match(of(manifests, 'Deployment'), {
    metadata: { labels: { team: 'shop' } },
    spec: {
      template: {
        metadata: { annotations: { team: 'shop', chart: 'gatehouse!' }, labels: { team: 'shop' } },
        spec: { volumes: [{}, { secret: { secretName: 'shop-more' } }] },
      },
    },
  })
  t.match(of(manifests, 'Ingress'), {
    metadata: { annotations: { name: 'shop-gatehouse' } },
    spec: { rules: [{ host: 'shop.example.com' }] },
  })
  t.match(of(manifests, 'HTTPRoute'), { spec: { parentRefs: [{ name: 'orders' }], hostnames: ['shop.test'] } })
  t.ok(of(manifests, 'Secret', 'shop-map'))
  t.ok(of(manifests, 'Secret', 'shop-text'))
})

void t.test('braces of other programs stay as they are', async (t) => {
  const texts = {
    vault: '{{- with secret "kv/orders" -}}{{ .Data.data.key }}{{ .Data.Values }}{{- end }}',
    externalSecret: '{{ .password | toString }}',
    plain: 'a {{ b }} ${C} {d}',
  }
  const manifests = await render(chart, ...withValues(t, values({ podAnnotations: texts, config: { pages: texts } })))
  t.match(of(manifests, 'Deployment'), { spec: { template: { metadata: { annotations: texts } } } })
  t.match(parse(configurationIn(manifests)), { pages: texts })
})

void t.test('a rendered secret in the configuration is refused too', async (t) => {
  const provider = {
    issuer: 'https://login.example.com',
    clientId: 'orders',
    clientSecret: '{{ .Values.global.secret }}',
  }
  t.match(
    await messageOf(t, { global: { secret: 'written-out' }, config: { provider } }),
    'config.provider.clientSecret is a secret',
  )
})

/** Makes the chart of an application that depends on the gateway's chart from a folder, if `gatehouse.enabled`. */
const dependent = async (t: Test): Promise<string> => {
  const folder = mkdtempSync(join(tmpdir(), 'gatehouse-dependent-'))
  t.teardown(() => {
    rmSync(folder, { recursive: true })
  })
  cpSync(join(charts, 'gatehouse'), join(folder, 'gatehouse'), { recursive: true })
  mkdirSync(join(folder, 'orders/templates'), { recursive: true })
  const dependency = {
    name: 'gatehouse',
    version: '0.1.0',
    repository: 'file://../gatehouse',
    condition: 'gatehouse.enabled',
  }
  writeFileSync(
    join(folder, 'orders/Chart.yaml'),
    stringify({ apiVersion: 'v2', name: 'orders', version: '1.0.0', dependencies: [dependency] }),
  )
  writeFileSync(
    join(folder, 'orders/templates/config.yaml'),
    'apiVersion: v1\nkind: ConfigMap\nmetadata: { name: orders }\ndata: { gateway: {{ .Values.gatehouse.enabled | quote }} }\n',
  )
  const { status, output } = await helm('dependency', 'build', join(folder, 'orders'))
  t.equal(status, 0, output)
  return join(folder, 'orders')
}

void t.test('the chart is a dependency that a condition switches off', async (t) => {
  const orders = await dependent(t)
  const kinds = async (given: object): Promise<string[]> =>
    (await render(orders, ...withValues(t, { global: { anything: 1 }, gatehouse: given }))).map(({ kind }) => kind)
  t.same(await kinds({ enabled: false }), ['ConfigMap'])
  t.same((await kinds({ enabled: true, ...values() })).toSorted(), [
    'ConfigMap',
    'ConfigMap',
    'Deployment',
    'Pod',
    'Service',
    'ServiceAccount',
  ])
  t.same(await kinds({ enabled: true, ...values(), upstreamService: {}, mode: 'sidecar' }), ['ConfigMap', 'ConfigMap'])
})

void t.test('`enabled: false` renders nothing without a condition too', async (t) => {
  const on = { enabled: true }
  const given = values({
    enabled: false,
    replicaCount: 3,
    ingress: on,
    gatewayApi: on,
    networkPolicy: on,
    podDisruptionBudget: on,
    forwardAuth: on,
    serviceMonitor: on,
    prometheusRule: on,
    dashboard: on,
    extraObjects: [{ apiVersion: 'v1', kind: 'Secret', metadata: { name: 'more' } }],
  })
  t.same(await render(chart, ...withValues(t, given)), [])
})

void t.test('the application’s chart with the sidecar can be installed without the gateway', async (t) => {
  const folder = application(t)
  const without = await render(folder, ...withValues(t, { gatehouse: { enabled: false } }))
  rendered.push(...without)
  t.same(without.map(({ kind }) => kind).toSorted(), ['Deployment', 'Service'])
  t.match(podOf(without).containers, [{ name: 'orders', ports: [{ name: 'http' }] }])
  t.equal(podOf(without).initContainers, undefined)
})

void t.test('values of the container apply to the sidecar', async (t) => {
  const given = {
    global: { imageRegistry: 'mirror.example.com', secret: 'orders-oidc' },
    gatehouse: {
      existingSecret: '{{ .Values.global.secret }}',
      config: { publicUrl: 'https://{{ include "gatehouse.fullname" . }}.example.com' },
      image: { command: ['/bin/node', 'main.js'] },
      extraArgs: ['--config', '/other.yaml'],
      extraEnv: [{ name: 'TZ', value: 'UTC' }],
      envFrom: [{ configMapRef: { name: 'more' } }],
      lifecycle: { preStop: { sleep: { seconds: 1 } } },
      resources: { limits: { memory: '1Gi' } },
      resizePolicy: [{ resourceName: 'cpu', restartPolicy: 'NotRequired' }],
      securityContext: { runAsUser: 2000 },
      startupProbe: { failureThreshold: 90 },
      livenessProbe: { enabled: false },
      readinessProbe: { periodSeconds: 3 },
      extraVolumes: [{ name: 'ca', configMap: { name: 'ca' } }],
      extraVolumeMounts: [{ name: 'ca', mountPath: '/ca' }],
      customLabels: { team: 'shop' },
      configMapAnnotations: { note: 'gateway' },
    },
  }
  const manifests = await render(application(t), ...withValues(t, given))
  rendered.push(...manifests)
  const gateway = gatewayIn(manifests)
  t.match(gateway, {
    image: /^mirror\.example\.com\/gatehouse-gateway\/gatehouse:/,
    command: ['/bin/node', 'main.js'],
    args: ['start', '--config', '/other.yaml'],
    env: [{ name: 'GATEHOUSE_CONFIG' }, { name: 'TZ' }],
    envFrom: [{ secretRef: { name: 'orders-oidc' } }, { configMapRef: { name: 'more' } }],
    lifecycle: { preStop: { sleep: { seconds: 1 } } },
    resources: { limits: { memory: '1Gi' } },
    resizePolicy: [{ resourceName: 'cpu' }],
    securityContext: { runAsUser: 2000, readOnlyRootFilesystem: true },
    startupProbe: { failureThreshold: 90 },
    readinessProbe: { periodSeconds: 3 },
    volumeMounts: [{}, { name: 'ca' }],
    restartPolicy: 'Always',
  })
  t.equal(gateway['livenessProbe'], undefined)
  t.match(parse(configurationIn(manifests)), { publicUrl: 'https://shop-gatehouse.example.com' })
  t.match(of(manifests, 'ConfigMap'), { metadata: { labels: { team: 'shop' }, annotations: { note: 'gateway' } } })
  const pods = { ...values(), upstreamService: {}, mode: 'sidecar', hostAliases: [{}], gatewayApi: { enabled: true } }
  t.match(
    await messageOf(t, pods),
    "mode: sidecar makes the ConfigMap only: gatewayApi, hostAliases belong to the application's chart",
  )
})

void t.test('a ConfigMap that exists can hold the configuration', async (t) => {
  const given = {
    existingConfig: '{{ .Release.Name }}-config',
    existingSecret: 'orders',
    replicaCount: 2,
    upstreamService: { name: 'orders' },
    forwardAuth: { enabled: true },
    sessionStorage: { type: 'redis', redis: { standalone: { connectionUrl: 'rediss://redis:6379' } } },
    ingress: { enabled: true, hosts: ['orders.test'] },
  }
  const manifests = await render(chart, ...withValues(t, given))
  rendered.push(...manifests)
  t.notOk(manifests.some(({ kind }) => kind === 'ConfigMap'))
  t.match(podOf(manifests), { volumes: [{ name: 'gatehouse-config', configMap: { name: 'shop-config' } }] })
  t.same(gatewayIn(manifests).env, [
    { name: 'GATEHOUSE_CONFIG', value: '/etc/gatehouse/gatehouse.yaml' },
    { name: 'GATEHOUSE_ADMIN_LISTEN', value: '0.0.0.0:9090' },
    { name: 'GATEHOUSE_FORWARD_AUTH_LISTEN', value: '0.0.0.0:8081' },
    { name: 'GATEHOUSE_LISTEN', value: '0.0.0.0:8080' },
    { name: 'GATEHOUSE_SESSION_STORE', value: 'rediss://redis:6379' },
    { name: 'GATEHOUSE_SHUTDOWN_WAIT', value: '5s' },
    { name: 'GATEHOUSE_UPSTREAM', value: 'http://orders:80' },
  ])
})

void t.test('values that oauth2-proxy’s chart does not have are rendered', async (t) => {
  const redirect = { type: 'RequestRedirect', requestRedirect: { scheme: 'https' } }
  const manifests = await render(
    chart,
    ...withValues(
      t,
      values({
        httpScheme: 'https',
        config: { tls: { certFile: '/tls/tls.crt', keyFile: '/tls/tls.key' } },
        service: { type: 'LoadBalancer', loadBalancerClass: 'internal', sessionAffinity: 'None' },
        ingress: { enabled: true },
        gatewayApi: { enabled: true, parentRefs: [{ name: 'one' }, { name: 'two' }], rules: [{ filters: [redirect] }] },
        runtimeClassName: 'gvisor',
        dnsPolicy: 'None',
        dnsConfig: { nameservers: ['192.0.2.53'] },
        networkPolicy: { create: true, ingress: [{ ports: [{ port: 8080 }] }], adminFrom: [{ podSelector: {} }] },
        podDisruptionBudget: { enabled: true, minAvailable: 1 },
        topologySpreadConstraints: [
          {
            maxSkew: 1,
            topologyKey: 'zone',
            whenUnsatisfiable: 'DoNotSchedule',
            labelSelector: { matchLabels: { a: 'b' } },
          },
        ],
      }),
    ),
  )
  rendered.push(...manifests)
  t.match(of(manifests, 'Service'), {
    spec: { loadBalancerClass: 'internal', sessionAffinity: 'None', ports: [{ name: 'https', targetPort: 'http' }] },
  })
  t.match(of(manifests, 'Ingress'), {
    spec: { rules: [{ http: { paths: [{ backend: { service: { port: { name: 'https' } } } }] } }] },
  })
  t.match(of(manifests, 'HTTPRoute'), { spec: { parentRefs: [{ name: 'one' }, { name: 'two' }] } })
  t.same((of(manifests, 'HTTPRoute') as unknown as { spec: { rules: unknown } }).spec.rules, [
    { matches: [{ path: { type: 'PathPrefix', value: '/' } }], filters: [redirect] },
  ])
  t.match(podOf(manifests), {
    runtimeClassName: 'gvisor',
    dnsPolicy: 'None',
    dnsConfig: { nameservers: ['192.0.2.53'] },
    topologySpreadConstraints: [{ labelSelector: { matchLabels: { a: 'b' } } }],
  })
  t.match(of(manifests, 'NetworkPolicy'), {
    spec: { ingress: [{ ports: [{ port: 8080 }] }, { ports: [{ port: 'http' }] }, { ports: [{ port: 'admin' }] }] },
  })
  t.notOk(
    manifests.some(({ kind }) => kind === 'PodDisruptionBudget'),
    'one of one pod is as many as must be available',
  )
})

void t.test('with config.tls, the Service speaks https, and has a port for the redirect', async (t) => {
  const tls = { certFile: '/tls/tls.crt', keyFile: '/tls/tls.key', redirectFrom: '0.0.0.0:8082' }
  const manifests = await render(
    chart,
    ...withValues(
      t,
      values({
        config: { tls },
        service: { portNumber: 443 },
        networkPolicy: { enabled: true, from: [{ podSelector: {} }] },
      }),
    ),
  )
  rendered.push(...manifests)
  t.match(of(manifests, 'Service'), {
    spec: {
      ports: [
        { name: 'https', port: 443, targetPort: 'http' },
        { name: 'http', port: 80, targetPort: 'redirect' },
      ],
    },
  })
  const ports = [{ name: 'http' }, { name: 'redirect', containerPort: 8082 }, { name: 'admin' }]
  t.match(gatewayIn(manifests), { ports })
  t.match(of(manifests, 'NetworkPolicy'), { spec: { ingress: [{ ports: [{ port: 'http' }, { port: 'redirect' }] }] } })
  const tester = manifests.find(({ kind }) => kind === 'Pod')
  t.match(tester, { spec: { containers: [{ args: ['health', '--url', 'https://shop-gatehouse.orders.svc:443'] }] } })
})

void t.test('values that contradict each other are refused', async (t) => {
  const service = { name: 'shop-gatehouse-forward-auth', port: { number: 8081 } }
  const extraPaths = [{ path: '/', pathType: 'Prefix', backend: { service } }]
  const refusals: [object, string][] = [
    [{ existingConfig: 'orders' }, 'existingConfig and config both hold the configuration'],
    [{ kubeVersion: '1.28.3' }, 'kubeVersion: 1.28.3 is too old'],
    [{ containerPort: 9090 }, 'two listeners have the same port (9090, 9090): change containerPort, metrics.port'],
    [{ httpScheme: 'https' }, 'httpScheme: https needs a certificate: write config.tls'],
    [
      { config: { tls: { certFile: '/tls.crt', keyFile: '/tls.key', redirectFrom: '0.0.0.0:8082' } } },
      'config.tls.redirectFrom takes port 80 of the Service: write service.portNumber: 443',
    ],
    [
      { ingress: { enabled: true, extraPaths }, forwardAuth: { enabled: true } },
      'must not lead to the Service shop-gatehouse-forward-auth',
    ],
    [
      { networkPolicy: { create: true, ingress: [{}], from: [{ podSelector: {} }] } },
      'networkPolicy.ingress and networkPolicy.from both say who may reach the gateway',
    ],
    [
      {
        autoscaling: { enabled: true, targetCPUUtilizationPercentage: null },
        config: { session: { store: '${REDIS_URL}' } },
      },
      'autoscaling has no target',
    ],
    [
      { service: { targetPort: 'admin' } },
      'service.targetPort: admin is a listener that must not be behind the Service',
    ],
    [{ service: { targetPort: 8081 } }, 'service.targetPort: 8081 is a listener that must not be behind the Service'],
    [{ gatewayApi: { enabled: true } }, 'gatewayApi belongs to no Gateway: write gatewayApi.gatewayRef'],
  ]
  for (const [change, words] of refusals) t.match(await messageOf(t, values(change)), words)
})

void t.test('a section that is null is off, or has its defaults', async (t) => {
  const sections = ['autoscaling', 'forwardAuth', 'gatewayApi', 'httpRoute', 'ingress', 'networkPolicy', 'podMonitor']
  const keys = [...sections, 'podDisruptionBudget', 'service', 'serviceAccount', 'serviceMonitor', 'httpScheme']
  const nothing = Object.fromEntries([...keys, 'containerPort'].map((key) => [key, null]))
  const manifests = await render(chart, ...withValues(t, values(nothing)))
  rendered.push(...manifests)
  t.same(
    manifests.map(({ kind }) => kind),
    ['ConfigMap', 'Service', 'Deployment', 'Pod'],
  )
  t.match(of(manifests, 'Service'), { spec: { type: 'ClusterIP', ports: [{ name: 'http', port: 80 }] } })
})

void t.test('names may be as long as Helm allows, or look like numbers', async (t) => {
  const given = withValues(
    t,
    values({
      existingSecret: '99',
      ...Object.fromEntries(
        ['dashboard', 'forwardAuth', 'ingress', 'podDisruptionBudget', 'prometheusRule', 'redis', 'serviceMonitor'].map(
          (key) => [key, { enabled: true }],
        ),
      ),
    }),
  )
  const [long, numeric] = await Promise.all([
    renderAs('a'.repeat(53), 'orders', chart, ...given),
    renderAs('12345', '77', chart, ...given),
  ])
  t.same(
    long.filter(({ metadata }) => metadata.name.length > 63),
    [],
  )
  rendered.push(...long, ...numeric)
})

void t.test('the Service and `helm test` reach a gateway with TLS of its own', async (t) => {
  const tls = { certFile: '/tls/tls.crt', keyFile: '/tls/tls.key' }
  const https = { httpScheme: 'https', service: { targetPort: 'https' }, config: { tls } }
  const [named, unnamed, proxied] = await Promise.all(
    [https, { config: { tls } }, { config: { listenProxyProtocol: true } }].map((change) =>
      render(chart, ...withValues(t, values(change))),
    ),
  )
  t.match(of(named ?? [], 'Service'), { spec: { ports: [{ name: 'https', targetPort: 'http' }] } })
  for (const manifests of [named, unnamed])
    t.match(of(manifests ?? [], 'Pod'), {
      spec: { containers: [{ args: ['health', '--url', 'https://shop-gatehouse.orders.svc:80'] }] },
    })
  // Only the proxy can send the header that each connection needs.
  t.notOk(proxied?.some(({ kind }) => kind === 'Pod'))
})

void t.test('the rendered objects are valid by the schemas of Kubernetes', async (t) => {
  t.same(await mistakesIn(rendered), [])
})
