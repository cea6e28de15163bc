import t, { type Test } from 'tap'
import { parse } from 'yaml'
import { UsageError } from '../../src/cli/command.ts'
import { migrate } from '../../src/cli/migrate.ts'
import { migrateFiles } from '../../src/migrate/migrate.ts'
import { UnreadableFile } from '../../src/migrate/setting.ts'
import { writeReport, writeYaml } from '../../src/migrate/write.ts'
import { key, loadText, problemsOf } from '../config/configuration.ts'

interface Route {
  readonly path: string
  readonly access?: string
  readonly methods?: string[]
  readonly require?: { readonly claims?: Record<string, string[]> }
}
interface Written {
  readonly publicUrl: string
  readonly upstream: string
  readonly provider: Record<string, unknown>
  readonly session: Record<string, unknown>
  readonly routes: Route[]
}
interface Migrated {
  readonly config: Written
  readonly yaml: string
  readonly report: string
}

const SECRET = 'a-value-that-must-not-be-printed'

/** Migrates files; `others` are files beside them. Checks that the result has no secret and is valid, apart from files. */
function migrated(t: Test, files: Record<string, string>, others: Record<string, string> = {}): Migrated {
  const sources = Object.entries(files).map(([name, text]) => ({ name, text }))
  const migration = migrateFiles(sources, (path) => others[path.slice(path.lastIndexOf('/') + 1)] ?? null)
  const [yaml, report] = [writeYaml(migration), writeReport(migration)]
  const variables = [...yaml.matchAll(/\$\{([A-Z][A-Z0-9_]*)\}/g)].map(([, name = '']) => name)
  const env = Object.fromEntries(variables.map((name) => [name, name === 'SESSION_KEY' ? key : 'x']))
  const problems = problemsOf(() => loadText(t.testdir(), yaml, env))
  t.same(
    problems.filter(({ path }) => !path.endsWith('File')),
    [],
  )
  t.notMatch(`${yaml}${report}`, SECRET)
  const config: Written = parse(yaml)
  return { config, yaml, report }
}

const openPaths = ({ routes }: Written): string[] =>
  routes.flatMap(({ path, access }) => (access === 'public' ? [path] : []))

const FLAGS = ['--provider=oidc', '--oidc-issuer-url=https://id.example.com', '--upstream=http://app:8080']

const DEPLOYMENT = `
apiVersion: v1
kind: Secret
metadata: { name: proxy }
stringData: { client-secret: ${SECRET}, groups: admins }
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: proxy }
spec:
  template:
    spec:
      initContainers:
        - { name: wait, image: busybox, args: ["--upstream=http://wrong"] }
      containers:
        - { name: app, image: app, args: ["--upstream=http://wrong"], env: [{ name: ONE, value: "1" }] }
        - name: proxy
          image: quay.io/oauth2-proxy/oauth2-proxy:v7.15.3
          args:
            - --provider=oidc
            - --oidc-issuer-url=https://$(HOST)
            - --upstream=http://app:8080
            - --email-domain=example.com
            - --skip-auth-route=^/a$
            - --skip-auth-route=^/.b/c
            - --skip-auth-route=^/d/
          env:
            - { name: HOST, value: id.example.com }
            - { name: OAUTH2_PROXY_CLIENT_ID, valueFrom: { secretKeyRef: { name: other, key: client-id } } }
            - name: OAUTH2_PROXY_CLIENT_SECRET
              valueFrom: { secretKeyRef: { name: proxy, key: client-secret } }
            - name: OAUTH2_PROXY_ALLOWED_GROUPS
              valueFrom: { secretKeyRef: { name: proxy, key: groups } }
            - { name: OAUTH2_PROXY_UPSTREAMS, value: "http://wrong" }
`

