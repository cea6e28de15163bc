import { Ajv } from 'ajv'
import { generateKeyPairSync } from 'node:crypto'
import t from 'tap'
import { parse, stringify } from 'yaml'
import { valueAt, withValue } from '../../../src/config/key-path.ts'
import { jsonSchema } from '../../../scripts/json-schema.ts'
import { createAuthority } from '../../support/certificates.ts'
import { key, least, loadText, problemsOf } from '../configuration.ts'

const { ca } = createAuthority()
const png = Buffer.from('iVBORw0KGgoAAAANSUhEUg==', 'base64')
const svg = '<svg xmlns="http://www.w3.org/2000/svg"/>'
const folder = t.testdir({
  'ca.pem': ca,
  'no.pem': 'nothing',
  'site.css': 'h1 { color: red }',
  'large.css': ' '.repeat(65_537),
  'icon.ico': png,
  'icon.jpg': Buffer.from('/9j/4A==', 'base64'),
  'icon.gif': Buffer.from('R0lGODlhAQ==', 'base64'),
  'icon.webp': Buffer.from('UklGRgAAAABXRUJQ', 'base64'),
  'windows.ico': Buffer.from('AAABAAEA', 'base64'),
  'icon.svg': svg,
})
const accepts = new Ajv({ strict: false }).compile(jsonSchema())
const base: unknown = parse(least)
const text = (path: string, value: unknown): string => stringify(withValue(base, path.split('.'), value))
const routed = (value: object): unknown => [{ path: '/a/b/**', ...value }]

const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const pem = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
const { kty, crv, x, y, d } = privateKey.export({ format: 'jwk' })
const jwk = JSON.stringify({ kty, crv, x, y, d, kid: 'a' })
const edwards = generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
const montgomery = generateKeyPairSync('x25519').privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
const short = generateKeyPairSync('rsa', { modulusLength: 1024 }).privateKey.export({ type: 'pkcs8', format: 'pem' })
const url = Buffer.alloc(32, 0xfb).toString('base64url')

