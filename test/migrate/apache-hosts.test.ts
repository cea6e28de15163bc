import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { parse } from 'yaml'
import { loadConfig } from '../../src/config/load.ts'
import { migrateFiles } from '../../src/migrate/migrate.ts'
import { writeReport, writeYaml } from '../../src/migrate/write.ts'
import { key } from '../config/configuration.ts'

interface Route {
  readonly path: string
  readonly host?: string
  readonly access?: string
  readonly upstream?: string
  readonly provider?: string
  readonly require?: object
  readonly timeout?: string
  readonly headers?: { readonly set?: Record<string, string>; readonly remove?: string[] }
  readonly upstreamTls?: object
}

interface Written {
  readonly publicUrl: string | string[]
  readonly loginHost?: string
  readonly upstream: string
  readonly provider?: Record<string, unknown>
  readonly providers?: Record<string, Record<string, unknown>>
  readonly session: Record<string, unknown>
  readonly routes: Route[]
}

interface Migrated {
  readonly config: Written
  readonly report: string
  readonly security: string
}

const migrated = (files: Readonly<Record<string, readonly string[]>>): Migrated => {
  const sources = Object.entries(files).map(([name, lines]) => ({ name, text: lines.join('\n') }))
  const migration = migrateFiles(sources)
  const report = writeReport(migration)
  const config: Written = parse(writeYaml(migration))
  return { config, report, security: /\nSECURITY[^]*?\n\n/.exec(report)?.[0] ?? '' }
}

const oidc = [
  'OIDCProviderMetadataURL https://idp.example.com/.well-known/openid-configuration',
  'OIDCClientID main',
  'OIDCClientSecret hush',
]
const login = ['<Location />', 'AuthType openid-connect', 'Require valid-user', '</Location>']
const host = (port: number, name: string, ...lines: readonly string[]): string[] => [
  `<VirtualHost *:${port}>`,
  ...(name === '' ? [] : [`ServerName ${name}`]),
  ...lines,
  '</VirtualHost>',
]

/** Loads a configuration with these files; throws if it is not valid. */
const load = (t: Test, files: Parameters<typeof migrated>[0]): void => {
  const sources = Object.entries(files).map(([name, lines]) => ({ name, text: lines.join('\n') }))
  const yaml = writeYaml(migrateFiles(sources))
  const file = join(t.testdir(), 'gatehouse.yaml')
  writeFileSync(file, yaml)
  const names = [...yaml.matchAll(/\$\{([A-Z0-9_]+)\}/g)].map(([, name = '']) => name)
  loadConfig({ file, env: Object.fromEntries(names.map((name) => [name, name === 'SESSION_KEY' ? key : 'hush'])) })
}

void t.test('several hosts with one client become routes of one gateway', (t) => {
  const lines = [
    ...oidc,
    'OIDCRedirectURI https://login.example.net/cb',
    'OIDCCookieDomain example.net',
    ...host(80, 'login.example.net', 'Redirect 404 /'),
    ...host(443, 'login.example.net', 'SSLEngine on', ...login.slice(0, -1), 'Redirect 404 /', '</Location>'),
    ...host(80, 'app.example.net', 'Redirect / https://app.example.net/'),
    ...host(
      443,
      'app.example.net',
      'SSLProxyEngine on',
      'SSLProxyCheckPeerName off',
      'ProxyPass / https://10.0.0.1:8006/ upgrade=websocket timeout=20',
      ...login,
    ),
    ...host(
      443,
      'www.example.net',
      'ProxyPass / http://www:80/',
      'RequestHeader set X-Api-Key a-long-secret-1',
      ...login,
    ),
  ]
  const { config, report, security } = migrated({ 'a.conf': lines })
  t.match(config, {
    publicUrl: ['https://login.example.net', 'https://app.example.net', 'https://www.example.net'],
    loginHost: 'https://login.example.net',
    upstream: 'https://10.0.0.1:8006',
    provider: { clientId: 'main' },
  })
  const [app, www, ...others] = config.routes
  t.match(app, { path: '/**', host: 'app.example.net', timeout: '20s', upstreamTls: { insecureSkipVerify: true } })
  t.match(www, { host: 'www.example.net', upstream: 'http://www:80'.replace(':80', '') })
  t.same(others, [], 'the host that answered 404 has no route')
  t.match(www?.headers?.set, { 'X-Api-Key': '${HEADER_X_API_KEY}' })
  t.notOk(app?.headers?.set?.['X-Api-Key'], 'a header of one host does not reach the application of another')
  t.match(security, /Redirect: no route has the host login\.example\.net, so every request to it gets a 404/)
  t.match(security, /SSLProxyCheckPeerName: the certificate of https:\/\/10\.0\.0\.1:8006 is not verified, as before/)
  t.match(report, /<VirtualHost \*:80>: let the proxy in front redirect http to https/)
  t.equal(report.match(/another VirtualHost/g)?.length, 1, 'one line for a host that is left out')
  load(t, { 'a.conf': lines })
  t.end()
})