void t.test('a Deployment: arguments and variables together, with values from Secrets', (t) => {
  const { config, report } = migrated(t, { 'proxy.yaml': DEPLOYMENT })
  t.match(config, {
    upstream: 'http://app:8080',
    provider: { issuer: 'https://id.example.com', clientId: '${OAUTH2_PROXY_CLIENT_ID}' },
  })
  t.match(report, 'OAUTH2_PROXY_CLIENT_ID: key client-id of the Secret other')
  t.match(report, 'OAUTH2_PROXY_CLIENT_SECRET: key client-secret of the Secret proxy')
  t.notMatch(report, 'is not given: set provider')
  t.notMatch(report, 'wrong')
  t.same(config.routes[0]?.require?.claims, { groups: ['admins'], email: ['*@example.com'] })
  t.end()
})

void t.test('each item of a repeated flag is reported with its own line', (t) => {
  const { report, yaml } = migrated(t, { 'proxy.yaml': DEPLOYMENT })
  const first = DEPLOYMENT.split('\n').findIndex((line) => line.includes('^/a$')) + 1
  for (const [index, regex] of ['^/a$', '^/.b/c', '^/d/'].entries()) {
    const line = report.split('\n').find((one) => one.includes(JSON.stringify(regex)))
    t.match(line, `proxy.yaml:${first + index}: --skip-auth-route`)
    t.match(yaml, `--skip-auth-route (${first + index})`)
  }
  t.end()
})

void t.test('ConfigMaps of the same file are read: variables, the configuration file and the addresses', (t) => {
  const { config, report } = migrated(t, {
    'all.yaml': `
apiVersion: v1
kind: List
items:
  - apiVersion: v1
    kind: ConfigMap
    metadata: { name: env }
    data: { OAUTH2_PROXY_EMAIL_DOMAINS: "example.com,example.org", OAUTH2_PROXY_COOKIE_EXPIRE: 9h }
  - apiVersion: v1
    kind: ConfigMap
    metadata: { name: files }
    data:
      proxy.cfg: |
        provider = "oidc"
        upstreams = ["http://app"]
        cookie_expire = "1h"
        skip_auth_routes = ["^/x$"]
      list: |
        ann@partner.example
  - apiVersion: v1
    kind: Pod
    metadata: { name: proxy }
    spec:
      containers:
        - name: proxy
          image: registry.example.com/mirror/oauth2-proxy@sha256:00
          command: [/bin/oauth2-proxy]
          args: [--config, /etc/proxy/oauth.cfg, --authenticated-emails-file=/etc/emails, --oidc-issuer-url=https://id.example.com]
          envFrom:
            - configMapRef: { name: env }
            - secretRef: { name: elsewhere }
          volumeMounts:
            - { name: config, mountPath: /etc/proxy }
            - { name: emails, mountPath: /etc/emails, subPath: list }
      volumes:
        - { name: config, configMap: { name: files, items: [{ key: proxy.cfg, path: oauth.cfg }] } }
        - { name: emails, projected: { sources: [{ configMap: { name: files } }] } }
`,
  })
  t.same(config.routes[0]?.require?.claims, { email: ['*@example.com', '*@example.org', 'ann@partner.example'] })
  t.match(config.session, { lifetime: '9h' }, 'a variable goes before the file')
  t.match(report, /all\.yaml:16: cookie_expire: OAUTH2_PROXY_COOKIE_EXPIRE \(.*\) takes precedence/)
  t.same(openPaths(config), ['/x'])
  t.match(report, /SECURITY[^]*envFrom\.secretRef: the variables of the Secret elsewhere are not in this file/)
  t.equal(config.provider['clientId'], '${OAUTH2_PROXY_CLIENT_ID}', 'it may be in that Secret')
  t.end()
})