const taken: [string, [unknown, unknown][]][] = [
  [
    'listen',
    [
      ['0.0.0.0:8080', { host: '0.0.0.0', port: 8080 }],
      ['localhost:0', { host: 'localhost', port: 0 }],
      ['[::1]:65535', { host: '::1', port: 65535 }],
      ['unix:/run/gatehouse.sock', { path: '/run/gatehouse.sock' }],
    ],
  ],
  [
    'limits',
    [
      [
        {},
        {
          headers: 32_768,
          headerFields: 100,
          answerHeaders: 65_536,
          keepAlive: 75_000,
          headersTimeout: 60_000,
          idleRead: 60_000,
          connections: null,
        },
      ],
    ],
  ],
  [
    'limits.headers',
    [
      ['1kb', 1024],
      ['1mb', 1_048_576],
    ],
  ],
  ['limits.connections', [[50_000, 50_000]]],
  [
    'publicUrl',
    [
      ['https://a.example.com', ['https://a.example.com']],
      ['HTTPS://A.Example.COM:443/', ['https://a.example.com']],
      ['http://[::1]:8080', ['http://[::1]:8080']],
      ['https://bücher.example', ['https://xn--bcher-kva.example']],
      [
        ['https://a.example.com', 'https://b.example.com:8443'],
        ['https://a.example.com', 'https://b.example.com:8443'],
      ],
    ],
  ],
  [
    'basePath',
    [
      ['/oauth2', '/oauth2'],
      ['/a/b-c_d.e~f', '/a/b-c_d.e~f'],
    ],
  ],
  [
    'trustedProxies',
    [
      [
        ['10.0.0.0/8', '127.0.0.1', '::1', 'fd00::/8'],
        ['10.0.0.0/8', '127.0.0.1/32', '::1/128', 'fd00::/8'],
      ],
      [[], []],
    ],
  ],
  [
    'upstream',
    [
      ['http://app:3000/', { origin: 'http://app:3000', socketPath: null }],
      ['https://my_app', { origin: 'https://my_app', socketPath: null }],
      ['unix:/run/app.sock', { origin: 'http://localhost', socketPath: '/run/app.sock' }],
    ],
  ],
  [
    'admin',
    [
      [false, null],
      ['off', null],
      [{ listen: 'unix:/a' }, { listen: { path: '/a' }, hosts: [], sessions: null }],
    ],
  ],
  [
    'admin.sessions',
    [
      [null, null],
      [false, null],
      ['loopback', 'loopback'],
      [{ token: 'aZ09-._~+/==' }, { token: 'aZ09-._~+/==' }],
    ],
  ],
  [
    'admin.hosts',
    [
      [
        ['Admin.Shop.svc', '10.0.0.1', '[fd00::1]'],
        ['admin.shop.svc', '10.0.0.1', '[fd00::1]'],
      ],
    ],
  ],
  [
    'provider.issuer',
    [
      ['https://login.example.com/', 'https://login.example.com/'],
      ['https://login.microsoftonline.com/TENANT/v2.0', 'https://login.microsoftonline.com/TENANT/v2.0'],
    ],
  ],
  [
    'provider.privateKey',
    [
      [pem, pem],
      [pem.trim(), pem.trim()],
      [jwk, jwk],
    ],
  ],
  [
    'provider.idTokenKeys',
    [
      [
        [pem, jwk],
        [pem, jwk],
      ],
      [pem, [pem]],
    ],
  ],
  [
    'assertion.keys',
    [
      [
        [edwards, JSON.parse(jwk)],
        [edwards, jwk],
      ],
      [pem, [pem]],
    ],
  ],
  ['assertion.lifetime', [['10s', 10_000]]],
  [
    'assertion.claims',
    [
      ['email', ['email']],
      [['realm_access.roles'], ['realm_access.roles']],
    ],
  ],
  [
    'provider.pushedAuthorization',
    [
      ['auto', 'auto'],
      [true, 'on'],
      ['on', 'on'],
      [false, 'off'],
      ['off', 'off'],
    ],
  ],
  [
    'provider.authorizationParameters',
    [
      [
        { prompt: 'login', max_age: 300, flag: true },
        { prompt: 'login', max_age: '300', flag: 'true' },
      ],
    ],
  ],
  [
    'provider.proxy',
    [
      ['env', 'env'],
      ['off', 'off'],
      [false, 'off'],
      ['http://user:p%40ss@proxy.example.com:3128', 'http://user:p%40ss@proxy.example.com:3128'],
      ['https://[::1]:3128/', 'https://[::1]:3128/'],
    ],
  ],
  ['provider.metadataUrl', [['https://a/b?c=d', 'https://a/b?c=d']]],
  ['provider.endpoints.token', [['https://a/oauth/token?tenant=b', 'https://a/oauth/token?tenant=b']]],
  ['provider.browserIssuerUrl', [['https://Login.example.com:443/', 'https://login.example.com']]],
  [
    'provider.clockTolerance',
    [
      ['0s', 0],
      ['2m', 120_000],
    ],
  ],
  [
    'provider.logout.url',
    [
      '{end_session_endpoint}?client_id={client_id}&logout_uri={post_logout_redirect_uri}',
      '{end_session_endpoint}',
      'https://login.example.com/v2/logout?federated&to={post_logout_redirect_uri}&h={id_token_hint}&s=a{state}',
    ].map((url): [string, string] => [url, url]),
  ],
  [
    'provider.logout.revoke',
    [
      [true, 'true'],
      [false, 'false'],
      ['local-too', 'local-too'],
    ],
  ],
  [
    'provider.timeout',
    [
      ['500s', 500_000],
      ['250ms', 250],
      ['1s', 1000],
      ['500ms', 500],
    ],
  ],
  [
    'provider.sessionCheck',
    [
      ['off', null],
      [false, null],
    ],
  ],
  [
    'session.keys',
    [
      [
        [key, url],
        [Buffer.alloc(32, 7), Buffer.alloc(32, 0xfb)],
      ],
      [[key.replace('=', '')], [Buffer.alloc(32, 7)]],
    ],
  ],
  [
    'session.store',
    [
      ['memory', { kind: 'memory', max: 50_000 }],
      ['memory:', { kind: 'memory', max: 50_000 }],
      ['memory:?max=12', { kind: 'memory', max: 12 }],
    ],
  ],
  ['session.cookie.domain', [['.Example.COM', 'example.com']]],
  [
    'session.idleTimeout',
    [
      ['off', null],
      [false, null],
      ['5m', 300_000],
    ],
  ],
  [
    'session.refreshBefore',
    [
      ['50%', { share: 0.5 }],
      ['1%', { share: 0.01 }],
      ['2m', { duration: 120_000 }],
    ],
  ],
  [
    'scripts.headers',
    [
      [
        [{ name: 'X-Ajax' }, { name: 'X-B', value: 1 }],
        [
          { name: 'X-Ajax', value: null },
          { name: 'X-B', value: '1' },
        ],
      ],
    ],
  ],
  [
    'pages.accentColor',
    [
      ['#1f5fbf', { written: '#1f5fbf', on: '#ffffff', link: { light: '#1f5fbf', dark: '#5e8cd1' } }],
      ...['rgb(31, 95, 191)', 'rgb(31 95 191)'].map((written): [unknown, unknown] => [
        written,
        { written, on: '#ffffff', link: { light: '#1f5fbf', dark: '#5e8cd1' } },
      ]),
      ['#FC0', { written: '#FC0', on: '#000000', link: { light: '#8f7200', dark: '#ffcc00' } }],
      ['#000000', { written: '#000000', on: '#ffffff', link: { light: '#000000', dark: '#8f8f8f' } }],
      ['#fff', { written: '#fff', on: '#000000', link: { light: '#707070', dark: '#ffffff' } }],
    ],
  ],
  ['pages.styleFile', [['site.css', { path: `${folder}/site.css`, content: 'h1 { color: red }' }]]],
  [
    'pages.favicon',
    [
      ['icon.ico', { written: 'icon.ico', url: `data:image/png;base64,${png.toString('base64')}` }],
      ...[
        [`data:image/png;base64,${png.toString('base64')}`, `data:image/png;base64,${png.toString('base64')}`],
        ['icon.jpg', 'data:image/jpeg;base64,/9j/4A=='],
        ['icon.gif', 'data:image/gif;base64,R0lGODlhAQ=='],
        ['icon.webp', 'data:image/webp;base64,UklGRgAAAABXRUJQ'],
        ['windows.ico', 'data:image/x-icon;base64,AAABAAEA'],
        ['icon.svg', `data:image/svg+xml;base64,${Buffer.from(svg).toString('base64')}`],
        ...[`data:image/svg+xml,${svg}`, 'data:image/avif;base64,AAAA', 'DATA:IMAGE/svg+xml;utf8,%3Csvg/%3E%'].map(
          (url) => [url, url],
        ),
      ].map(([written, url]): [unknown, unknown] => [written, { written, url }]),
    ],
  ],
  [
    'pages.contact',
    [
      ['it@example.com', 'it@example.com'],
      ['Ask Ann, room 5', 'Ask Ann, room 5'],
      ['mailto:it@example.com?subject=Access', 'mailto:it@example.com?subject=Access'],
      ['https://help.example.com/access', 'https://help.example.com/access'],
    ],
  ],
  ['pages.languages', [[{ 'pt-BR': { forbidden: 'Sem acesso.' } }, { 'pt-BR': { forbidden: 'Sem acesso.' } }]]],
  [
    'pages.logo',
    [
      ['/logo.svg', '/logo.svg'],
      ['https://a.example.com/l.png', 'https://a.example.com/l.png'],
    ],
  ],
  [
    'shutdown.wait',
    [
      ['0s', 0],
      ['500ms', 500],
    ],
  ],
  [
    'rateLimit.requests',
    [
      ['10/1s', { max: 10, window: 1000 }],
      ['off', null],
      [false, null],
    ],
  ],
  ['provider.caFile', [['ca.pem', { path: `${folder}/ca.pem`, content: Buffer.from(ca) }]]],
]

