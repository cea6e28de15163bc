import { createPrivateKey, generateKeyPairSync } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { networkInterfaces } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { loadConfig } from '../../src/config/load.ts'
import { rules } from '../../src/config/checks/index.ts'
import type { Finding } from '../../src/config/problems.ts'
import { formatKeyPath } from '../../src/config/key-path.ts'
import { providersOf } from '../../src/config/schema.ts'
import { createAuthority } from '../support/certificates.ts'
import { brief, key, least, loadText, problemsOf } from './configuration.ts'

const { ca, issue } = createAuthority()
const server = issue(['orders.example.com'])
const DAY_MS = 86_400_000
const expired = issue(['orders.example.com'], { from: Date.now() - 3 * DAY_MS, to: Date.now() - DAY_MS })
const early = issue(['orders.example.com'], { from: Date.now() + DAY_MS, to: Date.now() + 3 * DAY_MS })
const folder = t.testdir({
  'ca.pem': ca,
  'expired.pem': expired.cert,
  'expired-key.pem': expired.key,
  'early.pem': early.cert,
  'early-key.pem': early.key,
  'encrypted-key.pem': createPrivateKey(server.key).export({
    type: 'pkcs8',
    format: 'pem',
    cipher: 'aes-256-cbc',
    passphrase: 'secret',
  }),
  'cert.pem': server.cert,
  'key.pem': server.key,
  'other-key.pem': issue(['other.example.com']).key,
})

/** The least with some of its first lines replaced and others added. */
const configuration = (changes: { publicUrl?: string; provider?: string; session?: string; more?: string }): string =>
  [
    `publicUrl: ${changes.publicUrl ?? 'https://orders.example.com'}`,
    'upstream: http://127.0.0.1:3000',
    `provider: { clientId: orders, ${changes.provider ?? 'issuer: "https://login.example.com", clientSecret: hush'} }`,
    `session: { keys: ["${key}"]${changes.session === undefined ? '' : `, ${changes.session}`} }`,
    changes.more ?? '',
    '',
  ].join('\n')

const issuer = 'issuer: "https://login.example.com"'
const route = (line: string): string => `routes:\n  - ${line}`

