import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { parse } from 'yaml'
import { chart, configurationIn, helm, of, render, values, withValues, type Manifest } from './helm.ts'
import { mistakesIn } from './kubernetes-schemas.ts'

/** The value of a key, and where it is rendered: a kind, a path, and what is there if it is not the value itself. */
type Place = readonly [value: unknown, kind: string, path: string, rendered?: unknown]
type Places = Readonly<Record<string, Place>>

const POD = 'spec.template.spec'
const GATEWAY = `${POD}.containers.0`
const PORT = 'spec.ports.0'

const ingressRules = [{ from: [{ podSelector: {} }] }]
const egressRules = [{ ports: [{ port: 443, protocol: 'TCP' }] }]
const command = ['/nodejs/bin/node', '/opt/gatehouse/dist/main.js']
const security = { runAsUser: 2000, runAsGroup: 2000 }
const behavior = { scaleDown: { stabilizationWindowSeconds: 300 } }
const toleration = { key: 'gateways', operator: 'Exists' }
const spread = { maxSkew: 2, topologyKey: 'zone', whenUnsatisfiable: 'DoNotSchedule', labelSelector: {} }
const affinity = { nodeAffinity: {} }
const lifecycle = { preStop: { sleep: { seconds: 5 } } }
const extraPath = {
  path: '/assets',
  pathType: 'Prefix',
  backend: { service: { name: 'assets', port: { number: 80 } } },
}
const rule = { matches: [{ path: { type: 'PathPrefix', value: '/shop' } }] }
const relabeling = { action: 'labeldrop', regex: 'pod' }
const tlsConfig = { insecureSkipVerify: true }
const secretStore = { apiVersion: 'v1', kind: 'Secret', metadata: { name: 'extra' }, stringData: { key: 'value' } }

