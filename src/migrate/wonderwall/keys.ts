import { enableForwardAuth } from '../forward-auth.ts'
import {
  markRouteSource,
  put,
  putMetadataUrl,
  putSessionKey,
  remark,
  secretVariableFor,
  setHeader,
} from '../migration.ts'
import { always, becomes, combined, copied, noEquivalent, type Rule, type Rules, unavailable } from '../rule.ts'
import { duration, flagOf, goDuration, listenAddress, listOf, literal, textOf } from '../setting.ts'

const clientId = copied('provider.clientId')

const wellKnownUrl: Rule = becomes(
  'provider.issuer',
  (setting, migration) => {
    putMetadataUrl(migration, setting)
  },
  'the issuer, without /.well-known/openid-configuration, exactly as the discovery document spells it; another path ' +
    'becomes provider.metadataUrl',
)

const clientJwk: Rule = becomes(
  'provider.privateKey',
  (setting, migration) => {
    put(migration, 'provider.privateKey', secretVariableFor(migration, setting, 'OIDC_PRIVATE_KEY'), setting)
  },
  'the same JWK, with its kid; as before, it takes precedence over a client secret',
)

function parameter(name: string): Rule {
  return becomes('provider.authorizationParameters', (setting, migration) => {
    if (textOf(setting) === '') return remark(migration, 'builtin', setting, 'it is empty, and left out')
    put(migration, `provider.authorizationParameters.${name}`, literal(textOf(setting)), setting)
  })
}