const refused: [string, Parameters<typeof configuration>[0], string[]][] = [
  [
    'http and https',
    { publicUrl: '[https://a.example.com, http://localhost:8080]' },
    ['1:12 publicUrl: mixes http and https, which cannot share a cookie | use https for all of them'],
  ],
  [
    'the same origin twice',
    { publicUrl: '[https://a.example.com, "https://A.example.com:443/"]' },
    ['1:36 publicUrl[1]: names https://a.example.com twice | keep one of them'],
  ],
  [
    'a plain http issuer',
    { provider: 'issuer: "http://login.example.com", clientSecret: x' },
    [
      '3:39 provider.issuer: is plain http: tokens and the client secret would be sent unencrypted' +
        ' | use https, or set provider.allowHttp: true if the network is trusted',
    ],
  ],
  [
    'a plain http metadataUrl, endpoint and browserIssuerUrl',
    {
      provider:
        `${issuer}, clientSecret: x, metadataUrl: "http://keycloak:8080/realms/a", ` +
        'endpoints: { token: "http://keycloak:8080/token" }, browserIssuerUrl: "http://login.example.com"',
    },
    ['3:98 provider.metadataUrl', '3:151 provider.endpoints.token', '3:201 provider.browserIssuerUrl'].map(
      (place) =>
        `${place}: is plain http: tokens and the client secret would be sent unencrypted` +
        ' | use https, or set provider.allowHttp: true if the network is trusted',
    ),
  ],
  [
    'tls_client_auth without a certificate',
    { provider: `${issuer}, clientAuthentication: tls_client_auth` },
    [
      '3:90 provider.clientAuthentication: tls_client_auth needs a clientCertificate' +
        ' | set provider.clientCertificate.certFile and keyFile',
    ],
  ],
  [
    'self_signed_tls_client_auth without a certificate',
    { provider: `${issuer}, clientSecret: x, clientAuthentication: self_signed_tls_client_auth` },
    [
      '3:107 provider.clientAuthentication: self_signed_tls_client_auth needs a clientCertificate' +
        ' | set provider.clientCertificate.certFile and keyFile',
    ],
  ],
  [
    'a client certificate with another key',
    { provider: `${issuer}, clientCertificate: { certFile: cert.pem, keyFile: other-key.pem }` },
    [
      '3:118 provider.clientCertificate.keyFile: is not the key of the certificate in certFile' +
        ' | use a certificate and a key that belong together',
    ],
  ],
  [
    'no openid',
    { provider: `${issuer}, clientSecret: x, scopes: [email]` },
    ['3:93 provider.scopes: must contain openid | add openid'],
  ],
  [
    'form_post on http',
    { publicUrl: 'http://localhost:8080', provider: `${issuer}, clientSecret: x, responseMode: form_post` },
    [
      '3:99 provider.responseMode: form_post needs an https publicUrl, because its login cookie is SameSite=None' +
        ' | use query',
    ],
  ],
  [
    'no secret',
    { provider: issuer },
    [
      '3:1 provider.clientSecret: is required: the gateway cannot authenticate to the provider without it' +
        ' | set it, for example to ${OIDC_CLIENT_SECRET}; for a public client set clientAuthentication: none',
    ],
  ],
  [
    'client_secret_basic without a secret',
    { provider: `${issuer}, clientAuthentication: client_secret_basic` },
    [
      '3:1 provider.clientSecret: is required: the gateway cannot authenticate to the provider without it' +
        ' | set it, for example to ${OIDC_CLIENT_SECRET}; for a public client set clientAuthentication: none',
    ],
  ],
  [
    'private_key_jwt without a key',
    { provider: `${issuer}, clientAuthentication: private_key_jwt` },
    [
      '3:90 provider.clientAuthentication: private_key_jwt needs a privateKey' +
        ' | set provider.privateKey, for example to ${file:/run/secrets/key.pem}',
    ],
  ],
  [
    'parameters of the gateway',
    { provider: `${issuer}, clientSecret: x, authorizationParameters: { state: x, scope: y, prompt: z }` },
    [
      '3:112 provider.authorizationParameters.state: is set by the gateway itself | each login has its own',
      '3:122 provider.authorizationParameters.scope: is set by the gateway itself | use provider.scopes',
    ],
  ],
  [
    'login parameters of the protocol and of the login endpoint',
    { provider: `${issuer}, clientSecret: x, loginParameters: [ui_locales, state, prompt, redirect]` },
    [
      '3:115 provider.loginParameters[1]: state is a parameter of the protocol or of the login endpoint itself | remove it',
      '3:122 provider.loginParameters[2]: prompt is a parameter of the protocol or of the login endpoint itself | remove it',
      '3:130 provider.loginParameters[3]: redirect is a parameter of the protocol or of the login endpoint itself | remove it',
    ],
  ],
  [
    'sameSite none on http',
    { publicUrl: 'http://localhost:8080', session: 'cookie: { sameSite: none }' },
    [
      '4:88 session.cookie.sameSite: none needs an https publicUrl, because browsers refuse such a cookie ' +
        'without Secure' +
        ' | use lax',
    ],
  ],
  [
    '__Host- and a domain',
    { session: 'cookie: { name: __Host-g, domain: example.com }' },
    ['4:84 session.cookie.name: browsers refuse __Host- together with a domain | use g, or leave domain out'],
  ],
  [
    '__Secure- on http',
    { publicUrl: 'http://localhost', session: 'cookie: { name: __Secure-g }' },
    ['4:84 session.cookie.name: browsers refuse __Secure- without https | use g, or an https publicUrl'],
  ],
  [
    'a domain beside publicUrl',
    { publicUrl: '[https://a.example.com, https://b.example.org]', session: 'cookie: { domain: example.com }' },
    [
      '4:86 session.cookie.domain: does not cover b.example.org in publicUrl' +
        ' | use a parent domain of every publicUrl, or leave this key out',
    ],
  ],
  [
    'a domain that is a suffix of letters only',
    { publicUrl: 'https://badexample.com', session: 'cookie: { domain: example.com }' },
    [
      '4:86 session.cookie.domain: does not cover badexample.com in publicUrl' +
        ' | use a parent domain of every publicUrl, or leave this key out',
    ],
  ],
  [
    'a wildcard without a login host',
    { publicUrl: '[https://auth.example.com, "https://*.example.com"]', session: 'cookie: { domain: example.com }' },
    [
      '1:39 publicUrl[1]: must name one host, not https://*.example.com, unless loginHost is set: a provider redirects to' +
        ' registered hosts only | set loginHost to one origin, such as https://auth.example.com',
    ],
  ],
  [
    'a login host beside publicUrl',
    {
      publicUrl: '[https://a.example.com, "https://*.apps.example.com"]',
      session: 'cookie: { domain: example.com }',
      more: 'loginHost: https://auth.example.com',
    },
    [
      '5:12 loginHost: https://auth.example.com is not in publicUrl | add it to publicUrl, or use one of the origins there',
    ],
  ],
  [
    'a login host on another port',
    {
      publicUrl: '"https://*.example.com"',
      session: 'cookie: { domain: example.com }',
      more: 'loginHost: https://auth.example.com:8443',
    },
    [
      '5:12 loginHost: https://auth.example.com:8443 is not in publicUrl' +
        ' | add it to publicUrl, or use one of the origins there',
    ],
  ],
  [
    'a login host without a domain',
    { publicUrl: '[https://auth.example.com, https://a.example.com]', more: 'loginHost: https://auth.example.com' },
    [
      '5:12 loginHost: needs session.cookie.domain, so that all hosts get the session cookie' +
        ' | set session.cookie.domain to a parent domain of every publicUrl, such as example.com',
    ],
  ],
  [
    'a domain that does not cover a wildcard',
    {
      publicUrl: '[https://auth.example.com, "https://*.example.org"]',
      session: 'cookie: { domain: example.com }',
      more: 'loginHost: https://auth.example.com',
    },
    [
      '4:86 session.cookie.domain: does not cover *.example.org in publicUrl' +
        ' | use a parent domain of every publicUrl, or leave this key out',
    ],
  ],
  [
    'a cookie path beside basePath',
    { session: 'cookie: { path: /app1 }', more: 'basePath: /app10/oauth2' },
    [
      "4:84 session.cookie.path: /app1 does not cover basePath, /app10/oauth2, so the gateway's own endpoints would get no" +
        ' cookie | use / or a path above basePath, or leave this key out',
    ],
  ],
  [
    '__Host- and a path',
    { session: 'cookie: { name: __Host-g }', more: 'basePath: /app1/oauth2\nroutes: [{ path: /app1/** }]' },
    [
      '4:84 session.cookie.name: browsers refuse __Host- together with the path /app1 | use g, or set session.cookie.path: /',
    ],
  ],
  [
    'partitioned without sameSite none',
    { session: 'cookie: { partitioned: true }' },
    [
      '4:91 session.cookie.partitioned: needs sameSite: none, because a frame of another site gets no other cookie' +
        ' | set session.cookie.sameSite: none, or leave this key out',
    ],
  ],
  [
    'partitioned on http',
    { publicUrl: 'http://localhost:8080', session: 'cookie: { partitioned: true, sameSite: none }' },
    [
      '4:91 session.cookie.partitioned: needs an https publicUrl, because browsers refuse such a cookie without Secure' +
        ' | use an https publicUrl, or leave this key out',
      '4:107 session.cookie.sameSite: none needs an https publicUrl, because browsers refuse such a cookie without Secure' +
        ' | use lax',
    ],
  ],
  [
    'tls on a Unix socket',
    { more: 'listen: unix:/run/g.sock\ntls: { certFile: cert.pem, keyFile: key.pem }' },
    ['6:1 tls: cannot be combined with a Unix socket | remove tls, or listen on host:port'],
  ],
  [
    'a redirect without an https publicUrl',
    {
      publicUrl: 'http://localhost:8443',
      more: 'tls: { certFile: cert.pem, keyFile: key.pem, redirectFrom: "0.0.0.0:8081" }',
    },
    ['5:46 tls.redirectFrom: needs an https publicUrl, because it redirects there | use an https publicUrl'],
  ],
  [
    'a redirect from the address of other listeners',
    { more: 'listen: 0.0.0.0:8443\ntls: { certFile: cert.pem, keyFile: key.pem, redirectFrom: "127.0.0.1:8443" }' },
    [
      '6:60 tls.redirectFrom: is the address of the public listener | use different ports, such as listen: 0.0.0.0:8443',
    ],
  ],
  [
    'a redirect from the address of the admin listener',
    { more: 'tls: { certFile: cert.pem, keyFile: key.pem, redirectFrom: "0.0.0.0:9090" }' },
    ['5:60 tls.redirectFrom: is the address of the admin listener | use different ports, such as listen: 0.0.0.0:8443'],
  ],
  [
    'a redirect without a certificate',
    { more: 'tls: { redirectFrom: "0.0.0.0:80" }' },
    [
      '5:1 tls.certFile: is required | set it here, or set GATEHOUSE_TLS_CERT_FILE',
      '5:1 tls.keyFile: is required | set it here, or set GATEHOUSE_TLS_KEY_FILE',
    ],
  ],
  [
    'another version of TLS',
    { more: 'tls: { certFile: cert.pem, keyFile: key.pem, minVersion: 1.1 }' },
    ['5:58 tls.minVersion: must be one of 1.2, 1.3, not 1.1'],
  ],
  [
    'ciphers that OpenSSL does not have',
    { more: 'tls: { certFile: cert.pem, keyFile: key.pem, ciphers: [STRONG, TLS_FOO] }' },
    ['5:55 tls.ciphers: must be cipher suites that OpenSSL has: no cipher match in "STRONG:TLS_FOO"'],
  ],
  [
    'ciphers without encryption',
    { more: 'tls: { certFile: cert.pem, keyFile: key.pem, ciphers: "HIGH:eNULL" }' },
    ['5:55 tls.ciphers: must not allow connections without protection: "eNULL"'],
  ],
  [
    'the PROXY protocol from no proxy',
    { more: 'listenProxyProtocol: true' },
    [
      '5:1 listenProxyProtocol: needs trustedProxies: the gateway would close every connection | ' +
        'list the addresses of the proxies that send the header',
    ],
  ],
  [
    'a key with a passphrase',
    { more: 'tls:\n  certFile: cert.pem\n  keyFile: encrypted-key.pem' },
    [
      `7:12 tls.keyFile: must have no passphrase: ${join(folder, 'encrypted-key.pem')} is encrypted | ` +
        'decrypt it: openssl pkey -in KEY -out DECRYPTED',
    ],
  ],
  [
    'a key of another certificate',
    { more: 'tls:\n  certFile: cert.pem\n  keyFile: other-key.pem' },
    [
      '7:12 tls.keyFile: is not the key of the certificate in certFile | use a certificate and a key that belong together',
    ],
  ],
  [
    'routes that are the same',
    { more: route('path: /a\n  - { path: /a, access: public }') },
    [
      '7:13 routes[1].path: matches the same requests as routes[0]' +
        ' | merge the two routes, or give them different paths, hosts or methods',
    ],
  ],
  [
    'routes whose methods overlap',
    { more: route('{ path: /a, methods: [GET] }\n  - { path: /a, methods: [POST, HEAD] }') },
    [
      '7:13 routes[1].path: matches the same requests as routes[0]' +
        ' | merge the two routes, or give them different paths, hosts or methods',
    ],
  ],
  [
    'metadata of two routes at one URL',
    {
      publicUrl: '[https://a.example.com, https://b.example.com]',
      more: route(
        '{ path: /mcp/**, bearer: { metadata: true } }\n' +
          '  - { path: /mcp, bearer: { metadata: true }, host: a.example.com }\n' +
          '  - { path: /mcp/**, bearer: { audience: x, metadata: false }, methods: [POST] }\n' +
          '  - { path: /mcp/tools/**, bearer: { metadata: true } }',
      ),
    },
    [
      '7:29 routes[1].bearer.metadata: is also true in routes[0], and the metadata of both would have the same URL' +
        ' | leave it out of one of the two routes',
    ],
  ],
  [
    'metadata with a wildcard in the middle',
    { more: route('{ path: /tenants/*/mcp/**, bearer: { metadata: true } }') },
    [
      '6:42 routes[0].bearer.metadata: cannot be used with /tenants/*/mcp/**: the URL of the resource ends at the' +
        ' first wildcard, which is not the last segment' +
        ' | use a path whose only wildcard is the last segment, such as /mcp/**',
    ],
  ],
  [
    'a route for the path of metadata',
    {
      more: route(
        '{ path: /mcp/**, bearer: { metadata: true } }\n' +
          '  - { path: /.well-known/oauth-protected-resource/mcp, access: public }\n' +
          '  - { path: /.well-known/**, access: public }',
      ),
    },
    [
      '7:13 routes[1].path: is never reached: the gateway serves the metadata of routes[0] there' +
        ' | leave this route out, or set routes[0].bearer.metadata: false',
    ],
  ],
  [
    'a route under basePath',
    { more: route('path: /oauth2/login') },
    [
      "6:11 routes[0].path: is never reached: everything under /oauth2 is the gateway's own" +
        ' | use another path, or another basePath',
    ],
  ],
  [
    'a host that is not ours',
    { more: route('{ path: /a, host: other.example.com }') },
    [
      '6:23 routes[0].host: is never reached: no publicUrl has the host other.example.com' +
        ' | use one of orders.example.com, or add it to publicUrl',
    ],
  ],
  [
    'two ways to change the prefix',
    { more: route('path: /api/**\n    stripPrefix: /api\n    rewritePrefix: { from: /api, to: / }') },
    [
      '8:5 routes[0].rewritePrefix: cannot be combined with stripPrefix | use rewritePrefix alone, with to: / to strip the prefix',
    ],
  ],
  [
    'an invalid prefix',
    { more: route('{ path: /api/v1/*, stripPrefix: /api/v }\n  - { path: /**, rewritePrefix: { from: /a, to: /b } }') },
    [
      "6:37 routes[0].stripPrefix: the route's path /api/v1/* does not begin with /api/v | use a prefix of /api/v1",
      "7:41 routes[1].rewritePrefix.from: the route's path /** does not begin with /a",
    ],
  ],
  [
    'injection on a public route',
    {
      more: route(
        'path: /a\n    access: public\n    token: { grant: session }\n' +
          '    headers: { set: { X-User: "{claims.sub}", X-Env: test } }\n    require: { claims: { groups: a } }',
      ),
    },
    [
      '8:21 routes[0].token.grant: no token is sent upstream with access: public' +
        ' | use access: optional or required, or leave this key out',
      '9:31 routes[0].headers.set.X-User: no claims are known with access: public' +
        ' | use access: optional or required, or leave this key out',
      '10:5 routes[0].require: has no effect with access: public | use access: required, or leave require out',
    ],
  ],
  [
    'a requirement on an optional route',
    { more: route('path: /a\n    access: optional\n    require: { maxAge: 5m }') },
    ['8:5 routes[0].require: has no effect with access: optional | use access: required, or leave require out'],
  ],
  [
    'the client’s own Authorization beside another one',
    {
      more: route(
        'path: /a\n    authorization: client\n    headers: { set: { authorization: a }, remove: [Authorization] }\n' +
          '    bearer: { audience: a }',
      ),
    },
    [
      '7:5 routes[0].authorization: client cannot be used here: Authorization carries the token of the session' +
        ' | set token: { grant: none }, or another token.header',
      '8:23 routes[0].headers.set.authorization: is the header that carries the token' +
        ' | set token: { grant: none }, or use another name',
      "8:23 routes[0].headers.set.authorization: cannot be set: authorization: client sends the client's own header" +
        ' | leave it out, or set authorization: token',
      "8:52 routes[0].headers.remove[0]: cannot be removed: authorization: client sends the client's own header" +
        ' | leave it out, or set authorization: token',
      '9:5 routes[0].bearer: cannot be combined with authorization: client: with bearer, only tokens that the' +
        " gateway has verified pass | leave out bearer, and let the application check its clients' tokens; or leave" +
        ' out authorization',
    ],
  ],
  [
    'a Host that is none',
    { more: route('path: /a\n    upstreamHost: https://app.internal') },
    [
      '7:19 routes[0].upstreamHost: must be preserve, upstream, or a host such as app.internal or app.internal:8080,' +
        ' without scheme or path, not "https://app.internal"',
    ],
  ],
  [
    'a prefix for the application among the headers',
    { more: route('path: /a\n    headers: { set: { X-Forwarded-Prefix: /a } }') },
    [
      '7:23 routes[0].headers.set.X-Forwarded-Prefix: cannot be set: it belongs to the connection, or the gateway' +
        ' writes it | leave it out: stripPrefix and rewritePrefix send it',
    ],
  ],
  [
    'headers that are not to be set',
    {
      more: route(
        'path: /a\n    headers:\n      set: { Host: a, COOKIE: b, X-Forwarded-Host: c, Te: d, X-Forwarded-User: e }',
      ),
    },
    [14, 23, 34, 55].map(
      (column, index) =>
        `8:${column} routes[0].headers.set.${['Host', 'COOKIE', 'X-Forwarded-Host', 'Te'][index]}:` +
        ' cannot be set: it belongs to the connection, or the gateway writes it | use ' +
        (index === 0 ? 'upstreamHost' : 'another name'),
    ),
  ],
  [
    'a header beside the token',
    { more: route('path: /a\n    headers: { set: { authorization: Basic x } }') },
    [
      '7:23 routes[0].headers.set.authorization: is the header that carries the token' +
        ' | set token: { grant: none }, or use another name',
    ],
  ],
  [
    'the header of the proof',
    { more: route('path: /a\n    headers: { set: { DPoP: x } }') },
    [
      '7:23 routes[0].headers.set.DPoP: cannot be set: it belongs to the connection, or the gateway writes it' +
        ' | use another name',
    ],
  ],
  [
    'bound tokens behind forward-auth',
    {
      provider: `${issuer}, clientSecret: x, dpop: on`,
      more: `forwardAuth: { listen: 127.0.0.1:8081 }\n${route('path: /a\n  - { path: /b, token: { grant: none } }')}`,
    },
    [
      '7:5 routes[0].token.grant: cannot be combined with provider.dpop and forwardAuth: the proxy would send the token ' +
        'without a proof | use none, or leave out forwardAuth and let the gateway forward the requests',
    ],
  ],
  [
    'a token in a header of the connection',
    { more: route('path: /a\n    token: { header: Cookie }') },
    [
      '7:22 routes[0].token.header: Cookie cannot carry the token: it belongs to the connection, or the ' +
        'gateway writes it | use Authorization, or a name of your own',
    ],
  ],
  [
    'h2 without TLS',
    { more: route('path: /a\n    upstreamProtocol: h2') },
    ['7:23 routes[0].upstreamProtocol: h2 is HTTP/2 with TLS, but the upstream is not https | use h2c'],
  ],
  [
    'h2c with TLS',
    { more: route('path: /a\n    upstream: "https://b"\n    upstreamProtocol: h2c') },
    ['8:23 routes[0].upstreamProtocol: h2c is HTTP/2 without TLS, but the upstream is https | use h2'],
  ],
  [
    'a lenient parser of HTTP/2',
    { more: route('path: /a\n    upstreamProtocol: h2c\n    upstreamParser: lenient') },
    ['8:5 routes[0].upstreamParser: has no effect with upstreamProtocol: h2c | leave it out'],
  ],
  [
    'tls to a plain upstream',
    { more: route('path: /a\n    upstreamTls: { serverName: a.example.com }') },
    [
      '7:5 routes[0].upstreamTls: has no effect: the upstream is not https | use an https upstream, or leave this section out',
    ],
  ],
  [
    'a client certificate for a plain upstream',
    { more: route('path: /a\n    upstreamTls: { certFile: cert.pem, keyFile: key.pem }') },
    [
      '7:5 routes[0].upstreamTls: has no effect: the upstream is not https | use an https upstream, or leave this section out',
    ],
  ],
  [
    'a client certificate without its key',
    { more: route('upstream: "https://b"\n    path: /a\n    upstreamTls: { certFile: cert.pem }') },
    ['8:20 routes[0].upstreamTls.certFile: needs keyFile | set keyFile, or leave certFile out'],
  ],
  [
    'the key of a client certificate alone',
    { more: route('upstream: "https://b"\n    path: /a\n    upstreamTls: { keyFile: key.pem }') },
    ['8:20 routes[0].upstreamTls.keyFile: needs certFile | set certFile, or leave keyFile out'],
  ],
  [
    'a key of another client certificate',
    {
      more: route(
        'upstream: "https://b"\n    path: /a\n    upstreamTls: { certFile: cert.pem, keyFile: other-key.pem }',
      ),
    },
    [
      '8:49 routes[0].upstreamTls.keyFile: is not the key of the certificate in certFile' +
        ' | use a certificate and a key that belong together',
    ],
  ],
  [
    'a mode of a socket without a Unix socket',
    { more: 'listenMode: "0660"' },
    ['5:1 listenMode: needs a Unix socket in listen | leave it out, or listen on unix:/path'],
  ],
  [
    'a mode of a socket as a number',
    { more: 'listen: unix:/run/g.sock\nlistenMode: 0660' },
    ['6:13 listenMode: must be three octal digits in quotes, such as "0660", not 660 | put the value in quotes'],
  ],
]