/** The keys that the chart renders, in groups that can be rendered together. */
const groups: readonly Places[] = [
  {
    'global.imageRegistry': [
      'mirror.example.com:5000',
      'Deployment',
      `${GATEWAY}.image`,
      /^mirror\.example\.com:5000\/g/,
    ],
    'global.imagePullSecrets': [['global'], 'Deployment', `${POD}.imagePullSecrets.0`, { name: 'global' }],
    'imagePullSecrets': [[{ name: 'own' }], 'Deployment', `${POD}.imagePullSecrets.1`, { name: 'own' }],
    'namespaceOverride': ['gateways', 'Deployment', 'metadata.namespace'],
    'kubeVersion': ['1.31.0', 'Deployment', 'kind', 'Deployment'],
    'image.pullPolicy': ['Always', 'Deployment', `${GATEWAY}.imagePullPolicy`],
    'image.tag': ['1.2.3', 'Deployment', `${GATEWAY}.image`, /:1\.2\.3$/],
    'image.command': [command, 'Deployment', `${GATEWAY}.command`],
    'extraArgs': [
      { 'config': '/a.yaml', 'a-switch': null },
      'Deployment',
      `${GATEWAY}.args`,
      ['start', '--a-switch', '--config=/a.yaml'],
    ],
    'extraEnv': [[{ name: 'TZ', value: 'UTC' }], 'Deployment', `${GATEWAY}.env.#TZ`, { name: 'TZ', value: 'UTC' }],
    'envFrom': [[{ configMapRef: { name: 'more' } }], 'Deployment', `${GATEWAY}.envFrom.1.configMapRef.name`, 'more'],
    'containerPort': [4180, 'Deployment', `${GATEWAY}.ports.0.containerPort`],
    'config.annotations': [{ note: 'config' }, 'ConfigMap', 'metadata.annotations'],
    'customLabels': [{ team: 'shop' }, 'ConfigMap', 'metadata.labels.team', 'shop'],
    'deploymentLabels': [{ tier: 'edge' }, 'Deployment', 'metadata.labels.tier', 'edge'],
    'deploymentAnnotations': [{ owner: 'shop' }, 'Deployment', 'metadata.annotations.owner', 'shop'],
    'podAnnotations': [{ note: 'pod' }, 'Deployment', 'spec.template.metadata.annotations.note', 'pod'],
    'podLabels': [{ mesh: 'on' }, 'Deployment', 'spec.template.metadata.labels.mesh', 'on'],
    'httpScheme': ['http', 'Service', `${PORT}.name`],
    'service.type': ['LoadBalancer', 'Service', 'spec.type'],
    'service.clusterIP': ['10.0.0.10', 'Service', 'spec.clusterIP'],
    'service.loadBalancerIP': ['192.0.2.1', 'Service', 'spec.loadBalancerIP'],
    'service.loadBalancerSourceRanges': [['192.0.2.0/24'], 'Service', 'spec.loadBalancerSourceRanges'],
    'service.nodePort': [30080, 'Service', `${PORT}.nodePort`],
    'service.portNumber': [8080, 'Service', `${PORT}.port`],
    'service.appProtocol': ['http', 'Service', `${PORT}.appProtocol`],
    'service.targetPort': [4180, 'Service', `${PORT}.targetPort`],
    'service.annotations': [{ lb: 'internal' }, 'Service', 'metadata.annotations'],
    'service.externalTrafficPolicy': ['Local', 'Service', 'spec.externalTrafficPolicy'],
    'service.internalTrafficPolicy': ['Cluster', 'Service', 'spec.internalTrafficPolicy'],
    'service.trafficDistribution': ['PreferClose', 'Service', 'spec.trafficDistribution'],
    'service.ipDualStack.enabled': [true, 'Service', 'spec.ipFamilies.length', 2],
    'service.ipDualStack.ipFamilies': [['IPv4', 'IPv6'], 'Service', 'spec.ipFamilies'],
    'service.ipDualStack.ipFamilyPolicy': ['RequireDualStack', 'Service', 'spec.ipFamilyPolicy'],
    'serviceAccount.enabled': [true, 'ServiceAccount', 'kind', 'ServiceAccount'],
    'serviceAccount.name': ['gateway', 'ServiceAccount', 'metadata.name'],
    'serviceAccount.annotations': [{ role: 'none' }, 'ServiceAccount', 'metadata.annotations'],
    'serviceAccount.automountServiceAccountToken': [true, 'Deployment', `${POD}.automountServiceAccountToken`],
    'serviceAccount.imagePullSecrets': [[{ name: 'account' }], 'ServiceAccount', 'imagePullSecrets'],
    'networkPolicy.create': [true, 'NetworkPolicy', 'kind', 'NetworkPolicy'],
    'networkPolicy.ingress': [
      ingressRules,
      'NetworkPolicy',
      'spec.ingress.0',
      { from: [{ podSelector: {} }], ports: [{ port: 'http', protocol: 'TCP' }] },
    ],
    'networkPolicy.egress': [egressRules, 'NetworkPolicy', 'spec.egress'],
    'ingress.enabled': [true, 'Ingress', 'kind', 'Ingress'],
    'ingress.className': ['nginx', 'Ingress', 'spec.ingressClassName'],
    'ingress.path': ['/oauth2', 'Ingress', 'spec.rules.0.http.paths.1.path'],
    'ingress.pathType': ['ImplementationSpecific', 'Ingress', 'spec.rules.0.http.paths.1.pathType'],
    'ingress.hosts': [['orders.test'], 'Ingress', 'spec.rules.0.host', 'orders.test'],
    'ingress.extraPaths': [[extraPath], 'Ingress', 'spec.rules.0.http.paths.0', extraPath],
    'ingress.labels': [{ dns: 'public' }, 'Ingress', 'metadata.labels.dns', 'public'],
    'ingress.annotations': [{ tls: 'acme' }, 'Ingress', 'metadata.annotations'],
    'ingress.tls': [[{ secretName: 'tls', hosts: ['orders.test'] }], 'Ingress', 'spec.tls'],
    'gatewayApi.enabled': [true, 'HTTPRoute', 'kind', 'HTTPRoute'],
    'gatewayApi.gatewayRef': [{ name: 'public', namespace: 'gateways' }, 'HTTPRoute', 'spec.parentRefs.0'],
    'gatewayApi.rules': [
      [rule],
      'HTTPRoute',
      'spec.rules.0',
      {
        ...rule,
        backendRefs: [{ name: 'shop-gatehouse', port: 8080 }],
      },
    ],
    'gatewayApi.hostnames': [['orders.test'], 'HTTPRoute', 'spec.hostnames'],
    'gatewayApi.labels': [{ dns: 'public' }, 'HTTPRoute', 'metadata.labels.dns', 'public'],
    'gatewayApi.annotations': [{ note: 'route' }, 'HTTPRoute', 'metadata.annotations'],
    'resources': [
      { limits: { cpu: '1', memory: '1Gi' } },
      'Deployment',
      `${GATEWAY}.resources.limits`,
      {
        cpu: '1',
        memory: '1Gi',
      },
    ],
    'resizePolicy': [[{ resourceName: 'cpu', restartPolicy: 'NotRequired' }], 'Deployment', `${GATEWAY}.resizePolicy`],
    'extraVolumes': [[{ name: 'ca', configMap: { name: 'ca' } }], 'Deployment', `${POD}.volumes.1.name`, 'ca'],
    'extraVolumeMounts': [[{ name: 'ca', mountPath: '/ca' }], 'Deployment', `${GATEWAY}.volumeMounts.1.name`, 'ca'],
    'extraContainers': [[{ name: 'more', image: 'more:1' }], 'Deployment', `${POD}.containers.1.name`, 'more'],
    'extraInitContainers': [[{ name: 'wait', image: 'w:1' }], 'Deployment', `${POD}.initContainers.0.name`, 'wait'],
    'priorityClassName': ['high', 'Deployment', `${POD}.priorityClassName`],
    'hostAliases': [[{ ip: '192.0.2.2', hostnames: ['login.test'] }], 'Deployment', `${POD}.hostAliases`],
    'topologySpreadConstraints': [[spread], 'Deployment', `${POD}.topologySpreadConstraints.0.maxSkew`, 2],
    'affinity': [affinity, 'Deployment', `${POD}.affinity`],
    'tolerations': [[toleration], 'Deployment', `${POD}.tolerations`],
    'nodeSelector': [{ pool: 'edge' }, 'Deployment', `${POD}.nodeSelector`],
    'livenessProbe.enabled': [true, 'Deployment', `${GATEWAY}.livenessProbe.httpGet.path`, '/livez'],
    'livenessProbe.initialDelaySeconds': [3, 'Deployment', `${GATEWAY}.livenessProbe.initialDelaySeconds`],
    'livenessProbe.timeoutSeconds': [4, 'Deployment', `${GATEWAY}.livenessProbe.timeoutSeconds`],
    'readinessProbe.enabled': [true, 'Deployment', `${GATEWAY}.readinessProbe.httpGet.path`, '/readyz'],
    'readinessProbe.initialDelaySeconds': [6, 'Deployment', `${GATEWAY}.readinessProbe.initialDelaySeconds`],
    'readinessProbe.timeoutSeconds': [7, 'Deployment', `${GATEWAY}.readinessProbe.timeoutSeconds`],
    'readinessProbe.periodSeconds': [8, 'Deployment', `${GATEWAY}.readinessProbe.periodSeconds`],
    'readinessProbe.successThreshold': [9, 'Deployment', `${GATEWAY}.readinessProbe.successThreshold`],
    'securityContext': [security, 'Deployment', `${GATEWAY}.securityContext.runAsUser`, 2000],
    'podSecurityContext': [{ fsGroup: 2000 }, 'Deployment', `${POD}.securityContext.fsGroup`, 2000],
    'revisionHistoryLimit': [3, 'Deployment', 'spec.revisionHistoryLimit'],
    'strategy': [{ type: 'Recreate' }, 'Deployment', 'spec.strategy'],
    'enableServiceLinks': [true, 'Deployment', `${POD}.enableServiceLinks`],
    'terminationGracePeriodSeconds': [65, 'Deployment', `${POD}.terminationGracePeriodSeconds`],
    'lifecycle': [lifecycle, 'Deployment', `${GATEWAY}.lifecycle`],
    'podDisruptionBudget.enabled': [true, 'PodDisruptionBudget', 'kind', 'PodDisruptionBudget'],
    'podDisruptionBudget.minAvailable': ['50%', 'PodDisruptionBudget', 'spec.minAvailable'],
    'podDisruptionBudget.unhealthyPodEvictionPolicy': [
      'AlwaysAllow',
      'PodDisruptionBudget',
      'spec.unhealthyPodEvictionPolicy',
    ],
    'autoscaling.enabled': [true, 'HorizontalPodAutoscaler', 'kind', 'HorizontalPodAutoscaler'],
    'autoscaling.minReplicas': [3, 'HorizontalPodAutoscaler', 'spec.minReplicas'],
    'autoscaling.maxReplicas': [9, 'HorizontalPodAutoscaler', 'spec.maxReplicas'],
    'autoscaling.targetCPUUtilizationPercentage': [
      60,
      'HorizontalPodAutoscaler',
      'spec.metrics.0.resource.target.averageUtilization',
    ],
    'autoscaling.targetMemoryUtilizationPercentage': [
      75,
      'HorizontalPodAutoscaler',
      'spec.metrics.1.resource.target.averageUtilization',
    ],
    'autoscaling.annotations': [{ note: 'scale' }, 'HorizontalPodAutoscaler', 'metadata.annotations'],
    'autoscaling.behavior': [behavior, 'HorizontalPodAutoscaler', 'spec.behavior'],
    'sessionStorage.type': ['redis', 'Configuration', 'session.store', /^redis:/],
    'sessionStorage.redis.existingSecret': [
      'redis-password',
      'Deployment',
      `${GATEWAY}.env.#GATEHOUSE_SESSION_REDIS_PASSWORD.valueFrom.secretKeyRef.name`,
    ],
    'sessionStorage.redis.passwordKey': [
      'pass',
      'Deployment',
      `${GATEWAY}.env.#GATEHOUSE_SESSION_REDIS_PASSWORD.valueFrom.secretKeyRef.key`,
    ],
    'sessionStorage.redis.standalone.connectionUrl': ['redis://redis:6379', 'Configuration', 'session.store'],
    'metrics.enabled': [true, 'ServiceMonitor', 'kind', 'ServiceMonitor'],
    'metrics.port': [44180, 'Configuration', 'admin.listen', '0.0.0.0:44180'],
    'metrics.service.appProtocol': ['http', 'Service/shop-gatehouse-admin', `${PORT}.appProtocol`],
    'metrics.serviceMonitor.enabled': [true, 'ServiceMonitor', 'kind', 'ServiceMonitor'],
    'metrics.serviceMonitor.namespace': ['monitoring', 'ServiceMonitor', 'metadata.namespace'],
    'metrics.serviceMonitor.prometheusInstance': ['main', 'ServiceMonitor', 'metadata.labels.prometheus'],
    'metrics.serviceMonitor.interval': ['15s', 'ServiceMonitor', 'spec.endpoints.0.interval'],
    'metrics.serviceMonitor.scrapeTimeout': ['5s', 'ServiceMonitor', 'spec.endpoints.0.scrapeTimeout'],
    'metrics.serviceMonitor.labels': [{ release: 'p' }, 'ServiceMonitor', 'metadata.labels.release', 'p'],
    'metrics.serviceMonitor.scheme': ['http', 'ServiceMonitor', 'spec.endpoints.0.scheme'],
    'metrics.serviceMonitor.tlsConfig': [tlsConfig, 'ServiceMonitor', 'spec.endpoints.0.tlsConfig'],
    'metrics.serviceMonitor.bearerTokenFile': ['/token', 'ServiceMonitor', 'spec.endpoints.0.bearerTokenFile'],
    'metrics.serviceMonitor.annotations': [{ note: 'm' }, 'ServiceMonitor', 'metadata.annotations'],
    'metrics.serviceMonitor.metricRelabelings': [[relabeling], 'ServiceMonitor', 'spec.endpoints.0.metricRelabelings'],
    'metrics.serviceMonitor.relabelings': [[relabeling], 'ServiceMonitor', 'spec.endpoints.0.relabelings'],
    'extraObjects': [[secretStore], 'Secret/extra', 'stringData.key', 'value'],
  },
  {
    'replicaCount': [3, 'Deployment', 'spec.replicas'],
    'image.registry': [
      'registry.example.com',
      'Deployment',
      `${GATEWAY}.image`,
      /^registry\.example\.com\/team\/gate:/,
    ],
    'image.repository': ['quay.io/team/gate', 'Deployment', `${GATEWAY}.image`, /\/team\/gate:/],
    'podDisruptionBudget.enabled': [true, 'PodDisruptionBudget', 'kind', 'PodDisruptionBudget'],
    'podDisruptionBudget.maxUnavailable': [2, 'PodDisruptionBudget', 'spec.maxUnavailable'],
    'securityContext.enabled': [false, 'Deployment', `${GATEWAY}.securityContext`, undefined],
    'livenessProbe.enabled': [false, 'Deployment', `${GATEWAY}.livenessProbe`, undefined],
    'sessionStorage.type': ['redis', 'Configuration', 'session.store', /^redis/],
    'sessionStorage.redis.clientType': ['cluster', 'Configuration', 'session.store', /^rediss\+cluster:/],
    'sessionStorage.redis.cluster.connectionUrls': [
      ['rediss://one:6379', 'rediss://two:6379'],
      'Configuration',
      'session.store',
      'rediss+cluster://one:6379,two:6379',
    ],
  },
  {
    'sessionStorage.type': ['redis', 'Configuration', 'session.store', /^redis/],
    'sessionStorage.redis.clientType': ['sentinel', 'Configuration', 'session.store', /^redis\+sentinel:/],
    'sessionStorage.redis.sentinel.masterName': ['main', 'Configuration', 'session.store', /\/main$/],
    'sessionStorage.redis.sentinel.connectionUrls': [
      'redis://one:26379,redis://two:26379',
      'Configuration',
      'session.store',
      'redis+sentinel://one:26379,two:26379/main',
    ],
  },
  {
    'config.existingConfig': ['orders-config', 'Deployment', `${POD}.volumes.0.configMap.name`],
  },
]

