import {
  has,
  markRouteSource,
  type Migration,
  put,
  putEndpoint,
  putSessionKey,
  remark,
  secretVariableFor,
} from '../migration.ts'
import { always, becomes, combined, copied, noEquivalent, type Rule, type Rules, unavailable } from '../rule.ts'
import { duration, flagOf, goDuration, listenAddress, listOf, literal, textOf } from '../setting.ts'
import { bearer, providerType, tenants } from './access.ts'
import { GOOGLE, googleGroups, groups, organization, roles, teams, users, withoutClaim, workspace } from './groups.ts'
import { identity, responseIdentity, tokens } from './headers.ts'
import { logs } from './logs.ts'
import { withoutOpenId } from './provider.ts'
import { apiRoutes, openRoutes, preflight } from './routes.ts'

const BY_DISCOVERY = "the endpoints and keys come from the provider's discovery document; nothing to set"
const PAGES = 'the gateway has its own pages: set pages.title, pages.logo, pages.styleFile and pages.texts'
const HEALTH = 'health is on the admin listener: GET /livez and GET /readyz at admin.listen, never on the public port'
const REPOSITORY =
  'no claim says which repositories a user can access: under require.claims.groups, require a team or ' +
  'workspace that has the repository'
const LOGIN_STATE =
  'the data of a login is in its encrypted state parameter, and all tabs share one small cookie; nothing to set'
const LOCAL_USERS = 'there are no local users: give them accounts at the provider'
const PLAIN_HTTP_ADMIN = 'the admin listener is plain http'
const CLAIM_NAME = 'it becomes the name of the claim under require.claims and in headers.set'
const NO_BASIC_CREDENTIALS = 'the gateway sends no Basic credentials: let the application read a header of headers.set'

/** The default of `session.lifetime`, which limits sessions that are in use. */
const DEFAULT_LIFETIME_MS = 36_000_000

function parameter(name: string, note = ''): Rule {
  return becomes(
    'provider.authorizationParameters',
    (setting, migration) => {
      put(migration, `provider.authorizationParameters.${name}`, literal(textOf(setting)), setting)
    },
    note,
  )
}

/** Creates a rule for an endpoint, which oauth2-proxy uses only if it discovers nothing. */
function endpoint(name: string): Rule {
  return {
    target: `provider.endpoints.${name}`,
    note: 'carried over only together with skip_oidc_discovery; otherwise the discovery document names this endpoint',
    apply(setting, migration) {
      const skipped = migration.effective.get('skip_oidc_discovery')
      if (skipped !== undefined && flagOf(skipped) === true) putEndpoint(migration, name, setting, skipped)
      else remark(migration, 'builtin', setting, BY_DISCOVERY)
    },
  }
}

const scopes = becomes('provider.scopes', (setting, migration) => {
  const given = listOf({ ...setting, value: textOf(setting).split(/[\s,]+/) })
  if (given.length === 0) return remark(migration, 'builtin', setting, 'it is empty: the default scopes are requested')
  if (withoutOpenId(providerType(migration))) return put(migration, 'provider.scopes', given.map(literal), setting)
  const scopeNames = given.includes('openid') ? given : ['openid', ...given]
  put(migration, 'provider.scopes', scopeNames.map(literal), setting)
  if (given.length < scopeNames.length)
    remark(migration, 'differs', setting, 'openid was added, because every login is an OpenID Connect login')
  if (!scopeNames.includes('offline_access')) {
    remark(
      migration,
      'differs',
      setting,
      'without offline_access most providers issue no refresh token, and the session ends with the access token',
    )
  }
})