void t.test('what is not in the files is named under SECURITY', (t) => {
  const { report, config } = migrated(t, {
    'proxy.yaml': `
apiVersion: apps/v1
kind: DaemonSet
spec:
  template:
    spec:
      containers:
        - image: oauth2-proxy
          args: [--config=/etc/proxy.cfg, --alpha-config=/etc/alpha.yaml]
          envFrom: [{ configMapRef: { name: shared } }]
        - image: oauth2-proxy
          args: [--upstream=http://second]
`,
  })
  for (const text of [
    '/etc/proxy.cfg cannot be read',
    '/etc/alpha.yaml cannot be read',
    'ConfigMap shared',
    'a further container',
  ])
    t.match(report, new RegExp(`SECURITY[^]*${text}[^]*TO FILL IN`))
  t.match(config.routes[0]?.require?.claims, { not_migrated: ['email_domains'] })
  t.end()
})

void t.test('an alpha configuration beside the flags takes the variables of the container', (t) => {
  const { config } = migrated(t, {
    'proxy.yaml': `
apiVersion: v1
kind: ConfigMap
metadata: { name: alpha }
data:
  alpha.yaml: |
    upstreamConfig: { upstreams: [{ id: app, path: /, uri: "http://\${BACKEND}:8080" }] }
    Providers:
      - { id: a, provider: oidc, clientID: $CLIENT, clientSecret: "\${SECRET}", oidcConfig: { issuerURL: "https://id.example.com" } }
---
apiVersion: v1
kind: Pod
spec:
  containers:
    - name: oauth2-proxy
      image: mirror/auth
      command: [oauth2-proxy]
      args: [--alpha-config=/a/alpha.yaml, --email-domain=*]
      env:
        - { name: BACKEND, value: app }
        - { name: CLIENT, value: orders }
        - { name: SECRET, valueFrom: { secretKeyRef: { name: proxy, key: secret } } }
      volumeMounts: [{ name: a, mountPath: /a }]
  volumes: [{ name: a, configMap: { name: alpha } }]
`,
  })
  t.match(config, {
    upstream: 'http://app:8080',
    provider: { clientId: 'orders', clientSecret: '${SECRET}' },
  })
  t.end()
})

void t.test('a compose file: anchors, env_file, a shell, defaults and dollar signs', (t) => {
  const { config, report } = migrated(
    t,
    {
      'compose.yaml': `
x-common: &common
  OAUTH2_PROXY_PROVIDER: oidc
services:
  app: { image: app, command: --upstream=http://wrong }
  auth:
    image: bitnami/oauth2-proxy:7
    entrypoint: [/bin/sh, -c]
    command:
      - |
        # no word of the command
        exec oauth2-proxy --oidc-issuer-url=\${ISSUER:-https://id.example.com} \\
          --skip-auth-route='^/a$$' --skip-auth-route=^/b/ \\
          --upstream=http://app
    env_file: [./auth.env]
    environment:
      <<: *common
      OAUTH2_PROXY_CLIENT_ID: \${CLIENT}
      OAUTH2_PROXY_CLIENT_SECRET:
`,
    },
    {
      '.env': 'CLIENT=orders',
      'auth.env': `OAUTH2_PROXY_COOKIE_SECRET=${SECRET}\nOAUTH2_PROXY_EMAIL_DOMAINS=*\nOAUTH2_PROXY_UPSTREAM=http://x`,
    },
  )
  t.match(config, { upstream: 'http://app', provider: { issuer: 'https://id.example.com', clientId: 'orders' } })
  t.same(openPaths(config), ['/a', '/b/**'])
  t.match(report, /compose\.yaml:\d+: ISSUER: .*default/)
  t.match(report, 'OAUTH2_PROXY_UPSTREAM: oauth2-proxy does not read this name, only upstreams')
  const list = migrated(t, {
    'compose.yaml': `
services:
  auth:
    image: oauth2-proxy
    command: >-
      ${FLAGS.join(' ')} --email-domain="example.com"
    environment: ["OAUTH2_PROXY_CLIENT_ID=list", OAUTH2_PROXY_CLIENT_SECRET]
`,
  })
  t.match(list.config, { upstream: 'http://app:8080', provider: { clientId: 'list' } })
  t.same(list.config.routes[0]?.require?.claims, { email: ['*@example.com'] })
  t.end()
})