/** Keys that values combined with others refuse, in _store.tpl. */
const refusedInCombination = ['sessionStorage.redis.sentinel.existingSecret']

/** The keys in values.yaml and README.md of oauth2-proxy's chart 10.7.0. */
const KEYS = [
  'affinity',
  'alphaConfig: annotations configData configFile enabled existingConfig existingSecret metricsConfigData serverConfigData',
  'authenticatedEmailsFile: annotations enabled persistence restrictedUserAccessKey restricted_access template',
  'autoscaling: annotations behavior enabled maxReplicas minReplicas targetCPUUtilizationPercentage',
  'autoscaling: targetMemoryUtilizationPercentage',
  'checkDeprecation',
  'config: annotations clientID clientSecret configFile cookieName cookieSecret emailDomains existingConfig',
  'config: existingSecret forceLegacyConfig google requiredSecretKeys upstreams',
  'containerPort customLabels deploymentAnnotations deploymentLabels enableServiceLinks envFrom extraArgs',
  'extraContainers extraEnv extraInitContainers extraObjects extraVolumeMounts extraVolumes',
  'gatewayApi: annotations enabled gatewayRef hostnames labels rules',
  'global: imagePullSecrets imageRegistry',
  'hostAliases',
  'htpasswdFile: enabled entries existingSecret',
  'httpScheme',
  'image: command pullPolicy registry repository tag',
  'imagePullSecrets',
  'ingress: annotations className enabled extraPaths hosts labels path pathType tls',
  'initContainers: waitForRedis.enabled',
  'kubeVersion lifecycle',
  'livenessProbe: enabled initialDelaySeconds timeoutSeconds',
  'metrics: enabled nodePort port service.appProtocol',
  'metrics.serviceMonitor: annotations bearerTokenFile enabled interval labels metricRelabelings namespace',
  'metrics.serviceMonitor: prometheusInstance relabelings scheme scrapeTimeout tlsConfig',
  'namespaceOverride',
  'networkPolicy: create egress ingress',
  'nodeSelector podAnnotations podLabels',
  'podDisruptionBudget: enabled maxUnavailable minAvailable unhealthyPodEvictionPolicy',
  'podSecurityContext priorityClassName proxyVarsAsSecrets',
  'readinessProbe: enabled initialDelaySeconds periodSeconds successThreshold timeoutSeconds',
  'redis-ha: enabled',
  'replicaCount resizePolicy resources revisionHistoryLimit',
  'securityContext securityContext.enabled',
  'service: annotations appProtocol clusterIP externalTrafficPolicy internalTrafficPolicy loadBalancerIP',
  'service: loadBalancerSourceRanges nodePort portNumber targetPort trafficDistribution type',
  'service.ipDualStack: enabled ipFamilies ipFamilyPolicy',
  'serviceAccount: annotations automountServiceAccountToken enabled imagePullSecrets name',
  'sessionStorage: type',
  'sessionStorage.redis: clientType cluster.connectionUrls existingSecret password passwordKey',
  'sessionStorage.redis: standalone.connectionUrl',
  'sessionStorage.redis.sentinel: connectionUrls existingSecret masterName password passwordKey',
  'strategy terminationGracePeriodSeconds tolerations topologySpreadConstraints',
].flatMap((line) => {
  const [names = '', parent] = line.split(': ').toReversed()
  return names.split(' ').map((name) => (parent === undefined ? name : `${parent}.${name}`))
})