await t.test('invalid configurations are refused', async (t) => {
  for (const [name, changes, expected] of refused) {
    t.same(problemsOf(() => loadText(folder, configuration(changes))).map(brief), expected, name)
  }
})

await t.test('the keys of a client assertion fit each other', async (t) => {
  const mine = '"${file:key.pem}"'
  const apple = 'issuer: "https://appleid.apple.com"'
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ type: 'pkcs8', format: 'pem' })
  writeFileSync(join(folder, 'rsa.pem'), rsa)
  const table: [provider: string, problems: string[]][] = [
    [`${issuer}, privateKey: ${mine}, keyId: a, certificate: "\${file:cert.pem}"`, []],
    [`${issuer}, privateKey: ${mine}, requestObjects: signed`, []],
    [`${issuer}, clientAssertionFile: key.pem`, []],
    [`${issuer}, clientAssertionFile: key.pem, clientAuthentication: private_key_jwt`, []],
    [`${issuer}, clientSecret: x, keyId: a`, ['keyId: is the id of a privateKey, and there is none']],
    [
      `${issuer}, clientSecret: x, certificate: "\${file:cert.pem}"`,
      ['certificate: is the certificate of a privateKey, and there is none'],
    ],
    [
      `${issuer}, privateKey: "\${file:other-key.pem}", certificate: "\${file:cert.pem}"`,
      ['certificate: belongs to another key than privateKey'],
    ],
    [`${issuer}, clientSecret: x, requestObjects: signed`, ['requestObjects: signed needs a privateKey']],
    [
      `${issuer}, clientSecret: x, clientAssertionFile: key.pem, clientAuthentication: client_secret_post`,
      ['clientAssertionFile: has no effect with client_secret_post'],
    ],
    [`${issuer}, clientSecret: x, teamId: ABC`, ['teamId: is only for preset: apple']],
    [`${apple}, clientSecret: x`, []],
    [`${apple}, privateKey: ${mine}, keyId: a, teamId: b`, []],
    [
      apple,
      ['privateKey', 'keyId', 'teamId'].map(
        (name) => `${name}: is required: the client secret is a JWT made from privateKey, keyId and teamId`,
      ),
    ],
    [
      `${apple}, privateKey: ${mine}, teamId: b`,
      ['keyId: is required: the client secret is a JWT made from privateKey, keyId and teamId'],
    ],
    [
      `${apple}, privateKey: "\${file:rsa.pem}", keyId: a, teamId: b`,
      ['privateKey: must be a key for ES256 (EC, P-256)'],
    ],
  ]
  for (const [provider, expected] of table) {
    t.same(
      problemsOf(() => loadText(folder, configuration({ provider }))).map(
        ({ path, message }) => `${path.replace('provider.', '')}: ${message}`,
      ),
      expected,
      provider,
    )
  }
})