void t.test('a script with docker run: variables, files and quotes', (t) => {
  const { config, report } = migrated(
    t,
    {
      'run.sh': `#!/bin/sh
export CLIENT=orders OAUTH2_PROXY_EMAIL_DOMAINS=example.com
docker run -d --rm --name oauth2-proxy -p 80:4180 \\
  -e OAUTH2_PROXY_CLIENT_SECRET="$SECRET" -e OAUTH2_PROXY_EMAIL_DOMAINS --env-file=extra.env \\
  quay.io/oauth2-proxy/oauth2-proxy:latest \\
  ${FLAGS.join(' ')} --client-id "$CLIENT" \\
  --skip-auth-route '^/a$' # the end
`,
    },
    { 'extra.env': 'OAUTH2_PROXY_REDIRECT_URL=https://orders.example.com/oauth2/callback' },
  )
  t.match(config, {
    publicUrl: 'https://orders.example.com',
    upstream: 'http://app:8080',
    provider: { clientId: 'orders', clientSecret: '${SECRET}' },
  })
  t.same(config.routes[0]?.require?.claims, { email: ['*@example.com'] })
  t.same(openPaths(config), ['/a'])
  t.match(report, 'run.sh:7: --skip-auth-route')
  t.end()
})

void t.test('a systemd unit with its environment file', (t) => {
  const unit = `[Service]
Environment="OAUTH2_PROXY_CLIENT_ID=unit" OAUTH2_PROXY_COOKIE_EXPIRE=2h
EnvironmentFile=-/etc/proxy.env
ExecStart=/usr/bin/oauth2-proxy ${FLAGS.join(' ')} \\
  --email-domain=* \\
  --skip-auth-route=^/a$ --skip-auth-route=^/b$
`
  const { config, report } = migrated(t, { 'proxy.service': unit }, { 'proxy.env': 'OAUTH2_PROXY_COOKIE_EXPIRE=9h' })
  t.match(config, { provider: { clientId: 'unit' }, session: { lifetime: '9h' } })
  t.same(openPaths(config), ['/a', '/b'])
  t.match(report, 'proxy.service:6: --skip-auth-route')
  t.match(migrated(t, { 'proxy.service': unit }).report, /SECURITY[^]*proxy\.env cannot be read[^]*TO FILL IN/)
  const given = migrated(t, { 'proxy.service': unit, 'proxy.env': 'OAUTH2_PROXY_COOKIE_EXPIRE=9h' })
  t.match(given.config.session, { lifetime: '9h' }, 'the file may be given as well')
  t.notMatch(given.report, 'cannot be read')
  t.end()
})

void t.test('a manifest, its configuration file and the list of addresses are given together', (t) => {
  const { config, report } = migrated(t, {
    'proxy.yaml': `args: [--config=/etc/oauth2-proxy.cfg, --authenticated-emails-file=/etc/access-list]`,
    'settings.cfg': 'provider = "oidc"\noidc_issuer_url = "https://id.example.com"\nupstreams = ["http://app"]',
    'emails.txt': 'ann@example.com\nbob@example.com\n',
  })
  t.match(config, { upstream: 'http://app' })
  t.same(config.routes[0]?.require?.claims, { email: ['ann@example.com', 'bob@example.com'] })
  t.notMatch(report, 'cannot be read')
  t.throws(
    () =>
      migrateFiles([
        { name: 'a.cfg', text: 'provider = "oidc"' },
        { name: 'b.txt', text: 'x' },
      ]),
    new UnreadableFile('b.txt: it is not a configuration that this command can read'),
  )
  t.end()
})