const takenByRoute: [string, [unknown, unknown][]][] = [
  [
    'methods',
    [
      [
        ['get', 'POST'],
        ['GET', 'HEAD', 'POST'],
      ],
      [
        ['HEAD', 'GET'],
        ['HEAD', 'GET'],
      ],
      [['PROPFIND'], ['PROPFIND']],
    ],
  ],
  ['host', [['Orders.Example.COM', 'orders.example.com']]],
  [
    'challenge',
    [
      [401, '401'],
      ['401', '401'],
      ['redirect', 'redirect'],
    ],
  ],
  [
    'rewritePrefix',
    [
      [
        { from: '/a', to: '/' },
        { from: '/a', to: '' },
      ],
      [
        { from: '/a/b', to: '/c/d' },
        { from: '/a/b', to: '/c/d' },
      ],
    ],
  ],
  [
    'require',
    [
      [
        {
          claims: { 'groups': ['staff', 'admin'], 'level': 3, 'ok': true, 'realm_access.roles': 'x' },
          acr: 'mfa',
          maxAge: '1h',
        },
        {
          claims: { 'groups': ['staff', 'admin'], 'level': [3], 'ok': [true], 'realm_access.roles': ['x'] },
          networks: null,
          any: null,
          not: null,
          acr: ['mfa'],
          maxAge: 3_600_000,
        },
      ],
    ],
  ],
  [
    'headers',
    [
      [
        {
          set: { 'X-User': '{claims.email}', 'X-N': 1, 'X-Empty': '', 'X-L': 'a {claims.a.b} {claims.https://x/y}' },
          encoding: 'base64',
          remove: ['X-A'],
        },
        {
          set: { 'X-User': '{claims.email}', 'X-N': '1', 'X-Empty': '', 'X-L': 'a {claims.a.b} {claims.https://x/y}' },
          encoding: 'base64',
          remove: ['X-A'],
        },
      ],
    ],
  ],
  [
    'loginRedirects',
    [
      [
        ['https://login.example.com/**', '/login/*'],
        ['https://login.example.com/**', '/login/*'],
      ],
    ],
  ],
  [
    'maxBody',
    [
      ['1mb', 1_048_576],
      ['off', null],
      [false, null],
    ],
  ],
  [
    'cors',
    [
      [null, null],
      [{ origins: 'https://APP.example.org:443/' }, { origins: ['https://app.example.org'] }],
      [
        { origins: ['http://localhost:5173', 'https://[::1]:8443'] },
        { origins: ['http://localhost:5173', 'https://[::1]:8443'] },
      ],
    ],
  ],
  [
    'csrf',
    [
      ['off', 'off'],
      [false, 'off'],
      ['origin', 'origin'],
    ],
  ],
  [
    'preservePost',
    [
      [false, false],
      ['true', true],
    ],
  ],
]