await t.test('a client assertion file that is missing causes a warning, and its content is no configuration', (t) => {
  const files = new Set<string>()
  const file = join(folder, 'gatehouse.yaml')
  writeFileSync(file, configuration({ provider: `${issuer}, clientAssertionFile: token.jwt` }))
  const load = () => loadConfig({ file, env: {}, files })
  const { config, warnings } = load()
  t.equal(config.provider?.clientAssertionFile, join(folder, 'token.jwt'), 'relative to the file')
  t.match(warnings, [/provider\.clientAssertionFile: cannot be read: no such file; .*token\.jwt must exist when/])
  writeFileSync(join(folder, 'token.jwt'), 'a.b.c')
  t.same(load().warnings, [])
  t.same([...files], [file], 'a new token does not reload the configuration')
  t.end()
})

await t.test('two listeners need two addresses', async (t) => {
  const message =
    'admin.listen: is the address of the public listener | give it a port of its own, such as 127.0.0.1:9090'
  const table: [string, string, boolean][] = [
    ['127.0.0.1:9000', '127.0.0.1:9000', true],
    ['0.0.0.0:9000', '127.0.0.1:9000', true],
    ['127.0.0.1:9000', '127.0.0.2:9000', false],
    ['127.0.0.1:0', '127.0.0.1:0', false],
    ['unix:/a', 'unix:/a', true],
    ['unix:/a', 'unix:/b', false],
  ]
  for (const [listen, admin, clash] of table) {
    const text = configuration({ more: `listen: "${listen}"\nadmin: { listen: "${admin}" }` })
    t.same(
      problemsOf(() => loadText(folder, text)).map(brief),
      clash ? [`6:18 ${message}`] : [],
      `${listen} and ${admin}`,
    )
  }
})