void t.test('TLS of its own: versions, ciphers and the redirect', (t) => {
  const { yaml, report } = migrated(t, {
    'a.cfg': [
      'tls_cert_file = "/c"',
      'tls_key_file = "/k"',
      'tls_min_version = "TLS1.3"',
      'tls_cipher_suites = ["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"]',
      'force_https = true',
      'http_address = "0.0.0.0:8080"',
      'https_address = ":8443"',
    ].join('\n'),
  })
  t.match(parse(yaml), {
    listen: '0.0.0.0:8443',
    tls: { minVersion: '1.3', ciphers: ['TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256'], redirectFrom: '0.0.0.0:8080' },
  })
  t.notMatch(report, 'HAS NO EQUAL')
  t.end()
})

void t.test(
  'an expression that a route cannot express stays closed, with the reason and the route that may be meant',
  (t) => {
    for (const [regex, reason, path] of [
      ['^/.well-known/.*', 'its unescaped dot matches every character', '/.well-known/**'],
      ['^/health', 'without $ it matches longer names', '/health'],
      ['/metrics$', 'without ^ it matches in the middle of a path', '/metrics'],
    ] as const) {
      const { report, config } = migrated(t, {
        'a.sh': `oauth2-proxy --upstream=http://a '--skip-auth-route=${regex}'`,
      })
      t.match(report, `(${reason}), and stays closed: add routes such as { path: ${path}, access: public }`)
      t.same(openPaths(config), [])
    }
    t.end()
  },
)

void t.test('a Dockerfile, and the Ingress beside a Deployment', (t) => {
  const dockerfile = migrated(t, {
    Dockerfile: `FROM quay.io/oauth2-proxy/oauth2-proxy
ENV OAUTH2_PROXY_CLIENT_ID=image OAUTH2_PROXY_COOKIE_EXPIRE=9h
ENV OAUTH2_PROXY_EMAIL_DOMAINS example.com
CMD ["--provider=oidc", "--oidc-issuer-url=https://id.example.com", "--upstream=file:///dev/null"]
`,
  })
  t.match(dockerfile.config, { provider: { clientId: 'image' }, session: { lifetime: '9h' } })
  t.same(dockerfile.config.routes[0]?.require?.claims, { email: ['*@example.com'] })
  t.match(dockerfile.config, { forwardAuth: {} }, 'an upstream without content is for verdicts')
  const ingress = 'kind: Ingress\nspec: { rules: [{ host: orders.example.com }] }'
  const { config, report } = migrated(t, { 'all.yaml': `${DEPLOYMENT}---\n${ingress}` })
  t.equal(config.publicUrl, 'https://orders.example.com')
  t.match(report, /publicUrl is the host of the Ingress \(all\.yaml:\d+\)/)
  t.end()
})

void t.test('a variable in any source is one in the result', (t) => {
  const { config, report } = migrated(t, {
    'a.cfg':
      'provider = "oidc"\noidc_issuer_url = "https://${HOST}/x"\nupstreams = ["http://${APP}:80/"]\nclient_id = "${ID}"',
  })
  t.match(config, {
    upstream: 'http://${APP}',
    provider: { issuer: 'https://${HOST}/x', clientId: '${ID}' },
  })
  t.match(report, /SECRETS[^]*HOST: /)
  const unknown = migrated(t, { 'a.cfg': 'email_domains = ["${DOMAINS}"]' })
  t.match(unknown.report, /SECURITY[^]*email_domains: its value is in \$\{DOMAINS\}/)
  t.end()
})

void t.test('usage: the forms of the output, and which files have values of a chart', async (t) => {
  await t.rejects(
    migrate.run(['--format', 'helm', 'a.cfg']),
    new UsageError('--format is config or values, not "helm"'),
  )
  const wonderwall = { name: 'a.env', text: 'WONDERWALL_INGRESS=https://a.example.com' }
  t.throws(
    () => migrateFiles([wonderwall], () => null, 'values'),
    new UnreadableFile('--format values needs files of oauth2-proxy, not of Wonderwall'),
  )
})

