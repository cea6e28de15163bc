import { randomBytes } from 'node:crypto'
import type { IncomingHttpHeaders } from 'node:http'
import t from 'tap'
import { parse } from 'yaml'
import { startIdp } from '../../src/demo/idp.ts'
import { migrateFiles } from '../../src/migrate/migrate.ts'
import { writeReport, writeYaml } from '../../src/migrate/write.ts'
import { startApplication } from '../support/application.ts'
import { createBrowser, type Browser } from '../support/browser.ts'
import { freePort } from '../support/free-port.ts'
import { startGateway } from '../support/gateway.ts'
import { startProxyProgram } from '../support/proxy-program.ts'

// Real Apache with mod_auth_openidc, and a gateway with the migrated configuration, get the same requests: the gateway
// must not let a request in that Apache refuses, and no header that Apache removes or overwrites.

type Who = 'anonymous' | 'alice' | 'bob'

interface Received {
  readonly path: string
  readonly headers: IncomingHttpHeaders
}

interface Case {
  /** The lines of a virtual host; APP stands for the application. */
  readonly lines: readonly string[]
  readonly paths: readonly string[]
  readonly methods?: readonly string[]
  /** What the gateway refuses although Apache lets it in, as `METHOD PATH WHO`. */
  readonly stricter?: readonly string[]
  /** Headers that the application must receive from both alike, at `samePaths` or at the first path. */
  readonly same?: readonly string[]
  readonly samePaths?: readonly string[]
}

const login = ['AuthType openid-connect', 'Require valid-user']
const location = (path: string, ...lines: readonly string[]): string[] => [
  `<Location ${path}>`,
  ...lines,
  '</Location>',
]
const proxy = ['ProxyPreserveHost On', 'ProxyPass / APP/']