await t.test('the forward-auth listener needs an address of its own', async (t) => {
  const found = (name: string): string =>
    `7:24 forwardAuth.listen: is the address of the ${name} listener | ` +
    'give it a port of its own, such as 127.0.0.1:8081'
  for (const [forwardAuth, expected] of [
    ['127.0.0.1:9000', [found('public')]],
    ['0.0.0.0:9000', [found('public')]],
    ['localhost:9000', [found('public')]],
    ['[::]:9001', [found('admin')]],
    ['127.0.0.1:9001', [found('admin')]],
    ['127.0.0.1:9002', []],
    ['unix:/a', []],
  ] as const) {
    const others = 'listen: 127.0.0.1:9000\nadmin: { listen: localhost:9001 }'
    const text = configuration({ more: `${others}\nforwardAuth: { listen: "${forwardAuth}" }` })
    t.same(problemsOf(() => loadText(folder, text)).map(brief), expected, forwardAuth)
  }
})

await t.test('upstreamHost takes its words in any case, and a word that is nearly one causes a warning', (t) => {
  const load = (written: string) =>
    loadText(folder, configuration({ more: route(`path: /a\n    upstreamHost: ${written}`) }))
  for (const [written, host, warnings] of [
    ['Upstream', 'upstream', []],
    ['App.internal:8080', 'App.internal:8080', []],
    ['"[::1]:80"', '[::1]:80', []],
    ['upstraem', 'upstraem', [/routes\[0\]\.upstreamHost: upstraem is sent as the Host; did you mean upstream\?/]],
  ] as const) {
    const loaded = load(written)
    t.equal(loaded.config.routes[0]?.upstreamHost, host)
    t.equal(loaded.warnings.length, warnings.length, written)
    t.match(loaded.warnings, warnings)
  }
  t.end()
})

await t.test('a certificate outside its validity and ciphers without effect cause a warning', async (t) => {
  const warningsFor = (tls: string): string[] =>
    loadText(folder, configuration({ more: `tls: { ${tls} }` })).warnings.map((line) => line.replace(/^.*?: /, ''))
  const day = (days: number): string => new Date(Date.now() + days * DAY_MS).toISOString().slice(0, 10)
  t.same(warningsFor('certFile: expired.pem, keyFile: expired-key.pem'), [
    `tls.certFile: expired on ${day(-1)}; renew the certificate`,
  ])
  t.same(warningsFor('certFile: early.pem, keyFile: early-key.pem'), [
    `tls.certFile: is not valid before ${day(1)}; renew the certificate`,
  ])
  const strict = 'certFile: cert.pem, keyFile: key.pem, minVersion: 1.3, ciphers'
  t.match(warningsFor(`${strict}: [ECDHE-ECDSA-AES128-GCM-SHA256]`), [/^tls\.ciphers: has no cipher suite of TLS 1\.3/])
  t.same(warningsFor(`${strict}: [ECDHE-ECDSA-AES128-GCM-SHA256, TLS_AES_256_GCM_SHA384]`), [])
})

await t.test('an origin of cors that gets no session cookie, or needs no entry, causes a warning', async (t) => {
  const warningsFor = (
    origins: string,
    { publicUrl = 'https://api.example.com', session = '', more = '' } = {},
  ): string[] =>
    loadText(
      folder,
      configuration({ publicUrl, session, more: route(`{ path: /**, cors: { origins: [${origins}] }${more} }`) }),
    ).warnings.map((line) => line.replace(/^.*?: /, ''))
  const foreign = (origin: string, sameSite = 'lax'): string =>
    `routes[0].cors.origins[0]: ${origin} is another site than publicUrl: with SameSite=${sameSite}, its requests ` +
    `have no session cookie; set session.cookie.sameSite: none, or use two hosts below one domain`
  const other = 'https://app.example.org'
  t.same(warningsFor(other), [foreign(other)])
  t.same(warningsFor(other, { session: 'cookie: { sameSite: strict }' }), [foreign(other, 'strict')])
  t.same(warningsFor('http://app.example.com'), [foreign('http://app.example.com')], 'another scheme is another site')
  t.same(warningsFor('https://10.0.0.2', { publicUrl: 'https://10.1.0.2' }), [foreign('https://10.0.0.2')])
  for (const near of ['https://app.example.com', 'https://example.com:8443', 'https://a.b.example.com'])
    t.same(warningsFor(near), [], near)
  t.same(warningsFor(other, { publicUrl: '[https://api.example.com, https://api.example.org]' }), [])
  t.same(warningsFor(other, { session: 'cookie: { sameSite: none }' }), [])
  for (const more of [', access: public, token: { grant: none }', ', bearer: { audience: x }'])
    t.same(warningsFor(other, { more }), [], more)
  t.same(warningsFor('https://api.example.com'), [
    'routes[0].cors.origins[0]: is publicUrl, whose pages may call the route anyway; leave it out',
  ])
  t.same(warningsFor('https://b.example.com', { publicUrl: '[https://api.example.com, https://b.example.com]' }), [])
})

