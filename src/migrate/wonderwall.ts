import { type Draft, has, put, remark, routed, secret, secretOf } from './draft.ts'
import { duration, flagOf, goDuration, listOf, literal, textOf } from './entry.ts'
import { listen } from './listen.ts'
import { authority } from './oauth2-proxy/store.ts'
import { always, never, none, type Rule, type Rules, text, to, together } from './rule.ts'
import { finishVerdicts, giveVerdicts } from './verdicts.ts'

const sso =
  'there is no central server for several applications: let each have its own gateway and client, or list all ' +
  'hosts in publicUrl ' +
  'of one gateway and set session.cookie.domain'

const parameter = (name: string, says = ''): Rule =>
  to(
    'provider.authorizationParameters',
    (entry, draft) => {
      if (textOf(entry) === '') return remark(draft, 'builtin', entry, 'it is empty, and left out')
      put(draft, `provider.authorizationParameters.${name}`, literal(textOf(entry)), entry)
    },
    says,
  )

const wellKnown: Rule = to(
  'provider.issuer',
  (entry, draft) => {
    const url = textOf(entry)
    const issuer = url.replace(/\/\.well-known\/(openid-configuration|oauth-authorization-server).*$/, '')
    put(draft, 'provider.issuer', literal(issuer), entry)
    if (issuer === url) remark(draft, 'todo', entry, 'give the issuer as its discovery document spells it')
    if (issuer.startsWith('http:') && !/^http:\/\/(localhost|127\.|\[::1\])/.test(issuer)) {
      put(draft, 'provider.allowHttp', true, entry)
      remark(draft, 'security', entry, 'the issuer is plain http: tokens travel in clear, as before')
    }
  },
  'the issuer, without /.well-known/openid-configuration, exactly as the discovery document spells it',
)

const jwk: Rule = to(
  'provider.privateKey',
  (entry, draft) => {
    put(draft, 'provider.privateKey', secret(draft, 'OIDC_PRIVATE_KEY', `the key of ${entry.key} as PEM`), entry)
  },
  'the same key, as PEM and not as JWK; it stands before a client secret, as there',
)

const clientId = text('provider.clientId')