await t.test('each written value becomes its typed value', async (t) => {
  for (const [path, table] of taken) {
    for (const [written, expected] of table) {
      const yaml = text(path, written)
      t.same(valueAt(loadText(folder, yaml).config, path.split('.')), expected, `${path}: ${JSON.stringify(written)}`)
      t.ok(accepts(parse(yaml)) || written === 'true', 'and the JSON Schema agrees')
    }
  }
  for (const [name, table] of takenByRoute) {
    for (const [written, expected] of table) {
      const yaml = text('routes', routed({ [name]: written }))
      const found = valueAt(loadText(folder, yaml).config, ['routes', 0, name])
      t.same(found, expected, `${name}: ${JSON.stringify(written)}`)
      t.ok(accepts(parse(yaml)) || written === 'true', 'and the JSON Schema agrees')
    }
  }
})

const bad: [string, RegExp, unknown[]][] = [
  [
    'provider.logout.url',
    /^must be a URL such as https:\/\/login/,
    [
      'ftp://login.example.com/logout',
      'javascript:alert(1)',
      '/logout?client_id={client_id}',
      'https://login.example.com/{client_id}',
      'https://{client_id}.example.com/logout',
      'https://login.example.com/logout?x={client-id}',
      'https://login.example.com/logout?x={tenant}',
      'https://login.example.com/logout?x={state',
      'https://login.example.com/logout?x={}',
      'https://login.example.com/logout?to={end_session_endpoint}',
      '{end_session_endpoint}/more?x={state}',
      '{end_session_endpoint}{state}',
      'https://user:pass@login.example.com/logout',
      'https://login.example.com/logout#x',
      'https://login.example.com/a b',
      5,
    ],
  ],
  ['provider.loginParameters', /^must be the name of a query parameter/, [['a=b'], ['a b']]],
  [
    'listen',
    /^must be an address/,
    [8080, '8080', ':8080', 'host', 'host:70000', '::1:80', 'unix:run', '[x]:1', 'a b:1', {}],
  ],
  ['listen', /^must be a socket with a path of at most 107 bytes, not 108/, [`unix:/${'x'.repeat(107)}`]],
  ['upstream', /^must be a socket with a path of at most 107 bytes, not 109/, [`unix:/${'ä'.repeat(54)}`]],
  ['limits.headers', /^must be (?:a size|from 1kb to 1mb|more)/, ['0kb', '512b', '2mb', 32, 'off', '32']],
  ['limits.answerHeaders', /^must be (?:a size|from 1kb to 1mb)/, ['1023b', '1gb', 'off']],
  ['limits.headerFields', /^must be a whole number of at least 1/, [0, -1, 1.5, 'many', 'off']],
  ['limits.keepAlive', /^must be/, [75, '75', '0s', '25d']],
  ['limits.headersTimeout', /^must be/, [60, '500ms', 'off']],
  ['limits.idleRead', /^must be/, ['60', '30d']],
  ['limits.connections', /^must be a whole number of at least 1/, [0, 'off']],
  [
    'publicUrl',
    /^must be an origin|^must name one host/,
    [
      'example.com',
      'ftp://a',
      'https://',
      'https://a/x',
      'https://a?x',
      'https://a#x',
      'https://u@a',
      'https://a\\b',
      'https:/a',
      'https://a//',
      ' https://a',
      'https://a b',
      7,
      ['https://a', 'x'],
    ],
  ],
  ['publicUrl', /^must not be an empty list/, [[]]],
  [
    'publicUrl',
    /^must have \* as the whole first label and nowhere else/,
    [
      'https://*',
      'https://*:8443',
      'https://app-*.example.com',
      'https://*app.example.com',
      'https://a.*.example.com',
      'https://*.*.example.com',
      'https://**.example.com',
      'https://*.example.com/x',
      'https://*.example.com?x',
      'https://u@*.example.com',
      'https://*.0.0.1',
      'ftp://*.example.com',
      '*.example.com',
    ],
  ],
  [
    'loginHost',
    /^must be an origin|^must name one host/,
    ['auth.example.com', 'https://*.example.com', 'https://a/x', 7],
  ],
  [
    'session.cookie.path',
    /^must be \/ or a path such as \/app/,
    ['app', '/app/', '//a', '/a/../b', '/a;b', '/a b', '/*', '', 7],
  ],
  ['session.cookie.persistent', /^must be/, ['sometimes', 1]],
  ['session.cookie.partitioned', /^must be/, ['sometimes', 1]],
  ['basePath', /^must be a path/, ['/', 'oauth2', '/oauth2/', '//a', '/a/../b', '/a b', '/a*', '/%6f', '']],
  [
    'trustedProxies',
    /^must be an address range|^must have a prefix/,
    [['10.0.0.0/33'], ['::/129'], ['10.0.0/8'], ['host'], ['10.0.0.0/08'], ['10.0.0.0/'], ['fe80::1%eth0'], [7]],
  ],
  ['trustedProxies', /^must be a list/, ['10.0.0.0/8']],
  ['admin.hosts', /^must be a host name/, [['a:80'], ['*.svc'], ['http://a']]],
  ['admin.sessions', /^must be a map, or loopback, or false/, ['everybody', true, ['loopback'], 'localhost']],
  ['admin.sessions.token', /^must be letters, digits|^must be text/, ['a b', 'pässword', 'a,b', 12_345, ['a']]],
  ['upstream', /^must be an origin/, ['app:3000', 'http://a/x', 'http://u:p@a', 'ws://a', 'unix:app', 'http://a?x=1']],
  [
    'provider.issuer',
    /^must/,
    ['login.example.com', 'https://a?b', 'https://a#b', 'https://u:p@a', 'https://a/.well-known/openid-configuration'],
  ],
  ['provider.clientId', /^must/, ['', 123, true, ['a']]],
  ['provider.privateKey', /^must be a private key in PEM/, ['x', 5, '{', '{}', JSON.stringify({ kty, crv, x, y })]],
  [
    'provider.privateKey',
    /^has a key that cannot sign/,
    [short, montgomery, JSON.stringify({ kty, crv, x, y, d, alg: 'ES384' })],
  ],
  [
    'provider.idTokenKeys',
    /^has a key that cannot decrypt/,
    [[edwards], [JSON.stringify({ kty, crv, x, y, d, alg: 'ES256' })]],
  ],
  ['assertion.keys', /^has a key that cannot sign assertions/, [[short], [montgomery]]],
  ['assertion.keys', /^must be a private key in PEM/, [{ kty: 'EC' }]],
  ['assertion.lifetime', /^must be/, ['9s', 300, 'off']],
  ['provider.certificate', /^must be a certificate in PEM/, ['x', pem, 5]],
  ['provider.clientAssertionFile', /^must be the path of a file/, [5, '', ['a']]],
  ['provider.scopes', /^must/, [[], ['openid email'], 'openid', ['']]],
  [
    'provider.proxy',
    /^must be env, off or a URL/,
    ['on', true, 'proxy.example.com:3128', 'socks5://a', 'http://a/b', 'http://%ff@a', 'http://a b', 7],
  ],
  ['provider.metadataUrl', /^must be a URL/, ['/config', 'ftp://a', 'https://u:p@a/', 'https://a/#b', 7]],
  ['provider.endpoints.jwks', /^must be a URL/, ['keys', 'https://u:p@a/', 'https://a/#b']],
  ['provider.browserIssuerUrl', /^must be an origin/, ['https://a/realms/b', 'a', 'https://a?b']],
  ['provider.metadataAge', /^must be/, ['500ms', '30d', 'off', 12]],
  ['provider.clockTolerance', /^must be/, ['2', 120, 'off']],
  ['provider.timeout', /^must be/, ['10', 10, '0s', '30d', 'off', false, '1h30m', [1]]],
  ['provider.caFile', /^cannot be read|^must be a file with a certificate/, ['nowhere.pem', 'no.pem', '.']],
  ['provider.userinfo', /^must be true or false/, ['yes', 1, 'on']],
  ['session.keys', /^must be 32 bytes/, [['short'], [key, 'AAAA'], [`${key}AAAA`], ['*'.repeat(43)], [7]]],
  ['session.store', /^must be one of/, ['redis', 'memory:?max=0', 'memcached://x', 'file:/x']],
  ['session.cookie.name', /^must/, ['a b', 'a;b', 'a=b', 'ä', '']],
  ['session.cookie.domain', /^must be a domain/, ['com', '10.0.0.1', 'https://a.example.com', 'a..b']],
  ['session.refreshBefore', /^must be a percentage/, ['0%', '100%', '50', 0.5, '1.5%', 'off']],
  ['session.idleTimeout', /^must be off or a duration|^must be at least/, ['x', 30, '0s', true]],
  ['rateLimit.login', /^must be off or a rate|^must have a window/, ['300', '300/m', '0/1m', '1/0s', '1/500ms', 300]],
  ['log.level', /^must be one of/, ['loud', 'INFO', 3]],
  ['scripts.headers', /^must/, [[{ name: 'a b' }], {}, ['X-A']]],
  [
    'pages.accentColor',
    /^must be a color in hexadecimal digits/,
    ['red', '1f5fbf', '#1f5fb', '#1f5fbf00', 123456, 'rgb(1, 2, 256)', 'rgb(1 2)'],
  ],
  ['pages.styleFile', /^cannot be read/, ['missing.css']],
  ['pages.styleFile', /^has more than 64 kB/, ['large.css']],
  ['pages.favicon', /^is not an image/, ['ca.pem']],
  ['pages.favicon', /^is not the data: URL of an image/, ['data:image/png', 'data:,x', 'data:text/html,<svg/>']],
  ['pages.favicon', /^has more than 64 kB/, [`data:image/svg+xml,${svg}${' '.repeat(65_536)}`]],
  ['pages.favicon', /^cannot be read/, ['missing.png']],
  ['pages.contact', /^must/, [5, ['a']]],
  ['pages.languages', /^must be a language tag/, [{ 'deutsch!': {} }, { de_AT: {} }]],
  ['pages.logo', /^must be a URL/, ['logo.svg', '//evil.example.com/x', 'javascript:alert(1)']],
  ['routes', /^must be a list/, [{}, '/a', 3]],
]