void t.test('the container is found by its image, its command, its variables or its flags', (t) => {
  const pod = (...containers: string[]): string => `kind: Pod\nspec: { containers: [${containers.join(', ')}] }`
  const other = '{ image: app, args: ["http://oauth2-proxy:4180", "--cookie-name", "_oauth2_proxy"] }'
  const args = JSON.stringify(['--cookie-name', '_oauth2_proxy', ...FLAGS, '--email-domain=*'])
  for (const container of [
    `{ image: oauth2-proxy, args: ${args} }`,
    `{ image: a, command: [/bin/oauth2-proxy], args: ${args} }`,
    `{ image: a, command: [tini, --, oauth2-proxy], args: ${args} }`,
    `{ image: a, args: ${args} }`,
  ]) {
    const { config, report } = migrated(t, { 'pod.yaml': pod(other, container) })
    t.match(config, { upstream: 'http://app:8080', session: { cookie: { name: '_oauth2_proxy' } } }, container)
    t.notMatch(report, 'a further container')
  }
  t.end()
})

void t.test('a Deployment and its ConfigMaps in files of their own, or the ConfigMap alone', (t) => {
  const map = `apiVersion: v1
kind: ConfigMap
metadata: { name: proxy }
data:
  OAUTH2_PROXY_EMAIL_DOMAINS: example.com
  proxy.cfg: |
    provider = "oidc"
    oidc_issuer_url = "https://id.example.com"
    upstreams = ["http://app"]
    skip_auth_routes = ["^/x$"]
`
  const deployment = `apiVersion: apps/v1
kind: Deployment
spec:
  template:
    spec:
      containers:
        - image: oauth2-proxy
          args: [--config=/c/proxy.cfg]
          envFrom: [{ configMapRef: { name: proxy } }]
          volumeMounts: [{ name: c, mountPath: /c }]
      volumes: [{ name: c, configMap: { name: proxy } }]
`
  for (const files of [{ 'map.yaml': map, 'proxy.yaml': deployment }, { 'map.yaml': map }] as Record<
    string,
    string
  >[]) {
    const { config, report } = migrated(t, files)
    t.equal(config.upstream, 'http://app')
    t.same(config.routes[0]?.require?.claims, { email: ['*@example.com'] })
    t.match(report, 'map.yaml:10: skip_auth_routes')
    t.notMatch(report, 'cannot be read')
  }
  t.end()
})

void t.test('a repeated flag of one value: the last one counts, as in oauth2-proxy', (t) => {
  const flags = [...FLAGS, '--provider=keycloak-oidc', '--skip-auth-preflight', '--skip-auth-preflight=false']
  const { config, report } = migrated(t, {
    'start.sh': `oauth2-proxy --provider=google ${flags.join(' ')} --email-domain=a.example --email-domain=b.example,c.example`,
  })
  t.match(config.provider, { issuer: 'https://id.example.com', preset: 'keycloak' })
  t.same(config.routes[0]?.require?.claims, { email: ['*@a.example', '*@b.example', '*@c.example'] })
  t.same(openPaths(config), [])
  t.match(report, /--skip-auth-preflight: it is set again in line 1, and the last value counts/)
  t.end()
})

void t.test('an empty variable has no effect on a value in the file', (t) => {
  const { config, report } = migrated(
    t,
    {
      'compose.yaml': `services:
  proxy:
    image: oauth2-proxy
    command: --config=/proxy.cfg
    volumes: [./proxy.cfg:/proxy.cfg]
    environment: { OAUTH2_PROXY_ALLOWED_GROUPS: "", OAUTH2_PROXY_EMAIL_DOMAINS: "*" }
`,
    },
    { 'proxy.cfg': 'provider = "oidc"\noidc_issuer_url = "https://id.example.com"\nallowed_groups = ["ops"]' },
  )
  t.same(config.routes[0]?.require?.claims, { groups: ['ops'] })
  t.match(report, /OAUTH2_PROXY_ALLOWED_GROUPS: it is empty/)
  t.end()
})