const others = parse(readFileSync(join(chart, 'oauth2-proxy.yaml'), 'utf8')) as Readonly<
  Record<'refused' | 'ignored', Readonly<Record<string, string>>>
>

/** Builds values from keys with dots. */
function nested(flat: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const whole: Record<string, unknown> = {}
  for (const [key, value] of Object.entries(flat)) {
    const names = key.split('.')
    const last = names.pop() ?? ''
    let inner = whole
    for (const name of names) inner = (inner[name] ??= {}) as Record<string, unknown>
    inner[last] = typeof inner[last] === 'object' ? { ...(value as object), ...(inner[last] as object) } : value
  }
  return whole
}

/** Returns what is at a path; `#NAME` is the item of a list with this name. */
function at(object: unknown, path: string): unknown {
  return path.split('.').reduce<unknown>((inner, name) => {
    if (name.startsWith('#') && Array.isArray(inner)) return inner.find((item) => item.name === name.slice(1))
    return (inner as Record<string, unknown> | undefined)?.[name]
  }, object)
}

function objectAt(manifests: readonly Manifest[], kind: string): unknown {
  const [type = '', name] = kind.split('/')
  return type === 'Configuration' ? parse(configurationIn(manifests)) : of(manifests, type, name ?? namesOf(type))
}