const badInRoute: [string, RegExp, unknown[]][] = [
  [
    'require',
    /^must be one acr value of printable ASCII/,
    ['a b', 'g"old', 'gold\\', 'größer', 'urn:金', 'a\u0001', 'a\u007f', ['gold', 'a\n']].map((acr) => ({ acr })),
  ],
  [
    'path',
    /./,
    [
      'a',
      '',
      '/a?b',
      '/a#b',
      '/a//b',
      '//a',
      '/./a',
      '/a/..',
      '/%2e%2e/a',
      '/a\\b',
      '/a b',
      '/ä',
      '/a*',
      '/*a',
      '/**/a',
      '/***',
      '/%',
      '/%4',
      '/%2f',
      '/%FF',
      '/%00',
      '/a\u0000',
      7,
    ],
  ],
  ['methods', /^must/, [[], ['GET', 'TRACE'], ['CONNECT'], ['GE T'], 'GET', [1]]],
  ['host', /^must/, ['https://a', 'a/b', 'a b', '']],
  ['stripPrefix', /^must be a path/, ['/', 'a', '/a/', '/a/*', '/a/../b']],
  ['challenge', /^must be one of/, [403, '302']],
  [
    'require',
    /./,
    [{ claims: { a: [] } }, { claims: { a: { b: 1 } } }, { claims: 'a' }, { acr: '' }, { acr: 'a b' }, { maxAge: 5 }],
  ],
  [
    'headers',
    /./,
    [
      { set: { 'a b': 'x' } },
      { set: { A: 'x\ny' } },
      { set: { A: '{email}' } },
      { set: { A: '{claims.}' } },
      { set: { A: '{claims.a' } },
      { set: { A: ['x'] } },
      { set: { A: 1.5 } },
      { set: { 'X-A': 'a', 'x-a': 'b' } },
      { remove: ['a:'] },
      { encoding: 'utf8' },
    ],
  ],
  [
    'loginRedirects',
    /^must be a URL pattern|^\*\* must be/,
    [['https://a'], ['a/**'], ['ftp://a/'], ['https://a/**/b'], ['']],
  ],
  ['maxBody', /^must be/, ['10', 10, '0kb', true]],
  [
    'cors',
    /^must be an origin|^must not be|^must be a (?:list|map)|^is required/,
    [
      'https://a.example.org',
      { origins: '*' },
      { origins: ['null'] },
      { origins: [null] },
      { origins: [] },
      { origins: ['https://*.example.org'] },
      { origins: ['https://a.example.org/app'] },
      { origins: ['https://u:p@a.example.org'] },
      { origins: ['a.example.org'] },
      { origins: ['file://a'] },
    ],
  ],
]

