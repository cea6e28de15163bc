import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { parse } from 'yaml'
import { compileRoutes } from '../../src/gate/match.ts'
import { migrateFiles } from '../../src/migrate/migrate.ts'
import type { Migration } from '../../src/migrate/migration.ts'
import { writeReport, writeValues } from '../../src/migrate/write.ts'
import { key, loadText } from '../config/configuration.ts'
import { chart, configurationIn, of, render, type Manifest } from './helm.ts'

const page = readFileSync(new URL('../../docs/migrating.md', import.meta.url), 'utf8')
const [, documented = ''] = /<!-- values of oauth2-proxy's chart -->\n\n```yaml\n([^]*?)```/.exec(page) ?? []
const folder = mkdtempSync(join(tmpdir(), 'gatehouse-migrated-'))
t.teardown(() => {
  rmSync(folder, { recursive: true })
})

const valuesOf = (...texts: string[]): Migration =>
  migrateFiles(
    texts.map((text, index) => ({ name: `values-${index}.yaml`, text })),
    () => null,
    'values',
  )

/** Renders Gatehouse's chart with the migrated values. */
const rendered = async (migration: Migration): Promise<Manifest[]> => {
  const file = join(folder, 'gatehouse-values.yaml')
  writeFileSync(file, writeValues(migration))
  return render(chart, '--values', file)
}

/** Loads the configuration in the ConfigMap, with a value for each variable. */
const loaded = (manifests: readonly Manifest[]): ReturnType<typeof loadText>['config'] => {
  const text = configurationIn(manifests)
  const names = [...text.matchAll(/\$\{([A-Z][A-Z0-9_]*)\}/g)].map(([, name = '']) => name)
  const env = Object.fromEntries(names.map((name) => [name, name === 'SESSION_KEY' ? key : 'x']))
  return loadText(folder, text, env).config
}

void t.test(
  'the example of docs/migrating.md becomes values that render, and a configuration that loads',
  async (t) => {
    const migration = valuesOf(documented)
    const manifests = await rendered(migration)
    const { routes, publicUrl, session, provider } = loaded(manifests)
    t.same(publicUrl.map(String), ['https://orders.example.com'])
    t.match(session, { store: { kind: 'redis' } })
    t.equal(provider?.issuer, 'https://login.example.com')
    const container = JSON.stringify(of(manifests, 'Deployment'))
    for (const [name, secret, secretKey] of [
      ['OAUTH2_PROXY_CLIENT_ID', 'orders-oauth2-proxy', 'client-id'],
      ['OAUTH2_PROXY_CLIENT_SECRET', 'orders-oauth2-proxy', 'client-secret'],
      ['OAUTH2_PROXY_REDIS_PASSWORD', 'orders-redis', 'password'],
    ] as const) {
      const from = { secretKeyRef: { name: secret, key: secretKey } }
      t.match(
        container.replaceAll(/"key":"([^"]*)","name":"([^"]*)"/g, '"name":"$2","key":"$1"'),
        JSON.stringify(from),
        name,
      )
    }
    t.match(container, '"name":"HTTPS_PROXY","value":"http://proxy.example.com:3128"')
    t.match(of(manifests, 'Deployment'), { spec: { replicas: 2 } })
    t.match(of(manifests, 'Ingress'), {
      metadata: { annotations: { 'cert-manager.io/cluster-issuer': 'letsencrypt' } },
      spec: { ingressClassName: 'nginx', tls: [{ secretName: 'orders-tls' }] },
    })
    t.match(of(manifests, 'ServiceMonitor'), { metadata: { labels: { release: 'prometheus' } } })
    t.ok(of(manifests, 'PodDisruptionBudget'))

    const report = writeReport(migration)
    t.match(
      report,
      /TO FILL IN\n.*push it as REGISTRY\/gatehouse-gateway\/gatehouse:VERSION.*set image\.registry\n.*kubectl create secret generic gatehouse --from-literal=SESSION_KEY="\$\(gatehouse keygen\)"\n\n/,
    )
    t.match(report, 'image.tag: it names the image of oauth2-proxy')

    // What oauth2-proxy decides about these requests without a session.
    const table = compileRoutes(routes, '/oauth2')
    for (const [method, path, isOpen] of [
      ['GET', '/', false],
      ['GET', '/healthz', true],
      ['POST', '/healthz', false],
      ['GET', '/healthz/x', false],
      ['GET', '/assets/a.css', true],
      ['DELETE', '/assets/a.css', true],
      ['GET', '/assets', false],
      ['GET', '/assetsx', false],
      ['GET', '/x/assets/', false],
    ] as const) {
      const route = table.match('orders.example.com', method, path)
      t.equal(typeof route === 'object' && route?.access === 'public', isOpen, `${method} ${path}`)
    }
  },
)

