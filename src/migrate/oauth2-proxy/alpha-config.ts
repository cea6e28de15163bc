import { enableForwardAuth } from '../forward-auth.ts'
import {
  markRouteSource,
  type Migration,
  put,
  remark,
  secretVariable,
  secretVariableFor,
  sendToken,
  setHeader,
} from '../migration.ts'
import { pathsOf } from '../path-regex.ts'
import { upstreamTarget } from '../routes.ts'
import { combined, noEquivalent, type Rule, type Rules } from '../rule.ts'
import { duration, flagOf, goDuration, listOf, literal, type Setting, textOf } from '../setting.ts'
import { templateOf } from './headers.ts'
import { oauth2Proxy } from './keys.ts'
import { DEFAULT_TIMEOUT_MS, sentHost, VERDICTS_ONLY } from './routes.ts'

/** Keys of the alpha configuration that mean the same as an older key. */
const OLDER_KEYS: Readonly<Record<string, string>> = {
  'server.bindAddress': 'http_address',
  'server.secureBindAddress': 'https_address',
  'server.tls.cert.fromFile': 'tls_cert_file',
  'server.tls.key.fromFile': 'tls_key_file',
  'server.tls.minVersion': 'tls_min_version',
  'server.tls.cipherSuites': 'tls_cipher_suites',
  'metricsServer.bindAddress': 'metrics_address',
  'metricsServer.secureBindAddress': 'metrics_secure_address',
  'metricsServer.tls.cert.fromFile': 'metrics_tls_cert_file',
  'metricsServer.tls.key.fromFile': 'metrics_tls_key_file',
  'providers.clientID': 'client_id',
  'providers.clientSecret': 'client_secret',
  'providers.clientSecretFile': 'client_secret_file',
  'providers.provider': 'provider',
  'providers.name': 'provider_display_name',
  'providers.caFiles': 'provider_ca_files',
  'providers.useSystemTrustStore': 'use_system_trust_store',
  'providers.loginURL': 'login_url',
  'providers.redeemURL': 'redeem_url',
  'providers.profileURL': 'profile_url',
  'providers.validateURL': 'validate_url',
  'providers.resource': 'resource',
  'providers.skipClaimsFromProfileURL': 'skip_claims_from_profile_url',
  'providers.scope': 'scope',
  'providers.authRequestResponseMode': 'auth_request_response_mode',
  'providers.allowedGroups': 'allowed_groups',
  'providers.code_challenge_method': 'code_challenge_method',
  'providers.backendLogoutURL': 'backend_logout_url',
  'providers.keycloakConfig.groups': 'keycloak_groups',
  'providers.keycloakConfig.roles': 'allowed_roles',
  'providers.azureConfig.tenant': 'azure_tenant',
  'providers.azureConfig.graphGroupField': 'azure_graph_group_field',
  'providers.microsoftEntraIDConfig.allowedTenants': 'entra_id_allowed_tenants',
  'providers.microsoftEntraIDConfig.federatedTokenAuth': 'entra_id_federated_token_auth',
  'providers.bitbucketConfig.team': 'bitbucket_team',
  'providers.bitbucketConfig.repository': 'bitbucket_repository',
  'providers.githubConfig.org': 'github_org',
  'providers.githubConfig.team': 'github_team',
  'providers.githubConfig.repo': 'github_repo',
  'providers.githubConfig.token': 'github_token',
  'providers.githubConfig.users': 'github_users',
  'providers.gitlabConfig.group': 'gitlab_groups',
  'providers.gitlabConfig.projects': 'gitlab_projects',
  'providers.googleConfig.group': 'google_groups',
  'providers.googleConfig.adminEmail': 'google_admin_email',
  'providers.googleConfig.serviceAccountJson': 'google_service_account_json',
  'providers.googleConfig.useApplicationDefaultCredentials': 'google_use_application_default_credentials',
  'providers.googleConfig.targetPrincipal': 'google_target_principal',
  'providers.googleConfig.useOrganizationID': 'google_use_organization_id',
  'providers.googleConfig.adminAPIUserScope': 'google_admin_api_user_scope',
  'providers.oidcConfig.issuerURL': 'oidc_issuer_url',
  'providers.oidcConfig.jwksURL': 'oidc_jwks_url',
  'providers.oidcConfig.insecureAllowUnverifiedEmail': 'insecure_oidc_allow_unverified_email',
  'providers.oidcConfig.insecureSkipIssuerVerification': 'insecure_oidc_skip_issuer_verification',
  'providers.oidcConfig.insecureSkipNonce': 'insecure_oidc_skip_nonce',
  'providers.oidcConfig.skipDiscovery': 'skip_oidc_discovery',
  'providers.oidcConfig.publicKeyFiles': 'oidc_public_key_files',
  'providers.oidcConfig.emailClaim': 'oidc_email_claim',
  'providers.oidcConfig.groupsClaim': 'oidc_groups_claim',
  'providers.oidcConfig.userIDClaim': 'user_id_claim',
  'providers.oidcConfig.audienceClaims': 'oidc_audience_claims',
  'providers.oidcConfig.extraAudiences': 'oidc_extra_audiences',
  'providers.oidcConfig.enabledSigningAlgs': 'oidc_enabled_signing_algs',
  'providers.loginGovConfig.jwtKey': 'jwt_key',
  'providers.loginGovConfig.jwtKeyFile': 'jwt_key_file',
  'providers.loginGovConfig.pubjwkURL': 'pubjwk_url',
}