await t.test('invalid values are refused with a reason', async (t) => {
  for (const [path, message, values] of bad) {
    for (const value of values) {
      const problems = problemsOf(() => loadText(folder, text(path, value)))
      t.match(problems[0], { path: new RegExp(`^${path}`), message }, `${path}: ${JSON.stringify(value)}`)
    }
  }
  for (const [name, message, values] of badInRoute) {
    for (const value of values) {
      const problems = problemsOf(() => loadText(folder, text('routes', routed({ [name]: value }))))
      t.match(
        problems[0],
        { path: new RegExp(`^routes\\[0\\]\\.${name}`), message },
        `${name}: ${JSON.stringify(value)}`,
      )
    }
  }
})

await t.test('error messages quote no secrets', async (t) => {
  const table: [string, unknown][] = [
    ['upstream', 'http://user:hunter2@app'],
    ['publicUrl', 'https://user:hunter2@app/x'],
    ['provider.issuer', 'https://user:hunter2@app'],
    ['provider.privateKey', 'hunter2'],
    ['provider.privateKey', '{"d":"hunter2"}'],
    ['provider.certificate', 'hunter2'],
    ['provider.idTokenKeys', ['hunter2']],
    ['provider.clientSecret', ['hunter2']],
    ['session.keys', ['hunter2']],
    ['session.keys', 'hunter2'],
    ['routes', [{ path: '/', headers: { set: 'hunter2' } }]],
    ['session.store', 'redis://:hunter2@a:6379/x/y'],
    ['routes', [{ path: '/', headers: { set: { 'X-Key': '{"password":"hunter2"}' } } }]],
  ]
  for (const [path, value] of table) {
    const problems = problemsOf(() => loadText(folder, text(path, value)))
    t.equal(problems.length, 1, path)
    t.notMatch(JSON.stringify(problems), /hunter2/, path)
  }
})