void t.test('each of the values is carried over, or named with its line', (t) => {
  const migration = valuesOf(documented)
  const text = `${writeValues(migration)}${writeReport(migration)}`
  for (const setting of migration.settings) {
    t.ok(migration.handled.has(setting), setting.written)
    const last = setting.written.slice(setting.written.lastIndexOf('.') + 1)
    t.match(text, last)
  }
  t.end()
})

void t.test('a subchart, an alpha configuration, addresses, local users and verdicts for another proxy', async (t) => {
  const migration = valuesOf(`
auth:
  alphaConfig:
    enabled: true
    configData:
      upstreamConfig: { upstreams: [{ id: none, path: /, static: true, staticCode: 202 }] }
      injectResponseHeaders: [{ name: X-User, values: [{ claim: email }] }]
      providers: [{ id: a, provider: oidc, clientID: "\${ID}", clientSecret: "\${SECRET}", oidcConfig: { issuerURL: "https://id.example.com" } }]
  config: { configFile: 'email_domains = []', existingSecret: proxy }
  extraEnv: [{ name: API_TOKEN, value: never-printed }, { name: ID, value: orders }, { name: SECRET, valueFrom: { secretKeyRef: { name: a, key: b } } }]
  authenticatedEmailsFile: { enabled: true, restricted_access: "ann@example.com\\nbob@example.com" }
  htpasswdFile: { enabled: true, entries: ["local:never-printed"] }
  autoscaling: { enabled: true }
  service: { annotations: { "example.com/off": "off" } }
  unheardOf: { key: 1 }
`)
  const manifests = await rendered(migration)
  const config = loaded(manifests)
  t.match(JSON.stringify(config.routes[0]?.require), /ann@example\.com.*bob@example\.com/)
  t.match(of(manifests, 'Service', 'shop-gatehouse-forward-auth'), { spec: { type: 'ClusterIP' } })
  t.match(of(manifests, 'Service', 'shop-gatehouse'), { metadata: { annotations: { 'example.com/off': 'off' } } })
  const report = writeReport(migration)
  t.match(report, /SECURITY[^]*auth\.htpasswdFile: there are no local users[^]*TO FILL IN/)
  t.match(report, 'auth.unheardOf.key: helm/gatehouse has no value of this name')
  t.match(report, 'several replicas share their sessions in Redis')
  t.notMatch(`${report}${writeValues(migration)}`, 'never-printed')
})

void t.test('the ports of the gateway and of metrics stay the same', async (t) => {
  const migration = valuesOf(`
config: { configFile: 'email_domains = ["*"]', existingSecret: proxy }
extraArgs: { provider: oidc, oidc-issuer-url: "https://id.example.com", upstream: "http://app:80" }
ingress: { enabled: true, hosts: [orders.example.com] }
containerPort: 4180
metrics: { port: 44180, serviceMonitor: { enabled: true, prometheusInstance: main } }
`)
  const manifests = await rendered(migration)
  const { listen, admin } = loaded(manifests)
  t.match({ listen, admin }, { listen: { port: 4180 }, admin: { listen: { port: 44180 } } })
  t.match(of(manifests, 'ServiceMonitor'), { metadata: { labels: { prometheus: 'main' } } })
})

void t.test('of several files of values, a configuration file replaces the default that lets in every user', (t) => {
  const file = 'config: { configFile: "email_domains = [\\"example.com\\"]" }'
  const emailsIn = (...texts: string[]): unknown => {
    const { config }: { config: { routes: { require: { claims?: object } }[] } } = parse(
      writeValues(valuesOf(...texts)),
    )
    return config.routes[0]?.require.claims
  }
  const other = 'extraArgs: { provider: oidc }'
  t.same(emailsIn(file, other), { email: ['*@example.com'] })
  t.same(emailsIn(other, file), { email: ['*@example.com'] })
  t.same(emailsIn(other, 'config: { configFile: "cookie_name = \\"x\\"" }'), { not_migrated: ['email_domains'] })
  t.same(emailsIn(other), undefined, 'the default of the chart')
  t.end()
})

