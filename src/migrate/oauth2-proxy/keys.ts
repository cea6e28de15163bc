import { has, put, remark, routed, secret, secretOf } from '../draft.ts'
import { duration, flagOf, goDuration, listOf, literal, textOf } from '../entry.ts'
import { listen } from '../listen.ts'
import { bearer, closing, groups, tenants } from './access.ts'
import { identity, responseIdentity, tokens } from './headers.ts'
import { apiRoutes, openRoutes, preflight } from './routes.ts'
import { always, never, none, type Rules, text, to, together } from '../rule.ts'

const discovery = "the endpoints and keys come from the provider's discovery document; nothing to set"
const logs = 'logs are JSON lines on stdout: set log.level, and leave files, formats and rotation to what collects them'
const pages = 'the gateway has its own pages: set pages.title, pages.logo and pages.texts'
const health = 'health is on the admin listener: GET /livez and GET /readyz at admin.listen, never on the public port'
const plainOauth =
  'the provider has to speak OpenID Connect; have it put what is asked for into a claim, and ask for it under ' +
  'require.claims'
const login = 'each login has a sealed state bound to one small cookie, in any number of tabs; nothing to set'
const google =
  "nobody asks Google's directory here: have the groups put into a claim, and ask for them under require.claims"

const scopes = to('provider.scopes', (entry, draft) => {
  const asked = listOf({ ...entry, value: textOf(entry).split(/[\s,]+/) })
  if (asked.length === 0) return remark(draft, 'builtin', entry, 'it is empty: the usual scopes are asked for')
  const missing = asked.includes('openid') ? asked : ['openid', ...asked]
  put(draft, 'provider.scopes', missing.map(literal), entry)
  if (asked.length < missing.length)
    remark(draft, 'differs', entry, 'openid was added, because every login is an OpenID Connect login')
  if (!missing.includes('offline_access')) {
    remark(
      draft,
      'differs',
      entry,
      'without offline_access most providers give no refresh token, and the session ends with the access token',
    )
  }
})

const lifetime = to(
  'session.lifetime',
  (entry, draft) => {
    const ms = goDuration(entry)
    if (ms === null || ms === 0) {
      return remark(
        draft,
        'differs',
        entry,
        'a session always has an end here: session.lifetime stays at 10h; give it a duration',
      )
    }
    const refresh = draft.given.get('cookie_refresh')
    if (refresh !== undefined && (goDuration(refresh) ?? 0) > 0) {
      // Each refresh gives the cookie its whole time again.
      put(draft, 'session.idleTimeout', duration(ms), entry)
      put(draft, 'session.lifetime', duration(Math.max(ms, 36_000_000)), entry)
      return remark(
        draft,
        'differs',
        entry,
        'with cookie_refresh it counts from the last request, as session.idleTimeout does; session.lifetime ends a ' +
          'session that is in use as well, which the peer never does',
      )
    }
    put(draft, 'session.lifetime', duration(ms), entry)
    put(draft, 'session.idleTimeout', 'off', entry)
  },
  'with cookie_refresh it becomes session.idleTimeout; without, it counts from the login and nothing prolongs it; idleTimeout is off, because the peer has none: 30m would be safer',
)

const redirectUri = to(
  'publicUrl',
  (entry, draft) => {
    const given = textOf(entry)
    if (!URL.canParse(given) || !/^https?:/.test(given)) {
      return remark(draft, 'todo', entry, 'it names no origin: set publicUrl to the origin that browsers see')
    }
    const url = new URL(given)
    put(draft, 'publicUrl', url.origin, entry)
    const prefix = draft.given.get('proxy_prefix')
    const expected = `${prefix === undefined ? '/oauth2' : textOf(prefix)}/callback`
    if (url.pathname !== expected) {
      remark(draft, 'todo', entry, `register ${url.origin}${expected} at the provider: that is the redirect URI here`)
    }
  },
  '',
)

const insecureUpstream = to(
  'routes[].upstreamTls.insecureSkipVerify',
  (entry, draft) => {
    if (flagOf(entry) === false) remark(draft, 'builtin', entry, 'it is off: upstream certificates are verified')
    else {
      remark(
        draft,
        'security',
        entry,
        'https upstreams are taken with any certificate, as before: give upstreamTls.caFile instead and take it out',
      )
      routed(draft, entry)
    }
  },
  'carried over for https upstreams, and loudly: give upstreamTls.caFile instead',
)