await t.test('error messages say what to write instead', async (t) => {
  const table: [string, unknown, string][] = [
    ['listen', 8080, '0.0.0.0:8080'],
    ['publicUrl', 'https://a.example.com/app?x', 'https://a.example.com'],
    ['upstream', 'http://app:3000/base', 'http://app:3000; to change the path, use rewritePrefix on a route'],
    ['provider.issuer', 'https://a/.well-known/openid-configuration', 'https://a'],
    ['provider.issuer', 'https://a/?b', 'https://a/'],
    ['provider.clientId', 12, 'put the value in quotes'],
    ['session.lifetime', 3600, 'add the unit, such as 3600s'],
    ['session.keys', ['AAAA'], 'generate one with: gatehouse keygen'],
    ['routes', [{ path: '/', loginRedirects: ['https://a'] }], 'https://a/**'],
    ['routes', [{ path: '/', cors: { origins: '*' } }], 'write each origin in full, such as https://app.example.org'],
    ['routes', [{ path: '/', cors: { origins: ['https://a.example.org/app/'] } }], 'https://a.example.org'],
  ]
  for (const [path, value, instead] of table) {
    t.equal(
      problemsOf(() => loadText(folder, text(path, value)))[0]?.instead,
      instead,
      `${path}: ${JSON.stringify(value)}`,
    )
  }
})
