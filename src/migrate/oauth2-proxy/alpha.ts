import { type Draft, put, remark, routed, secret, secretOf, setHeader } from '../draft.ts'
import { duration, type Entry, flagOf, goDuration, listOf, literal, textOf } from '../entry.ts'
import { templateOf } from './headers.ts'
import { targetOf } from './routes.ts'
import { pathsOf } from '../path-regex.ts'
import { oauth2Proxy } from './keys.ts'
import { none, type Rules, together } from '../rule.ts'
import { giveVerdicts } from '../verdicts.ts'

/** Keys of the newer format that mean the same as one of the older. */
const same: Readonly<Record<string, string>> = {
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

const upstream = 'upstreamConfig.upstreams'
const header = together(
  'routes[].headers.set',
  'claims as templates, constants from variables; what names the access token becomes token.header',
)
const answer = together(
  'routes[].headers.set',
  'for the upstream, and in the verdicts on forwardAuth.listen; never in an answer to the browser',
)
const inline = none('give the certificate and its key as files: tls.certFile and tls.keyFile')
const files = none('files and fixed answers are not served here: let a web server do it and name that as upstream')
const headerKeys = [
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
const each = (before: string, rule: Rules[string]): Rules =>
  Object.fromEntries(headerKeys.map((key) => [`${before}.${key}`, rule]))

/** What becomes of the keys of oauth2-proxy's newer YAML format; those with an equal in the older one follow that. */
export const oauth2ProxyAlpha: Rules = {
  ...Object.fromEntries(
    Object.entries(same).flatMap(([key, old]) => {
      const rule = oauth2Proxy[old]
      return rule === undefined ? [] : [[key, rule]]
    }),
  ),
  'providers.id': none('there is one provider, and it needs no name', 'builtin'),
  'providers.additionalClaims': none(
    'all claims of the ID token are there for headers.set and require.claims',
    'builtin',
  ),
  'providers.ADFSConfig.skipScope': none('list the scopes under provider.scopes'),
  'providers.loginURLParameters.name': together('provider.authorizationParameters', 'the first default is always sent'),
  'providers.loginURLParameters.default': together(
    'provider.authorizationParameters',
    'the first default is always sent',
  ),
  'providers.loginURLParameters.allow.value': none(
    'GET login takes prompt, login_hint, acr_values, max_age and scope; others are fixed',
  ),
  'providers.loginURLParameters.allow.pattern': none(
    'GET login takes prompt, login_hint, acr_values, max_age and scope; others are fixed',
  ),
  'server.tls.cert.value': inline,
  'server.tls.cert.fromEnv': inline,
  'server.tls.key.value': inline,
  'server.tls.key.fromEnv': inline,
  'metricsServer.tls.cert.value': none('the admin listener is plain http'),
  'metricsServer.tls.cert.fromEnv': none('the admin listener is plain http'),
  'metricsServer.tls.key.value': none('the admin listener is plain http'),
  'metricsServer.tls.key.fromEnv': none('the admin listener is plain http'),
  'upstreamConfig.proxyRawPath': none('paths go upstream byte for byte, once they have one meaning only', 'builtin'),
  [`${upstream}.id`]: none('routes are told by their path', 'builtin'),
  [`${upstream}.path`]: together('routes[].path', 'a pattern has to be one that a route can say exactly'),
  [`${upstream}.rewriteTarget`]: together(
    'routes[].rewritePrefix',
    'only where the beginning of the path is exchanged',
  ),
  [`${upstream}.uri`]: together('routes[].upstream', "a path in it is not joined to the request's"),
  [`${upstream}.insecureSkipTLSVerify`]: together('routes[].upstreamTls.insecureSkipVerify'),
  [`${upstream}.static`]: files,
  [`${upstream}.staticCode`]: files,
  [`${upstream}.flushInterval`]: none('answers are passed on as they come', 'builtin'),
  [`${upstream}.passHostHeader`]: oauth2Proxy['pass_host_header'] ?? files,
  [`${upstream}.proxyWebSockets`]: oauth2Proxy['proxy_websockets'] ?? files,
  [`${upstream}.timeout`]: together('routes[].timeout', 'it counts to the first byte of the answer'),
  [`${upstream}.disableKeepAlives`]: oauth2Proxy['disable_keep_alives'] ?? files,
  ...each('injectRequestHeaders', header),
  ...each('injectResponseHeaders', answer),
}

/**
 * The keys of the newer format under the names of the older one where there is one; those of further providers apart.
 */
export function inOlderNames(entries: readonly Entry[]): Entry[] {
  return entries.map((entry) => {
    if (/^providers\[(?!0\])/.test(entry.written)) return { ...entry, key: 'a further provider' }
    const old = Object.hasOwn(same, entry.key) ? same[entry.key] : undefined
    return old === undefined ? entry : { ...entry, key: old }
  })
}

/** The rules for a file of the newer format once its keys have the older names. */
export const alphaRules: Rules = {
  ...oauth2Proxy,
  ...oauth2ProxyAlpha,
  'a further provider': none(
    'there is one provider: run a gateway for each, or let one provider broker the others',
    'security',
  ),
}

interface Item {
  readonly fields: ReadonlyMap<string, Entry>
  readonly all: readonly Entry[]
}

/** The items of a list of the file, each with its fields. */
function itemsOf(entries: readonly Entry[], list: string): Item[] {
  const items = new Map<string, Entry[]>()
  for (const entry of entries) {
    const index = entry.written.startsWith(`${list}[`)
      ? /^\[(\d+)\]/.exec(entry.written.slice(list.length))?.[1]
      : undefined
    if (index !== undefined) items.set(index, [...(items.get(index) ?? []), entry])
  }
  return [...items.values()].map((all) => ({
    all,
    fields: new Map(all.map((entry) => [entry.key.slice(list.length + 1), entry])),
  }))
}

/** Reads the lists of the newer format: upstreams, headers and login parameters. */
export function finishAlpha(entries: readonly Entry[], draft: Draft): void {
  for (const { fields, all } of itemsOf(entries, upstream)) readUpstream(draft, fields, all)
  for (const item of itemsOf(entries, 'injectRequestHeaders')) readHeader(draft, item)
  for (const item of itemsOf(entries, 'injectResponseHeaders')) {
    readHeader(draft, item)
    const [first] = item.all
    if (first !== undefined) giveVerdicts(draft, first)
  }
  for (const { fields, all } of itemsOf(entries, 'providers[0].loginURLParameters')) {
    const name = all.find(({ key }) => key.endsWith('.name'))
    const value = all.find(({ key }) => key.endsWith('.default'))
    if (fields.size === 0 || name === undefined || value === undefined) continue
    put(draft, `provider.authorizationParameters.${textOf(name)}`, literal(textOf(value)), name, value)
  }
}

function readUpstream(draft: Draft, fields: Item['fields'], all: readonly Entry[]): void {
  const [path, uri, rewrite, slow, insecure, fixed] = [
    'path',
    'uri',
    'rewriteTarget',
    'timeout',
    'insecureSkipTLSVerify',
    'static',
  ].map((name) => fields.get(name))
  for (const entry of [slow, insecure]) if (entry !== undefined) routed(draft, entry)
  if ((fixed !== undefined && flagOf(fixed) === true) || uri === undefined) {
    if (fixed !== undefined) giveVerdicts(draft, fixed)
    const only = path === undefined || textOf(path) === '/'
    if (only)
      draft.bases.push({
        path: '/**',
        upstream: 'http://upstream.invalid',
        from: all.filter((entry) => entry === path),
      })
    if (path !== undefined) routed(draft, path)
    return
  }
  if (textOf(uri).startsWith('file:')) {
    for (const entry of [uri, path, rewrite])
      if (entry !== undefined) remark(draft, 'gap', entry, 'files are not served here: let a web server serve them')
    return
  }
  const target = targetOf(textOf(uri).replaceAll('${', '$${'), uri, draft)
  if (target === null) return
  if (target.path !== '/**')
    remark(draft, 'differs', uri, "the path in it was put before the request's; here only rewritePrefix changes a path")
  const where = placeOf(path, rewrite)
  routed(draft, uri)
  if (where === null) {
    for (const entry of [path, rewrite]) {
      if (entry !== undefined)
        remark(
          draft,
          'gap',
          entry,
          "this pattern or target can't be said by a route: add one by hand; until then these paths go where " +
            'the other routes say',
        )
    }
    return
  }
  for (const entry of [path, rewrite]) if (entry !== undefined) routed(draft, entry)
  const ms = slow === undefined ? 30_000 : (goDuration(slow) ?? 30_000)
  const bad = insecure !== undefined && flagOf(insecure) === true
  if (bad)
    remark(
      draft,
      'security',
      insecure,
      'the upstream is taken with any certificate, as before: give upstreamTls.caFile instead',
    )
  draft.bases.push({ ...where, upstream: target.upstream, timeout: duration(ms), insecure: bad, from: [uri] })
}

/** The route of a path with its rewriting; `null` where a route can't say the same. */
function placeOf(
  path: Entry | undefined,
  rewrite: Entry | undefined,
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
  // `^/baz/(.*)$` and `/foo/$1`: another beginning, the rest stays.
  const from = /^\^(\/[A-Za-z0-9_~/.-]*?)\/\(\.\*\)\$?$/.exec(text.replaceAll('\\.', '.'))?.[1]
  const to = /^(\/(?:[A-Za-z0-9_~.-]+\/)*)\$1$/.exec(textOf(rewrite))?.[1]
  if (from === undefined || to === undefined || from === '/') return null
  return { path: `${from}/**`, rewritePrefix: { from, to: to === '/' ? '/' : to.slice(0, -1) } }
}

function readHeader(draft: Draft, { fields, all }: Item): void {
  const name = fields.get('name')
  if (name === undefined) return
  const values: string[] = []
  for (const [field, entry] of fields) {
    if (field === 'preserveRequestValue' || field === 'InsecureSkipHeaderNormalization') {
      remark(
        draft,
        flagOf(entry) === true ? 'security' : 'builtin',
        entry,
        'headers that the gateway sets are taken from every client, in any spelling',
      )
    } else if (/basicAuthPassword/.test(field)) {
      remark(
        draft,
        'gap',
        entry,
        'the gateway makes no Basic credentials: let the application read a header of headers.set',
      )
    } else if (field.endsWith('claim')) readClaim(draft, name, fields, entry, values)
    else if (/(^|\.)(value|fromEnv|fromFile)$/.test(field)) values.push(constantOf(draft, name, field, entry))
    else if (field.endsWith('prefix') || field === 'name') routed(draft, entry)
  }
  if (all.filter(({ key }) => key.endsWith('claim')).length > 1) {
    remark(draft, 'gap', name, 'it has several claims: one of them is set; add the others by hand')
  }
  if (values.length > 0) setHeader(draft, textOf(name), values.join(','))
  draft.shared.remove.push(textOf(name))
}

function readClaim(draft: Draft, name: Entry, fields: Item['fields'], entry: Entry, values: string[]): void {
  const claim = textOf(entry)
  if ([...fields.keys()].some((field) => /basicAuthPassword/.test(field))) {
    return remark(
      draft,
      'gap',
      entry,
      'the gateway makes no Basic credentials: let the application read a header of headers.set',
    )
  }
  if (claim === 'access_token') {
    draft.shared.token = { header: textOf(name) }
    return routed(draft, entry)
  }
  if (claim === 'id_token' || claim === 'refresh_token') {
    return remark(
      draft,
      'security',
      entry,
      `${claim} does not leave the gateway: the upstream gets the access token (token) or claims (headers.set)`,
    )
  }
  const template = templateOf(draft, claim)
  if (template === null)
    return remark(draft, 'gap', entry, 'there is no such claim here: GET /oauth2/session tells the times of a session')
  const prefix = [...fields].find(([field]) => field.endsWith('prefix'))?.[1]
  values.push(`${prefix === undefined ? '' : literal(String(prefix.value)).replace(/[{}]/g, '')}${template}`)
  routed(draft, entry)
}

function constantOf(draft: Draft, name: Entry, field: string, entry: Entry): string {
  routed(draft, entry)
  const variable = `HEADER_${textOf(name)
    .toUpperCase()
    .replace(/[^A-Z0-9]+/g, '_')}`
  if (field.endsWith('fromFile')) return `\${file:${textOf(entry)}}`
  if (field.endsWith('fromEnv'))
    return secret(draft, textOf(entry), `the variable that the peer takes it from (${entry.written})`)
  remark(draft, 'differs', entry, 'the variable takes the value itself, not its base64')
  return listOf(entry).length === 0 ? '' : secretOf(draft, entry, variable)
}
