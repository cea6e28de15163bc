import t from 'tap'
import { parse, parseAllDocuments } from 'yaml'
import { asFile } from '../support/gateway.ts'
import { documented } from '../support/documented.ts'
import { loadConfig } from '../../src/config/load.ts'
import { mistakesIn } from '../helm/kubernetes-schemas.ts'

const blocks = documented('forward-auth.md', 'yaml')
const [first = ''] = blocks
const { routes, forwardAuth }: { routes: { headers?: { set: object } }[]; forwardAuth: { listen: string } } =
  parse(first)
/** What a verdict carries, in lower case. */
const carried = ['authorization', ...routes.flatMap(({ headers }) => Object.keys(headers?.set ?? {})), 'cookie'].map(
  (name) => name.toLowerCase(),
)
const verdicts = forwardAuth.listen.replace(/^.*:/, '')

type Route = { readonly match: string; readonly priority?: number; readonly services: readonly { name: string }[] }
type Rule = { readonly backendRefs: readonly { readonly name: string }[] }
type KubernetesObject = {
  readonly apiVersion: string
  readonly kind: string
  readonly metadata: { readonly name: string }
  readonly spec: {
    readonly routes?: readonly Route[]
    readonly rules?: readonly Rule[]
    readonly extAuth?: object
    readonly targetRefs?: readonly object[]
  }
}

const blockWith = (text: string): string => blocks.find((block) => block.includes(text)) ?? ''
const objectsWith = (text: string): KubernetesObject[] =>
  parseAllDocuments(blockWith(text)).map((document): KubernetesObject => document.toJS())

type Router = { readonly rule: string; readonly priority?: number; readonly service: string }
type Traefik = {
  readonly http: {
    readonly routers: Readonly<Record<string, Router>>
    readonly middlewares: object
    readonly services: Readonly<Record<string, unknown>>
  }
}
const traefik: Traefik = parse(blockWith('# /etc/traefik/orders.yaml'), { merge: true })

void t.test('the documented gateway configurations are valid and cause no warnings', (t) => {
  for (const text of [first, documented('proxies.md', 'yaml')[0] ?? '']) {
    const { warnings } = loadConfig({
      file: asFile(t, parse(text)),
      env: { OIDC_CLIENT_SECRET: 'hush', SESSION_KEY: Buffer.alloc(32, 7).toString('base64') },
    })
    t.same(warnings, [])
  }
  t.end()
})

void t.test('each example copies all headers of a verdict, and asks the forward-auth listener', (t) => {
  t.equal(carried.length, 4)
  const examples: Readonly<Record<string, string | undefined>> = {
    'nginx': documented('forward-auth.md', 'nginx')[0],
    'Caddy': documented('forward-auth.md', 'caddyfile')[0],
    'HAProxy': documented('forward-auth.md', 'lua')[0],
    'Traefik': blockWith('# /etc/traefik/orders.yaml'),
    'Envoy': blockWith('# /etc/envoy/envoy.yaml'),
    'ingress-nginx': blockWith('nginx.ingress.kubernetes.io/auth-url'),
    'Traefik’s Middleware': blockWith('kind: Middleware'),
    'Envoy Gateway': blockWith('kind: SecurityPolicy'),
    'Istio': blockWith('meshConfig:'),
    'HAProxy Ingress': blockWith('haproxy-ingress.github.io/auth-url'),
  }
  for (const [name, example] of Object.entries(examples)) {
    const text = (example ?? '').toLowerCase()
    for (const header of carried)
      t.ok(
        text.includes(name === 'nginx' ? `$upstream_http_${header.replaceAll('-', '_')}` : header),
        `${name}: ${header}`,
      )
    t.match(text, verdicts, `${name} asks at ${verdicts}`)
  }
  t.end()
})

void t.test('no route of an example exposes the forward-auth listener', (t) => {
  t.same(
    Object.values(traefik.http.routers).map(({ service }) => service),
    ['orders', 'orders', 'gatehouse'],
  )
  t.match(traefik.http.services['gatehouse'], { loadBalancer: { servers: [{ url: 'http://gatehouse:8080' }] } })
  const envoy = JSON.stringify(parse(blockWith('# /etc/envoy/envoy.yaml')))
  t.same(
    [...envoy.matchAll(/"route":\{"cluster":"(\w+)"/g)].map(([, cluster]) => cluster),
    ['gatehouse', 'orders', 'orders'],
  )
  for (const language of ['nginx', 'caddyfile', 'haproxy']) {
    const [text = ''] = documented('forward-auth.md', language)
    const passed = text.match(
      new RegExp(`^\\s*(?:proxy_pass|reverse_proxy|server) .*(?:verdicts|${verdicts}).*$`, 'gm'),
    )
    t.same(
      passed?.map((line) => line.trim()) ?? [],
      language === 'nginx' ? ['proxy_pass http://verdicts/auth;'] : [],
      language,
    )
  }
  const [conf = ''] = documented('forward-auth.md', 'nginx')
  t.match(conf, /location = \/gatehouse-verdict \{\n\s+internal;\n\s+proxy_pass http:\/\/verdicts\/auth;/)
  for (const { spec } of [...objectsWith('kind: IngressRoute'), ...objectsWith('kind: SecurityPolicy')]) {
    const backends = [
      ...(spec.routes ?? []).flatMap(({ services }) => services),
      ...(spec.rules ?? []).flatMap(({ backendRefs }) => backendRefs),
    ]
    for (const { name } of backends) t.notMatch(name, 'forward-auth')
  }
  t.end()
})

void t.test('Traefik’s custom resources say what the file says, which a test runs', (t) => {
  const objects = objectsWith('kind: IngressRoute')
  const middlewares = objects.filter(({ kind }) => kind === 'Middleware')
  const withoutHost = (specs: object): unknown =>
    JSON.parse(JSON.stringify(specs).replaceAll(/"http:\/\/[^"]*:8081/g, '"'))
  t.same(
    withoutHost(Object.fromEntries(middlewares.map(({ metadata, spec }) => [metadata.name, spec]))),
    withoutHost(traefik.http.middlewares),
  )
  const [ingressRoute] = objects.filter(({ kind }) => kind === 'IngressRoute')
  t.same(
    ingressRoute?.spec.routes?.map(({ match, priority }) => [match, priority]),
    Object.values(traefik.http.routers).map(({ rule, priority }) => [rule, priority]),
  )
  t.end()
})

void t.test(
  'the objects of the Gateway API are valid, and the policy belongs to the application’s route',
  async (t) => {
    const objects = objectsWith('kind: SecurityPolicy')
    const httpRoutes = objects.filter(({ kind }) => kind === 'HTTPRoute')
    t.equal(httpRoutes.length, 2)
    t.same(await mistakesIn(httpRoutes), [])
    const policy = objects.find(({ kind }) => kind === 'SecurityPolicy')
    t.same(policy?.spec.targetRefs, [{ group: 'gateway.networking.k8s.io', kind: 'HTTPRoute', name: 'orders' }])
    t.same(Object.keys(policy?.spec.extAuth ?? {}), ['headersToExtAuth', 'statusOnError', 'http'])
  },
)