void t.test(
  'values without a configuration file give verdicts for the hosts of the Ingress, as the chart does',
  async (t) => {
    const values = `
config: { existingSecret: proxy }
extraArgs: { provider: oidc, oidc-issuer-url: "https://id.example.com" }
ingress: { enabled: true, hosts: [auth.example.com] }
`
    const manifests = await rendered(valuesOf(values))
    t.ok(of(manifests, 'Service', 'shop-gatehouse-forward-auth'))
    t.same(loaded(manifests).publicUrl.map(String), ['https://auth.example.com'])
    const release = `kind: HelmRelease\nspec:\n  values:${values.replaceAll('\n', '\n    ')}`
    t.match(
      parse(writeValues(valuesOf(release))),
      { config: { publicUrl: 'https://auth.example.com' } },
      'a Flux object',
    )
  },
)

void t.test('values that depend on what the pods of oauth2-proxy are like fit the pods of the gateway', async (t) => {
  const migration = valuesOf(`
config: { existingSecret: proxy, emailDomains: [example.com], upstreams: ["http://shop:3000"] }
global: { imageRegistry: registry.example.com }
replicaCount: 3
containerPort: 4190
sessionStorage: { type: redis, redis: { standalone: { connectionUrl: "redis://redis:6379" } } }
ingress: { enabled: true, hosts: [shop.example.com] }
networkPolicy:
  create: true
  ingress:
    - from: [{ namespaceSelector: { matchLabels: { name: ingress } } }]
      ports: [{ port: 4180, protocol: TCP }, { port: 4190 }]
    - from: [{ namespaceSelector: { matchLabels: { name: monitoring } } }]
      ports: [{ port: 44180, protocol: TCP }]
lifecycle: { preStop: { exec: { command: [sh, -c, sleep 60] } } }
resources: { limits: { cpu: 200m, memory: 64Mi } }
affinity:
  podAntiAffinity:
    requiredDuringSchedulingIgnoredDuringExecution:
      - topologyKey: kubernetes.io/hostname
        labelSelector: { matchExpressions: [{ key: app, operator: In, values: [oauth2-proxy] }] }
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: zone
    whenUnsatisfiable: ScheduleAnyway
    labelSelector: { matchLabels: { app.kubernetes.io/name: oauth2-proxy } }
metrics: { serviceMonitor: { enabled: true, prometheusInstance: main } }
`)
  const manifests = await rendered(migration)
  const ports = (of(manifests, 'NetworkPolicy')['spec'] as { ingress: { ports: { port: string }[] }[] }).ingress
  t.same(
    ports.slice(0, 2).map((rule) => rule.ports.map(({ port }) => port)),
    [['http', 'http'], ['admin']],
  )
  t.match(of(manifests, 'Deployment'), {
    spec: {
      template: {
        spec: {
          terminationGracePeriodSeconds: 95,
          containers: [{ resources: { limits: { cpu: '200m', memory: '384Mi' } }, lifecycle: undefined }],
          topologySpreadConstraints: [{ labelSelector: { matchLabels: { 'app.kubernetes.io/name': 'gatehouse' } } }],
        },
      },
    },
  })
  t.match(
    JSON.stringify(of(manifests, 'Deployment')),
    '"key":"app.kubernetes.io/name","operator":"In","values":["gatehouse"]',
  )
  t.match(parse(configurationIn(manifests)), { shutdown: { wait: '60s' } })
  t.match(of(manifests, 'ServiceMonitor'), { metadata: { labels: { prometheus: 'main' } } })
  t.match(of(manifests, 'PodDisruptionBudget'), { spec: { minAvailable: 1 } }, 'on by default in the other chart')
  t.match(JSON.stringify(of(manifests, 'Ingress')), '"pathType":"ImplementationSpecific"')

  const report = writeReport(migration)
  for (const [key, text] of [
    ['networkPolicy.ingress', 'become http and admin'],
    ['lifecycle.preStop.exec.command', 'it becomes config.shutdown.wait'],
    ['resources.limits.memory', '64Mi is too little'],
    ['topologySpreadConstraints', 'the label app.kubernetes.io/name of the pods is gatehouse'],
  ] as const)
    t.match(report, new RegExp(`values-0.yaml:\\d+: ${key}: .*${text}`))
  t.match(report, 'push it as registry.example.com/gatehouse-gateway/gatehouse:VERSION')
  t.match(report, 'a session ends 10 hours after the login, and after 30 minutes without requests')

  const issuer = 'extraArgs: { oidc-issuer-url: "https://id.example.com" }\n'
  const scaled = valuesOf(`${issuer}autoscaling: { enabled: true }`)
  t.match(scaled.values.get('autoscaling'), { minReplicas: 1, maxReplicas: 10, targetCPUUtilizationPercentage: 80 })
  t.notOk(scaled.values.has('podDisruptionBudget'))
  const command = valuesOf(`${issuer}lifecycle: { preStop: { exec: { command: [/bin/notify] } } }`)
  t.match(writeReport(command), 'lifecycle.preStop.exec.command: it is left out')
  t.notOk(command.values.has('lifecycle'))
})