export const wonderwall: Rules = {
  'openid.provider': combined(
    'provider',
    'idporten and azure have variables of their own (IDPORTEN_…, AZURE_APP_…), which are read as well',
  ),
  'openid.client-id': clientId,
  'IDPORTEN_CLIENT_ID': clientId,
  'AZURE_APP_CLIENT_ID': clientId,
  'openid.client-secret': becomes('provider.clientSecret', (setting, migration) => {
    put(migration, 'provider.clientSecret', secretVariableFor(migration, setting, 'OIDC_CLIENT_SECRET'), setting)
  }),
  'openid.client-jwk': clientJwk,
  'IDPORTEN_CLIENT_JWK': clientJwk,
  'AZURE_APP_CLIENT_JWK': clientJwk,
  'AZURE_APP_JWK': clientJwk,
  'openid.well-known-url': wellKnownUrl,
  'IDPORTEN_WELL_KNOWN_URL': wellKnownUrl,
  'AZURE_APP_WELL_KNOWN_URL': wellKnownUrl,
  'openid.scopes': becomes('provider.scopes', (setting, migration) => {
    put(migration, 'provider.scopes', [...new Set(['openid', ...listOf(setting).map(literal)])], setting)
  }),
  'openid.acr-values': combined(
    'routes[].require.acr',
    'the gateway requests the listed levels, and the acr of the user must be one of them, so list higher levels too; ' +
      'optional routes request the levels without checking the acr',
  ),
  'openid.audiences': noEquivalent('the audience of an ID token must be this client'),
  'openid.domain-hint': parameter('domain_hint'),
  'openid.resource-indicator': parameter('resource'),
  'openid.ui-locales': parameter('ui_locales'),
  'openid.jwks-fallback-alg': noEquivalent('a key without alg is used with the algorithms of its type'),
  'openid.new-client-auth-jwt-type': unavailable('the assertion has the type that openid-client sets', 'gap'),
  'openid.post-logout-redirect-uri': noEquivalent(
    'after logout the gateway shows a page, or redirects to the path in redirect of GET logout: make that a ' +
      'public page that redirects to another site',
  ),
  'ingress': combined(
    'publicUrl, basePath, session.cookie.path',
    'the path of the ingress becomes the start of basePath, and the path of the cookies',
  ),
  'auto-login': combined(
    'routes[].access',
    'true becomes required; false becomes optional, so that requests without a session reach the application',
  ),
  'auto-login-ignore-paths': combined(
    'routes[].access: optional',
    'only patterns that a route can express exactly are carried over; the report names the others, whose ' +
      'paths need a session, as do /favicon.ico and /robots.txt',
  ),
  'upstream-host': combined('upstream'),
  'upstream-ip': combined('upstream'),
  'upstream-port': combined('upstream'),
  'upstream-include-id-token': becomes('routes[].headers.set', (setting, migration) => {
    if (flagOf(setting) === false) return remark(migration, 'builtin', setting, 'it is off')
    setHeader(migration, 'X-Wonderwall-Id-Token', '{idToken}')
    markRouteSource(migration, setting)
  }),
  'upstream-access-logs': noEquivalent('the log has one line for each request', 'builtin'),
  'bind-address': becomes('listen', (setting, migration) => {
    const address = listenAddress(textOf(setting))
    if (address === null) remark(migration, 'gap', setting, 'it is not host:port: set listen')
    else put(migration, 'listen', literal(address), setting)
  }),
  'metrics-bind-address': combined('admin.listen', 'one listener serves metrics, health and session administration'),
  'probe-bind-address': combined('admin.listen', 'one listener serves metrics, health and session administration'),
  'pprof-enabled': unavailable("profiles are not served over HTTP: use Node's inspector", 'gap'),
  'log-format': noEquivalent('logs are JSON lines', 'builtin'),
  'log-level': becomes('log.level', (setting, migration) => {
    const level = textOf(setting).toLowerCase().replace('warning', 'warn').replace('panic', 'fatal')
    if (['trace', 'debug', 'info', 'warn', 'error', 'fatal'].includes(level))
      put(migration, 'log.level', level, setting)
    else remark(migration, 'gap', setting, 'log.level is one of trace, debug, info, warn, error, fatal; info is used')
  }),
  'cookie.prefix': becomes(
    'session.cookie.name',
    (setting, migration) => {
      put(migration, 'session.cookie.name', literal(textOf(setting)), setting)
    },
    'the prefix becomes the whole name of the cookie; with https, __Host- is added',
  ),
  'cookie.same-site': becomes('session.cookie.sameSite', (setting, migration) => {
    put(migration, 'session.cookie.sameSite', textOf(setting).toLowerCase(), setting)
  }),
  'cookie.secure': always(true, 'the cookie is Secure wherever publicUrl is https, and only there'),
  'encryption-key': becomes(
    'session.keys',
    (setting, migration) => {
      putSessionKey(migration, setting)
    },
    'the key has the same format, but sessions are not carried over: create a new key; all users log in again',
  ),
  'session.inactivity': combined('session.idleTimeout', 'without session.inactivity, session.idleTimeout is off'),
  'session.inactivity-timeout': combined(
    'session.idleTimeout',
    'any request of the user counts as activity, not only a refresh',
  ),
  'session.max-lifetime': becomes('session.lifetime', (setting, migration) => {
    const ms = goDuration(setting)
    if (ms === null || ms === 0)
      remark(migration, 'gap', setting, 'it is not a duration: session.lifetime stays at 10h')
    else put(migration, 'session.lifetime', duration(ms), setting)
  }),
  'session.forward-auth': becomes(
    'forwardAuth.listen',
    (setting, migration) => {
      if (flagOf(setting) === false) return remark(migration, 'builtin', setting, 'it is off')
      enableForwardAuth(migration, setting)
    },
    'the proxy asks GET /auth on a separate listener that only the proxy may reach; a 200 always has the ' +
      'headers for the application, including the token: use token: { grant: none } to leave the token out',
  ),
  'session.forward-auth-set-headers': becomes(
    'routes[].token',
    (setting, migration) => {
      if (flagOf(setting) === false) return remark(migration, 'builtin', setting, 'it is off')
      markRouteSource(migration, setting)
    },
    'the responses to the proxy have the headers for the application: the token is in Authorization, or ' +
      'in token.header',
  ),
  'redis.uri': combined('session.store'),
  'redis.address': combined('session.store'),
  'redis.tls': combined('session.store', 'the store is rediss:// if the key is on, which is the default'),
  'redis.username': combined('session.redis.username'),
  'redis.password': combined('session.redis.password'),
  'redis.connection-idle-timeout': noEquivalent('connections to Redis are kept alive'),
  'ratelimit.enabled': combined(
    'rateLimit.login',
    'the gateway counts requests per client address, not per browser; false becomes off',
  ),
  'ratelimit.logins': combined(
    'rateLimit.login',
    'requests are counted per client address, which many users may share, so the default of 300/1m is kept',
  ),
  'ratelimit.window': combined(
    'rateLimit.login',
    'requests are counted per client address, which many users may share, so the default of 300/1m is kept',
  ),
  'shutdown-graceful-period': becomes(
    'shutdown.drain',
    (setting, migration) => {
      const ms = goDuration(setting)
      if (ms !== null) put(migration, 'shutdown.drain', duration(ms, 0), setting)
    },
    'the period starts after shutdown.wait, which the old period included',
  ),
  'shutdown-wait-before-period': becomes('shutdown.wait', (setting, migration) => {
    const ms = goDuration(setting)
    if (ms !== null) put(migration, 'shutdown.wait', duration(ms, 0), setting)
  }),
  'otel.enabled': noEquivalent("tracing follows OpenTelemetry's own variables, such as OTEL_EXPORTER_OTLP_ENDPOINT"),
  'otel.service-name': noEquivalent('set OTEL_SERVICE_NAME'),
  'sso.enabled': combined(
    'loginHost',
    'server and proxies become gateways with the same provider, session.keys, session.store, session.cookie, publicUrl ' +
      'and loginHost',
  ),
  'sso.mode': combined(
    'loginHost',
    'in the mode server, loginHost is the ingress; in the mode proxy, it is the host of sso.server-url',
  ),
  'sso.server-url': combined('loginHost, publicUrl'),
  'sso.server-default-redirect-url': noEquivalent('a login without a return URL ends at / of loginHost'),
  'sso.domain': combined('session.cookie.domain, publicUrl', '* in publicUrl is exactly one label'),
  'sso.session-cookie-name': combined('session.cookie.name', 'with https, the prefix __Secure- is added'),
}

/** Returns the key of a variable; `null` if the variable belongs to another program. */
export function wonderwallKey(name: string): string | null {
  if (Object.hasOwn(wonderwall, name)) return name
  if (!name.startsWith('WONDERWALL_')) return null
  const rest = name.slice('WONDERWALL_'.length)
  return Object.keys(wonderwall).find((key) => key.toUpperCase().replace(/[^A-Z0-9]/g, '_') === rest) ?? name
}
