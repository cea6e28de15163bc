import t from 'tap'
import { parse } from 'yaml'
import { asFile } from '../support/gateway.ts'
import { documented } from '../support/documented.ts'
import { loadConfig } from '../../src/config/load.ts'

const [first = '', ...others] = documented('forward-auth.md', 'yaml')
const { routes, forwardAuth }: { routes: { headers?: { set: object } }[]; forwardAuth: { listen: string } } =
  parse(first)
/** What a verdict carries, in lower case. */
const carried = ['authorization', ...routes.flatMap(({ headers }) => Object.keys(headers?.set ?? {}))].map((name) =>
  name.toLowerCase(),
)
const verdicts = forwardAuth.listen.replace(/^.*:/, '')

void t.test('the documented gateway configuration is valid and causes no warnings', (t) => {
  const { warnings } = loadConfig({
    file: asFile(t, parse(first)),
    env: { OIDC_CLIENT_SECRET: 'hush', SESSION_KEY: Buffer.alloc(32, 7).toString('base64') },
  })
  t.same(warnings, [])
  t.end()
})

void t.test('each example copies all headers of a verdict, and asks the forward-auth listener', (t) => {
  t.equal(carried.length, 3)
  const [traefik, envoy, annotations] = others.map((text): unknown => parse(text))
  const examples: Readonly<Record<string, unknown>> = {
    'nginx': documented('forward-auth.md', 'nginx')[0],
    'Caddy': documented('forward-auth.md', 'caddyfile')[0],
    'HAProxy': documented('forward-auth.md', 'lua')[0],
    'Traefik': traefik,
    'Envoy': envoy,
    'ingress-nginx': annotations,
  }
  for (const [name, example] of Object.entries(examples)) {
    const text = (typeof example === 'string' ? example : JSON.stringify(example)).toLowerCase()
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
  const [traefik, envoy] = others.map((text): unknown => parse(text))
  t.match(traefik, {
    http: {
      routers: { orders: { service: 'orders' }, gatehouse: { service: 'gatehouse' } },
      services: { gatehouse: { loadBalancer: { servers: [{ url: 'http://gatehouse:8080' }] } } },
    },
  })
  const clusters = [...JSON.stringify(envoy).matchAll(/"route":\{"cluster":"(\w+)"/g)].map(([, cluster]) => cluster)
  t.same(clusters, ['gatehouse', 'orders'])
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
  t.end()
})