await t.test('questionable configurations cause warnings', async (t) => {
  const { warnings } = loadText(
    folder,
    configuration({
      publicUrl: 'http://orders.example.com',
      session: 'lifetime: 1h, idleTimeout: 2h',
      more:
        'trustedProxies: [10.0.0.0/8, 0.0.0.0/0]\nroutes:\n  - path: /a\n    upstream: https://a.internal\n' +
        '    upstreamTls: { insecureSkipVerify: true }',
    }),
  )
  const file = join(folder, 'gatehouse.yaml')
  t.same(warnings, [
    `${file}:1:12: publicUrl[0]: http://orders.example.com is plain http: the session cookie is sent unencrypted; ` +
      'use https',
    `${file}:5:30: trustedProxies[1]: 0.0.0.0/0 trusts the X-Forwarded-* headers of every client; ` +
      'list the addresses of the proxies in front',
    `${file}:4:95: session.idleTimeout: is longer than the lifetime, 1h, so it never ends a session; ` +
      'use a shorter duration, or off',
    `${file}:9:40: routes[0].upstreamTls.insecureSkipVerify: accepts any certificate: ` +
      'an attacker on the network path can read and change the traffic; set caFile',
  ])
})

await t.test('tolerating a missing nonce and no PKCE causes a warning, either alone does not', async (t) => {
  const warningsFor = (tolerate: string): string[] =>
    loadText(folder, configuration({ provider: `${issuer}, clientSecret: x, tolerate: [${tolerate}]` })).warnings
  t.match(warningsFor('missing-nonce, no-pkce'), [/provider\.tolerate: .*only the state binds a code to the browser/])
  for (const tolerate of ['missing-nonce', 'no-pkce', 'no-azp, scope-list, basic-unencoded'])
    t.same(warningsFor(tolerate), [], tolerate)
})

await t.test(
  'no parameter of the protocols or of the login endpoint may come from a link, except ui_locales',
  async (t) => {
    const names = [
      'client_id redirect_uri response_type response_mode scope state nonce code_challenge code_challenge_method',
      'display prompt max_age claims_locales id_token_hint login_hint acr_values claims registration request request_uri',
      'resource authorization_details audience dpop_jkt client_secret client_assertion client_assertion_type',
      'grant_type code_verifier refresh_token code response id_token token access_token error',
      'redirect rd target_link_uri iss provider tries refused choose_account fragment moved',
    ].flatMap((line) => line.split(' '))
    const found = problemsOf(() =>
      loadText(
        folder,
        configuration({ provider: `${issuer}, clientSecret: x, loginParameters: [${names.join(', ')}]` }),
      ),
    )
    t.same(
      found.map(({ message }) => message.split(' ')[0]),
      names,
    )
    const allowed = 'loginParameters: [ui_locales, kc_idp_hint, organization, screen_hint, domain_hint, hd]'
    loadText(folder, configuration({ provider: `${issuer}, clientSecret: x, ${allowed}` }))
  },
)

await t.test('an issuer for all tenants causes a warning unless a route requires tid', async (t) => {
  const warningsFor = (url: string, more = '', preset = 'auto'): string[] =>
    loadText(folder, configuration({ provider: `issuer: "${url}", clientSecret: x, preset: ${preset}`, more })).warnings
  const entra = 'https://login.microsoftonline.com'
  const all = ['common/v2.0', 'organizations/v2.0', 'consumers/v2.0', 'common', '{tenantid}/v2.0']
  for (const url of [...all.map((path) => `${entra}/${path}`), 'https://login.microsoftonline.us/organizations/v2.0']) {
    t.match(warningsFor(url), [/provider\.issuer: .*no route requires tid.*tid: \[TENANT-ID\]/], url)
    t.same(warningsFor(url, 'routes: [{ path: /**, require: { claims: { tid: [a] } } }]'), [], url)
    t.match(warningsFor(url, '', 'none'), [/no route requires tid/], `${url} without a preset`)
  }
  t.match(warningsFor('https://login.example.com/tenants/{tenantid}'), [/no route requires tid/], 'a foreign template')
  t.same(
    warningsFor('https://login.example.com/{tenantid}', 'routes: [{ path: /**, require: { claims: { tid: [a] } } }]'),
    [],
  )
  t.same(warningsFor(`${entra}/3f6c7a52-9d1e-4a0b-8c35-2b7d90e4f611/v2.0`, '', 'none'), [])
  t.same(warningsFor(`${entra}/3f6c7a52-9d1e-4a0b-8c35-2b7d90e4f611/v2.0`), [])
  t.same(warningsFor('https://login.example.com/common/v2.0'), [])
})

await t.test('keys without an effect and a long tolerance cause a warning', async (t) => {
  const warningsFor = (more: string): string[] =>
    loadText(folder, configuration({ provider: `${issuer}, clientSecret: x, ${more}` })).warnings
  const endpoints = 'authorization: "https://a/a", token: "https://a/t"'
  const metadataUrl = 'metadataUrl: "https://a/metadata"'
  t.match(warningsFor(`${metadataUrl}, endpoints: { ${endpoints}, jwks: "https://a/k" }`), [
    /provider\.metadataUrl: is not read, because endpoints has authorization, token and jwks/,
  ])
  t.same(warningsFor(`${metadataUrl}, endpoints: { ${endpoints} }`), [])
  t.match(warningsFor('clockTolerance: 11m'), [/provider\.clockTolerance: is more than ten minutes/])
  t.same(warningsFor('clockTolerance: 10m'), [])
})