void t.test('hosts with different clients become providers, and their secrets get different variables', (t) => {
  const of = (name: string, ...lines: readonly string[]): string[] =>
    host(443, `${name}.example.com`, `OIDCClientID ${name}`, `OIDCClientSecret ${name}-secret`, ...lines, ...login)
  const lines = [
    oidc[0] ?? '',
    'OIDCRedirectURI /cb',
    ...of('one', 'ProxyPass / http://one/', 'RequestHeader set X-Api-Key secret-of-one', 'OIDCSessionMaxDuration 60'),
    ...of('two', 'ProxyPass / http://two/', 'RequestHeader set X-Api-Key secret-of-two'),
    ...host(
      443,
      'public.example.com',
      'ProxyPass / http://public/',
      '<Location />',
      'Require ip 10.0.0.0/8',
      '</Location>',
    ),
  ]
  const { config, report, security } = migrated({ 'a.conf': lines })
  t.notOk(config.provider)
  t.match(config.providers, {
    one: { clientId: 'one', clientSecret: '${OIDC_CLIENT_SECRET}' },
    two: { clientId: 'two', clientSecret: '${OIDC_CLIENT_SECRET_2}' },
  })
  t.match(config.routes, [
    { host: 'one.example.com', provider: 'one', headers: { set: { 'X-Api-Key': '${HEADER_X_API_KEY}' } } },
    { host: 'two.example.com', provider: 'two', headers: { set: { 'X-Api-Key': '${HEADER_X_API_KEY_2}' } } },
  ])
  t.equal(config.routes.length, 2)
  t.match(report, /OIDC_CLIENT_SECRET_2: the value of OIDCClientSecret \(a\.conf:18\)/)
  t.match(report, /register https:\/\/two\.example\.com\/oauth2\/callback\/two there/)
  t.match(security, /the hosts of one gateway share session\.lifetime, which is that of the first host/)
  t.match(security, /another VirtualHost for public\.example\.com, without a login of the module/)
  load(t, { 'a.conf': lines })
  t.end()
})

void t.test('names and ports of hosts', (t) => {
  const urlOf = (...lines: readonly string[]) => {
    const { config, report } = migrated({ 'a.conf': [...oidc, 'OIDCRedirectURI /cb', ...lines] })
    return { url: config.publicUrl, hosts: config.routes.map((route) => route.host), report }
  }
  t.equal(urlOf(...host(443, 'a.example.com:8443', ...login)).url, 'https://a.example.com:8443')
  t.equal(urlOf(...host(443, 'http://a.example.com', ...login)).url, 'http://a.example.com')
  t.equal(urlOf('ServerName root.example.com', ...host(443, '', ...login)).url, 'https://root.example.com')
  const alias = urlOf(...host(443, 'a.example.com', 'ServerAlias b.example.com *.c.example.com', ...login))
  t.same(alias.url, ['https://a.example.com', 'https://b.example.com'])
  t.match(alias.report, /ServerAlias: \*\.c\.example\.com names no single host/)
  t.match(
    alias.report,
    /register https:\/\/a\.example\.com\/oauth2\/callback and https:\/\/b\.example\.com\/oauth2\/callback/,
  )
  t.same(
    urlOf(
      ...login,
      ...host(443, 'a.example.com', 'ProxyPass / http://a/'),
      ...host(443, 'b.example.com', 'ProxyPass / http://b/'),
    ).hosts,
    ['a.example.com', 'b.example.com'],
    'a section outside of the hosts applies to each of them',
  )
  const both = urlOf(
    ...host(80, 'a.example.com', 'ProxyPass / http://a/', ...login),
    ...host(443, 'a.example.com', ...login),
  )
  t.same(both.hosts, [undefined], 'one of two hosts with the same name')
  t.match(both.report, /a\.conf:5: <VirtualHost \*:80>: another VirtualHost for a\.example\.com, which has one already/)
  const central = migrated({
    'a.conf': [
      ...oidc,
      'OIDCRedirectURI https://a.example.com/cb',
      ...host(443, 'a.example.com', ...login),
      ...host(443, 'b.example.com', ...login),
    ],
  })
  t.match(
    central.report,
    /register https:\/\/a\.example\.com\/oauth2\/callback and https:\/\/b\.example\.com\/oauth2\/callback/,
  )
  t.end()
})