/** What becomes of Wonderwall's flags and variables. */
export const wonderwall: Rules = {
  'openid.provider': together('provider', 'idporten and azure have their own variables, which are read as well'),
  'openid.client-id': clientId,
  'IDPORTEN_CLIENT_ID': clientId,
  'AZURE_APP_CLIENT_ID': clientId,
  'openid.client-secret': to('provider.clientSecret', (entry, draft) => {
    put(draft, 'provider.clientSecret', secretOf(draft, entry, 'OIDC_CLIENT_SECRET'), entry)
  }),
  'openid.client-jwk': jwk,
  'IDPORTEN_CLIENT_JWK': jwk,
  'AZURE_APP_JWK': jwk,
  'openid.well-known-url': wellKnown,
  'IDPORTEN_WELL_KNOWN_URL': wellKnown,
  'AZURE_APP_WELL_KNOWN_URL': wellKnown,
  'openid.scopes': to('provider.scopes', (entry, draft) => {
    put(draft, 'provider.scopes', [...new Set(['openid', ...listOf(entry).map(literal)])], entry)
  }),
  'openid.acr-values': together(
    'routes[].require.acr',
    'one of them is asked for and checked; a higher level has to be listed, too. Where a route is ' +
      'optional, they are only asked for',
  ),
  'openid.audiences': none('an ID token has to name this client as audience'),
  'openid.domain-hint': parameter('domain_hint'),
  'openid.resource-indicator': parameter('resource'),
  'openid.ui-locales': parameter('ui_locales'),
  'openid.jwks-fallback-alg': none('a key without alg is used with the algorithms of its type'),
  'openid.new-client-auth-jwt-type': never('the assertion has the type that openid-client gives it', 'gap'),
  'openid.post-logout-redirect-uri': none(
    'after logout the page that asked is shown, or redirect of GET logout; a path of this gateway, ' +
      'so put a public page there that leads on',
  ),
  'ingress': together('publicUrl, basePath', 'a path in it becomes the beginning of basePath'),
  'auto-login': together(
    'routes[].access',
    'true: required; false: optional, requests without a session reach the application',
  ),
  'auto-login-ignore-paths': together(
    'routes[].access: optional',
    'only patterns that a route can say exactly; others are named and need a session',
  ),
  'upstream-host': together('upstream'),
  'upstream-ip': together('upstream'),
  'upstream-port': together('upstream'),
  'upstream-include-id-token': never(
    'the ID token does not leave the gateway: set claims as headers under headers.set',
    'security',
  ),
  'upstream-access-logs': none('each request has one line in the log', 'builtin'),
  'bind-address': to('listen', (entry, draft) => {
    const address = listen(textOf(entry))
    if (address === null) remark(draft, 'gap', entry, 'it is no host:port: set listen')
    else put(draft, 'listen', literal(address), entry)
  }),
  'metrics-bind-address': together('admin.listen', 'metrics, health and session administration share it'),
  'probe-bind-address': together('admin.listen', 'metrics, health and session administration share it'),
  'pprof-enabled': never("there are no profiles over HTTP: use Node's inspector", 'gap'),
  'log-format': none('logs are JSON lines', 'builtin'),
  'log-level': to('log.level', (entry, draft) => {
    const level = textOf(entry).toLowerCase().replace('warning', 'warn').replace('panic', 'fatal')
    if (['trace', 'debug', 'info', 'warn', 'error', 'fatal'].includes(level)) put(draft, 'log.level', level, entry)
    else remark(draft, 'gap', entry, 'it is one of trace, debug, info, warn, error, fatal; info is used')
  }),
  'cookie.prefix': to(
    'session.cookie.name',
    (entry, draft) => {
      put(draft, 'session.cookie.name', literal(textOf(entry)), entry)
    },
    'the whole name, with the prefix __Host- on https',
  ),
  'cookie.same-site': to('session.cookie.sameSite', (entry, draft) => {
    put(draft, 'session.cookie.sameSite', textOf(entry).toLowerCase(), entry)
  }),
  'cookie.secure': always(true, 'the cookie is Secure wherever publicUrl is https, and only there'),
  'encryption-key': to(
    'session.keys',
    (entry, draft) => {
      put(draft, 'session.keys', [secret(draft, 'SESSION_KEY', 'a new key: gatehouse keygen prints one')], entry)
    },
    'the form is the same, the sessions are not: make a new key, everybody logs in once',
  ),
  'session.inactivity': together('session.idleTimeout', 'off without it'),
  'session.inactivity-timeout': together('session.idleTimeout', 'any request of the user counts, not only a refresh'),
  'session.max-lifetime': to('session.lifetime', (entry, draft) => {
    const ms = goDuration(entry)
    if (ms === null || ms === 0) remark(draft, 'gap', entry, 'it is no duration: session.lifetime stays at 10h')
    else put(draft, 'session.lifetime', duration(ms), entry)
  }),
  'session.forward-auth': to(
    'forwardAuth.listen',
    (entry, draft) => {
      if (flagOf(entry) === false) return remark(draft, 'builtin', entry, 'it is off')
      giveVerdicts(draft, entry)
    },
    "GET /auth on a listener of its own, for the proxy alone; its 200 always has the upstream's headers, the token " +
      'among them: token: { grant: none } keeps it inside',
  ),
  'session.forward-auth-set-headers': to(
    'routes[].token',
    (entry, draft) => {
      if (flagOf(entry) === false) return remark(draft, 'builtin', entry, 'it is off')
      routed(draft, entry)
    },
    "verdicts have the upstream's own headers: the token is in Authorization, or in token.header",
  ),
  'redis.uri': together('session.store'),
  'redis.address': together('session.store'),
  'redis.tls': together('session.store', 'rediss:// with it, as by default'),
  'redis.username': together('session.redis.username'),
  'redis.password': together('session.redis.password'),
  'redis.connection-idle-timeout': none('connections to Redis are kept alive'),
  'ratelimit.enabled': together('rateLimit.login', 'it counts a client address, not a browser; false is off'),
  'ratelimit.logins': together(
    'rateLimit.login',
    'it counts a client address, behind which many users can be: the default, 300/1m, is kept',
  ),
  'ratelimit.window': together(
    'rateLimit.login',
    'it counts a client address, behind which many users can be: the default, 300/1m, is kept',
  ),
  'shutdown-graceful-period': to(
    'shutdown.drain',
    (entry, draft) => {
      const ms = goDuration(entry)
      if (ms !== null) put(draft, 'shutdown.drain', duration(ms, 0), entry)
    },
    'it counts after shutdown.wait, which it included',
  ),
  'shutdown-wait-before-period': to('shutdown.wait', (entry, draft) => {
    const ms = goDuration(entry)
    if (ms !== null) put(draft, 'shutdown.wait', duration(ms, 0), entry)
  }),
  'otel.enabled': none("tracing follows OpenTelemetry's own variables, such as OTEL_EXPORTER_OTLP_ENDPOINT"),
  'otel.service-name': none('set OTEL_SERVICE_NAME'),
  'sso.enabled': never(sso),
  'sso.mode': none(sso),
  'sso.server-url': none(sso),
  'sso.server-default-redirect-url': none(sso),
  'sso.domain': none(sso),
  'sso.session-cookie-name': none(sso),
}