const UPSTREAMS = 'upstreamConfig.upstreams'
const FURTHER_PROVIDER = 'a further provider'
const NO_BASIC_CREDENTIALS = 'the gateway sends no Basic credentials: let the application read a header of headers.set'

const requestHeader = combined(
  'routes[].headers.set',
  'a claim becomes a template such as {claims.email}; a fixed value becomes a placeholder ${NAME}, ' +
    'whose value you set in the environment; the first header with a token becomes token, and further ones ' +
    '{accessToken} and {idToken}',
)
const responseHeader = combined(
  'routes[].headers.set',
  'the header is sent to the upstream, and to the proxy in responses of forwardAuth.listen, but never ' +
    'to the browser',
)
const inlineTls = noEquivalent('give the certificate and its key as files: tls.certFile and tls.keyFile')
const staticAnswers = noEquivalent(
  'the gateway serves no files or fixed responses: let a web server serve them, and set it as upstream',
)
const HEADER_KEYS = [
  'name',
  'values.claimSource.claim',
  'values.claimSource.prefix',
  'values.claimSource.basicAuthPassword.value',
  'values.claimSource.basicAuthPassword.fromEnv',
  'values.claimSource.basicAuthPassword.fromFile',
  'values.secretSource.value',
  'values.secretSource.fromEnv',
  'values.secretSource.fromFile',
  'values.claim',
  'values.prefix',
  'values.value',
  'values.fromEnv',
  'values.fromFile',
  'values.basicAuthPassword.value',
  'values.basicAuthPassword.fromEnv',
  'values.basicAuthPassword.fromFile',
  'preserveRequestValue',
  'InsecureSkipHeaderNormalization',
]
function headerRules(list: string, rule: Rule): Rules {
  return Object.fromEntries(HEADER_KEYS.map((key) => [`${list}.${key}`, rule]))
}