void t.test('files that a file includes, variables, macros and conditions', (t) => {
  const main = [
    ...oidc,
    'OIDCRedirectURI https://a.example.com/cb',
    'define GROUP staff',
    'Define UPSTREAM http://app:3000',
    '<VirtualHost *:443>',
    '  Include conf.d/app-*.conf',
    '  IncludeOptional missing/*.conf',
    '  Use Unknown x',
    '  <IfVersion < 2.4>',
    '    <Location />',
    '      Satisfy Any',
    '    </Location>',
    '  </IfVersion>',
    '  RequestHeader set X-Env "${UNDEFINED}"',
    '</VirtualHost>',
  ]
  const included = [
    'PROXYPASS / "${UPSTREAM}/"',
    '<Location "/">',
    'authtype OpenID-Connect',
    'require \\',
    'claim groups:${GROUP}',
    '</Location>',
  ]
  const { config, report, security } = migrated({ 'main.conf': main, 'conf.d/app-1.conf': included })
  t.equal(config.upstream, 'http://app:3000')
  t.match(config.routes[0]?.require, { claims: { groups: ['staff'] } })
  t.match(report, /main\.conf:8: Include: the directives of conf\.d\/app-1\.conf are read here/)
  t.match(
    security,
    /main\.conf:9: IncludeOptional: missing\/\*\.conf was not read, if it exists: pass it to this command as another FILE/,
  )
  t.match(security, /main\.conf:10: Use: the macro Unknown is not in these files/)
  t.match(
    security,
    /<IfVersion < 2\.4>: Apache 2\.4 does not meet < 2\.4, so its directives are left out: Location \(12\), Satisfy \(13\)/,
  )
  t.match(security, /\$\{UNDEFINED\} \(RequestHeader, main\.conf:16\) is not defined in these files/)
  const reads = migrateFiles(
    [{ name: '/etc/main.conf', text: [...oidc, 'Include app.conf'].join('\n') }],
    (path, beside) => (path === 'app.conf' && beside === '/etc/main.conf' ? included.join('\n') : null),
  )
  t.match(writeReport(reads), /Include: the directives of app\.conf are read here/)
  t.end()
})