/** The key of a variable of Wonderwall's; `null` when it is another program's. */
export function wonderwallKey(name: string): string | null {
  if (Object.hasOwn(wonderwall, name)) return name
  if (!name.startsWith('WONDERWALL_')) return null
  const rest = name.slice('WONDERWALL_'.length)
  return Object.keys(wonderwall).find((key) => key.toUpperCase().replace(/[^A-Z0-9]/g, '_') === rest) ?? name
}

/** Reads together what single keys do not say. */
export function finishWonderwall(draft: Draft): void {
  finishIngress(draft)
  finishUpstream(draft)
  finishAccess(draft)
  finishSession(draft)
  finishAdmin(draft)
  // The peer passes no credentials of a client on, on no path.
  draft.shared.remove.push('Authorization', 'X-Wonderwall-Id-Token', 'X-Wonderwall-Forward-Auth-Token')
  remark(
    draft,
    'todo',
    null,
    'behind an ingress, list its addresses under trustedProxies: without that all users share one address in ' +
      'rate limits and logs',
  )
  const kind = draft.given.get('openid.provider')
  if (kind !== undefined) routed(draft, kind)
  if (!has(draft, 'listen')) put(draft, 'listen', '127.0.0.1:3000')
  finishVerdicts(draft)
  const missing: [string, unknown, string][] = [
    ['provider.issuer', 'https://issuer.change-me.invalid', 'openid.well-known-url is not given: set provider.issuer'],
    ['provider.clientId', 'change-me', 'openid.client-id is not given: set provider.clientId'],
  ]
  for (const [path, value, says] of missing) {
    if (has(draft, path)) continue
    put(draft, path, value)
    remark(draft, 'todo', null, says)
  }
  if (!has(draft, 'provider.clientSecret') && !has(draft, 'provider.privateKey')) {
    put(
      draft,
      'provider.clientSecret',
      secret(draft, 'OIDC_CLIENT_SECRET', 'the client secret, which this file does not have'),
    )
    remark(
      draft,
      'todo',
      null,
      'neither a client secret nor a key is given: with openid.client-jwk elsewhere, set provider.privateKey in ' +
        'place of it',
    )
  }
  if (!has(draft, 'session.keys'))
    put(draft, 'session.keys', [secret(draft, 'SESSION_KEY', 'a new key: gatehouse keygen prints one')])
}