/** Several objects have these kinds. */
function namesOf(type: string): string | undefined {
  return type === 'Service' || type === 'ConfigMap' ? 'shop-gatehouse' : undefined
}

const rendered: Manifest[] = []

for (const [index, places] of groups.entries())
  void t.test(`keys of oauth2-proxy’s chart are rendered: group ${index + 1}`, async (t) => {
    const given = nested(Object.fromEntries(Object.entries(places).map(([key, [value]]) => [key, value])))
    const manifests = await render(chart, ...withValues(t, 'config.existingConfig' in places ? given : values(given)))
    rendered.push(...manifests)
    for (const [key, place] of Object.entries(places)) {
      const [value, kind, path] = place
      const found = at(objectAt(manifests, kind), path)
      const expected = place.length > 3 ? place[3] : value
      if (expected instanceof RegExp) t.match(found, expected, key)
      else t.same(found, expected, key)
    }
  })

void t.test('the rendered objects are valid by the schemas of Kubernetes', async (t) => {
  t.same(await mistakesIn(rendered), [])
})

void t.test('each key of oauth2-proxy’s chart is rendered, refused or known to have no effect', (t) => {
  const known = [
    ...groups.flatMap((places) => Object.keys(places)),
    ...Object.keys(others.refused),
    ...Object.keys(others.ignored),
    ...refusedInCombination,
  ]
  t.same(
    KEYS.filter((key) => !known.includes(key)),
    [],
  )
  t.same(
    [...new Set(known)].filter((key) => !KEYS.includes(key)),
    [],
  )
  t.end()
})