export const oauth2ProxyAlpha: Rules = {
  ...Object.fromEntries(
    Object.entries(OLDER_KEYS).flatMap(([key, old]) => {
      const rule = oauth2Proxy[old]
      return rule === undefined ? [] : [[key, rule]]
    }),
  ),
  'providers.id': noEquivalent(
    'a single provider needs no name; with several providers, the id becomes the name of the entry under ' +
      'providers',
    'builtin',
  ),
  'providers.additionalClaims': noEquivalent(
    'headers.set and require.claims can use all claims of the ID token',
    'builtin',
  ),
  'providers.ADFSConfig.skipScope': noEquivalent('list the scopes under provider.scopes'),
  'providers.loginURLParameters.name': combined(
    'provider.authorizationParameters',
    'the first default value of the parameter is always sent',
  ),
  'providers.loginURLParameters.default': combined(
    'provider.authorizationParameters',
    'the first default value of the parameter is always sent',
  ),
  'providers.loginURLParameters.allow.value': noEquivalent(
    'a link to GET login can set prompt, login_hint, acr_values, max_age and scope, and the parameters ' +
      'that provider.loginParameters names',
  ),
  'providers.loginURLParameters.allow.pattern': noEquivalent(
    'a link to GET login can set prompt, login_hint, acr_values, max_age and scope, and the parameters ' +
      'that provider.loginParameters names',
  ),
  'server.tls.cert.value': inlineTls,
  'server.tls.cert.fromEnv': inlineTls,
  'server.tls.key.value': inlineTls,
  'server.tls.key.fromEnv': inlineTls,
  'metricsServer.tls.cert.value': noEquivalent('the admin listener is plain http'),
  'metricsServer.tls.cert.fromEnv': noEquivalent('the admin listener is plain http'),
  'metricsServer.tls.key.value': noEquivalent('the admin listener is plain http'),
  'metricsServer.tls.minVersion': noEquivalent('the admin listener is plain http'),
  'metricsServer.tls.cipherSuites': noEquivalent('the admin listener is plain http'),
  'metricsServer.tls.key.fromEnv': noEquivalent('the admin listener is plain http'),
  'upstreamConfig.proxyRawPath': noEquivalent(
    'paths are sent upstream unchanged; ambiguous paths are rejected',
    'builtin',
  ),
  [`${UPSTREAMS}.id`]: noEquivalent('routes are identified by their paths', 'builtin'),
  [`${UPSTREAMS}.path`]: combined('routes[].path', 'only patterns that a route can express exactly are carried over'),
  [`${UPSTREAMS}.rewriteTarget`]: combined(
    'routes[].rewritePrefix',
    'carried over only if it replaces the start of the path',
  ),
  [`${UPSTREAMS}.uri`]: combined('routes[].upstream', 'a path in the URI is not prepended to the path of the request'),
  [`${UPSTREAMS}.insecureSkipTLSVerify`]: combined('routes[].upstreamTls.insecureSkipVerify'),
  [`${UPSTREAMS}.static`]: staticAnswers,
  [`${UPSTREAMS}.staticCode`]: staticAnswers,
  [`${UPSTREAMS}.flushInterval`]: noEquivalent('responses are streamed', 'builtin'),
  [`${UPSTREAMS}.passHostHeader`]: oauth2Proxy['pass_host_header'] ?? staticAnswers,
  [`${UPSTREAMS}.proxyWebSockets`]: oauth2Proxy['proxy_websockets'] ?? staticAnswers,
  [`${UPSTREAMS}.timeout`]: combined('routes[].timeout', 'the time ends with the first byte of the response'),
  [`${UPSTREAMS}.disableKeepAlives`]: oauth2Proxy['disable_keep_alives'] ?? staticAnswers,
  ...headerRules('injectRequestHeaders', requestHeader),
  ...headerRules('injectResponseHeaders', responseHeader),
}

/** Renames keys of the alpha configuration to their older names. Keys of further providers share one key. */
export function withOlderNames(settings: readonly Setting[]): Setting[] {
  return settings.map((setting) => {
    if (/^providers\[(?!0\])/i.test(setting.written)) return { ...setting, key: FURTHER_PROVIDER }
    // oauth2-proxy compares these names without case.
    const key = CANONICAL_KEYS.get(setting.key.toLowerCase()) ?? setting.key
    const old = Object.hasOwn(OLDER_KEYS, key) ? OLDER_KEYS[key] : undefined
    return { ...setting, key: old ?? key }
  })
}

const CANONICAL_KEYS = new Map(Object.keys(oauth2ProxyAlpha).map((key) => [key.toLowerCase(), key]))

/** The rules for an alpha configuration whose keys have their older names. */
export const alphaRules: Rules = {
  ...oauth2Proxy,
  ...oauth2ProxyAlpha,
  [FURTHER_PROVIDER]: noEquivalent(
    'only the first provider is carried over: move provider to an entry of providers, add the others there, and register ' +
      'callback/NAME at each (docs/providers.md)',
    'security',
  ),
}

interface Item {
  readonly fields: ReadonlyMap<string, Setting>
  readonly all: readonly Setting[]
}

function itemsOf(settings: readonly Setting[], list: string): Item[] {
  const items = new Map<string, Setting[]>()
  for (const setting of settings) {
    const index = setting.written.toLowerCase().startsWith(`${list.toLowerCase()}[`)
      ? /^\[(\d+)\]/.exec(setting.written.slice(list.length))?.[1]
      : undefined
    if (index !== undefined) items.set(index, [...(items.get(index) ?? []), setting])
  }
  return [...items.values()].map((all) => ({
    all,
    fields: new Map(all.map((setting) => [setting.key.slice(list.length + 1), setting])),
  }))
}

