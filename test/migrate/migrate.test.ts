import { generateKeyPairSync } from 'node:crypto'
import { readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { parse } from 'yaml'
import type { AccessRule } from '../../src/migrate/condition.ts'
import { migrateFiles } from '../../src/migrate/migrate.ts'
import { writeReport, writeYaml } from '../../src/migrate/write.ts'
import { key } from '../config/configuration.ts'
import { type Ended, runProgram } from '../support/program.ts'

interface Route {
  readonly path: string
  readonly methods?: string[]
  readonly access?: string
  readonly challenge?: string
  readonly require?: AccessRule & { readonly acr?: string[] }
  readonly token?: { readonly grant?: string; readonly header?: string }
  readonly headers?: { readonly set: Record<string, string>; readonly remove?: string[] }
  readonly bearer?: { readonly audience: string[] }
  readonly upstream?: string
}
interface Written {
  readonly publicUrl: string | string[]
  readonly loginHost?: string
  readonly basePath?: string
  readonly trustedProxies?: string[]
  readonly forwardAuth?: { readonly listen: string }
  readonly upstream: string
  readonly provider: Record<string, unknown>
  readonly session: Record<string, unknown>
  readonly routes: Route[]
}

const folder = fileURLToPath(new URL('samples/', import.meta.url))
const samples = readdirSync(folder)
const scratch = t.testdir()
const pem = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  .privateKey.export({ type: 'pkcs8', format: 'pem' })
  .toString()

/** The secrets of the samples, which all consist of a word for their file and a number. */
const secrets =
  /\b(?:cfg|google|github|kc|env|args|alpha|apache|static|ww)[- ](?:[a-z]+[- ])+[A-Za-z0-9]+=?|YWxwaGE[A-Za-z0-9=]+/g

const runs = new Map(
  await Promise.all(samples.map(async (name) => [name, await runProgram(t, ['migrate', join(folder, name)])] as const)),
)

const run = (name: string): Ended & { readonly config: Written } => {
  const ended = runs.get(name)
  if (ended === undefined) throw new Error(`there is no sample ${name}`)
  const config: Written = parse(ended.stdout)
  return { ...ended, config }
}

const routeOf = ({ routes }: Written, path: string, method?: string): Route | undefined =>
  routes.find(
    (route) =>
      route.path === path &&
      (method === undefined ? route.methods === undefined : route.methods?.includes(method) === true),
  )

for (const name of samples) {
  void t.test(`${name}: check accepts the result once the secrets are set`, async (t) => {
    const { status, stdout } = run(name)
    t.equal(status, 0)
    const file = join(scratch, `${name}.yaml`)
    writeFileSync(file, stdout)
    const variables = Object.fromEntries(
      [...stdout.matchAll(/\$\{([A-Z_]+)\}/g)].map(([, variable = '']) => [
        variable,
        variable === 'SESSION_KEY' ? key : variable === 'OIDC_PRIVATE_KEY' ? pem : 'hush',
      ]),
    )
    const checked = await runProgram(t, ['check', '--config', file], variables)
    t.equal(checked.status, 0, checked.stderr)
    t.equal(
      checked.stderr
        .split('\n')
        .filter((line) => line !== '' && !/^warning: .*insecureSkipVerify|plain http/.test(line))
        .join('\n'),
      '',
    )
    t.ok(Object.hasOwn(variables, 'SESSION_KEY'), 'a random key would end all sessions with each restart')
  })

  void t.test(`${name}: the output contains no secret of the file`, async (t) => {
    const { stdout, stderr } = run(name)
    const found = [...new Set(readFileSync(join(folder, name), 'utf8').match(secrets))]
    t.ok(found.length > 0, 'the sample has secrets')
    for (const secret of found) {
      t.notOk(stdout.includes(secret), `${secret} on stdout`)
      t.notOk(stderr.includes(secret), `${secret} on stderr`)
    }
  })

  void t.test(`${name}: every key of the file is in the result, or named with its line`, async (t) => {
    const { stdout, stderr } = run(name)
    for (const { line, key: found } of keysOf(name)) {
      t.ok(
        stdout.includes(`${found} (${line})`) ||
          stderr.includes(`${found} (${line})`) ||
          new RegExp(`:(?:\\d+, )*${line}(?:, \\d+)*: \\S*${found}: `).test(stderr),
        `${found} in line ${line}`,
      )
    }
  })
}

/** The keys of a sample as a reader sees them: what stands before a value. */
function keysOf(name: string): { line: number; key: string }[] {
  const lines = readFileSync(join(folder, name), 'utf8').split('\n')
  const ofLine = (text: string): string | undefined => {
    if (name.endsWith('.cfg')) return /^([a-z_]+) = /.exec(text)?.[1]
    if (name.endsWith('.env')) return /^(?:export )?([A-Z0-9_]+)=/.exec(text)?.[1]
    if (name.endsWith('.conf')) return /^\s+"/.test(text) ? undefined : /^\s*([A-Z][A-Za-z]+)/.exec(text)?.[1]
    if (name.includes('args')) return /(--[a-z-]+)/.exec(text)?.[1]
    return /^[\s-]+([A-Za-z_]+): ./.exec(text)?.[1]
  }
  return lines
    .flatMap((text, index) => {
      const found = ofLine(text)
      return found === undefined ? [] : [{ line: index + 1, key: found }]
      // A flag that is given again adds to the list that its first place stands for.
    })
    .filter(
      ({ key: found }, index, all) => !name.includes('args') || all.findIndex((one) => one.key === found) === index,
    )
}

void t.test('oauth2-proxy: only paths that a route can express exactly become public', async (t) => {
  const { config, stderr } = run('oauth2-proxy.cfg')
  t.equal(routeOf(config, '/healthz', 'GET')?.access, 'public')
  t.equal(routeOf(config, '/assets/**')?.access, 'public')
  t.equal(routeOf(config, '/assets')?.access, undefined, '^/assets/ is not /assets')
  t.equal(routeOf(config, '/api/public/**')?.access, 'public')
  t.equal(routeOf(config, '/api/public/**')?.upstream, 'http://127.0.0.1:3001', 'it stays with its upstream')
  const open = config.routes
    .filter(({ access, methods }) => access !== undefined && methods?.includes('OPTIONS') !== true)
    .map(({ path }) => path)
  t.same(
    open,
    ['/healthz', '/assets/**', '/api/public/**'],
    'neither /robots.txt, /docs nor the negated hooks become public',
  )
  for (const regex of ['^/robots.txt$', 'POST!=^/hooks', '^/docs']) t.match(securityOf(stderr), JSON.stringify(regex))
  t.match(securityOf(stderr), /trusted_ips/)
  t.match(securityOf(stderr), /whitelist_domains/)
  t.same(routeOf(config, '/**', 'OPTIONS')?.access, 'public', 'skip_auth_preflight')
  t.same(config.trustedProxies, [], 'reverse_proxy = true alone trusts no proxy')
  t.match(securityOf(stderr), /reverse_proxy/)
})

void t.test('oauth2-proxy: groups of Google are read from Cloud Identity', async (t) => {
  const { config, stderr } = run('oauth2-proxy-google.cfg')
  t.equal(config.provider['groupsFrom'], 'google')
  t.equal(config.provider['scopes'], undefined, 'the preset and groupsFrom have the scopes')
  t.match(stderr, /google_groups: groups are read from Cloud Identity with the token of the user/)
})

void t.test('oauth2-proxy: teams and single users of GitHub become alternatives', async (t) => {
  const { config, stderr } = run('oauth2-proxy-github.cfg')
  const { clientSecret, ...provider } = config.provider
  t.ok(clientSecret)
  t.same(provider, {
    preset: 'github',
    issuer: 'https://git.example.com',
    clientId: 'Iv1.0123456789abcdef',
    scopes: ['user:email', 'read:org'],
  })
  t.same(routeOf(config, '/**')?.require, {
    claims: { email_verified: [true] },
    any: [{ claims: { preferred_username: ['octocat'] } }, { claims: { groups: ['acme/ops'] } }],
  })
  t.match(securityOf(stderr), /github_team: with github_org, a team of another organization lets no user in, as before/)
})

/** What routes require with most providers, because oauth2-proxy rejects users whose address is not verified. */
const verified = { not: { claims: { email_verified: [false] } } }

for (const [name, lines, claims, provider] of [
  ['users alone', 'github_users = "octocat,zoe"', { preferred_username: ['octocat', 'zoe'] }, { preset: 'github' }],
  ['an organization alone', 'github_org = "acme"', { groups: ['acme/*'] }, { preset: 'github' }],
  ['a team without organization', 'github_team = "ops"', { not_migrated: ['github_team'] }, { preset: 'github' }],
  ['allowed groups', 'allowed_groups = ["acme:ops"]', { groups: ['acme/ops'] }, { preset: 'github' }],
  [
    'Gitea',
    'login_url = "https://git.example.com/gitea/login/oauth/authorize"\nvalidate_url = "https://git.example.com/gitea/api/v1/user/emails"',
    {},
    { preset: 'gitea', issuer: 'https://git.example.com/gitea' },
  ],
] as const) {
  void t.test(`oauth2-proxy: provider github with ${name}`, async (t) => {
    const text = `provider = "github"\nclient_id = "a"\nemail_domains = ["*"]\nupstreams = ["http://app:80"]\n${lines}\n`
    const config: Written = parse(writeYaml(migrateFiles([{ name: 'one.cfg', text }])))
    t.match(config.provider, provider)
    t.same(routeOf(config, '/**')?.require?.claims, { ...claims, email_verified: [true] })
  })
}

void t.test('oauth2-proxy: allowed groups of Entra are read from Microsoft Graph', async (t) => {
  const text =
    'provider = "entra-id"\noidc_issuer_url = "https://login.microsoftonline.com/3f1c/v2.0"\nallowed_groups = ["9a"]\n'
  const config: Written = parse(writeYaml(migrateFiles([{ name: 'one.cfg', text }])))
  t.match(config.provider, { groupsFrom: 'graph' })
  t.match(routeOf(config, '/**')?.require?.claims, { groups: ['9a'] })
})

void t.test('oauth2-proxy: a workspace of Bitbucket becomes a rule', async (t) => {
  const text = 'provider = "bitbucket"\nclient_id = "a"\nemail_domains = ["*"]\nbitbucket_team = "acme"\n'
  const config: Written = parse(writeYaml(migrateFiles([{ name: 'one.cfg', text }])))
  t.match(config.provider, { preset: 'bitbucket' })
  t.match(routeOf(config, '/**')?.require?.claims, { groups: ['acme'] })
})

void t.test('oauth2-proxy: the result admits no more users than the original', async (t) => {
  const { config, stderr } = run('oauth2-proxy.cfg')
  t.same(routeOf(config, '/**')?.require, { claims: { groups: ['staff', 'admin'] }, ...verified })
  t.match(securityOf(stderr), /email_domains: every user of the provider is let in/)
  t.same(routeOf(config, '/api/**')?.bearer?.audience, ['orders', 'api://orders'], 'only audiences of the same issuer')
  t.same(routeOf(run('oauth2-proxy-google.cfg').config, '/**')?.require?.claims, {
    groups: ['ops@example.com'],
    hd: ['example.com'],
    email_verified: [true],
  })
  t.same(routeOf(run('oauth2-proxy-keycloak.cfg').config, '/**')?.require, {
    claims: { mail: ['list-the-addresses@change-me.invalid'] },
    any: [{ claims: { 'resource_access.orders.roles': ['admin'] } }, { claims: { 'realm_access.roles': ['auditor'] } }],
  })
  t.same(routeOf(run('oauth2-proxy.env').config, '/**')?.require, {
    claims: { tid: ['3f1c'], email: ['*@example.com', '*@example.org'] },
    ...verified,
  })
  t.same(
    routeOf(run('oauth2-proxy-alpha.yaml').config, '/**')?.require,
    { claims: { groups: ['staff'], not_migrated: ['email_domains'] }, ...verified },
    'the other half of the configuration is missing: closed',
  )
  for (const name of [
    'insecure_oidc_allow_unverified_email',
    'insecure_oidc_skip_issuer_verification',
    'ssl_upstream_insecure_skip_verify',
  ]) {
    t.match(securityOf(run('oauth2-proxy-keycloak.cfg').stderr), name)
  }
  t.notOk(routeOf(run('oauth2-proxy-keycloak.cfg').config, '/**')?.access, 'skip_auth_regex = ".*" opens nothing')
})

void t.test('oauth2-proxy: the upstream gets the same headers, under the same names if possible', async (t) => {
  const all = routeOf(run('oauth2-proxy.cfg').config, '/**')
  t.same(all?.token, { header: 'X-Forwarded-Access-Token' })
  t.same(all?.headers?.set, {
    'X-Forwarded-User': '{claims.sub}',
    'X-Forwarded-Email': '{claims.email}',
    'X-Forwarded-Groups': '{claims.groups}',
    'X-Forwarded-Preferred-Username': '{claims.preferred_username}',
  })
  t.same(routeOf(run('oauth2-proxy.env').config, '/**')?.token, { grant: 'none' }, 'no token on a route without one')
  t.same(routeOf(run('oauth2-proxy-keycloak.cfg').config, '/**')?.token, { grant: 'id-token' })
  t.notMatch(run('oauth2-proxy-keycloak.cfg').stderr, /pass_authorization_header/)
  const alpha = run('oauth2-proxy-alpha.yaml')
  t.same(routeOf(alpha.config, '/**')?.headers?.set, {
    'X-Forwarded-User': '{claims.sub}',
    'X-Mail': 'mailto:{claims.email}',
    'X-Api-Key': '${HEADER_X_API_KEY}',
    'X-Auth-Request-Groups': '{claims.groups}',
    'X-Id': '{idToken}',
  })
  t.same(routeOf(alpha.config, '/**')?.token, { header: 'X-Token' })
  t.notMatch(alpha.stderr, /id_token/)
})

void t.test('endpoints and the proxy of the provider are migrated', (t) => {
  const realm = 'realms/main/protocol/openid-connect'
  t.match(run('oauth2-proxy-keycloak.cfg').config.provider, {
    endpoints: {
      authorization: `https://login.example.com/${realm}/auth`,
      token: `http://keycloak.internal:8080/${realm}/token`,
      jwks: `http://keycloak.internal:8080/${realm}/certs`,
    },
    allowHttp: true,
  })
  const { config, stderr } = run('apache-static.conf')
  t.match(config.provider, {
    endpoints: { token: 'https://oauth2.googleapis.com/token' },
    proxy: 'http://proxy.example.com:3128',
  })
  t.match(stderr, /OIDCOutgoingProxy: add the credentials/)
  t.end()
})

void t.test('oauth2-proxy: sessions, cookies and stores are migrated', async (t) => {
  t.match(run('oauth2-proxy.cfg').config.session, {
    keys: ['${SESSION_KEY}'],
    lifetime: '12h',
    refreshBefore: '50%',
    store: 'redis://redis.example.com:6380/2',
    redis: { username: 'orders', password: '${REDIS_PASSWORD}' },
    cookie: { name: '_orders', sameSite: 'lax', domain: 'example.com' },
  })
  t.equal(run('oauth2-proxy-keycloak.cfg').config.session['store'], 'redis+sentinel://s1:26379,s2:26379/mymaster')
  t.equal(run('oauth2-proxy.env').config.session['store'], 'rediss+cluster://r1:6379,r2:6379')
  t.same(run('oauth2-proxy.env').config.trustedProxies, ['10.0.0.0/8', '192.168.1.1'])
})

void t.test(
  'mod_auth_openidc: each section becomes a route, and rules that a route can’t express admit no user',
  async (t) => {
    const { config, stderr } = run('apache.conf')
    const access = (path: string) => [
      routeOf(config, path)?.access ?? 'required',
      routeOf(config, path)?.require?.claims ?? {},
    ]
    t.same(access('/**'), ['required', {}])
    t.same(access('/public/**'), ['public', {}])
    t.same(access('/admin/**'), ['required', { groups: ['admin'], department: ['ops'] }], '<RequireAll>')
    t.same(access('/api/**'), ['required', { groups: ['staff', 'admin'] }], 'one of two')
    t.equal(routeOf(config, '/api/**')?.challenge, '401')
    t.same(access('/feed/**'), ['optional', {}], 'OIDCUnAuthAction pass')
    t.same(access('/strange/**'), ['required', { name: ['A*'] }], 'a regular expression')
    t.same(
      routeOf(config, '/either/**')?.require,
      { any: [{ claims: { groups: ['staff'] } }, { claims: { email: ['boss@example.com'] } }] },
      'one of two different claims',
    )
    t.same(access('/assets/**'), ['public', {}])
    t.same(access('/assets'), ['required', {}])
    t.same(routeOf(config, '/admin/**')?.token, { grant: 'none' }, 'OIDCPassAccessToken Off for these paths')
    t.match(securityOf(stderr), /<LocationMatch \\.png\$>: .*stay closed/)
    t.match(securityOf(stderr), /<VirtualHost \*:443>: another VirtualHost for other\.example\.com.*OIDCClientSecret/)
    t.equal(config.provider['clientId'], 'orders', 'not the other host’s')
    t.equal(config.provider['issuer'], 'https://login.example.com/realms/main')
    t.equal(config.session['store'], 'redis://redis.example.com:6379/3')
    const closed = run('apache-static.conf').config
    t.same(
      routeOf(closed, '/**')?.require?.claims,
      { not_migrated: ['section'] },
      'a folder on disk that asks for a claim closes everything',
    )
    t.equal(closed.session['endWithIdToken'], true, 'OIDCSessionMaxDuration 0')
  },
)

void t.test('mod_auth_openidc: headers that RequestHeader removed are removed on every route', async (t) => {
  const { config, stderr, stdout } = run('apache-headers.conf')
  t.same(routeOf(config, '/**')?.headers?.set, {
    'Authorization': '${HEADER_AUTHORIZATION}',
    'X-Realm': 'main',
    'X-Remote-User': '{claims.preferred_username}',
    'X-Mail': 'mailto:{claims.email}',
    'X-Roles': '{claims.roles}',
    'X-User': '{claims.preferred_username}',
    'X-Proxy-User': '{claims.preferred_username}',
    'X-In-If': '{claims.sub}',
    'X-Admin': '{claims.sub}',
  })
  const removed = ['X-Internal', 'X-Client-DN', 'X-Edited', 'X-Unknown', 'X-Level']
  const security = securityOf(stderr)
  for (const name of removed) {
    for (const route of config.routes) t.ok(route.headers?.remove?.includes(name), `${name} on ${route.path}`)
    t.match(security, new RegExp(`RequestHeader: .*${name} `))
  }
  for (const name of ['OIDC_CLAIM_email', 'OIDC_CLAIM_groups', 'OIDC_access_token', 'OIDC_id_token'])
    for (const route of config.routes) t.ok(route.headers?.remove?.includes(name), `${name} on ${route.path}`)
  t.match(security, /OIDCPassClaimsAs: mod_auth_openidc removes every header that begins with OIDC_CLAIM_ or OIDC_/)
  t.match(security, /RequestHeader: X-Admin: it applied to <Location \/admin> only.*its condition .* is dropped/)
  t.match(security, /another VirtualHost for other\.example\.com.*RequestHeader/)
  t.match(stderr, /RequestHeader: Accept-Language goes to the upstream as the client sends it/)
  t.match(stderr, /RequestHeader: the gateway writes X-Forwarded-Proto itself/)
  t.match(stderr, /Header: response headers are not changed/)
  t.notMatch(stdout, /Accept-Language/)

  const file = join(scratch, 'headers.yaml')
  writeFileSync(file, stdout)
  const explained = async (path: string, ...more: string[]): Promise<string> => {
    const spoofed = [
      'X-Remote-User',
      'X_Remote_User',
      'X-Internal',
      'X-Client-DN',
      'X-Level',
      'OIDC_CLAIM_groups',
    ].flatMap((name) => ['-H', `${name}: forged`])
    const url = `https://app.example.com${path}`
    return (
      await runProgram(t, ['explain', '--config', file, 'GET', url, ...spoofed, ...more], {
        SESSION_KEY: key,
        OIDC_CLIENT_SECRET: 'x',
        HEADER_AUTHORIZATION: 'x',
      })
    ).stdout
  }
  const claims = ['--claims', '{"sub":"a","preferred_username":"alice","groups":["admin"]}']
  for (const path of ['/x', '/admin/x', '/feed', '/open/x']) {
    const passes = await explained(path, ...claims)
    t.match(passes, /passes/, path)
    t.notMatch(passes, 'forged', path)
  }
  t.match(await explained('/x', ...claims), /X-Remote-User: alice/)
  t.notMatch(await explained('/open/x'), 'forged', 'without a session')
})

void t.test('mod_auth_openidc: directives that open or protect a path are listed under SECURITY', async (t) => {
  const { config, stderr } = run('apache-headers.conf')
  const security = securityOf(stderr)
  t.match(security, /Require: needs no session, as before: \/open\/\*\*/)
  t.match(security, /OIDCUnAuthAction: needs no session, as before: \/feed\/\*\*/)
  t.match(security, /RewriteRule: it kept requests away from the application/)
  t.match(security, /ProxyPass: the path was not forwarded.* no user is let in there/)
  t.same(routeOf(config, '/files/**')?.require?.claims, { not_migrated: ['ProxyPass'] })
  t.match(securityOf(run('apache.conf').stderr), /Require: needs no session, as before: \/public\/\*\*/)
})

void t.test('mod_proxy_http2: upstreams that speak HTTP/2 keep their protocol', async (t) => {
  const lines = [
    'OIDCClientID x',
    'OIDCRedirectURI https://a.example/r',
    'ProxyPass /grpc h2c://127.0.0.1:50051/grpc',
    'ProxyPass /tls h2://app:8443/tls',
    'ProxyPass / http://app/',
    '<Location />',
    'Require valid-user',
    '</Location>',
  ]
  const { stdout } = await runProgram(t, ['migrate', join(t.testdir({ 'a.conf': lines.join('\n') }), 'a.conf')])
  const config: Written = parse(stdout)
  t.match(routeOf(config, '/grpc/**'), { upstream: 'http://127.0.0.1:50051', upstreamProtocol: 'h2c' })
  t.match(routeOf(config, '/tls/**'), { upstream: 'https://app:8443', upstreamProtocol: 'h2' })
  t.equal(Object.hasOwn(routeOf(config, '/**') ?? {}, 'upstreamProtocol'), false)
})

void t.test('mod_auth_openidc: the application receives the user that was in REMOTE_USER', async (t) => {
  const migrated = async (
    ...lines: string[]
  ): Promise<Ended & { readonly set: Record<string, string> | undefined }> => {
    const text = ['OIDCClientID x', 'OIDCRedirectURI https://a.example/r', ...lines, 'ProxyPass / http://app/']
    const file = join(
      t.testdir({ 'a.conf': [...text, '<Location />', 'Require valid-user', '</Location>'].join('\n') }),
      'a.conf',
    )
    const ended = await runProgram(t, ['migrate', file])
    const config: Written = parse(ended.stdout)
    return { ...ended, set: routeOf(config, '/**')?.headers?.set }
  }
  const bare = await migrated('OIDCRemoteUserClaim email')
  t.equal(bare.set?.['X-Remote-User'], '{claims.email}')
  t.match(bare.stderr, /OIDCRemoteUserClaim: REMOTE_USER is a variable within the web server.*X-Remote-User/)
  t.match((await migrated('OIDCRemoteUserClaim email', 'OIDCAuthNHeader X-Me')).set, { 'X-Me': '{claims.email}' })
  const prefixed = await migrated('OIDCClaimPrefix C_', 'RequestHeader set X-Me "%{C_email}e"')
  t.match(prefixed.set, { 'X-Me': '{claims.email}', 'C_sub': '{claims.sub}' })
  t.equal(prefixed.set?.['X-Remote-User'], undefined)
})

void t.test(
  'oauth2-proxy: identity headers of clients are removed, whether or not the original set them',
  async (t) => {
    for (const name of samples.filter((one) => one.startsWith('oauth2-proxy'))) {
      const { config } = run(name)
      const session = config.routes.filter(({ access }) => access !== 'public')
      for (const family of ['X-Forwarded', 'X-Auth-Request'])
        for (const kind of ['User', 'Email', 'Groups', 'Preferred-Username', 'Access-Token']) {
          const header = `${family}-${kind}`
          const isSet = session.some(
            (route) => route.headers?.set?.[header] !== undefined || route.token?.header === header,
          )
          for (const route of config.routes)
            t.ok(isSet || route.headers?.remove?.includes(header), `${name}: ${header} on ${route.path}`)
        }
    }
    for (const route of run('wonderwall-idporten.env').config.routes)
      t.same(route.headers?.remove, ['Authorization', 'X-Wonderwall-Id-Token', 'X-Wonderwall-Forward-Auth-Token'])
    const { routes } = run('wonderwall.env').config
    for (const route of routes) t.same(route.headers?.remove, ['Authorization', 'X-Wonderwall-Forward-Auth-Token'])
    t.same(
      routes.filter(({ access }) => access !== 'public').map(({ headers }) => headers?.set),
      routes.filter(({ access }) => access !== 'public').map(() => ({ 'X-Wonderwall-Id-Token': '{idToken}' })),
    )
  },
)

void t.test(
  'oauth2-proxy: only OPTIONS can be public everywhere, and a refreshed cookie becomes a sliding session',
  async (t) => {
    const migrated = async (...flags: string[]): Promise<Ended & { readonly config: Written }> => {
      const all = ['--upstream=http://app', '--oidc-issuer-url=https://a.example', '--email-domain=*', ...flags]
      const file = join(t.testdir({ 'run.sh': `oauth2-proxy ${all.join(' \\\n  ')}\n` }), 'run.sh')
      const ended = await runProgram(t, ['migrate', file])
      const config: Written = parse(ended.stdout)
      return { ...ended, config }
    }
    for (const everywhere of ['^/.*', '.*', '^/', '/', '^.*$', '^/.*$']) {
      const { config, stderr } = await migrated(`--skip-auth-route="OPTIONS=${everywhere}"`)
      t.same(routeOf(config, '/**', 'OPTIONS')?.access, 'public', everywhere)
      t.equal(routeOf(config, '/**')?.access, undefined)
      t.match(securityOf(stderr), /--skip-auth-route: OPTIONS goes to the upstream without a session/)
    }
    for (const other of ['OPTIONS=^/$', 'OPTIONS=^$', 'OPTIONS=/$', 'GET=^/.*', '^/.*', 'OPTIONS!=^/.*']) {
      const { config } = await migrated(`--skip-auth-route="${other}"`)
      t.same(
        config.routes.filter(({ path, access }) => path === '/**' && access === 'public'),
        [],
        other,
      )
    }
    const dots = await migrated('--skip-auth-route="^/.well-known/.*"')
    t.match(securityOf(dots.stderr), /add routes such as \{ path: \/\.well-known\/\*\*, access: public \} for/)
    t.match((await migrated('--cookie-expire=10m', '--cookie-refresh=1m')).config.session, {
      idleTimeout: '10m',
      lifetime: '10h',
    })
    t.match((await migrated('--cookie-expire=168h', '--cookie-refresh=1m')).config.session, {
      idleTimeout: '7d',
      lifetime: '7d',
    })
    t.match((await migrated('--cookie-expire=10m')).config.session, { idleTimeout: 'off', lifetime: '10m' })
  },
)

void t.test('Wonderwall: paths, levels and sessions are migrated', async (t) => {
  const { config, stderr } = run('wonderwall.env')
  t.same(
    config.routes.map(({ path, access }) => [path, access ?? 'required']),
    [
      ['/**', 'required'],
      ['/shop/internal/*', 'optional'],
      ['/shop/public/**', 'optional'],
    ],
  )
  t.same(routeOf(config, '/**')?.require?.acr, ['level4'])
  t.match(securityOf(stderr), /"\/shop\/any\*" is not a path/)
  t.match(config.session, {
    idleTimeout: '1h',
    lifetime: '10h',
    store: 'rediss://redis.example.com:6379',
    redis: { password: '${REDIS_PASSWORD}' },
  })
  const optional = run('wonderwall-idporten.env')
  t.same(
    optional.config.routes.map(({ access }) => access),
    ['optional'],
    'without auto-login the application decides, as before',
  )
  t.match(securityOf(optional.stderr), /auto-login is off/)
})

/** Migrates a text, and checks that the result loads without a warning. */
const migratedText = async (t: Test, name: string, text: string): Promise<Ended & { readonly config: Written }> => {
  const folder = t.testdir({ [name]: text })
  const ended = await runProgram(t, ['migrate', join(folder, name)])
  const file = join(folder, 'gatehouse.yaml')
  writeFileSync(file, ended.stdout)
  const variables = { SESSION_KEY: key, OIDC_CLIENT_SECRET: 'hush' }
  t.match(await runProgram(t, ['check', '--config', file], variables), { status: 0, stderr: '' })
  const config: Written = parse(ended.stdout)
  return { ...ended, config }
}

void t.test('oauth2-proxy: one login for several hosts, and the scope and life of the cookie', async (t) => {
  const oauth2Proxy = async (...lines: string[]) =>
    migratedText(
      t,
      'oauth2-proxy.cfg',
      [
        'provider = "oidc"',
        'oidc_issuer_url = "https://idp.example.com"',
        'client_id = "x"',
        'email_domains = ["*"]',
        'redirect_url = "https://auth.example.com/oauth2/callback"',
        'upstreams = ["http://127.0.0.1:3000"]',
        ...lines,
      ].join('\n'),
    )
  const central = await oauth2Proxy(
    'cookie_domains = [".example.com"]',
    'whitelist_domains = [".example.com:*", "*.apps.example.com", "a.b.example.com:8443", "other.org"]',
    'cookie_expire = "0s"',
  )
  t.match(central.config, {
    publicUrl: [
      'https://auth.example.com',
      'https://*.example.com',
      'https://*.apps.example.com',
      'https://a.b.example.com:8443',
    ],
    loginHost: 'https://auth.example.com',
    session: { cookie: { domain: 'example.com', persistent: false } },
  })
  t.match(securityOf(central.stderr), /whitelist_domains: other\.org is left out/)

  const single = await oauth2Proxy('cookie_domains = ["example.com"]', 'whitelist_domains = ["auth.example.com"]')
  t.match(single.config, { publicUrl: 'https://auth.example.com', loginHost: undefined })
  const uncovered = await oauth2Proxy('whitelist_domains = [".example.com"]')
  t.match(uncovered.config, { publicUrl: 'https://auth.example.com', loginHost: undefined })
  t.match(securityOf(uncovered.stderr), /whitelist_domains: cookie_domains does not cover it/)

  const cookieOf = async (...lines: string[]): Promise<unknown> =>
    (await oauth2Proxy(...lines)).config.session['cookie']
  t.match(await cookieOf('proxy_prefix = "/app1/oauth2"', 'cookie_path = "/app1/"'), undefined)
  t.match(await cookieOf('proxy_prefix = "/app1/oauth2"'), { path: '/' }, 'as before')
  t.match(await cookieOf('proxy_prefix = "/a/b/oauth2"', 'cookie_path = "/a"'), { path: '/a' })
  t.match(await cookieOf('cookie_path = "/app1"'), undefined, 'the gateway’s own URLs are not below it')
})

void t.test('mod_auth_openidc: the scope and life of the cookie, and a redirect URI at another host', async (t) => {
  const apache = async (...lines: string[]) =>
    migratedText(
      t,
      'apache.conf',
      [
        '<VirtualHost *:443>',
        'ServerName app.example.com',
        'OIDCProviderMetadataURL https://idp.example.com/.well-known/openid-configuration',
        'OIDCClientID orders',
        'OIDCClientSecret secret',
        'OIDCCryptoPassphrase passphrase',
        ...lines,
        '<Location />',
        'AuthType openid-connect',
        'Require valid-user',
        '</Location>',
        'ProxyPass / http://127.0.0.1:3000/',
        '</VirtualHost>',
      ].join('\n'),
    )
  const usual = await apache('OIDCRedirectURI /app/redirect_uri', 'OIDCCookiePath /app/')
  t.match(usual.config, {
    publicUrl: 'https://app.example.com',
    basePath: '/app/oauth2',
    session: { cookie: { path: '/app', persistent: false } },
  })
  t.match(usual.stderr, 'register https://app.example.com/app/oauth2/callback')
  const persistent = await apache('OIDCRedirectURI /redirect_uri', 'OIDCSessionType server-cache:persistent')
  t.equal(persistent.config.session['cookie'], undefined)
  t.match((await apache('OIDCRedirectURI /redirect_uri', 'OIDCSessionType server-cache')).config.session, {
    cookie: { persistent: false },
  })
  const central = await apache(
    'OIDCRedirectURI https://auth.example.com/redirect_uri',
    'OIDCCookieDomain example.com',
    'OIDCSessionType server-cache:persistent',
  )
  t.match(central.config, {
    publicUrl: ['https://auth.example.com', 'https://app.example.com'],
    loginHost: 'https://auth.example.com',
    session: { cookie: { domain: 'example.com' } },
  })
})

void t.test('Wonderwall: a port without an address, and a Redis URL in a variable', (t) => {
  const sources = [
    'apiVersion: v1\nkind: Pod\nspec:\n  containers:\n    - image: ghcr.io/nais/wonderwall:1\n      env:',
    '        - { name: WONDERWALL_INGRESS, value: "https://app.example.com" }',
    '        - { name: WONDERWALL_UPSTREAM_PORT, value: "8000" }',
    '        - { name: WONDERWALL_REDIS_URI, valueFrom: { secretKeyRef: { name: redis, key: uri } } }',
  ]
  const migration = migrateFiles([{ name: 'pod.yaml', text: sources.join('\n') }])
  const yaml = writeYaml(migration)
  t.match(parse(yaml), { upstream: 'http://127.0.0.1:8000', session: { store: '${WONDERWALL_REDIS_URI}' } })
  t.match(
    writeReport(migration),
    /UPSTREAM_PORT: upstream-ip is not given[^]*WONDERWALL_REDIS_URI: key uri of the Secret/,
  )
})

void t.test('Wonderwall: the server of single sign-on and its proxies get one login host', async (t) => {
  const wonderwall = async (...lines: string[]) =>
    migratedText(
      t,
      'wonderwall.env',
      [
        'WONDERWALL_OPENID_CLIENT_ID=x',
        'WONDERWALL_OPENID_CLIENT_SECRET=y',
        'WONDERWALL_OPENID_WELL_KNOWN_URL=https://idp.example.com/.well-known/openid-configuration',
        ...lines.map((line) => `WONDERWALL_${line}`),
      ].join('\n'),
    )
  const login = { loginHost: 'https://sso.example.com', session: { cookie: { domain: 'example.com' } } }
  const server = await wonderwall(
    'INGRESS=https://sso.example.com',
    'SSO_ENABLED=true',
    'SSO_MODE=server',
    'SSO_DOMAIN=.example.com',
    'SSO_SESSION_COOKIE_NAME=central',
  )
  t.match(server.config, { publicUrl: ['https://sso.example.com', 'https://*.example.com'], ...login })
  t.match(server.config.session['cookie'], { name: 'central' })
  const proxy = await wonderwall(
    'INGRESS=https://app.example.com',
    'SSO_ENABLED=true',
    'SSO_MODE=proxy',
    'SSO_SERVER_URL=https://sso.example.com',
  )
  t.match(proxy.config, { publicUrl: ['https://sso.example.com', 'https://app.example.com'], ...login })
  const off = await wonderwall('INGRESS=https://app.example.com', 'SSO_ENABLED=false', 'SSO_DOMAIN=example.com')
  t.match(off.config, { publicUrl: 'https://app.example.com', loginHost: undefined })
  const unknown = await wonderwall('INGRESS=https://app.example.com', 'SSO_ENABLED=true', 'SSO_MODE=proxy')
  t.match(unknown.stderr, 'set loginHost, and add it to publicUrl')
})

/** Returns the text under the heading SECURITY. */
function securityOf(stderr: string): string {
  return /^SECURITY[^\n]*\n((?: {2}.*\n)*)/m.exec(stderr)?.[1] ?? ''
}

void t.test('flags, variables and chart values are read together, with the original’s precedence', async (t) => {
  const migrated = async (...texts: string[]): Promise<Ended & { readonly config: Written }> => {
    const names = texts.map((_, index) => `file-${index}`)
    const folder = t.testdir(Object.fromEntries(names.map((name, index) => [name, texts[index] ?? ''])))
    const ended = await runProgram(t, ['migrate', ...names.map((name) => join(folder, name))])
    const config: Written = parse(ended.stdout)
    return { ...ended, config }
  }
  const rules = { claims: { groups: ['admin'] }, ...verified }
  const compose = await migrated(
    [
      'services:',
      '  proxy:',
      '    command:',
      '      - --provider=oidc',
      '      - --oidc-issuer-url=https://a.example',
      '      - --upstream=http://web:80',
      '      - --allowed-group=admin',
      '      - --skip-auth-route=^/flag$',
      '    environment:',
      '      OAUTH2_PROXY_CLIENT_ID: abc',
      '      OAUTH2_PROXY_EMAIL_DOMAINS: "*"',
      '      OAUTH2_PROXY_SKIP_AUTH_ROUTES: ^/variable$',
    ].join('\n'),
  )
  t.match(compose.config, { upstream: 'http://web', provider: { issuer: 'https://a.example', clientId: 'abc' } })
  t.same(routeOf(compose.config, '/**')?.require, rules, 'the flag’s claim is required')
  t.equal(routeOf(compose.config, '/flag')?.access, 'public')
  t.equal(routeOf(compose.config, '/variable'), undefined, 'a flag goes before a variable')
  t.match(compose.stderr, /OAUTH2_PROXY_SKIP_AUTH_ROUTES: --skip-auth-route \(.*:8\) takes precedence/)

  const deployment = await migrated(
    [
      'args: ["--upstream=http://app:8080", "--email-domain=*", "--allowed-group=admin"]',
      'env:',
      '  - {name: OAUTH2_PROXY_CLIENT_ID, value: abc}',
      '  - {name: OAUTH2_PROXY_CLIENT_SECRET, valueFrom: {secretKeyRef: {name: x, key: y}}}',
      '  - name: OAUTH2_PROXY_REDIRECT_URL',
      '    value: https://app.example/oauth2/callback',
    ].join('\n'),
  )
  t.match(deployment.config, {
    upstream: 'http://app:8080',
    publicUrl: 'https://app.example',
    provider: { clientId: 'abc' },
  })
  t.same(
    routeOf(deployment.config, '/**')?.require,
    { claims: { groups: ['admin'], email_verified: [true] } },
    'the provider is Google by default',
  )

  const values = await migrated(
    [
      'oauth2-proxy:',
      '  config:',
      '    clientID: team',
      '    configFile: |-',
      '      oidc_issuer_url = "https://old.example"',
      '      email_domains = "*"',
      '      allowed_groups = ["admin"]',
      '      upstreams = ["http://app"]',
      '  extraArgs:',
      '    oidc-issuer-url: https://new.example',
      '    provider: oidc',
      '  extraEnv:',
      '    - name: OAUTH2_PROXY_REDIRECT_URL',
      '      value: https://team.example/oauth2/callback',
      '  ingress: { enabled: true }',
    ].join('\n'),
  )
  t.match(values.config, {
    publicUrl: 'https://team.example',
    upstream: 'http://app',
    provider: { issuer: 'https://new.example', clientId: 'team' },
  })
  t.same(routeOf(values.config, '/**')?.require, rules)
  t.match(values.stderr, /file-0:5: oidc_issuer_url: oidc-issuer-url \(.*:10\) takes precedence/)
  t.match(values.stderr, /file-0:15: oauth2-proxy\.ingress\.enabled: it is a value of the chart of oauth2-proxy/)

  const flags = 'oauth2-proxy --oidc-issuer-url=https://flags.example --provider=oidc --email-domain=*\n'
  const separate = await migrated(flags, 'oidc_issuer_url = "https://file.example"\nupstreams = ["http://app"]\n')
  t.match(separate.config.provider, { issuer: 'https://flags.example' }, 'in any order of the files')
  const wonderwall = await migrated(
    'args: [--openid.client-id=flag]\nenv:\n  WONDERWALL_OPENID_CLIENT_ID: variable\n  WONDERWALL_INGRESS: https://a.example\n',
  )
  t.match(wonderwall.config, { publicUrl: 'https://a.example', provider: { clientId: 'flag' } })
})

void t.test('several files of one deployment are read together', async (t) => {
  const core = join(
    t.testdir({ 'core.cfg': 'email_domains = ["*"]\nredirect_url = "https://orders.example.com/oauth2/callback"\n' }),
    'core.cfg',
  )
  const { status, stdout } = await runProgram(t, ['migrate', core, join(folder, 'oauth2-proxy-alpha.yaml')])
  const config: Written = parse(stdout)
  t.same([status, config.publicUrl], [0, 'https://orders.example.com'])
  t.same(routeOf(config, '/**')?.require, { claims: { groups: ['staff'] }, ...verified })
})

void t.test(
  'an input that is not understood exits with status 2, names the readable formats and quotes nothing',
  async (t) => {
    const cases: [text: string, says: RegExp][] = [
      ['hello: world\n', /not a configuration that this command can read/],
      ['', /not a configuration that this command can read/],
      ['client_id = "x"\nclient_secret = "cfg-open-quote-1\n', /:2:\d+: /],
      ['providers:\n  - clientSecret: "alpha-open-quote-1\n', /the YAML can't be read/],
      ['OIDCClientSecret apache-open-section-1\n<Location /x>\n', /<Location> is never closed/],
    ]
    for (const [text, says] of cases) await refuses(t, text, says)
    const missing = await runProgram(t, ['migrate', '/no/such/file.cfg'])
    t.same([missing.status, missing.stdout], [2, ''])
    t.match(missing.stderr, /\/no\/such\/file\.cfg: can't be read \(ENOENT\)/)
    const nothing = await runProgram(t, ['migrate'])
    t.same([nothing.status, nothing.stdout], [1, ''])
  },
)

async function refuses(t: Test, text: string, says: RegExp): Promise<void> {
  const file = join(scratch, 'refused')
  writeFileSync(file, text)
  const { status, stdout, stderr } = await runProgram(t, ['migrate', file])
  t.same([status, stdout], [2, ''], text)
  t.match(stderr, says)
  t.match(stderr, /It reads:\n {2}oauth2-proxy .*\n[^]*mod_auth_openidc[^]*Wonderwall/)
  for (const secret of text.match(secrets) ?? []) t.notMatch(stderr, secret)
}

void t.test('--help says which files are read and what happens to secrets', async (t) => {
  const { status, stdout } = await runProgram(t, ['migrate', '--help'])
  t.equal(status, 0)
  t.match(stdout, /oauth2-proxy\.cfg > gatehouse\.yaml/)
  t.match((await runProgram(t, ['--help'])).stdout, /gatehouse migrate FILE/)
})

void t.test('a forward-auth deployment gets its own listener', async (t) => {
  for (const name of ['oauth2-proxy-google.cfg', 'oauth2-proxy-alpha.yaml', 'wonderwall-idporten.env']) {
    const { config, stderr } = run(name)
    t.same(config.forwardAuth, { listen: '127.0.0.1:8081' }, name)
    t.match(securityOf(stderr), /gets its verdicts at http:\/\/127\.0\.0\.1:8081\/auth/, name)
    t.notMatch(stderr, 'GET /oauth2/auth')
  }
  for (const name of ['oauth2-proxy.cfg', 'oauth2-proxy-keycloak.cfg', 'wonderwall.env', 'apache.conf']) {
    const { config, stderr } = run(name)
    t.same(config.forwardAuth, undefined, name)
    t.notMatch(stderr, 'verdicts at')
  }
  const file = join(scratch, 'taken.cfg')
  writeFileSync(
    file,
    'client_id = "orders"\nhttp_address = "127.0.0.1:8081"\nmetrics_address = "127.0.0.1:8082"\nset_xauthrequest = true\n',
  )
  const written: Written = parse((await runProgram(t, ['migrate', file])).stdout)
  t.same(written.forwardAuth, { listen: '127.0.0.1:8083' }, 'the address avoids one that is in use')
})

void t.test('oauth2-proxy: the mode of a Unix socket becomes listenMode', (t) => {
  const listenerOf = (address: string): Record<string, unknown> => {
    const text = `provider = "oidc"\nclient_id = "x"\nhttp_address = "${address}"`
    const { parts } = migrateFiles([{ name: 'oauth2-proxy.cfg', text }])
    return Object.fromEntries(
      parts.filter(({ path }) => path[0]?.startsWith('listen')).map(({ path, value }) => [path[0], String(value)]),
    )
  }
  t.same(listenerOf('unix:///run/o2p.sock,mode=0660'), { listen: 'unix:/run/o2p.sock', listenMode: '0660' })
  t.same(listenerOf('unix:/run/o2p.sock,mode=666'), { listen: 'unix:/run/o2p.sock', listenMode: '0666' })
  t.same(listenerOf('unix:///run/o2p.sock'), { listen: 'unix:/run/o2p.sock' })
  t.end()
})

void t.test('keys, certificates and tokens with which the client authenticates are carried over', (t) => {
  /** The keys below `provider` that a configuration becomes. */
  const providerOf = (name: string, text: string): Record<string, unknown> =>
    Object.fromEntries(
      migrateFiles([{ name, text }])
        .parts.filter(({ path }) => path[0] === 'provider')
        .map(({ path, value }) => [path.slice(1).join('.'), value]),
    )
  const apache = (...lines: string[]): Record<string, unknown> =>
    providerOf('a.conf', ['OIDCProviderMetadataURL https://a.example', 'OIDCClientID orders', ...lines].join('\n'))

  t.match(
    apache(
      'OIDCProviderTokenEndpointAuth private_key_jwt',
      'OIDCPrivateKeyFiles sig:key-7#/etc/a/key.pem enc:/etc/a/enc.pem',
      'OIDCPublicKeyFiles key-7#/etc/a/cert.pem',
      'OIDCRequestObject {}',
    ),
    {
      clientAuthentication: 'private_key_jwt',
      privateKey: '${file:/etc/a/key.pem}',
      keyId: 'key-7',
      certificate: '${file:/etc/a/cert.pem}',
      idTokenKeys: ['${file:/etc/a/enc.pem}'],
      requestObjects: 'signed',
    },
  )
  const both = apache('OIDCPrivateKeyFiles /etc/a/key.pem', 'OIDCIDTokenEncryptedResponseAlg RSA-OAEP')
  t.match(both, { privateKey: '${file:/etc/a/key.pem}', idTokenKeys: ['${file:/etc/a/key.pem}'] })
  t.notOk('keyId' in both)
  const encryption = apache('OIDCPrivateKeyFiles enc:/etc/a/enc.pem', 'OIDCPublicKeyFiles /etc/a/cert.pem')
  t.notOk('privateKey' in encryption || 'certificate' in encryption)
  t.match(apache('OIDCClientTokenEndpointCert /etc/a/c.pem', 'OIDCClientTokenEndpointKey /etc/a/k.pem'), {
    'clientCertificate.certFile': '/etc/a/c.pem',
    'clientCertificate.keyFile': '/etc/a/k.pem',
  })
  t.match(apache('OIDCProviderTokenEndpointAuth client_secret_jwt'), { clientAuthentication: 'client_secret_jwt' })

  const entra = providerOf(
    'a.env',
    'OAUTH2_PROXY_PROVIDER=entra-id\nOAUTH2_PROXY_CLIENT_ID=a\nOAUTH2_PROXY_ENTRA_ID_FEDERATED_TOKEN_AUTH=true\n',
  )
  t.match(entra['clientAssertionFile'], /^\$\{AZURE_FEDERATED_TOKEN_FILE:-\/var\/run\/secrets\//)
  t.notOk('clientSecret' in entra, 'a federated token needs no secret')
  t.match(run('wonderwall-idporten.env').config.provider, { privateKey: '${OIDC_PRIVATE_KEY}' })
  t.end()
})