const lifetime = becomes(
  'session.lifetime',
  (setting, migration) => {
    const ms = goDuration(setting)
    if (ms === 0) put(migration, 'session.cookie.persistent', false, setting)
    if (ms === null || ms === 0) {
      return remark(
        migration,
        'differs',
        setting,
        (ms === 0 ? 'the cookie ends with the browser, as before (session.cookie.persistent); ' : '') +
          'sessions always have a maximum lifetime: session.lifetime stays at 10h; set a duration',
      )
    }
    const refresh = migration.effective.get('cookie_refresh')
    if (refresh !== undefined && (goDuration(refresh) ?? 0) > 0) {
      // In oauth2-proxy each refresh extends the cookie by its full lifetime.
      put(migration, 'session.idleTimeout', duration(ms), setting)
      put(migration, 'session.lifetime', duration(Math.max(ms, DEFAULT_LIFETIME_MS)), setting)
      return remark(
        migration,
        'differs',
        setting,
        'with cookie_refresh it counts from the last request, like session.idleTimeout; session.lifetime also ends ' +
          'sessions in use, which oauth2-proxy never does',
      )
    }
    put(migration, 'session.lifetime', duration(ms), setting)
    put(migration, 'session.idleTimeout', 'off', setting)
  },
  'together with cookie_refresh, it becomes session.idleTimeout; without cookie_refresh, it counts ' +
    'from the login and is never extended, and session.idleTimeout is set to off, because oauth2-proxy ' +
    'has no idle timeout: 30m would be safer',
)

const redirectUri = becomes('publicUrl', (setting, migration) => {
  const given = textOf(setting)
  if (!URL.canParse(given) || !/^https?:/.test(given)) {
    return remark(migration, 'todo', setting, 'it names no origin: set publicUrl to the origin that browsers see')
  }
  const url = new URL(given)
  put(migration, 'publicUrl', url.origin, setting)
  const prefix = migration.effective.get('proxy_prefix')
  const expected = `${prefix === undefined ? '/oauth2' : textOf(prefix)}/callback`
  if (url.pathname !== expected) {
    remark(migration, 'todo', setting, `register ${url.origin}${expected} at the provider: it is the new redirect URI`)
  }
})

const insecureUpstream = becomes(
  'routes[].upstreamTls.insecureSkipVerify',
  (setting, migration) => {
    if (flagOf(setting) === false)
      remark(migration, 'builtin', setting, 'it is off: upstream certificates are verified')
    else {
      remark(
        migration,
        'security',
        setting,
        'any certificate of an https upstream is accepted, as before: set upstreamTls.caFile instead',
      )
      markRouteSource(migration, setting)
    }
  },
  'carried over for https upstreams, with a warning: set upstreamTls.caFile instead',
)

function hasCertificate({ effective }: Migration): boolean {
  return ['tls_cert_file', 'tls_key_file'].every((key) => {
    const setting = effective.get(key)
    return setting !== undefined && textOf(setting) !== ''
  })
}

/** Where the workload identity webhook of Azure puts the token. */
const AZURE_TOKEN_FILE = '/var/run/secrets/azure/tokens/azure-identity-token'

