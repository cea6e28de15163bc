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
      /TO FILL IN\n.*kubectl create secret generic gatehouse --from-literal=SESSION_KEY="\$\(gatehouse keygen\)"\n\n/,
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