const cases: Readonly<Record<string, Case>> = {
  'sections': {
    lines: [
      ...proxy,
      ...location('/', ...login),
      ...location('/admin', 'Require claim groups:admin'),
      ...location('/open', 'Require all granted'),
      ...location('/open/not', 'Require all denied'),
      ...location('/staff', 'Require claim groups:staff', 'Require claim groups:nothing'),
      '<LocationMatch "^/(health|metrics)$">',
      'Require all granted',
      '</LocationMatch>',
    ],
    paths: [
      '/',
      '/x',
      '/admin',
      '/admin/x',
      '/adminx',
      '/open',
      '/open/x',
      '/open/not/x',
      '/staff',
      '/health',
      '/health/x',
    ],
  },
  'order': {
    lines: [
      ...proxy,
      ...location('/admin', 'AuthType openid-connect', 'Require claim groups:admin'),
      ...location('/', ...login),
      '<Proxy *>',
      'Require all granted',
      '</Proxy>',
    ],
    paths: ['/', '/admin/x'],
  },
  'merging': {
    lines: [
      ...proxy,
      ...location('/', 'AuthType openid-connect', 'Require claim groups:staff'),
      ...location('/and', 'AuthMerging And', 'Require claim email:alice@example.com'),
      ...location('/or', 'AuthMerging Or', 'Require claim groups:nothing'),
      ...location('/off', 'Require claim groups:nothing'),
    ],
    paths: ['/', '/and/x', '/or/x', '/off/x'],
  },
  'overlaps': {
    lines: [
      ...proxy,
      ...location('/', ...login),
      ...location('/pub', 'Require all granted'),
      '<LocationMatch "^/pub/[^/]+$">',
      'Require all granted',
      '</LocationMatch>',
      '<LocationMatch "/secret$">',
      'Require claim groups:admin',
      '</LocationMatch>',
      ...location('/late', 'Require all granted'),
      '<LocationMatch "^/shared/[^/]+$">',
      'Require all granted',
      '</LocationMatch>',
      '<LocationMatch "^/[^/]+/admin$">',
      'Require claim groups:admin',
      '</LocationMatch>',
    ],
    paths: ['/', '/pub/x', '/pub/secret', '/late/secret', '/shared/x', '/shared/admin', '/x/admin'],
    stricter: ['/', '/pub/x', '/x/admin']
      .flatMap((path) => ['anonymous', 'alice', 'bob'].map((who) => `GET ${path} ${who}`))
      .concat('GET /pub/secret alice', 'GET /shared/admin alice')
      .filter((what) => !/ \/ anonymous|x\/admin (anonymous|bob)/.test(what)),
  },
  'overlapping-routes': {
    lines: [
      'ProxyPreserveHost On',
      'ProxyPass /other/ APP/elsewhere/',
      'ProxyPass / APP/',
      ...location('/', ...login),
      ...location('/before', 'Order allow,deny', 'Allow from all', 'Deny from 127.0.0.0/8'),
      '<LocationMatch "^/[^/]+/admin$">',
      'Require claim groups:admin',
      '</LocationMatch>',
      ...location('/scripts', 'OIDCUnAuthAction 401'),
      ...location('/after', 'Order allow,deny', 'Allow from all', 'Deny from 127.0.0.0/8'),
      ...location('/header', 'RequestHeader set X-Level high'),
      ...location('/inner/x', ...login),
      ...location('/inner', 'Order deny,allow', 'Deny from all'),
    ],
    paths: [
      '/other/admin',
      '/other/x',
      '/before/admin',
      '/scripts/admin',
      '/scripts/x',
      '/after/admin',
      '/header/admin',
      '/any/admin',
      '/inner/x',
      '/inner/y',
    ],
  },
  'fixed-headers': {
    lines: [
      ...proxy,
      ...location('/', ...login),
      ...location('/staff/', 'Require claim groups:staff', 'RequestHeader set X-Level high'),
      ...location('/staff/plain', 'RequestHeader unset X-Level'),
      ...location('/admin', 'RequestHeader set X-Admin 1 env=NOTHING', 'RequestHeader set X-Zone inner'),
    ],
    paths: ['/', '/staff', '/staff/x', '/staff/plain/x', '/admin/x'],
    same: ['x-level', 'x-admin', 'x-zone'],
    samePaths: ['/', '/staff/x', '/staff/plain/x', '/admin/x'],
  },
  'other-logins': {
    lines: [
      ...proxy,
      ...location('/', ...login),
      ...location('/basic', 'AuthType Basic', 'AuthName other'),
      ...location('/basic/inner', 'Require valid-user'),
      ...location('/pass', 'OIDCUnAuthAction pass', 'Require valid-user'),
      ...location('/pass/login', 'OIDCUnAuthAction auth'),
      ...location('/pass/admin', 'Require claim groups:admin'),
    ],
    paths: ['/', '/basic/x', '/basic/inner/x', '/pass/x', '/pass/login', '/pass/admin/x'],
    // With pass, the module does not look at the claims of a request without a session.
    stricter: ['GET /pass/admin/x anonymous'],
  },
  'files': {
    lines: [
      ...proxy,
      '<Directory />',
      'Require all denied',
      '</Directory>',
      '<Files "secret.html">',
      'Require claim groups:nothing',
      '</Files>',
      '<FilesMatch "^open">',
      'Require all granted',
      '</FilesMatch>',
      ...location('/', ...login),
      ...location('/open/', 'Require all granted'),
      ...location('/closed', 'Require all denied'),
      ...location('/closed/open', 'Require all granted'),
      ...location('/none', 'AuthType None', 'Require all granted'),
    ],
    paths: ['/', '/secret.html', '/open.html', '/open/x', '/open', '/closed/x', '/closed/open/x', '/none/secret.html'],
  },
  'proxies': {
    lines: [
      'ProxyPreserveHost On',
      'ProxyPass /admin/ APP/admin/',
      'ProxyPass / APP/',
      '<Proxy "APP/admin/*">',
      'Require claim groups:admin',
      '</Proxy>',
      ...location('/', ...login),
      ...location(
        '/groups',
        '<RequireAll>',
        'Require claim groups:staff',
        '<RequireNone>',
        'Require claim groups:admin',
        '</RequireNone>',
        '</RequireAll>',
      ),
      ...location('/any', '<RequireAny>', 'Require ip 10.0.0.0/8', 'Require claim groups:admin', '</RequireAny>'),
      ...location('/env', 'Require env NOTHING'),
      ...location('/expr', "Require expr %{REQUEST_METHOD} == 'GET'"),
      ...location('/local', 'Require local'),
    ],
    paths: ['/', '/admin/x', '/groups/x', '/any/x', '/env/x', '/expr/x', '/local/x'],
    stricter: ['GET /local/x anonymous', 'GET /expr/x anonymous', 'GET /expr/x alice', 'GET /expr/x bob'],
  },
  'inherited-networks': {
    lines: [
      ...proxy,
      ...location('/', ...login, 'Order allow,deny', 'Allow from all'),
      ...location('/not', 'Order allow,deny', 'Allow from all', 'Deny from 127.0.0.0/8'),
      ...location('/not/admin', 'Require claim groups:admin'),
      ...location('/not/open', 'Require all granted'),
    ],
    paths: ['/', '/not/x', '/not/admin/x', '/not/open/x'],
  },
  'methods': {
    lines: [
      ...proxy,
      ...location('/', ...login),
      ...location('/limit', '<Limit POST PUT>', 'Require claim groups:admin', '</Limit>'),
      ...location('/except', '<LimitExcept GET>', 'Require claim groups:admin', '</LimitExcept>'),
      ...location('/both', 'Require claim groups:staff', '<Limit DELETE>', 'Require claim groups:admin', '</Limit>'),
      ...location('/method', '<RequireAll>', 'Require method GET', 'Require valid-user', '</RequireAll>'),
    ],
    paths: ['/limit/x', '/except/x', '/both/x', '/method/x'],
    methods: ['GET', 'POST', 'DELETE'],
    stricter: ['GET /limit/x anonymous', 'DELETE /limit/x anonymous', 'GET /except/x anonymous'],
  },
  'networks': {
    lines: [
      ...proxy,
      ...location('/', ...login),
      ...location('/from', 'Order deny,allow', 'Deny from all', 'Allow from 10.0.0.0/8'),
      ...location('/local', 'Order deny,allow', 'Deny from all', 'Allow from 127.0.0.1'),
      ...location('/not', 'Order allow,deny', 'Allow from all', 'Deny from 127.0.0.0/8'),
      ...location('/any', 'Order deny,allow', 'Deny from all', 'Allow from 127.0.0.1', 'Satisfy Any'),
      ...location('/ip', 'Require ip 10.0.0.0/8'),
      ...location('/all', '<RequireAll>', 'Require valid-user', 'Require not ip 127.0.0.1', '</RequireAll>'),
    ],
    paths: ['/from/x', '/local/x', '/not/x', '/any/x', '/ip/x', '/all/x'],
    stricter: ['GET /any/x anonymous'],
  },
  'redirects': {
    lines: [
      'Redirect 404 /private',
      'RedirectMatch 403 ^/secret(/.*)?$',
      'RewriteEngine On',
      'RewriteRule ^/blocked$ - [F]',
      'RewriteRule ^/rewritten/(.*)$ APP/inner/$1 [P]',
      'RewriteCond %{HTTP:Upgrade} !=websocket [NC]',
      'RewriteRule ^/sockets/(.*)$ APP/pages/$1 [P,L]',
      'ProxyPass /files !',
      'ProxyPass / APP/',
      ...location('/', ...login),
      ...location('/gone', 'Redirect 410 /gone'),
      ...location('/private/open', 'Require all granted'),
      ...location('/files/open', 'Require all granted'),
    ],
    paths: [
      '/x',
      '/private/x',
      '/private/open',
      '/secret/x',
      '/blocked',
      '/rewritten/y',
      '/sockets/y',
      '/files/x',
      '/files/open',
      '/gone/x',
    ],
    // In Apache, ProxyPass precedes a Redirect that is not in a section.
    stricter: ['anonymous', 'alice', 'bob']
      .flatMap((who) => ['GET /private/open', 'GET /private/x', 'GET /secret/x'].map((what) => `${what} ${who}`))
      .filter((what) => !/\/x anonymous/.test(what)),
  },
  'conditions': {
    lines: [
      ...proxy,
      ...location('/', ...login),
      '<IfModule !mod_headers.c>',
      ...location('/', 'Require all granted'),
      '</IfModule>',
      '<IfDefine DEBUG>',
      ...location('/debug', 'Require all granted'),
      '</IfDefine>',
      'Define ADMIN_GROUP admin',
      '<Macro Protected $path $group>',
      ...location('$path', 'AuthType openid-connect', 'Require claim groups:$group'),
      '</Macro>',
      'Use Protected /macro ${ADMIN_GROUP}',
      '<Macro Requiring $path $rule>',
      ...location('"$path"', 'Require $rule'),
      '</Macro>',
      'Use Requiring /words "claim groups:admin"',
      'Define STAFF_RULE "claim groups:staff"',
      ...location('/defined', 'Require ${STAFF_RULE}'),
      '# a comment that goes on \\',
      '<Location /> Require all granted </Location>',
      ...location('/if', '<If "%{REQUEST_METHOD} == \'GET\'">', 'Require claim groups:admin', '</If>'),
    ],
    paths: ['/', '/debug/x', '/macro/x', '/words/x', '/defined/x', '/if/x'],
    methods: ['GET', 'POST'],
    stricter: ['GET /if/x alice', 'POST /if/x alice', 'POST /if/x bob'],
  },
  'upstreams': {
    lines: [
      'ProxyPreserveHost On',
      'ProxyPassMatch ^/match/(.*)$ APP/matched/$1',
      'ProxyPassMatch ^(/same/.*)$ APP$1',
      'ProxyPass /balanced/ balancer://cluster/',
      '<Proxy balancer://cluster>',
      'BalancerMember APP',
      '</Proxy>',
      ...location('/in/', 'ProxyPass APP/inside/'),
      'ProxyPass /app/public !',
      'ProxyPass /app/ APP/ timeout=7',
      'ProxyPass / APP/',
      ...location('/', ...login),
      ...location('/app/public', 'Require all granted'),
      ...location('/pass', 'AuthType openid-connect', 'OIDCUnAuthAction pass', 'Require valid-user'),
      ...location('/scripts', 'OIDCUnAuthAction 401'),
      ...location('/a/*/c', 'Require claim groups:admin'),
      '<LocationMatch "^/m/[0-9]+/x$">',
      'Require all granted',
      '</LocationMatch>',
    ],
    paths: [
      '/match/x',
      '/same/x',
      '/balanced/x',
      '/in/x',
      '/app/x',
      '/app/public/x',
      '/pass/x',
      '/scripts/x',
      '/a/b/c',
      '/a/b',
      '/m/1/x',
    ],
    stricter: ['GET /m/1/x anonymous'],
  },
  'headers': {
    lines: [
      ...proxy,
      'RequestHeader unset X-Early early',
      'RequestHeader set "X-Colon:" fixed',
      ...location(
        '/',
        ...login,
        'RequestHeader set X-Remote-User "%{OIDC_CLAIM_email}e"',
        'RequestHeader set X-User expr=%{REMOTE_USER}',
        'RequestHeader set X-Proxy-User %{REMOTE_USER}s',
        'RequestHeader append X-Append "%{OIDC_CLAIM_sub}e"',
        'RequestHeader add X-Add "%{OIDC_CLAIM_sub}e"',
        'RequestHeader merge X-Merge "%{OIDC_CLAIM_sub}e"',
        'RequestHeader setifempty X-Empty "%{OIDC_CLAIM_sub}e"',
        'RequestHeader edit X-Edit ^ user-',
        'RequestHeader set X-Time "%t"',
        'RequestHeader set X-Env "%{NOTHING}e" env=NOTHING',
        'RequestHeader unset X-Internal',
      ),
      ...location('/open', 'Require all granted'),
    ],
    paths: ['/x', '/open/x'],
    same: ['x-remote-user', 'x-user', 'x-colon', 'oidc_claim_email', 'oidc_claim_groups'],
  },
  'rewritten-user': {
    lines: [
      ...proxy,
      'RewriteEngine On',
      ...location(
        '/',
        ...login,
        'RewriteCond %{LA-U:REMOTE_USER} (.+)',
        'RewriteRule . - [E=RU:%1]',
        'RequestHeader set X-Remote-User "%{RU}e" env=RU',
      ),
    ],
    paths: ['/x'],
  },
}