void t.test(
  'an alpha configuration in values has its own lines, client, rewritten paths and fixed headers',
  async (t) => {
    const migration = valuesOf(`
config:
  clientID: unused
  clientSecret: unused-secret
  cookieSecret: unused-secret
  configFile: |-
    email_domains = "*"
    skip_auth_routes = [ "^/hooks/" ]
    redirect_url = "https://shop.example.com/oauth2/callback"
alphaConfig:
  enabled: true
  configData:
    upstreamConfig:
      upstreams:
        - { id: shop, path: /, uri: "http://shop" }
        - id: api
          path: /api/
          rewriteTarget: /v1/
          uri: http://api
    injectRequestHeaders:
      - { name: X-Key, values: [{ value: a2V5 }] }
      - { name: X-User, values: [{ claim: email }] }
    providers:
      - provider: oidc
        clientID: shop
        clientSecretFile: /run/secret
        backendLogoutURL: https://id.example.com/logout
        oidcConfig: { issuerURL: "https://id.example.com" }
`)
    const text = configurationIn(await rendered(migration))
    t.match(parse(text), {
      provider: { clientId: 'shop', clientSecret: '${file:/run/secret}' },
      routes: [
        { path: '/**', headers: { set: { 'X-Key': '${HEADER_X_KEY}', 'X-User': '{claims.email}' } } },
        { path: '/api/**', upstream: 'http://api', rewritePrefix: { from: '/api', to: '/v1' } },
        { path: '/hooks/**', access: 'public', headers: { set: { 'X-Key': '${HEADER_X_KEY}', 'X-User': undefined } } },
      ],
    })
    const report = writeReport(migration)
    t.match(
      report,
      /values-0\.yaml:17: upstreamConfig\.upstreams\[1\]\.path: without \^, it also matched within a path/,
    )
    t.match(report, 'values-0.yaml:27: providers[0].backendLogoutURL')
    t.match(report, 'values-0.yaml:3: config.clientID: the alpha configuration names the client')
    t.match(report, 'skip_auth_routes: a route without a login sends no user headers')
    t.notMatch(`${report}${writeValues(migration)}`, 'unused-secret')
  },
)

void t.test('the report is about the values: overridden defaults of the chart are not named', (t) => {
  const report = writeReport(
    valuesOf(
      'extraArgs: { email-domain: example.com, upstream: "static://202", oidc-issuer-url: "https://id.example.com" }',
    ),
  )
  t.notMatch(report, /email_domains|takes precedence/)
  t.match(report, /http:\/\/RELEASE-gatehouse-forward-auth\.NAMESPACE\.svc\.cluster\.local:8081\/auth in auth-url/)
  t.match(report, 'SECRETS: the pods have these variables from extraEnv and existingSecret')
  t.end()
})

void t.test('further files of values change parts of the first one, as in Helm', async (t) => {
  const migration = valuesOf(
    `config:
  existingSecret: proxy
  configFile: |-
    provider = "oidc"
    oidc_issuer_url = "https://id.example.com"
    upstreams = ["http://shop:3000"]
    skip_auth_routes = ["^/open/"]
    email_domains = ["example.com"]
extraArgs: { cookie-expire: 8h, cookie-name: first }
ingress: { enabled: true, className: nginx, hosts: [test.example.com] }
`,
    `ingress:
  hosts: [shop.example.com]
resources: { limits: { memory: 512Mi } }
`,
    `config:
  configFile: |-
    provider = "oidc"
    oidc_issuer_url = "https://id.example.com"
    upstreams = ["http://shop:3000"]
    email_domains = ["example.org"]
extraArgs:
  cookie-name: last
`,
  )
  const manifests = await rendered(migration)
  t.match(of(manifests, 'Ingress'), { spec: { ingressClassName: 'nginx', rules: [{ host: 'shop.example.com' }] } })
  t.match(parse(configurationIn(manifests)), {
    publicUrl: 'https://shop.example.com',
    session: { lifetime: '8h', cookie: { name: 'last' } },
  })
  const { routes } = loaded(manifests)
  t.equal(routes.length, 1, 'the path that only the replaced configuration file opens stays closed')
  t.match(JSON.stringify(routes), '*@example.org')
  t.match(writeReport(migration), 'values-2.yaml:8: cookie-name')
})