export function migrateAlphaLists(migration: Migration): void {
  const { settings } = migration
  for (const { fields, all } of itemsOf(settings, UPSTREAMS)) migrateUpstream(migration, fields, all)
  for (const item of itemsOf(settings, 'injectRequestHeaders')) migrateHeader(migration, item)
  for (const item of itemsOf(settings, 'injectResponseHeaders')) {
    migrateHeader(migration, item)
    const [first] = item.all
    if (first !== undefined) enableForwardAuth(migration, first)
  }
  for (const { fields, all } of itemsOf(settings, 'providers[0].loginURLParameters')) {
    const name = all.find(({ key }) => key.endsWith('.name'))
    const value = all.find(({ key }) => key.endsWith('.default'))
    if (fields.size === 0 || name === undefined || value === undefined) continue
    put(migration, `provider.authorizationParameters.${textOf(name)}`, literal(textOf(value)), name, value)
  }
}

function migrateUpstream(migration: Migration, fields: Item['fields'], all: readonly Setting[]): void {
  const [path, uri, rewrite, timeout, insecure, fixed] = [
    'path',
    'uri',
    'rewriteTarget',
    'timeout',
    'insecureSkipTLSVerify',
    'static',
  ].map((name) => fields.get(name))
  for (const setting of [timeout, insecure]) if (setting !== undefined) markRouteSource(migration, setting)
  if ((fixed !== undefined && flagOf(fixed) === true) || uri === undefined) {
    if (fixed !== undefined) enableForwardAuth(migration, fixed)
    const only = path === undefined || textOf(path) === '/'
    if (only)
      migration.baseRoutes.push({
        path: '/**',
        upstream: VERDICTS_ONLY,
        from: all.filter((setting) => setting === path),
      })
    if (path !== undefined) markRouteSource(migration, path)
    return
  }
  if (textOf(uri).startsWith('file:')) {
    for (const setting of [uri, path, rewrite])
      if (setting !== undefined)
        remark(migration, 'gap', setting, 'the gateway serves no files: let a web server serve them')
    return
  }
  const target = upstreamTarget(textOf(uri), uri, migration)
  if (target === null) return
  if (target.path !== '/**')
    remark(
      migration,
      'differs',
      uri,
      "its path was prepended to the request's path; here only rewritePrefix changes a path",
    )
  const match = pathAndRewriteOf(path, rewrite)
  if (match?.rewritePrefix !== undefined && path !== undefined && !textOf(path).startsWith('^'))
    remark(migration, 'differs', path, 'without ^, it also matched within a path: the route matches the beginning only')
  markRouteSource(migration, uri)
  if (match === null) {
    for (const setting of [path, rewrite]) {
      if (setting !== undefined)
        remark(
          migration,
          'gap',
          setting,
          "a route can't express this pattern or target: add a route by hand; until then the other routes apply to " +
            'these paths',
        )
    }
    return
  }
  for (const setting of [path, rewrite]) if (setting !== undefined) markRouteSource(migration, setting)
  const ms = (timeout === undefined ? null : goDuration(timeout)) ?? DEFAULT_TIMEOUT_MS
  const skipsVerification = insecure !== undefined && flagOf(insecure) === true
  if (skipsVerification)
    remark(
      migration,
      'security',
      insecure,
      'any certificate of the upstream is accepted, as before: set upstreamTls.caFile instead',
    )
  migration.baseRoutes.push({
    ...match,
    upstream: target.upstream,
    ...(target.protocol === undefined ? {} : { protocol: target.protocol }),
    timeout: duration(ms),
    insecure: skipsVerification,
    ...sentHost(fields.get('passHostHeader')),
    from: [uri],
  })
}