const FORGED = [
  'X-Remote-User', 'X_Remote_User', 'X-User', 'X-Proxy-User', 'X-Early', 'X-Internal', 'X-Colon', 'X-Time', 'X-Env', 'X-Edit',
  'X-Empty', 'X-Append', 'X-Add', 'X-Merge', 'X-Level', 'X-Admin', 'X-Zone', 'OIDC_CLAIM_email', 'OIDC_CLAIM_groups', 'OIDC_access_token', 'OIDC_id_token',
] // prettier-ignore

const modules = [
  'mpm_event', 'authn_core', 'authz_core', 'authz_user', 'authz_host', 'access_compat', 'alias', 'rewrite', 'headers',
  'proxy', 'proxy_http', 'slotmem_shm', 'proxy_balancer', 'lbmethod_byrequests', 'macro', 'auth_openidc',
] // prettier-ignore

void t.test('Apache and the gateway with the migrated configuration let in the same requests', async (t) => {
  const received = new Map<string, Received>()
  const application = await startApplication(t, ({ url = '', headers }, res) => {
    const { pathname, searchParams } = new URL(url, 'http://app')
    received.set(searchParams.get('n') ?? '', { path: pathname, headers })
    res.end('application')
  })
  const idp = await startIdp()
  t.teardown(async () => idp.close())
  const port = await freePort()
  // Apache adds its port to the redirect URI.
  const originOf = (name: string): string => `http://${name}.example.test:${port}`
  const sites = Object.keys(cases).map(originOf)
  const clientSecret = randomBytes(16).toString('hex')
  await idp.registerClient({
    clientId: 'apache',
    clientSecret,
    clientAuthentication: 'client_secret_basic',
    redirectUris: sites.flatMap((site) => [`${site}/redirect_uri`, `${site}/oauth2/callback`]),
  })
  const conf = [
    `OIDCProviderMetadataURL ${idp.issuer}/.well-known/openid-configuration`,
    'OIDCClientID apache',
    `OIDCClientSecret ${clientSecret}`,
    'OIDCRedirectURI /redirect_uri',
    'OIDCCryptoPassphrase differential',
    'OIDCScope "openid email profile groups"',
    'OIDCProviderTokenEndpointAuth client_secret_basic',
    'OIDCRemoteUserClaim sub',
    'OIDCPKCEMethod S256',
    ...Object.entries(cases).flatMap(([name, { lines }]) => [
      '<VirtualHost *:*>',
      `ServerName ${originOf(name)}`,
      ...lines.map((line) => line.replaceAll('APP', application.url)),
      '</VirtualHost>',
    ]),
  ].join('\n')
  const httpd = [
    'ServerRoot FOLDER',
    'PidFile FOLDER/pid',
    'DefaultRuntimeDir FOLDER',
    'ErrorLog FOLDER/error.log',
    'ServerName localhost',
    'User www-data',
    'Group www-data',
    ...modules.map((name) => `LoadModule ${name}_module /usr/lib/apache2/modules/mod_${name}.so`),
    `Listen 127.0.0.1:${port}`,
    conf,
  ].join('\n')
  await startProxyProgram(t, port, {
    name: 'apache2',
    files: { 'httpd.conf': httpd },
    args: (folder) => ['-d', folder, '-f', `${folder}/httpd.conf`, '-DFOREGROUND'],
  })
  const migration = migrateFiles([{ name: 'site.conf', text: conf }])
  const report = writeReport(migration)
  const migrated: Record<string, unknown> = parse(
    writeYaml(migration).replaceAll('${OIDC_CLIENT_SECRET}', clientSecret).replaceAll('${HEADER_X_COLON}', 'fixed'),
  )
  const { session, publicUrl, ...config } = migrated
  t.same(publicUrl, sites)
  const gateway = await startGateway(t, {
    idp,
    upstream: { url: application.url, requests: [], close: async () => {} } as never,
    config: { ...config, publicUrl, session: { ...(session as object), keys: [randomBytes(32).toString('base64')] } },
  })
  const toApache = `http://127.0.0.1:${port}`
  const listening = gateway.gateway.listener.address()
  const toGateway = `http://127.0.0.1:${typeof listening === 'object' && listening !== null ? listening.port : 0}`
  const origins = (address: string) => Object.fromEntries(sites.map((site) => [site, address]))

  let number = 0
  const ask = async (browser: Browser, method: string, url: string): Promise<Received | undefined> => {
    const id = String((number += 1))
    await browser.request(method, `${url}?n=${id}`, {
      kind: 'none',
      headers: Object.fromEntries(FORGED.map((name) => [name, 'forged'])),
    })
    return received.get(id)
  }
  await Promise.all(
    Object.entries(cases).map(async ([name, { paths, methods = ['GET'], stricter = [], same = [], samePaths }]) => {
      const url = originOf(name)
      const expected = new Set(stricter)
      for (const who of ['anonymous', 'alice', 'bob'] as const satisfies Who[]) {
        const [apache, gatehouse] = [toApache, toGateway].map((address) => createBrowser({ origins: origins(address) }))
        if (apache === undefined || gatehouse === undefined) return
        if (who !== 'anonymous') for (const browser of [apache, gatehouse]) await browser.login(`${url}/`, who)
        for (const path of paths)
          for (const method of methods) {
            const what = `${method} ${path} ${who}`
            const [before, after] = [await ask(apache, method, url + path), await ask(gatehouse, method, url + path)]
            const isStricter = expected.delete(what)
            t.equal(after !== undefined, before !== undefined && !isStricter, `${name}: ${what}`)
            if (isStricter) t.ok(before, `${name}: Apache lets ${what} in`)
            if (before === undefined || after === undefined) continue
            t.equal(after.path, before.path, `${name}: ${what}: the path at the application`)
            for (const header of FORGED.map((one) => one.toLowerCase()))
              if (after.headers[header]?.includes('forged') === true)
                t.match(before.headers[header], 'forged', `${name}: ${what}: ${header} is not more than Apache passes`)
            if (who === 'anonymous' || !(samePaths ?? paths.slice(0, 1)).includes(path)) continue
            for (const header of same) {
              const expectedValue = before.headers[header] === 'forged' ? undefined : before.headers[header]
              t.equal(after.headers[header], expectedValue, `${name}: ${what}: ${header}`)
            }
          }
      }
      t.same([...expected], [], `${name}: all that is expected to be stricter was`)
    }),
  )
  t.match(report, /SECURITY/)
})