function finishIngress(draft: Draft): void {
  const entry = draft.given.get('ingress')
  const urls =
    entry === undefined
      ? []
      : listOf(entry)
          .filter((item) => URL.canParse(item))
          .map((item) => new URL(item))
  if (entry === undefined || urls.length === 0) {
    put(draft, 'publicUrl', 'https://change-me.invalid')
    return remark(draft, 'todo', entry ?? null, 'no ingress is given: set publicUrl to the origin that browsers see')
  }
  const origins = [...new Set(urls.map(({ origin }) => origin))]
  put(draft, 'publicUrl', origins.length === 1 ? origins[0] : origins, entry)
  if (origins.length < listOf(entry).length) remark(draft, 'differs', entry, 'publicUrl has origins only, each once')
  const paths = [...new Set(urls.map(({ pathname }) => pathname.replace(/\/$/, '')))]
  const [path = ''] = paths
  if (paths.length > 1)
    remark(
      draft,
      'differs',
      entry,
      "the ingresses have several paths: the gateway's own URLs are under one basePath, /oauth2",
    )
  else if (path !== '') put(draft, 'basePath', literal(`${path}/oauth2`), entry)
}

function finishUpstream(draft: Draft): void {
  const [host, ip, port] = ['upstream-host', 'upstream-ip', 'upstream-port'].map((key) => draft.given.get(key))
  const from = [host, ip, port].filter((entry) => entry !== undefined)
  const target =
    ip !== undefined && port !== undefined && textOf(ip) !== ''
      ? `${textOf(ip).includes(':') ? `[${textOf(ip)}]` : textOf(ip)}:${textOf(port)}`
      : host === undefined || textOf(host) === ''
        ? '127.0.0.1:8080'
        : textOf(host)
  routed(draft, ...from)
  const auto = draft.given.get('auto-login')
  const required = auto !== undefined && flagOf(auto) !== false
  draft.bases.push({
    path: '/**',
    access: required ? 'required' : 'optional',
    upstream: `http://${literal(target)}`,
    from,
  })
}

function finishAccess(draft: Draft): void {
  const auto = draft.given.get('auto-login')
  const required = auto !== undefined && flagOf(auto) !== false
  if (auto !== undefined) routed(draft, auto)
  if (!required) {
    remark(
      draft,
      'security',
      auto ?? null,
      'auto-login is off: requests without a session reach the application, which has to turn them away itself, as ' +
        'before (access: optional); access: required lets the gateway do it',
    )
  }
  const ignored = draft.given.get('auto-login-ignore-paths')
  if (ignored !== undefined) {
    for (const item of listOf(ignored)) {
      const path = item.length > 1 ? item.replace(/\/$/, '') : item
      if (!/^\/(?:(?:[A-Za-z0-9_~.-]+|\*)\/)*(?:[A-Za-z0-9_~.-]+|\*\*?)?$/.test(path) || path === '/**') {
        remark(
          draft,
          required ? 'security' : 'gap',
          ignored,
          `${JSON.stringify(item)} is no path that a route can say exactly, and needs a session: add routes with ` +
            'access: optional for what it is to open',
        )
        continue
      }
      routed(draft, ignored)
      if (!required) continue
      for (const pattern of path.endsWith('**') || path === '/' ? [path] : [path, `${path}/`]) {
        // A pattern that ends in a wildcard means the same with a slash behind it to that program only.
        if (pattern.endsWith('*/')) continue
        draft.exceptions.push({ path: pattern, methods: null, access: 'optional', from: ignored })
      }
      remark(
        draft,
        'security',
        ignored,
        `${JSON.stringify(item)} needs no session, as before; with one, the token goes upstream there, too`,
      )
    }
    if (!required) remark(draft, 'builtin', ignored, 'it has no effect without auto-login: all paths are optional')
  }
  const acr = draft.given.get('openid.acr-values')
  const kind = draft.given.get('openid.provider')
  const levels =
    acr === undefined
      ? kind !== undefined && textOf(kind) === 'idporten'
        ? ['idporten-loa-high']
        : []
      : textOf(acr)
          .split(/\s+/)
          .filter((level) => level !== '')
  if (levels.length === 0) return
  if (required) {
    draft.shared.acr = levels.map(literal)
    if (acr !== undefined) routed(draft, acr)
  } else
    put(
      draft,
      'provider.authorizationParameters.acr_values',
      literal(levels.join(' ')),
      ...(acr === undefined ? [] : [acr]),
    )
  remark(
    draft,
    required ? 'differs' : 'security',
    acr ?? kind ?? null,
    required
      ? 'a login has to be at one of these levels: add higher ones that are good enough as well'
      : "the level is asked for at the login and not checked afterwards, since optional routes can't: make them " +
          'required for that',
  )
}