void t.test('a script: arrays, words of a variable, further commands and arguments from outside', (t) => {
  const { config, report } = migrated(t, {
    'run.sh': `docker stop oauth2-proxy
docker pull oauth2-proxy
ARGS=(
  --provider=oidc # the provider
  --oidc-issuer-url="https://id.example.com"
)
if [ -n "$X" ]; then ARGS+=(--email-domain=example.com '--skip-auth-route=^/a b$'); fi
OPTIONS="--upstream=http://app:8080 --allowed-group=ops"
docker run -d oauth2-proxy "\${ARGS[@]}" $OPTIONS "$@"
oauth2-proxy --upstream=http://other --skip-auth-route=^/other$
oauth2-proxy --version
`,
  })
  t.match(config, { upstream: 'http://app:8080', provider: { issuer: 'https://id.example.com' } })
  t.same(config.routes[0]?.require?.claims, { groups: ['ops'], email: ['*@example.com'] })
  t.match(report, /run\.sh:9: \$@: these arguments are not in this file/)
  t.match(report, /run\.sh:10: command: a further command of this program starts here/)
  t.notMatch(report, /run\.sh:11|ARGS|OPTIONS/)
  t.end()
})

void t.test('units: a variable with several flags, and a container of Podman', (t) => {
  const flags = `${FLAGS.join(' ')} --email-domain=example.com`
  const units = {
    'proxy.service': `[Service]\nEnvironment="OPTS=${flags}"\nExecStart=/usr/bin/oauth2-proxy $OPTS $MORE\n`,
    'proxy.container': `[Container]
Image=quay.io/oauth2-proxy/oauth2-proxy:v7
Exec=${flags}
Secret=proxy,type=env,target=OAUTH2_PROXY_CLIENT_SECRET
[Service]
Restart=always
`,
  }
  for (const [name, text] of Object.entries(units)) {
    const { config } = migrated(t, { [name]: text })
    t.match(config, { upstream: 'http://app:8080', provider: { issuer: 'https://id.example.com' } }, name)
    t.same(config.routes[0]?.require?.claims, { email: ['*@example.com'] }, name)
  }
  t.match(migrated(t, { 'proxy.service': units['proxy.service'] }).report, /\$MORE: these arguments are not/)
  t.equal(
    migrated(t, { 'proxy.container': units['proxy.container'] }).config.provider['clientSecret'],
    '${OAUTH2_PROXY_CLIENT_SECRET}',
  )
  t.end()
})

void t.test('a compose file: a service extends others, also of another file', (t) => {
  const base = `services:
  base:
    image: oauth2-proxy
    command: [${FLAGS.map((flag) => JSON.stringify(flag)).join(', ')}]
    environment: { OAUTH2_PROXY_ALLOWED_GROUPS: staff, OAUTH2_PROXY_EMAIL_DOMAINS: old.example }
`
  const own = `
  proxy:
    environment: [OAUTH2_PROXY_EMAIL_DOMAINS=example.com]
    extends: `
  const forms = [
    { file: `${base}${own}base\n`, others: {} },
    { file: `services:${own}{ file: ./base.yaml, service: base }\n`, others: { 'base.yaml': base } },
  ]
  for (const { file, others } of forms) {
    const { config } = migrated(t, { 'compose.yaml': file }, others)
    t.equal(config.upstream, 'http://app:8080')
    t.same(config.routes[0]?.require?.claims, { groups: ['staff'], email: ['*@example.com'] })
  }
  const { report } = migrated(t, { 'compose.yaml': forms[1]?.file ?? '' })
  t.match(report, /compose\.yaml:4: extends: \.\/base\.yaml cannot be read: what it sets or protects is not carried/)
  t.end()
})

void t.test('keys that the command does not know may have protected something', (t) => {
  const { report } = migrated(t, {
    'a.sh': `oauth2-proxy ${FLAGS.join(' ')} --openshift-sar='{"verb":"get"}' --email-domain=*`,
  })
  const [, security = ''] = report.split('SECURITY')
  t.match(security.split('\n\n')[0], /--openshift-sar: it is not a key of oauth2-proxy/)
  t.end()
})