void t.test('keys of oauth2-proxy’s chart without an equal are refused with what to write instead', async (t) => {
  const given = nested(Object.fromEntries(Object.keys(others.refused).map((key) => [key, valueOf(key)])))
  const { status, output } = await helm('template', 'shop', chart, ...withValues(t, given))
  t.not(status, 0)
  for (const [key, instead] of Object.entries(others.refused)) t.match(output, `  ${key}: ${instead}\n`)
  const options = { extraArgs: { 'cookie-secure': true, 'config': '/a.yaml' } }
  const refused = await helm('template', 'shop', chart, ...withValues(t, values(options)))
  t.match(refused.output, 'extraArgs --cookie-secure: `gatehouse migrate` writes config from it')
  t.notMatch(refused.output, '--config')
})

function valueOf(key: string): unknown {
  return key.endsWith('enabled') || 'set'
}

void t.test('keys of oauth2-proxy’s chart without an effect are accepted, and so are those that are off', async (t) => {
  const ignored = Object.keys(others.ignored).map((key) => [key, 'set'])
  const off = Object.keys(others.refused).map((key) => [key, key.endsWith('enabled') ? false : ''])
  const given = nested(Object.fromEntries([...ignored, ...off].filter(([key]) => !String(key).startsWith('config.'))))
  t.same(await render(chart, ...withValues(t, values(given))), await render(chart, ...withValues(t, values())))
})

void t.test('other names of keys have the same effect', async (t) => {
  const route = { enabled: true, parentRefs: [{ name: 'public' }], hostnames: ['orders.test'] }
  const other = { service: { port: 81 }, serviceAccount: { create: false }, networkPolicy: { enabled: true } }
  const usual = { service: { portNumber: 81 }, serviceAccount: { enabled: false }, networkPolicy: { create: true } }
  const [one, two] = await Promise.all([
    render(chart, ...withValues(t, values({ ...other, httpRoute: route }))),
    render(chart, ...withValues(t, values({ ...usual, gatewayApi: route }))),
  ])
  t.same(one, two)
  t.match(of(one, 'Service'), { spec: { ports: [{ port: 81 }] } })
  t.notOk(one.some(({ kind }) => kind === 'ServiceAccount'))
})