void t.test('what Apache did besides the login is kept, or stands under SECURITY', (t) => {
  const of = (...lines: readonly string[]): Migrated =>
    migrated({
      'a.conf': [...oidc, 'OIDCRedirectURI https://a.example.com/cb', 'ProxyPass / http://app/', ...lines, ...login],
    })
  const closed = of('Redirect 404 /')
  t.match(closed.config.routes, [{ path: '/**', require: { claims: { not_migrated: ['Redirect'] } } }], 'one host')
  for (const [line, expected] of [
    ['SSLVerifyClient require', /SSLVerifyClient: clients had to present a certificate/],
    ['LimitRequestBody 1000', /LimitRequestBody: set maxBody on routes/],
    ['Redirect /old https://old.example.com/', /Redirect: \/old was redirected to https:\/\/old\.example\.com\//],
    ['RewriteRule ^/a/(.*) /b/$1 [PT]', /RewriteRule: it rewrote the path to \/b\/\$1 before the sections applied/],
    ['RewriteRule \\.php$ - [F]', /RewriteRule: it kept requests away from the application/],
    ['Alias /static /var/www', /Alias: the gateway serves no files/],
    ['<Directory /srv>\nAllowOverride All\n</Directory>', /AllowOverride: \.htaccess files are not read/],
    [
      'ProxyPassMatch \\.bak$ !',
      /ProxyPassMatch: these paths were not forwarded, and a route cannot express them exactly/,
    ],
    ['<Location /x>\n<If "true">\nRequire claim a:b\n</If>\n</Location>', /<If true>: .*some requests to \/x\/\*\*/],
  ] as const)
    t.match(of(line).security, expected, line)
  t.notMatch(of('<IfModule mod_ssl.c>\nSSLProxyEngine on\nSSLEngine on\n</IfModule>').security, /SSL/)
  t.equal(
    of('ErrorLog a', 'SetEnv a b', 'SetEnv c d').report.match(/SetEnv: /g)?.length,
    1,
    'one line for the same words',
  )
  t.match(of('SetEnv a b', 'SetEnv c d').report, /a\.conf:6, 7: SetEnv: /)
  t.end()
})

void t.test('Wonderwall: an Application of NAIS, and an ingress with a path', (t) => {
  const { config, report, security } = migrated({
    'nais.yaml': [
      'apiVersion: v1',
      'kind: ConfigMap',
      '---',
      'apiVersion: nais.io/v1alpha1',
      'kind: Application',
      'spec:',
      '  port: 3000',
      '  ingresses: [https://shop.example.no/a]',
      '  idporten:',
      '    enabled: true',
      '    sidecar:',
      '      enabled: true',
      '      level: idporten-loa-high',
      '      autoLogin: true',
      '      autoLoginIgnorePaths: [/a/public/**, "/a/**/*.js"]',
    ],
  })
  t.match(config, {
    publicUrl: 'https://shop.example.no',
    basePath: '/a/oauth2',
    upstream: 'http://127.0.0.1:3000',
    session: { cookie: { path: '/a' } },
    routes: [
      { path: '/**', require: { acr: ['idporten-loa-high'] } },
      { path: '/a/public/**', access: 'optional' },
    ],
  })
  t.match(security, /nais\.yaml:15: .*"\/a\/\*\*\/\*\.js" is not a path that a route can express exactly/)
  t.match(report, /nais\.yaml:10: spec\.idporten\.enabled: the platform applies it/)
  t.match(report, /\/favicon\.ico and \/robots\.txt needed no session/)
  t.end()
})

void t.test('fixed headers of some paths, and claims of rules, are safe', (t) => {
  const { config, security } = migrated({
    'site.conf': [
      ...oidc,
      'ServerName app.example.com',
      'ProxyPass / http://127.0.0.1:8080/',
      'RequestHeader set X-Debug 1 env=DEBUG',
      ...login,
      '<Location /admin>',
      'Require claim roles:admin',
      'RequestHeader set X-Level high',
      'RequestHeader set X-Api-Key one',
      '</Location>',
      '<Location /other>',
      'RequestHeader set X-Api-Key two',
      '</Location>',
      '<LocationMatch "^/x.*y">',
      'RequestHeader set X-Zone inner',
      '</LocationMatch>',
    ],
  })
  const [site, admin] = config.routes
  t.equal(admin?.headers?.set?.['X-Level'], 'high')
  t.match(site?.headers?.remove, ['X-Debug', 'X-Level', 'X-Api-Key', 'X-Zone'])
  t.equal(site?.headers?.set?.['OIDC_CLAIM_roles'], '{claims.roles}', 'a header of a claim that a rule names')
  for (const route of config.routes)
    for (const name of ['X-Debug', 'X-Api-Key', 'X-Zone']) t.notOk(route.headers?.set?.[name], `${name} ${route.path}`)
  for (const name of ['X-Debug', 'X-Api-Key', 'X-Zone']) t.match(security, `what clients send as ${name} is removed`)
  t.end()
})

void t.test('directives that may have refused requests stand under SECURITY', (t) => {
  const { config, report, security } = migrated({
    'site.conf': [
      ...oidc,
      'ServerName app.example.com',
      'RewriteEngine On',
      'RewriteRule ^/health - [R=200,L]',
      'RewriteCond %{HTTP:Upgrade} =websocket',
      'RewriteRule /(.*) ws://127.0.0.1:3940/$1 [P,L]',
      'RewriteCond %{HTTP:Upgrade} !=websocket',
      'RewriteRule /(.*) http://127.0.0.1:9090/$1 [P,L]',
      'ProxyPassReverse / http://127.0.0.1:9090/',
      'ProxyPassReverse /x http://127.0.0.1:9090/x',
      ...login,
      '<Location /secret>',
      'AuthType Basic',
      'AuthUserFile /etc/apache2/users',
      '</Location>',
      '<Location /api>',
      'AuthType oauth20',
      'Require valid-user',
      '</Location>',
      'LuaHookAccessChecker /srv/check.lua check',
      'QS_SrvMaxConnPerIP 10',
    ],
  })
  t.equal(config.upstream, 'http://127.0.0.1:9090')
  t.match(config, { admin: { listen: '127.0.0.1:9091' } }, 'the port of the application is not taken')
  const secret = config.routes.find(({ path }) => path === '/secret/**')
  t.match(secret?.require, { claims: { not_migrated: ['Require'] } })
  for (const name of ['LuaHookAccessChecker', 'QS_SrvMaxConnPerIP', 'AuthUserFile'])
    t.match(security, `${name}: it may have decided who gets in`)
  t.match(security, 'AuthType: AuthType basic is another way to log in')
  t.match(security, 'AuthType: a session is enough here as well')
  t.match(report, 'answered ^/health with 200 itself')
  t.match(report, 'if that is not ws://127.0.0.1:3940, add a route')
  t.notMatch(report, 'set again')
  t.end()
})