export const oauth2Proxy: Rules = {
  provider: combined(
    'provider.preset',
    'set only if the host of the issuer does not identify the provider; the type of provider also ' +
      'determines the issuer if the old configuration has none',
  ),
  oidc_issuer_url: combined('provider.issuer'),
  azure_tenant: combined('provider.issuer', 'the tenant is part of the issuer'),
  client_id: copied('provider.clientId'),
  client_secret: becomes('provider.clientSecret', (setting, migration) => {
    put(migration, 'provider.clientSecret', secretVariableFor(migration, setting, 'OIDC_CLIENT_SECRET'), setting)
  }),
  client_secret_file: becomes('provider.clientSecret', (setting, migration) => {
    if (!has(migration, 'provider.clientSecret'))
      put(migration, 'provider.clientSecret', `\${file:${textOf(setting)}}`, setting)
  }),
  scope: scopes,
  prompt: parameter('prompt'),
  acr_values: parameter(
    'acr_values',
    'the value is requested but, as before, not checked; require.acr on a route checks it',
  ),
  resource: parameter('resource'),
  auth_request_response_mode: becomes('provider.responseMode', (setting, migration) => {
    if (['query', 'form_post'].includes(textOf(setting)))
      put(migration, 'provider.responseMode', textOf(setting), setting)
    else remark(migration, 'gap', setting, 'only query and form_post are supported; the default, query, is used')
  }),
  provider_ca_files: becomes(
    'provider.caFile',
    (setting, migration) => {
      const [first, ...more] = listOf(setting)
      if (first !== undefined) put(migration, 'provider.caFile', literal(first), setting)
      if (more.length > 0)
        remark(migration, 'differs', setting, 'provider.caFile is one file: add the other certificates to it')
    },
    'these certificates are trusted in addition to the default ones',
  ),
  use_system_trust_store: always(
    true,
    'the certificates in provider.caFile are always trusted in addition to the default ones',
    'differs',
  ),
  jwt_key: becomes('provider.privateKey', (setting, migration) => {
    put(migration, 'provider.privateKey', secretVariableFor(migration, setting, 'OIDC_PRIVATE_KEY'), setting)
    put(migration, 'provider.clientAuthentication', 'private_key_jwt', setting)
  }),
  jwt_key_file: becomes('provider.privateKey', (setting, migration) => {
    put(migration, 'provider.privateKey', `\${file:${textOf(setting)}}`, setting)
    put(migration, 'provider.clientAuthentication', 'private_key_jwt', setting)
  }),
  pubjwk_url: noEquivalent('register the public key at the provider; the gateway does not publish it'),
  skip_claims_from_profile_url: becomes(
    'provider.userinfo',
    (setting, migration) => {
      put(migration, 'provider.userinfo', flagOf(setting) === false, setting)
    },
    'false becomes userinfo: true, which calls the endpoint at every login and refresh, not only for missing claims',
  ),
  code_challenge_method: becomes('built in: S256', (setting, migration) => {
    if (textOf(setting) === 'S256') remark(migration, 'builtin', setting, 'PKCE with S256 is part of every login')
    else remark(migration, 'security', setting, 'PKCE is always S256 here, never plain')
  }),
  force_code_challenge_method: noEquivalent('PKCE with S256 is part of every login', 'builtin'),
  login_url: endpoint('authorization'),
  redeem_url: endpoint('token'),
  profile_url: endpoint('userinfo'),
  validate_url: noEquivalent('access tokens are not sent to a URL to be validated'),
  oidc_jwks_url: endpoint('jwks'),
  oidc_public_key_files: noEquivalent('the keys come from a URL: set provider.endpoints.jwks'),
  skip_oidc_discovery: {
    target: 'provider.endpoints',
    note: 'the gateway reads no discovery document if provider.endpoints has authorization, token and jwks',
    apply(setting, migration) {
      if (flagOf(setting) === false) remark(migration, 'builtin', setting, BY_DISCOVERY)
    },
  },
  oidc_enabled_signing_algs: noEquivalent(
    'signatures are checked with the keys and the algorithm that the provider announces',
  ),
  oidc_audience_claims: noEquivalent('the audience of an ID token is its aud claim, which must contain this client'),
  oidc_extra_audiences: combined(
    'routes[].bearer.audience',
    'carried over together with skip_jwt_bearer_tokens; the audience of the ID token of a login must be this client',
  ),
  insecure_oidc_skip_issuer_verification: unavailable(
    'the issuer is always verified: set provider.issuer as the discovery document spells it',
  ),
  insecure_oidc_skip_nonce: always(false, 'the nonce is always verified', 'builtin'),
  ssl_insecure_skip_verify: unavailable("the provider's certificate is always verified: set provider.caFile"),
  approval_prompt: noEquivalent('it predates OpenID Connect: use prompt in provider.authorizationParameters'),
  backend_logout_url: noEquivalent(
    "logout uses the provider's end_session endpoint, with the ID token as a hint; nothing to set if the provider " +
      'announces one',
  ),
  provider_display_name: noEquivalent('there is no page with a login button'),
  azure_graph_group_field: noEquivalent('groups from Microsoft Graph are object ids (provider.groupsFrom: graph)'),
  entra_id_federated_token_auth: becomes(
    'provider.clientAssertionFile',
    (setting, migration) => {
      if (flagOf(setting) === false) return remark(migration, 'builtin', setting, 'it is off, as by default')
      const file = `\${AZURE_FEDERATED_TOKEN_FILE:-${AZURE_TOKEN_FILE}}`
      put(migration, 'provider.clientAssertionFile', file, setting)
    },
    'the file with the federated token, which takes precedence over a client secret, as before',
  ),

  email_domains: combined(
    'routes[].require.claims',
    'example.com becomes email: "*@example.com", and .example.com becomes "*@*.example.com"; with Google, the claim hd ' +
      'is compared instead. * lets in every user of the provider, as before',
  ),
  authenticated_emails_file: combined(
    'routes[].require.claims',
    'the addresses become values of the claim, if the file is where the configuration says or beside it; otherwise no ' +
      'user is let in by it until you list them',
  ),
  insecure_oidc_allow_unverified_email: combined(
    'routes[].require',
    'unless it is on, routes let in no user whose email_verified is false; with Google, GitLab, GitHub, Bitbucket and ' +
      'login.gov, it must be true',
  ),
  allowed_groups: groups(),
  keycloak_groups: groups(),
  gitlab_groups: groups('provider.userinfo is set to true, because GitLab returns the groups in the userinfo response'),
  oidc_groups_claim: combined('routes[].require.claims', CLAIM_NAME),
  oidc_email_claim: combined('routes[].require.claims', CLAIM_NAME),
  user_id_claim: combined('routes[].require.claims', 'it becomes the name of the claim, like oidc_email_claim'),
  allowed_roles: roles,
  entra_id_allowed_tenants: tenants,
  google_group: googleGroups,
  google_groups: googleGroups,
  google_admin_email: noEquivalent(GOOGLE),
  google_service_account_json: noEquivalent(GOOGLE),
  google_use_application_default_credentials: noEquivalent(GOOGLE),
  google_target_principal: noEquivalent(GOOGLE),
  google_use_organization_id: noEquivalent(GOOGLE),
  google_admin_api_user_scope: noEquivalent(GOOGLE),
  bitbucket_team: workspace,
  bitbucket_repository: withoutClaim(REPOSITORY),
  github_org: organization,
  github_team: teams,
  github_repo: withoutClaim(REPOSITORY),
  github_token: noEquivalent('the gateway reads the teams with the token of the user'),
  github_users: users,
  gitlab_projects: withoutClaim('require a group or another claim under require.claims'),
  htpasswd_file: noEquivalent(LOCAL_USERS, 'security'),
  htpasswd_user_groups: noEquivalent(LOCAL_USERS),
  display_htpasswd_form: noEquivalent(LOCAL_USERS),
  trusted_ips: combined(
    'routes[].require.any',
    'clients with these addresses need a login; every user of the provider is then let in. With reverse_proxy, carried ' +
      'over only together with trusted_proxy_ips',
  ),
  skip_jwt_bearer_tokens: bearer,
  extra_jwt_issuers: combined(
    'routes[].bearer.issuers',
    'carried over together with skip_jwt_bearer_tokens; an issuer without metadata needs jwksUri',
  ),
  bearer_token_login_fallback: noEquivalent(
    'a script with an invalid token gets a 401, and a page request with one is redirected to the login',
  ),

  upstreams: combined(
    'upstream, routes[]',
    'upstreams with file: or static: have no equivalent: let a web server serve the files',
  ),
  skip_auth_regex: openRoutes,
  skip_auth_routes: openRoutes,
  skip_auth_preflight: preflight,
  api_routes: apiRoutes,
  force_json_errors: becomes(
    'routes[].challenge',
    (setting, migration) => {
      if (flagOf(setting) === false) return remark(migration, 'builtin', setting, 'scripts get JSON anyway')
      migration.routeDefaults.challenge = '401'
      markRouteSource(migration, setting)
    },
    'every route gets challenge: 401, so that no request is redirected; browsers still get a page, and ' +
      'scripts always get JSON',
  ),
  ssl_upstream_insecure_skip_verify: insecureUpstream,
  upstream_timeout: combined(
    'routes[].timeout',
    'the time ends with the first byte of the response, so streams are not cut off',
  ),
  pass_host_header: becomes('routes[].upstreamHost', (setting, migration) => {
    if (flagOf(setting) === false) markRouteSource(migration, setting)
    else remark(migration, 'builtin', setting, 'the upstream receives the Host that the browser sends')
  }),
  proxy_websockets: always(true, 'WebSockets are forwarded after the session has been checked', 'differs'),
  flush_interval: noEquivalent('responses are streamed', 'builtin'),
  disable_keep_alives: unavailable('connections to the upstream are kept alive', 'gap'),
  encode_state: noEquivalent(LOGIN_STATE, 'builtin'),
  allow_query_semicolons: noEquivalent('the query is sent upstream unchanged', 'builtin'),
  force_https: {
    target: 'tls.redirectFrom',
    note: 'http_address becomes tls.redirectFrom if the gateway has a certificate; otherwise let the proxy in front redirect',
    apply(setting, migration) {
      if (flagOf(setting) === false) remark(migration, 'builtin', setting, 'it is off: nothing is redirected to https')
    },
  },
  redirect_url: redirectUri,
  relative_redirect_url: unavailable(
    'the redirect URI is derived from publicUrl, which may list several origins',
    'gap',
  ),
  whitelist_domains: combined(
    'publicUrl, loginHost',
    'domains that cookie_domains covers become publicUrl, where * is one label, and the host of redirect_url becomes ' +
      'loginHost; a redirect after login leads to no other domain',
  ),
  skip_provider_button: always(
    true,
    'a login redirects to the provider at once, without a page with a button',
    'differs',
  ),
  proxy_prefix: becomes('basePath', (setting, migration) => {
    const path = `/${textOf(setting).replace(/^\/+|\/+$/g, '')}`
    if (path === '/') remark(migration, 'gap', setting, "the gateway's own URLs need a prefix: /oauth2 is used")
    else put(migration, 'basePath', literal(path), setting)
  }),

  pass_user_headers: identity,
  pass_basic_auth: identity,
  prefer_email_to_user: identity,
  basic_auth_password: noEquivalent(NO_BASIC_CREDENTIALS),
  set_basic_auth: unavailable(NO_BASIC_CREDENTIALS, 'gap'),
  set_xauthrequest: responseIdentity,
  pass_access_token: tokens,
  pass_authorization_header: tokens,
  set_authorization_header: tokens,
  skip_auth_strip_headers: always(
    true,
    'the headers that the gateway sets are removed from the requests of clients, on every route',
  ),
  signature_key: noEquivalent(
    'requests are not signed: let the upstream accept only the gateway (network policy, mutual TLS)',
  ),

  cookie_secret: becomes(
    'session.keys',
    (setting, migration) => {
      putSessionKey(migration, setting)
    },
    'a key of 32 bytes in base64: create one with gatehouse keygen; old cookies are not valid, so all users log in ' +
      'again',
  ),
  cookie_secret_file: becomes(
    'session.keys',
    (setting, migration) => {
      putSessionKey(migration, setting)
    },
    'like cookie_secret; ${file:/path} reads the new key from a file',
  ),
  cookie_name: becomes(
    'session.cookie.name',
    (setting, migration) => {
      put(
        migration,
        'session.cookie.name',
        literal(textOf(setting).replace(/^__(host|secure)-/i, '')) || 'gatehouse',
        setting,
      )
    },
    'with https, the prefix __Host- is added',
  ),
  cookie_domains: combined(
    'session.cookie.domain',
    'the one domain that covers every publicUrl is carried over; every host under that domain gets the cookie',
  ),
  cookie_path: combined(
    'session.cookie.path',
    'it must cover proxy_prefix, because all cookies of the gateway have it',
  ),
  cookie_expire: lifetime,
  cookie_refresh: becomes(
    'session.refreshBefore',
    (setting, migration) => {
      if (goDuration(setting) === 0)
        return remark(migration, 'builtin', setting, 'tokens are refreshed automatically after half of their lifetime')
      put(migration, 'session.refreshBefore', '50%', setting)
    },
    'the access token is refreshed after half of its lifetime, not at a fixed interval',
  ),
  cookie_secure: always(true, 'the cookie is Secure wherever publicUrl is https, and only there'),
  cookie_httponly: always(true, 'the cookie is always HttpOnly'),
  cookie_samesite: becomes('session.cookie.sameSite', (setting, migration) => {
    const sameSite = textOf(setting).toLowerCase()
    if (['lax', 'strict', 'none'].includes(sameSite)) put(migration, 'session.cookie.sameSite', sameSite, setting)
    else remark(migration, 'builtin', setting, 'lax is used, the default of browsers')
  }),
  cookie_csrf_per_request: noEquivalent(LOGIN_STATE, 'builtin'),
  cookie_csrf_per_request_limit: noEquivalent(LOGIN_STATE, 'builtin'),
  cookie_csrf_expire: noEquivalent(LOGIN_STATE, 'builtin'),
  cookie_csrf_samesite: noEquivalent(LOGIN_STATE, 'builtin'),
  session_store_type: combined(
    'session.store',
    'the type cookie becomes the store memory:, because tokens are never in a cookie; several replicas need Redis',
  ),
  session_cookie_minimal: noEquivalent('the cookie never contains a token', 'builtin'),
  redis_connection_url: combined('session.store'),
  redis_use_sentinel: combined('session.store'),
  redis_sentinel_master_name: combined('session.store'),
  redis_sentinel_connection_urls: combined('session.store'),
  redis_sentinel_password: combined('session.redis.password', 'sentinels and servers share one password'),
  redis_use_cluster: combined('session.store'),
  redis_cluster_connection_urls: combined('session.store'),
  redis_username: combined('session.redis.username'),
  redis_password: combined('session.redis.password'),
  redis_ca_path: copied('session.redis.caFile'),
  redis_insecure_skip_tls_verify: unavailable("Redis' certificate is always verified: set session.redis.caFile"),
  redis_connection_idle_timeout: noEquivalent('connections to Redis are kept alive'),

  http_address: combined(
    'listen, listenMode',
    'it becomes listen if the old configuration has no TLS certificate, and tls.redirectFrom with force_https; mode= of a ' +
      'Unix socket becomes listenMode',
  ),
  https_address: combined('listen', 'it becomes listen if the old configuration has a TLS certificate'),
  tls_cert_file: combined('tls.certFile'),
  tls_key_file: combined('tls.keyFile'),
  tls_min_version: becomes(
    'tls.minVersion',
    (setting, migration) => {
      const [, version] = /^TLS(1\.[23])$/i.exec(textOf(setting)) ?? []
      if (version === undefined)
        return remark(migration, 'security', setting, 'TLS 1.2 is the lowest version, and the default')
      if (hasCertificate(migration)) put(migration, 'tls.minVersion', version, setting)
    },
    'carried over together with a certificate',
  ),
  tls_cipher_suites: becomes(
    'tls.ciphers',
    (setting, migration) => {
      if (hasCertificate(migration) && listOf(setting).length > 0)
        put(migration, 'tls.ciphers', listOf(setting).map(literal), setting)
    },
    'carried over together with a certificate; the suites of TLS 1.3 are also allowed',
  ),
  reverse_proxy: becomes(
    'trustedProxies',
    (setting, migration) => {
      if (flagOf(setting) === false) return remark(migration, 'builtin', setting, 'forwarded headers are ignored')
      markRouteSource(migration, setting)
      if (migration.effective.has('trusted_proxy_ips')) return
      put(migration, 'trustedProxies', [], setting)
      remark(
        migration,
        'security',
        setting,
        'oauth2-proxy trusted X-Forwarded-* headers of every client; the gateway trusts none until you list the ' +
          'addresses of the proxies in front under trustedProxies',
      )
    },
    'list the addresses of the proxies in front: forwarded headers of other clients are ignored',
  ),
  trusted_proxy_ips: becomes('trustedProxies', (setting, migration) => {
    put(migration, 'trustedProxies', listOf(setting).map(literal), setting)
  }),
  real_client_ip_header: noEquivalent("the client's address is read from X-Forwarded-For of a trusted proxy"),
  metrics_address: becomes(
    'admin.listen',
    (setting, migration) => {
      const address = listenAddress(textOf(setting))
      if (address === null) remark(migration, 'gap', setting, 'the admin listener needs host:port or unix:/path')
      else put(migration, 'admin.listen', literal(address), setting)
    },
    'the admin listener also serves health, and sessions only with admin.sessions: do not expose it to users',
  ),
  metrics_secure_address: noEquivalent("the admin listener is plain http: keep it on loopback or in the pod's network"),
  metrics_tls_cert_file: noEquivalent(PLAIN_HTTP_ADMIN),
  metrics_tls_key_file: noEquivalent(PLAIN_HTTP_ADMIN),
  ping_path: noEquivalent(HEALTH),
  ping_user_agent: noEquivalent(HEALTH),
  ready_path: noEquivalent(HEALTH),
  gcp_healthchecks: unavailable(HEALTH, 'gap'),

  config: noEquivalent('the keys of the file are carried over', 'builtin'),
  alpha_config: noEquivalent('the keys of the file are carried over', 'builtin'),
  config_test: noEquivalent('gatehouse check checks a configuration', 'builtin'),
  convert_config_to_alpha: noEquivalent('it has no effect on a running gateway', 'builtin'),
  version: noEquivalent('gatehouse --version prints the version', 'builtin'),

  custom_templates_dir: noEquivalent(PAGES),
  banner: noEquivalent(PAGES),
  footer: noEquivalent(PAGES),
  custom_sign_in_logo: becomes('pages.logo', (setting, migration) => {
    const logo = textOf(setting)
    if (/^https?:\/\/\S+$/.test(logo)) put(migration, 'pages.logo', literal(logo), setting)
    else
      remark(
        migration,
        'gap',
        setting,
        'set pages.logo to a URL, or to a path that the application serves without a login',
      )
  }),
  show_debug_on_error: unavailable('error pages show a request id; the reason is in the log', 'gap'),
  ...logs,
}