function finishSession(draft: Draft): void {
  const given = (key: string) => draft.given.get(key)
  const [inactivity, idle] = [given('session.inactivity'), given('session.inactivity-timeout')]
  const from = [inactivity, idle].filter((entry) => entry !== undefined)
  if (inactivity !== undefined && flagOf(inactivity) === true) {
    const ms = idle === undefined ? null : goDuration(idle)
    put(draft, 'session.idleTimeout', ms === null ? '30m' : duration(ms), ...from)
  } else {
    put(draft, 'session.idleTimeout', 'off', ...from)
    remark(draft, 'differs', inactivity ?? null, 'session.inactivity is off, so idleTimeout is; 30m would be safer')
  }
  const rate = ['ratelimit.enabled', 'ratelimit.logins', 'ratelimit.window'].map(given)
  const [enabled] = rate
  if (enabled !== undefined && flagOf(enabled) === false) put(draft, 'rateLimit.login', 'off', enabled)
  finishRedis(draft)
}

function finishRedis(draft: Draft): void {
  const [uri, address, tls, username, password] = [
    'redis.uri',
    'redis.address',
    'redis.tls',
    'redis.username',
    'redis.password',
  ].map((key) => draft.given.get(key))
  const source = uri !== undefined && textOf(uri) !== '' ? uri : address
  if (source === undefined || textOf(source) === '') {
    remark(draft, 'differs', null, 'no Redis is given: sessions are kept in memory, and a restart ends them')
    return put(draft, 'session.store', 'memory:')
  }
  const secure = source === uri ? textOf(uri).startsWith('rediss:') : tls === undefined || flagOf(tls) !== false
  const node = authority(textOf(source))
  put(
    draft,
    'session.store',
    literal(`redis${secure ? 's' : ''}://${node.host}${node.database}`),
    source,
    ...(tls === undefined ? [] : [tls]),
  )
  if (username !== undefined && textOf(username) !== '')
    put(draft, 'session.redis.username', literal(textOf(username)), username)
  else if (node.username !== '' && node.username !== 'default')
    put(draft, 'session.redis.username', literal(node.username), source)
  if (password !== undefined)
    put(draft, 'session.redis.password', secretOf(draft, password, 'REDIS_PASSWORD'), password)
  else if (node.hasPassword)
    put(draft, 'session.redis.password', secret(draft, 'REDIS_PASSWORD', 'the password in redis.uri'), source)
}

function finishAdmin(draft: Draft): void {
  const [metrics, probe] = [draft.given.get('metrics-bind-address'), draft.given.get('probe-bind-address')]
  const used = [probe, metrics].find((entry) => entry !== undefined && listen(textOf(entry)) !== null)
  if (used !== undefined) put(draft, 'admin.listen', literal(listen(textOf(used)) ?? ''), used)
  for (const entry of [metrics, probe]) {
    if (entry !== undefined && entry !== used) remark(draft, 'differs', entry, 'metrics and health share admin.listen')
  }
}