/** Returns the pattern of a path and how it is rewritten; `null` if a route cannot express the same. */
function pathAndRewriteOf(
  path: Setting | undefined,
  rewrite: Setting | undefined,
): { path: string; rewritePrefix?: { from: string; to: string } } | null {
  const text = path === undefined ? '/' : textOf(path)
  if (rewrite === undefined || textOf(rewrite) === '') {
    if (text.startsWith('^')) {
      const paths = pathsOf(text.replace(/\(\.\*\)\$?$/, ''))
      const [only] = paths?.patterns ?? []
      return paths === null || only === undefined || paths.patterns.length > 1 ? null : { path: only }
    }
    return { path: text === '/' ? '/**' : text.endsWith('/') ? `${text}**` : text }
  }
  // `^/baz/(.*)$` and `/foo/$1`, or `/baz/` and `/foo/`, replace the start of the path.
  const [, from, rest] = /^\^?(\/[A-Za-z0-9_~/.-]*?)\/(\(\.\*\)\$?)?$/.exec(text.replaceAll('\\.', '.')) ?? []
  const [, to, group] = /^(\/(?:[A-Za-z0-9_~.-]+\/)*)(\$1)?$/.exec(textOf(rewrite)) ?? []
  if ((rest === undefined) !== (group === undefined)) return null
  if (from === undefined || to === undefined || from === '/') return null
  return { path: `${from}/**`, rewritePrefix: { from, to: to === '/' ? '/' : to.slice(0, -1) } }
}

function migrateHeader(migration: Migration, { fields, all }: Item): void {
  const name = fields.get('name')
  if (name === undefined) return
  const values: string[] = []
  for (const [field, setting] of fields) {
    if (field === 'preserveRequestValue' || field === 'InsecureSkipHeaderNormalization') {
      remark(
        migration,
        flagOf(setting) === true ? 'security' : 'builtin',
        setting,
        'headers that the gateway sets are removed from client requests, in any spelling',
      )
    } else if (/basicAuthPassword/.test(field)) {
      remark(migration, 'gap', setting, NO_BASIC_CREDENTIALS)
    } else if (field.endsWith('claim')) values.push(...claimTemplates(migration, name, fields, setting))
    else if (/(^|\.)(value|fromEnv|fromFile)$/.test(field)) values.push(constantOf(migration, name, field, setting))
    else if (field.endsWith('prefix') || field === 'name') markRouteSource(migration, setting)
  }
  if (all.filter(({ key }) => key.endsWith('claim')).length > 1) {
    remark(migration, 'gap', name, 'it has several claims, of which one is set: add the others by hand')
  }
  if (values.length > 0) setHeader(migration, textOf(name), values.join(','))
  migration.routeDefaults.remove.push(textOf(name))
}

/** Returns the template for a claim, or no template if no template can express the claim. */
function claimTemplates(migration: Migration, name: Setting, fields: Item['fields'], setting: Setting): string[] {
  const claim = textOf(setting)
  if ([...fields.keys()].some((field) => /basicAuthPassword/.test(field))) {
    remark(migration, 'gap', setting, NO_BASIC_CREDENTIALS)
    return []
  }
  const prefix = [...fields].find(([field]) => field.endsWith('prefix'))?.[1]
  const before = prefix === undefined ? '' : literal(String(prefix.value)).replace(/[{}]/g, '')
  if (claim === 'access_token' || claim === 'id_token') {
    const isSent = sendToken(migration, claim === 'id_token' ? 'idToken' : 'accessToken', textOf(name), before)
    if (isSent) markRouteSource(migration, setting)
    else remark(migration, 'gap', setting, 'a token is sent alone, or behind "Bearer ": this header is not sent')
    return []
  }
  if (claim === 'refresh_token') {
    remark(migration, 'security', setting, 'the refresh token does not leave the gateway')
    return []
  }
  const template = templateOf(migration, claim)
  if (template === null) {
    remark(migration, 'gap', setting, 'there is no such claim: GET /oauth2/session returns the times of a session')
    return []
  }
  markRouteSource(migration, setting)
  return [`${before}${template}`]
}

function constantOf(migration: Migration, name: Setting, field: string, setting: Setting): string {
  markRouteSource(migration, setting)
  const variable = `HEADER_${textOf(name)
    .toUpperCase()
    .replace(/[^A-Z0-9]+/g, '_')}`
  if (field.endsWith('fromFile')) return `\${file:${textOf(setting)}}`
  if (field.endsWith('fromEnv'))
    return secretVariable(migration, textOf(setting), `the variable that oauth2-proxy reads (${setting.written})`)
  remark(migration, 'differs', setting, 'the variable contains the value itself, not base64')
  return listOf(setting).length === 0 ? '' : secretVariableFor(migration, setting, variable)
}