await t.test('valid configurations are accepted', async (t) => {
  const table: [string, Parameters<typeof configuration>[0]][] = [
    ['an http issuer on loopback', { provider: 'issuer: "http://127.8.0.1:9", clientSecret: x' }],
    ['an http issuer by name', { provider: 'issuer: "http://localhost:9/x", clientSecret: x' }],
    ['an http issuer on ::1', { provider: 'issuer: "http://[::1]:9", clientSecret: x' }],
    ['an http issuer that is allowed', { provider: 'issuer: "http://idp", allowHttp: true, clientSecret: x' }],
    [
      'plain http at all addresses, if it is allowed',
      {
        provider:
          `${issuer}, clientSecret: x, allowHttp: true, metadataUrl: "http://keycloak:8080/realms/a", ` +
          'endpoints: { token: "http://keycloak:8080/token" }, browserIssuerUrl: "http://login.example.com"',
      },
    ],
    [
      'a plain http endpoint on loopback',
      { provider: `${issuer}, clientSecret: x, endpoints: { jwks: "http://[::1]/k" }` },
    ],
    ...['auto', 'tls_client_auth', 'self_signed_tls_client_auth'].map((method): (typeof table)[number] => [
      `a client certificate in place of a secret, ${method}`,
      {
        provider:
          `${issuer}, clientAuthentication: ${method}, ` +
          'clientCertificate: { certFile: cert.pem, keyFile: key.pem }',
      },
    ]),
    ['http on loopback', { publicUrl: 'http://localhost:8080' }],
    ['a public client', { provider: `${issuer}, clientAuthentication: none` }],
    ['__Host- on https', { session: 'cookie: { name: __Host-g }' }],
    [
      'a domain over all',
      { publicUrl: '[https://example.com, https://b.example.com]', session: 'cookie: { domain: .Example.com }' },
    ],
    [
      'a login host that a wildcard covers',
      {
        publicUrl: '"https://*.example.com"',
        session: 'cookie: { domain: example.com }',
        more: 'loginHost: https://auth.example.com',
      },
    ],
    [
      'a route for a host that a wildcard covers',
      {
        publicUrl: '[https://auth.example.com, "https://*.example.com"]',
        session: 'cookie: { domain: example.com }',
        more: 'loginHost: https://auth.example.com\nroutes: [{ path: /**, host: app1.example.com }]',
      },
    ],
    ['routes below the cookie path', { more: 'basePath: /app1/oauth2\nroutes: [{ path: /app1/** }, { path: /app1 }]' }],
    [
      'a public route outside the cookie path',
      { more: 'basePath: /app1/oauth2\nroutes: [{ path: /app1/** }, { path: /, access: public }]' },
    ],
    ['a wider cookie path', { session: 'cookie: { path: / }', more: 'basePath: /app1/oauth2' }],
    ['partitioned cookies', { session: 'cookie: { partitioned: true, sameSite: none }' }],
    ['tls', { more: 'tls: { certFile: cert.pem, keyFile: key.pem }' }],
    ...['1.2', '"1.2"', '1.3', "'1.3'"].map((version): [string, Parameters<typeof configuration>[0]] => [
      `minVersion: ${version}`,
      { more: `tls: { certFile: cert.pem, keyFile: key.pem, minVersion: ${version} }` },
    ]),
    [
      'ciphers and a redirect',
      {
        more:
          'tls: { certFile: cert.pem, keyFile: key.pem, ciphers: "ECDHE+AESGCM:!aNULL:@STRENGTH:-AES128-GCM-SHA256", ' +
          'redirectFrom: "0.0.0.0:8081" }',
      },
    ],
    ['the PROXY protocol', { more: 'listenProxyProtocol: true\ntrustedProxies: [10.0.0.0/8]' }],
    ['the mode of a Unix socket', { more: 'listen: unix:/run/g.sock\nlistenMode: "0660"' }],
    ['the mode of a Unix socket without a leading zero', { more: "listen: unix:/run/g.sock\nlistenMode: '660'" }],
    [
      'a client certificate for an https upstream',
      { more: route('{ path: /a, upstream: "https://b", upstreamTls: { certFile: cert.pem, keyFile: key.pem } }') },
    ],
    ['methods that do not overlap', { more: route('{ path: /a, methods: [GET] }\n  - { path: /a, methods: [POST] }') }],
    ['methods and the rest', { more: route('{ path: /a, methods: [GET] }\n  - { path: /a }') }],
    ['a host and the rest', { more: route('{ path: /a, host: ORDERS.example.com }\n  - { path: /a }') }],
    ['a route that only begins like basePath', { more: route('path: /oauth2x/**') }],
    [
      'fixed headers on a public route',
      { more: route('{ path: /a, access: public, headers: { set: { X-A: b, Authorization: c } } }') },
    ],
    [
      'a header where no token goes',
      { more: route('{ path: /a, token: { grant: none }, headers: { set: { Authorization: c } } }') },
    ],
    [
      'claims on an optional route',
      { more: route('{ path: /a, access: optional, headers: { set: { X-A: "{claims.a.b}" } } }') },
    ],
    ['the whole path as prefix', { more: route('{ path: /a/b, stripPrefix: /a/b }') }],
    [
      'tls to an https upstream',
      { more: route('{ path: /a, upstream: "https://b", upstreamTls: { caFile: ca.pem } }') },
    ],
    ['no token, said outright', { more: route('{ path: /a, access: public, token: { grant: none } }') }],
  ]
  for (const [name, changes] of table) {
    t.same(problemsOf(() => t.same(loadText(folder, configuration(changes)).warnings, [])).map(brief), [], name)
  }
})

await t.test('the cookie path is the path above basePath, and a route outside it causes a warning', async (t) => {
  const loaded = (basePath: string, session?: string) =>
    loadText(folder, configuration({ ...(session === undefined ? {} : { session }), more: `basePath: ${basePath}` }))
  t.equal(loaded('/oauth2').config.session.cookie.path, '/')
  t.equal(loaded('/app1/oauth2').config.session.cookie.path, '/app1')
  t.equal(loaded('/a/b/oauth2').config.session.cookie.path, '/a/b')
  t.equal(loaded('/a/b/oauth2', 'cookie: { path: /a }').config.session.cookie.path, '/a')
  t.same(loaded('/app1/oauth2').warnings, [], 'a pattern that begins outside and reaches into the path')
  const outside = (path: string): string[] =>
    loadText(folder, configuration({ more: `basePath: /app1/oauth2\nroutes: [{ path: ${path} }]` })).warnings
  for (const path of ['/app2/**', '/app', '/', '/app10/**', '/app/**'])
    t.match(outside(path), [
      /: routes\[0\]\.path: \S+ is not below \/app1, the path of the session cookie: its requests have no session; begin it with \/app1, or set session\.cookie\.path: \/$/,
    ])
})

await t.test('several processes need a shared store', async (t) => {
  for (const workers of ['2', 'auto', '"2"']) {
    const problems = problemsOf(() => loadText(folder, `${least}workers: ${workers}\n`))
    t.match(problems, [{ path: 'workers', message: 'several workers need a shared store', instead: /redis:/ }], workers)
    t.same(
      problemsOf(() =>
        loadText(folder, configuration({ session: 'store: "redis://127.0.0.1"', more: `workers: ${workers}\n` })),
      ),
      [],
    )
  }
})

await t.test('the defaults can be written out', async (t) => {
  const written = `workers: 1\nroutes: [{ path: /, token: { grant: session, audience: null } }]\n`
  const defaults = 'store: "memory:?max=5", outageGrace: 1m, maxPerUser: null, redis: {}'
  t.same(
    problemsOf(() => loadText(folder, configuration({ session: defaults, more: written }))),
    [],
  )
})

/** The same value, noting the path of every leaf that is read. */
function recording<T extends object>(value: T, path: string, read: Set<string>): T {
  return new Proxy(value, {
    get(target, name, receiver) {
      const inner: unknown = Reflect.get(target, name, receiver)
      if (typeof name === 'symbol' || !Object.hasOwn(target, name)) return inner
      const at = path === '' ? name : `${path}.${name}`
      const goesOn = typeof inner === 'object' && inner !== null && !Array.isArray(inner) && !Buffer.isBuffer(inner)
      if (!goesOn || at.endsWith('headers.set') || at.endsWith('claims')) read.add(at)
      return goesOn && !Object.isFrozen(inner) ? recording(inner, at, read) : inner
    },
  })
}

const unnamed = (seen: Set<string>, named: readonly string[]): string[] =>
  [...seen].filter((path) => !named.some((name) => path === name || path.startsWith(`${name}.`)))