/** What becomes of the keys of oauth2-proxy's configuration file, its flags and its variables. */
export const oauth2Proxy: Rules = {
  // The provider and this client of it.
  provider: together(
    'provider.issuer',
    'only OpenID Connect is spoken; the type of provider decides the issuer where none is given',
  ),
  oidc_issuer_url: together('provider.issuer'),
  azure_tenant: together('provider.issuer', 'it is part of the issuer'),
  client_id: text('provider.clientId'),
  client_secret: to('provider.clientSecret', (entry, draft) => {
    put(draft, 'provider.clientSecret', secretOf(draft, entry, 'OIDC_CLIENT_SECRET'), entry)
  }),
  client_secret_file: to('provider.clientSecret', (entry, draft) => {
    if (!has(draft, 'provider.clientSecret')) put(draft, 'provider.clientSecret', `\${file:${textOf(entry)}}`, entry)
  }),
  scope: scopes,
  prompt: to('provider.authorizationParameters', (entry, draft) => {
    put(draft, 'provider.authorizationParameters.prompt', literal(textOf(entry)), entry)
  }),
  acr_values: to(
    'provider.authorizationParameters',
    (entry, draft) => {
      put(draft, 'provider.authorizationParameters.acr_values', literal(textOf(entry)), entry)
    },
    'it is asked for and, as before, not checked: require.acr on a route checks it',
  ),
  resource: to('provider.authorizationParameters', (entry, draft) => {
    put(draft, 'provider.authorizationParameters.resource', literal(textOf(entry)), entry)
  }),
  auth_request_response_mode: to('provider.responseMode', (entry, draft) => {
    if (['query', 'form_post'].includes(textOf(entry))) put(draft, 'provider.responseMode', textOf(entry), entry)
    else remark(draft, 'gap', entry, 'only query and form_post are spoken; the default, query, is used')
  }),
  provider_ca_files: to(
    'provider.caFile',
    (entry, draft) => {
      const [first, ...more] = listOf(entry)
      if (first !== undefined) put(draft, 'provider.caFile', literal(first), entry)
      if (more.length > 0)
        remark(draft, 'differs', entry, 'one file holds all certificates here: put the others into it as well')
    },
    'these certificates are trusted beside the usual ones, not in place of them',
  ),
  use_system_trust_store: always(true, 'provider.caFile always adds to the usual certificates', 'differs'),
  jwt_key: to('provider.privateKey', (entry, draft) => {
    put(draft, 'provider.privateKey', secretOf(draft, entry, 'OIDC_PRIVATE_KEY'), entry)
    put(draft, 'provider.clientAuthentication', 'private_key_jwt', entry)
  }),
  jwt_key_file: to('provider.privateKey', (entry, draft) => {
    put(draft, 'provider.privateKey', `\${file:${textOf(entry)}}`, entry)
    put(draft, 'provider.clientAuthentication', 'private_key_jwt', entry)
  }),
  pubjwk_url: none('register the public key at the provider; nobody fetches it from here'),
  skip_claims_from_profile_url: to(
    'provider.userinfo',
    (entry, draft) => {
      put(draft, 'provider.userinfo', flagOf(entry) === false, entry)
    },
    'false becomes userinfo: true, which asks the endpoint at every login and refresh, not only for claims that ' +
      'are missing',
  ),
  code_challenge_method: to('built in: S256', (entry, draft) => {
    if (textOf(entry) === 'S256') remark(draft, 'builtin', entry, 'PKCE with S256 is part of every login')
    else remark(draft, 'security', entry, 'PKCE is always S256 here, never plain')
  }),
  force_code_challenge_method: none('PKCE with S256 is part of every login', 'builtin'),
  login_url: none(discovery),
  redeem_url: none(discovery),
  profile_url: none(discovery),
  validate_url: none(discovery),
  oidc_jwks_url: none(discovery),
  oidc_public_key_files: none(discovery),
  skip_oidc_discovery: never(discovery, 'gap'),
  oidc_enabled_signing_algs: none('signatures are checked with the keys and the algorithm that the provider announces'),
  oidc_audience_claims: none('the audience of an ID token is its aud claim, and has to name this client'),
  oidc_extra_audiences: none(
    'an ID token has to name this client as audience; for tokens that clients bring, list more audiences under bearer',
  ),
  insecure_oidc_skip_issuer_verification: never(
    'the issuer is always verified: give provider.issuer as the discovery document spells it',
  ),
  insecure_oidc_skip_nonce: always(false, 'the nonce is always verified', 'builtin'),
  ssl_insecure_skip_verify: never("the provider's certificate is always verified: give provider.caFile"),
  approval_prompt: none('it is from before OpenID Connect: use prompt in provider.authorizationParameters'),
  backend_logout_url: none(
    "logout goes to the provider's end_session endpoint, with the ID token as a hint; nothing to set where it " +
      'announces one',
  ),
  provider_display_name: none('there is no page with a login button'),
  azure_graph_group_field: none('nobody asks Microsoft Graph here: have the groups put into the ID token'),
  entra_id_federated_token_auth: never('use a client secret, or provider.privateKey with private_key_jwt', 'gap'),

  // Who is let in.
  email_domains: together(
    'routes[].require.claims',
    'a domain is no claim that can be compared: a claim hd (Google) or email_domain has to ' +
      'have it, and nobody is let in while it is missing; with * everybody whom the provider lets in, as before',
  ),
  authenticated_emails_file: together(
    'routes[].require.claims',
    'list the addresses under require.claims.email; nobody is let in until then',
  ),
  insecure_oidc_allow_unverified_email: together(
    'routes[].require.claims',
    'without it, email_verified has to be there and true; the peer also lets in who has no such claim',
  ),
  allowed_groups: groups(),
  keycloak_groups: groups(),
  gitlab_groups: groups('userinfo: true, for GitLab has them there'),
  oidc_groups_claim: together('routes[].require.claims', "it is the claim's name there and in headers.set"),
  oidc_email_claim: together('routes[].require.claims', "it is the claim's name there and in headers.set"),
  user_id_claim: together('routes[].require.claims', 'as oidc_email_claim'),
  allowed_roles: together(
    'routes[].require.claims',
    'roles are read where Keycloak puts them, realm_access.roles; a mapper has to put them into the ID token, too',
  ),
  entra_id_allowed_tenants: tenants,
  google_group: closing(google),
  google_groups: closing(google),
  google_admin_email: none(google),
  google_service_account_json: none(google),
  google_use_application_default_credentials: none(google),
  google_target_principal: none(google),
  google_use_organization_id: none(google),
  google_admin_api_user_scope: none(google),
  bitbucket_team: closing(plainOauth),
  bitbucket_repository: closing(plainOauth),
  github_org: closing(plainOauth),
  github_team: closing(plainOauth),
  github_repo: closing(plainOauth),
  github_token: none(plainOauth),
  github_users: closing(plainOauth),
  gitlab_projects: closing('ask for a group or another claim under require.claims'),
  htpasswd_file: none('there are no local users: give them an account at the provider', 'security'),
  htpasswd_user_groups: none('there are no local users: give them an account at the provider'),
  display_htpasswd_form: none('there are no local users'),
  trusted_ips: none(
    'an address opens nothing here: make the paths public, or let those clients bring a token (bearer)',
    'security',
  ),
  skip_jwt_bearer_tokens: bearer,
  extra_jwt_issuers: together(
    'routes[].bearer.audience',
    'audiences of the same issuer; tokens of other issuers are not accepted',
  ),
  bearer_token_login_fallback: none('a script with a bad token gets 401, a navigation the login'),

  // Routes.
  upstreams: together('upstream, routes[]', 'file: and static: have no equal: serve files by another server'),
  skip_auth_regex: openRoutes,
  skip_auth_routes: openRoutes,
  skip_auth_preflight: preflight,
  api_routes: apiRoutes,
  force_json_errors: to(
    'routes[].challenge',
    (entry, draft) => {
      if (flagOf(entry) === false) return remark(draft, 'builtin', entry, 'scripts get JSON anyway')
      draft.shared.challenge = '401'
      routed(draft, entry)
    },
    'challenge: 401 on every route; browsers still get a page, scripts JSON in any case',
  ),
  ssl_upstream_insecure_skip_verify: insecureUpstream,
  upstream_timeout: together('routes[].timeout', 'it counts to the first byte of the answer; streams are not cut'),
  pass_host_header: always(true, 'the upstream gets the Host that the browser sees', 'differs'),
  proxy_websockets: always(true, 'WebSockets are passed on, once the session has been checked', 'differs'),
  flush_interval: none('answers are passed on as they come', 'builtin'),
  disable_keep_alives: never('connections to the upstream are kept open', 'gap'),
  encode_state: none(login, 'builtin'),
  allow_query_semicolons: none('the query goes upstream byte for byte', 'builtin'),
  force_https: never(
    'redirect to https in front of the gateway; its cookie is Secure wherever publicUrl is https',
    'gap',
  ),
  redirect_url: redirectUri,
  relative_redirect_url: never('the redirect URI is made from publicUrl, where several may be listed', 'gap'),
  whitelist_domains: none(
    'a redirect after login stays on its own origin: add the other origins to publicUrl if this gateway serves them',
    'security',
  ),
  skip_provider_button: always(true, 'a login goes to the provider at once; there is no page with a button', 'differs'),
  proxy_prefix: to('basePath', (entry, draft) => {
    const path = `/${textOf(entry).replace(/^\/+|\/+$/g, '')}`
    if (path === '/') remark(draft, 'gap', entry, "the gateway's own URLs need a path: /oauth2 is used")
    else put(draft, 'basePath', literal(path), entry)
  }),

  // What the upstream gets.
  pass_user_headers: identity,
  pass_basic_auth: identity,
  prefer_email_to_user: identity,
  basic_auth_password: none('the gateway makes no Basic credentials: let the application read a header of headers.set'),
  set_basic_auth: never(
    'the gateway makes no Basic credentials: let the application read a header of headers.set',
    'gap',
  ),
  set_xauthrequest: responseIdentity,
  pass_access_token: tokens,
  pass_authorization_header: tokens,
  set_authorization_header: tokens,
  skip_auth_strip_headers: always(true, 'headers that the gateway sets are taken from every client on every route'),
  signature_key: none('requests are not signed: let the upstream accept the gateway only (network policy, mutual TLS)'),

  // Sessions and their cookie.
  cookie_secret: to(
    'session.keys',
    (entry, draft) => {
      put(draft, 'session.keys', [secret(draft, 'SESSION_KEY', 'a new key: gatehouse keygen prints one')], entry)
    },
    'a key of 32 bytes in base64: make a new one with gatehouse keygen; old cookies are not understood, ' +
      'everybody logs in once',
  ),
  cookie_secret_file: to(
    'session.keys',
    (entry, draft) => {
      put(draft, 'session.keys', [secret(draft, 'SESSION_KEY', 'a new key: gatehouse keygen prints one')], entry)
    },
    'as cookie_secret; ${file:/path} reads the new key from a file',
  ),
  cookie_name: to(
    'session.cookie.name',
    (entry, draft) => {
      put(draft, 'session.cookie.name', literal(textOf(entry).replace(/^__(host|secure)-/i, '')) || 'gatehouse', entry)
    },
    'on https it gets the prefix __Host-',
  ),
  cookie_domains: together(
    'session.cookie.domain',
    'one domain, which covers every publicUrl; every host under it gets the cookie',
  ),
  cookie_path: none('the cookie is for the whole origin: give each application a host of its own'),
  cookie_expire: lifetime,
  cookie_refresh: to(
    'session.refreshBefore',
    (entry, draft) => {
      if (goDuration(entry) === 0)
        return remark(draft, 'builtin', entry, 'tokens are refreshed by themselves here, at half of their lifetime')
      put(draft, 'session.refreshBefore', '50%', entry)
    },
    'it follows the access token, not a clock of its own: the token is renewed once half of its lifetime remains',
  ),
  cookie_secure: always(true, 'the cookie is Secure wherever publicUrl is https, and only there'),
  cookie_httponly: always(true, 'the cookie is always HttpOnly'),
  cookie_samesite: to('session.cookie.sameSite', (entry, draft) => {
    const wanted = textOf(entry).toLowerCase()
    if (['lax', 'strict', 'none'].includes(wanted)) put(draft, 'session.cookie.sameSite', wanted, entry)
    else remark(draft, 'builtin', entry, 'it is lax, as in browsers that are told nothing')
  }),
  cookie_csrf_per_request: none(login, 'builtin'),
  cookie_csrf_per_request_limit: none(login, 'builtin'),
  cookie_csrf_expire: none(login, 'builtin'),
  cookie_csrf_samesite: none(login, 'builtin'),
  session_store_type: together(
    'session.store',
    'cookie becomes memory: tokens are never in a cookie here, and several replicas need Redis',
  ),
  session_cookie_minimal: none('no token is in the cookie, ever', 'builtin'),
  redis_connection_url: together('session.store'),
  redis_use_sentinel: together('session.store'),
  redis_sentinel_master_name: together('session.store'),
  redis_sentinel_connection_urls: together('session.store'),
  redis_sentinel_password: together('session.redis.password', 'sentinels and servers share one password'),
  redis_use_cluster: together('session.store'),
  redis_cluster_connection_urls: together('session.store'),
  redis_username: together('session.redis.username'),
  redis_password: together('session.redis.password'),
  redis_ca_path: text('session.redis.caFile'),
  redis_insecure_skip_tls_verify: never("Redis' certificate is always verified: give session.redis.caFile"),
  redis_connection_idle_timeout: none('connections to Redis are kept alive'),

  // Where it listens, and who stands in front.
  http_address: together('listen', 'the first of http_address and https_address that is in use'),
  https_address: together('listen', 'with tls_cert_file'),
  tls_cert_file: together('tls.certFile'),
  tls_key_file: together('tls.keyFile'),
  tls_min_version: none("Node's own: TLS 1.2 and up"),
  tls_cipher_suites: none("Node's own list of cipher suites is used"),
  reverse_proxy: to(
    'trustedProxies',
    (entry, draft) => {
      if (flagOf(entry) === false) return remark(draft, 'builtin', entry, 'forwarded headers of nobody are believed')
      routed(draft, entry)
      if (draft.given.has('trusted_proxy_ips')) return
      put(draft, 'trustedProxies', [], entry)
      remark(
        draft,
        'security',
        entry,
        "the peer believed every client's X-Forwarded-* headers; here nobody's are believed until you list the " +
          'addresses of the proxies in front under trustedProxies',
      )
    },
    'list the addresses of the proxies in front: nobody is believed without',
  ),
  trusted_proxy_ips: to('trustedProxies', (entry, draft) => {
    put(draft, 'trustedProxies', listOf(entry).map(literal), entry)
  }),
  real_client_ip_header: none("the client's address is read from X-Forwarded-For, where a trusted proxy sent it"),
  metrics_address: to(
    'admin.listen',
    (entry, draft) => {
      const address = listen(textOf(entry))
      if (address === null) remark(draft, 'gap', entry, 'the admin listener needs host:port or unix:/path')
      else put(draft, 'admin.listen', literal(address), entry)
    },
    'that listener also has health and session administration: keep it away from users',
  ),
  metrics_secure_address: none("the admin listener is plain http: keep it on loopback or in the pod's network"),
  metrics_tls_cert_file: none('the admin listener is plain http'),
  metrics_tls_key_file: none('the admin listener is plain http'),
  ping_path: none(health),
  ping_user_agent: none(health),
  ready_path: none(health),
  gcp_healthchecks: never(health, 'gap'),

  // Pages and logs.
  custom_templates_dir: none(pages),
  banner: none(pages),
  footer: none(pages),
  custom_sign_in_logo: to('pages.logo', (entry, draft) => {
    const logo = textOf(entry)
    if (/^https?:\/\/\S+$/.test(logo)) put(draft, 'pages.logo', literal(logo), entry)
    else remark(draft, 'gap', entry, 'give pages.logo a URL, or a path that the application serves without a login')
  }),
  show_debug_on_error: never('error pages name a request id; the reason is in the log', 'gap'),
  auth_logging: none(logs),
  auth_logging_format: none(logs),
  request_logging: none(logs),
  request_logging_format: none(logs),
  standard_logging: none(logs),
  standard_logging_format: none(logs),
  errors_to_info_log: none(logs),
  exclude_logging_paths: none(logs),
  logging_local_time: none(logs),
  silence_ping_logging: none(logs),
  logging_filename: none(logs),
  logging_max_size: none(logs),
  logging_max_age: none(logs),
  logging_max_backups: none(logs),
  logging_compress: none(logs),
  request_id_header: none('a request id is made for each request; traceparent goes on to the upstream'),
}

/** The key that a flag of oauth2-proxy stands for: many flags name one item of a key that is a list. */
export function keyOfFlag(flag: string): string {
  const name = flag.replaceAll('-', '_')
  return !Object.hasOwn(oauth2Proxy, name) && Object.hasOwn(oauth2Proxy, `${name}s`) ? `${name}s` : name
}