void t.test('a template: its expressions are named, and a variable of Kubernetes that no file sets stays one', (t) => {
  const yaml = `containers:
  - image: oauth2-proxy
    args:
      - --client-id=$(CLIENT_ID)
      - --upstream=http://app:8080
      {{- range .Values.domains }}
      - --email-domain={{ . }}
      {{- end }}
`
  const { report } = migrated(t, { 'deployment.yaml': yaml })
  t.match(report, /--email-domain: \{\{ \. \}\} is an expression of a template/)
  const pod = yaml.replaceAll(/.*\{\{.*\n/g, '')
  t.equal(migrated(t, { 'pod.yaml': pod }).config.provider['clientId'], '${CLIENT_ID}')
  t.end()
})

void t.test('Argo CD and Flux: values as text, as a mapping, of a subchart, and as parameters', (t) => {
  const values = (indent: string): string =>
    ['config:', '  configFile: |', '    email_domains = ["example.com"]', '    upstreams = ["http://app:8080"]']
      .concat('extraArgs:', '  provider: oidc', '  oidc-issuer-url: https://id.example.com')
      .map((line) => `${indent}${line}\n`)
      .join('')
  const argo = 'kind: Application\nspec:\n  source:\n    helm:\n'
  const parameters = '      parameters:\n        - { name: extraArgs.allowed-group, value: ops }\n'
  const files = [
    `${argo}      values: |\n${values('        ')}`,
    `${argo}      valuesObject:\n        oauth2-proxy:\n${values('          ')}`,
    `kind: Application\nspec:\n  sources:\n    - helm:\n        valuesObject:\n${values('          ')}`,
    `kind: HelmRelease\nspec:\n  values:\n${values('    ')}`,
  ]
  for (const text of files) {
    const { config } = migrated(t, { 'release.yaml': text })
    t.equal(config.upstream, 'http://app:8080')
    t.same(config.routes[0]?.require?.claims, { email: ['*@example.com'] })
  }
  const { config, report } = migrated(t, {
    'release.yaml': `${argo}${parameters}        - { name: config.clientID, value: a }\n      values: |\n${values('        ')}`,
  })
  t.same(config.routes[0]?.require?.claims, { groups: ['ops'], email: ['*@example.com'] })
  t.match(report, /release\.yaml:7: config\.clientID: this parameter of Argo CD is not carried over/)
  t.end()
})

void t.test('an empty configFile: the list of addresses has an effect, as with older charts', (t) => {
  const text = `config: { configFile: "", clientID: a }
authenticatedEmailsFile: { enabled: true, restricted_access: alice@example.com }
extraArgs: { provider: oidc, oidc-issuer-url: "https://id.example.com", upstream: "http://app:8080" }
`
  t.same(migrated(t, { 'values.yaml': text }).config.routes[0]?.require?.claims, { email: ['alice@example.com'] })
  t.end()
})

void t.test('a file in Windows-1252 or UTF-16 is decoded', async (t) => {
  const text = `provider = "oidc"\nupstreams = ["http://app:8080"]\nallowed_groups = ["Büro"]\nemail_domains = ["*"]\n`
  const dir = t.testdir({
    'ansi.cfg': Buffer.from(text, 'latin1'),
    'utf16.cfg': Buffer.concat([Buffer.from([0xff, 0xfe]), Buffer.from(text, 'utf16le')]),
  })
  for (const name of ['ansi.cfg', 'utf16.cfg']) {
    const written: string[] = []
    t.capture(process.stderr, 'write', () => true)
    t.capture(process.stdout, 'write', (part: string) => {
      written.push(part)
      return true
    })
    t.equal(await migrate.run([`${dir}/${name}`]), 0)
    t.match(written.join(''), 'Büro')
  }
})