await t.test('a rule reads only the keys that it names', async (t) => {
  const more = `tls: { certFile: cert.pem, keyFile: key.pem }
routes:
  - { path: /a/**, host: orders.example.com, methods: [GET], stripPrefix: /a, require: { acr: x } }
  - { path: /b, access: public, headers: { set: { X-A: b } }, rewritePrefix: { from: /b, to: /c } }
  - { path: /c, upstream: "https://c", upstreamTls: { insecureSkipVerify: true } }`
  const { config } = loadText(
    folder,
    configuration({ session: 'cookie: { domain: example.com, sameSite: none }', more }),
  )

  for (const [index, { reads, routeReads = [], providerReads = [], find }] of rules.entries()) {
    const read = new Set<string>()
    const routeRead = new Set<string>()
    const providerRead = new Set<string>()
    const routes = config.routes.map((route, at) => ({ route: recording(route, '', routeRead), at: ['routes', at] }))
    const providers = providersOf(config).map((one) => ({
      provider: recording(one, '', providerRead),
      at: ['provider'],
    }))
    const findings: Finding[] = find(recording(config, '', read), routes, providers)
    t.ok(findings.every(({ path }) => formatKeyPath(path) !== ''))
    t.same(unnamed(read, reads), [], `rule ${index}`)
    t.same(unnamed(routeRead, routeReads), [], `rule ${index} of routes`)
    t.same(unnamed(providerRead, providerReads), [], `rule ${index} of providers`)
  }
})

const loop = 'requests would loop back to the gateway'

void t.test('an upstream that is one of the gateway’s own addresses is refused', async (t) => {
  const found = (listen: string, upstream: string, more = ''): string[] =>
    problemsOf(() =>
      loadText(
        folder,
        `${least.replace('http://127.0.0.1:3000', upstream)}listen: ${listen}\nadmin: { listen: "127.0.0.1:9090" }\n${more}`,
      ),
    ).map(({ path, message }) => `${path}: ${message}`)
  const ownAddresses = Object.values(networkInterfaces())
    .flatMap((addresses) => addresses ?? [])
    .map(({ address, family }) => (family === 'IPv6' ? `[${address}]` : address))
  const ofListen = [`upstream: is the gateway's own address (listen): ${loop}`]
  for (const [listen, upstream] of [
    ['0.0.0.0:8080', 'http://127.0.0.1:8080'],
    ['0.0.0.0:8080', 'http://localhost:8080'],
    ['0.0.0.0:8080', 'http://0.0.0.0:8080'],
    ['"[::]:8080"', 'http://127.0.0.9:8080'],
    ['"[::]:8080"', 'http://[::1]:8080'],
    ['127.0.0.1:8080', 'http://localhost:8080'],
    ['localhost:8080', 'http://127.0.0.1:8080'],
    ['10.0.0.1:80', 'http://10.0.0.1'],
    ['gateway.internal:443', 'https://gateway.internal'],
    ['unix:/run/gatehouse.sock', 'unix:/run/gatehouse.sock'],
    ['unix:/run/gatehouse.sock', 'unix:/run/../run//gatehouse.sock'],
    ['"[::1]:8080"', 'http://localhost:8080'],
    ['LOCALHOST:8080', 'http://127.1:8080'],
    ['0.0.0.0:8080', 'http://localhost.:8080'],
    ['0.0.0.0:8080', 'http://[::ffff:127.0.0.1]:8080'],
    ['127.0.0.1:8080', 'http://[::ffff:7f00:1]:8080'],
    ['"[0:0:0:0:0:0:0:1]:8080"', 'http://[::1]:8080'],
    ['"[::ffff:127.0.0.1]:8080"', 'http://127.0.0.1:8080'],
    ['gateway.internal:443', 'https://gateway.internal.'],
    ...ownAddresses.map((address) => ['"[::]:8080"', `http://${address}:8080`] as const),
    ...ownAddresses
      .filter((address) => !address.startsWith('['))
      .map((address) => ['0.0.0.0:8080', `http://${address}:8080`] as const),
  ] as const)
    t.same(found(listen, upstream), ofListen, `${listen} ${upstream}`)
  for (const [listen, upstream] of [
    ['0.0.0.0:8080', 'http://127.0.0.1:8081'],
    ['0.0.0.0:8080', 'http://orders.internal:8080'],
    ['0.0.0.0:8080', 'http://[::1]:8080'],
    ['0.0.0.0:8080', 'http://[::ffff:203.0.113.9]:8080'],
    ['0.0.0.0:8080', 'http://203.0.113.9:8080'],
    ['127.0.0.1:8080', 'http://127.0.0.2:8080'],
    ['127.0.0.1:8080', 'http://[::1]:8080'],
    ['127.0.0.1:0', 'http://127.0.0.1:80'],
    ['unix:/run/gatehouse.sock', 'unix:/run/app.sock'],
    ['unix:/run/gatehouse.sock', 'http://localhost'],
  ] as const)
    t.same(found(listen, upstream), [], `${listen} ${upstream}`)
  t.same(found('0.0.0.0:8080', 'http://localhost:9090'), [
    `upstream: is the gateway's own address (admin.listen): ${loop}`,
  ])
  for (const upstream of ['http://127.0.0.1:8081', 'http://localhost:8081', 'http://0.0.0.0:8081'])
    t.same(found('0.0.0.0:8080', upstream, 'forwardAuth: { listen: "127.0.0.1:8081" }'), [
      `upstream: is the gateway's own address (forwardAuth.listen): ${loop}`,
    ])
  t.same(found('0.0.0.0:8080', 'unix:/run/verdicts.sock', 'forwardAuth: { listen: unix:/run/verdicts.sock }'), [
    `upstream: is the gateway's own address (forwardAuth.listen): ${loop}`,
  ])
  t.same(found('0.0.0.0:8080', 'https://orders.example.com'), [
    `upstream: is the gateway's own address (publicUrl): ${loop}`,
  ])
  t.same(
    found(
      '0.0.0.0:8080',
      'http://127.0.0.1:3000',
      'routes: [{ path: /** }, { path: /a, upstream: "http://127.0.0.1:8080" }]',
    ),
    [`routes[1].upstream: is the gateway's own address (listen): ${loop}`],
  )
  t.same(found('0.0.0.0:8080', 'http://127.0.0.1:8080', 'routes: [{ path: /** }, { path: /b }]'), ofListen, 'once')
})

await t.test('a text of the pages that does not exist, a style with @import and a wrong lang cause warnings', (t) => {
  const styled = t.testdir({ 'a.css': '@import "b.css";' })
  const { warnings } = loadText(
    styled,
    `${least}pages:
  texts: { forbiden: x, button.sign_on: x, silent: x, dir: rtl, lang: de_DE, no such text at all: x }
  languages: { de: { lang: de, signed_out.titel: x, login_failed.loop: x } }
  styleFile: a.css
`,
  )
  t.same(
    warnings.map((line) => line.replace(/^.*?yaml:[\d:]+ /, '')),
    [
      'pages.styleFile: has @import, which the policy of the pages blocks; put all styles into this file',
      'pages.texts.forbiden: is not a text of the pages; did you mean forbidden?',
      'pages.texts.button.sign_on: is not a text of the pages; did you mean button.sign_in?',
      'pages.texts.no such text at all: is not a text of the pages; docs/browser.md lists the names',
      'pages.languages.de.lang: is not a text of the pages; docs/browser.md lists the names',
      'pages.languages.de.signed_out.titel: is not a text of the pages; did you mean signed_out.title?',
      'pages.texts.lang: "de_DE" is not a language tag and has no effect; write a tag such as de or pt-BR',
    ],
  )
  t.end()
})