/** Returns the key of a flag: many flags name one item of a list, and `tls-cert` is the older name of `tls-cert-file`. */
export function keyOfFlag(flag: string): string {
  const name = flag.replaceAll('-', '_')
  return [name, `${name}s`, `${name}_file`].find((key) => Object.hasOwn(oauth2Proxy, key)) ?? name
}

/** Returns the key of a variable; `null` if the variable belongs to another program. */
export function keyOfVariable(name: string): string | null {
  return name.startsWith('OAUTH2_PROXY_') ? name.slice('OAUTH2_PROXY_'.length).toLowerCase() : null
}

/** Returns whether the value of a key may be a secret, or is only named in the configuration of a client. */
export function isReferenced(key: string): boolean {
  return /^client_(?:id|secret)$|cookie_secret$|password$|^jwt_key$|^signature_key$|_token$|account_json$/.test(key)
}

/** How the keys of switches begin. A switch needs no value on the command line. */
const SWITCH_PREFIXES = [
  'reverse_proxy',
  'force_',
  'relative_',
  'skip_',
  'insecure_',
  'ssl_',
  'pass_',
  'set_',
  'prefer_',
  'cookie_(?:secure|httponly|csrf_per_request$)',
  'redis_(?:use|insecure)',
  'auth_logging$',
  'request_logging$',
  'standard_logging$',
  'silence_',
  'encode_',
  'allow_query',
  'bearer_token',
  'gcp_',
  'proxy_websockets',
  'disable_',
  'use_system',
  'display_',
  'show_debug',
  'session_cookie_minimal',
  'logging_(?:local|compress)',
  'errors_to',
  'entra_id_federated',
  'config_test$',
  'convert_config',
  'version$',
]
const SWITCH = new RegExp(`^(?:${SWITCH_PREFIXES.join('|')})`)

/** Returns whether the flags of a key may be repeated. The names of lists are plurals, with two exceptions. */
export function isList(key: string): boolean {
  if (key === 'skip_auth_regex' || key === 'google_group') return true
  return key.endsWith('s') && !isSwitch(key) && !/(?:address|credentials|backups|values)$/.test(key)
}

export function isSwitch(key: string): boolean {
  return SWITCH.test(key) && !/^skip_auth_(?:regex|routes)$/.test(key)
}
