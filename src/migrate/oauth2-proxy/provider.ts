import { presetOf } from '../../config/presets/apply.ts'
import type { Preset } from '../../config/presets/table.ts'
import {
  allowPlainHttp,
  has,
  markRouteSource,
  type Migration,
  partAt,
  put,
  putMissingClientSecret,
  remark,
} from '../migration.ts'
import { flagOf, listenAddress, socketMode, listOf, literal, type Setting, textOf } from '../setting.ts'
import { providerType } from './access.ts'

/** The preset of each type of provider. */
const PRESETS: Readonly<Record<string, Preset['name']>> = {
  'google': 'google',
  'azure': 'entra',
  'entra-id': 'entra',
  'adfs': 'adfs',
  'keycloak': 'keycloak',
  'keycloak-oidc': 'keycloak',
  'gitlab': 'gitlab',
  'linkedin': 'linkedin',
}
const ISSUERS: Readonly<Record<string, string>> = {
  'google': 'https://accounts.google.com',
  'gitlab': 'https://gitlab.com',
  'linkedin': 'https://www.linkedin.com/oauth',
  'login.gov': 'https://secure.login.gov',
}
const ENTRA = new Set(['azure', 'entra-id'])
const OAUTH_ONLY = new Set(['facebook', 'digitalocean', 'sourcehut', 'nextcloud'])
const PRESETS_WITHOUT_OPENID = new Set(['github', 'gitea', 'bitbucket'])

export function withoutOpenId(kind: string): boolean {
  return PRESETS_WITHOUT_OPENID.has(kind)
}

/**
 * Sets the preset of a provider without OpenID Connect, and the issuer of a self-hosted one. oauth2-proxy also uses the
 * type `github` for Gitea, whose API has another path.
 */
function putPreset(migration: Migration, kind: string, type: Setting): void {
  const [login, validate] = ['login_url', 'validate_url'].map((key) => migration.effective.get(key))
  const isGitea = kind === 'gitea' || (validate !== undefined && textOf(validate).includes('/api/v1/'))
  put(migration, 'provider.preset', isGitea ? 'gitea' : kind, type)
  const issuer = login === undefined ? null : /^(https?:.+)\/login\/oauth\/authorize$/.exec(textOf(login))?.[1]
  if (login !== undefined && typeof issuer === 'string' && issuer !== 'https://github.com') {
    put(migration, 'provider.issuer', literal(issuer), login)
    allowPlainHttp(migration, issuer, login)
  } else if (isGitea) {
    put(migration, 'provider.issuer', 'https://issuer.change-me.invalid', type)
    remark(migration, 'todo', type, 'login_url is not given: set provider.issuer to the address of Gitea')
  }
}

export function migrateProvider(migration: Migration): void {
  const type = migration.effective.get('provider')
  const kind = providerType(migration)
  if (type !== undefined && withoutOpenId(kind)) {
    putPreset(migration, kind, type)
    return putMissingClient(migration)
  }
  migrateIssuer(migration, kind)
  const issuer = partAt(migration, 'provider.issuer')?.value
  const preset = Object.hasOwn(PRESETS, kind) ? PRESETS[kind] : undefined
  const isRecognized =
    typeof issuer === 'string' && URL.canParse(issuer) && presetOf({ preset: 'auto', issuer }) !== null
  if (preset !== undefined && type !== undefined && !isRecognized) put(migration, 'provider.preset', preset, type)
  if (OAUTH_ONLY.has(kind)) {
    remark(
      migration,
      'gap',
      type ?? null,
      `the provider ${kind} may only support OAuth 2.0, but the gateway needs OpenID Connect with discovery: put a ` +
        'provider such as Keycloak or Dex between them',
    )
  }
  putMissingClient(migration)
  if (kind === 'google') migrateGoogle(migration, type)
}

function migrateIssuer(migration: Migration, kind: string): void {
  const [type, issuer, tenant, login] = ['provider', 'oidc_issuer_url', 'azure_tenant', 'login_url'].map((key) =>
    migration.effective.get(key),
  )
  const from = [type, issuer, tenant].filter((setting) => setting !== undefined)
  // With `provider = keycloak`, a configuration has endpoint URLs and no issuer, so `login_url` tells the issuer.
  const ofLogin = login === undefined ? null : issuerOfLoginUrl(kind, textOf(login))
  if (issuer !== undefined && textOf(issuer) !== '') {
    put(migration, 'provider.issuer', literal(textOf(issuer).replace(/\/\.well-known\/.*$/, '')), ...from)
    allowPlainHttp(migration, textOf(issuer), issuer)
  } else if (login !== undefined && ofLogin !== null) {
    put(migration, 'provider.issuer', literal(ofLogin), ...from, login)
    allowPlainHttp(migration, ofLogin, login)
  } else if (Object.hasOwn(ISSUERS, kind)) put(migration, 'provider.issuer', ISSUERS[kind], ...from)
  else if (ENTRA.has(kind)) {
    const name = tenant === undefined || textOf(tenant) === '' ? 'common' : textOf(tenant)
    put(migration, 'provider.issuer', `https://login.microsoftonline.com/${literal(name)}/v2.0`, ...from)
    if (name === 'common' && !migration.effective.has('entra_id_allowed_tenants'))
      remark(migration, 'security', tenant ?? type ?? null, 'users of every tenant can log in, as before: require tid')
  } else {
    put(migration, 'provider.issuer', 'https://issuer.change-me.invalid', ...from)
    remark(
      migration,
      'todo',
      type ?? null,
      "no issuer is given: set provider.issuer to the one in the provider's discovery document",
    )
  }
}

function issuerOfLoginUrl(kind: string, url: string): string | null {
  if (kind !== 'keycloak') return null
  return /^(.+\/realms\/[^/]+)\/protocol\/openid-connect\/auth$/.exec(url)?.[1] ?? null
}

function putMissingClient(migration: Migration): void {
  if (!has(migration, 'provider.clientId')) {
    put(migration, 'provider.clientId', 'change-me')
    remark(migration, 'todo', null, 'client_id is not given: set provider.clientId')
  }
  const credentials = ['clientSecret', 'privateKey', 'clientAssertionFile']
  if (credentials.some((name) => has(migration, `provider.${name}`))) return
  putMissingClientSecret(migration)
}

/** Says what the preset requests, because Google rejects the scope `offline_access`, and adds the scope for groups. */
function migrateGoogle(migration: Migration, type: Setting | undefined): void {
  const scopes = partAt(migration, 'provider.scopes')?.value
  if (Array.isArray(scopes) && partAt(migration, 'provider.groupsFrom')?.value === 'google')
    put(migration, 'provider.scopes', [...scopes, 'https://www.googleapis.com/auth/cloud-identity.groups.readonly'])
  if (has(migration, 'provider.authorizationParameters.prompt')) return
  remark(
    migration,
    'differs',
    type ?? null,
    'the preset google sends access_type: offline and prompt: consent, because Google issues a refresh token for both; ' +
      'without prompt it does so only at the first login',
  )
}

/** Migrates the listener, `publicUrl` and the cookie. */
export function migrateListener(migration: Migration): void {
  const [plain, tls, cert, key] = ['http_address', 'https_address', 'tls_cert_file', 'tls_key_file'].map((name) =>
    migration.effective.get(name),
  )
  const secure = cert !== undefined && key !== undefined && textOf(cert) !== '' && textOf(key) !== ''
  if (secure) {
    put(migration, 'tls.certFile', literal(textOf(cert)), cert)
    put(migration, 'tls.keyFile', literal(textOf(key)), key)
  }
  const used = secure ? tls : plain
  const address = listenAddress(used === undefined ? (secure ? ':443' : '127.0.0.1:4180') : textOf(used))
  if (address === null && used !== undefined)
    remark(migration, 'gap', used, 'it is not host:port or unix:/path: set listen')
  put(migration, 'listen', literal(address ?? '127.0.0.1:4180'), ...(used === undefined ? [] : [used]))
  const mode = used === undefined ? null : socketMode(textOf(used))
  if (mode !== null && used !== undefined) put(migration, 'listenMode', literal(mode), used)
  const force = migration.effective.get('force_https')
  const isForced = force !== undefined && flagOf(force) !== false
  const redirect = secure && isForced && plain !== undefined ? listenAddress(textOf(plain)) : null
  const unused = secure ? plain : tls
  if (force !== undefined && plain !== undefined && redirect !== null)
    put(migration, 'tls.redirectFrom', literal(redirect), plain, force)
  else if (unused !== undefined)
    remark(
      migration,
      'gap',
      unused,
      `there is one public listener, and it uses the other address${secure ? '; tls.redirectFrom redirects from this one' : ''}`,
    )
  migrateCookie(migration)
}

function migrateCookie(migration: Migration): void {
  const publicUrl = partAt(migration, 'publicUrl')?.value
  if (publicUrl === undefined) {
    put(migration, 'publicUrl', 'https://change-me.invalid')
    remark(migration, 'todo', null, 'redirect_url is not given: set publicUrl to the origin that browsers see')
  }
  const origin = typeof publicUrl === 'string' ? publicUrl : 'https://change-me.invalid'
  if (origin.startsWith('http:')) {
    remark(
      migration,
      'security',
      null,
      'publicUrl is plain http: the session cookie has neither Secure nor the __Host- prefix',
    )
    const sameSite = partAt(migration, 'session.cookie.sameSite')
    if (sameSite?.value === 'none') {
      put(migration, 'session.cookie.sameSite', 'lax')
      remark(migration, 'differs', sameSite.from[0] ?? null, 'SameSite=None needs https, so lax is used')
    }
  }
  migrateCookiePath(migration)
  migrateDomains(migration, origin)
}

/** Sets the path of the cookies, which is `/` by default in oauth2-proxy. */
function migrateCookiePath(migration: Migration): void {
  const setting = migration.effective.get('cookie_path')
  const from = setting === undefined ? [] : [setting]
  const path = setting === undefined ? '/' : textOf(setting).replace(/(?<=.)\/$/, '')
  const written = partAt(migration, 'basePath')?.value
  const basePath = typeof written === 'string' ? written : '/oauth2'
  const covers = path === '/' || (/^(\/[\w.~-]+)+$/.test(path) && `${basePath}/`.startsWith(`${path}/`))
  if (setting !== undefined && !covers) {
    const text = `it does not cover ${basePath}, the path of the gateway's own URLs, so the cookies have the path /`
    return remark(migration, 'differs', setting, text)
  }
  const byDefault = basePath.slice(0, basePath.lastIndexOf('/')) || '/'
  if (path !== byDefault) {
    put(migration, 'session.cookie.path', path, ...from)
    const prefix = migration.effective.get('proxy_prefix')
    if (path === '/' && prefix !== undefined && !has(migration, 'session.cookie.name'))
      remark(
        migration,
        'differs',
        prefix,
        'the cookies have the path /, as before: if another gateway serves paths of the same host, give each its own ' +
          'session.cookie.name, or set session.cookie.path',
      )
  } else if (setting !== undefined) remark(migration, 'builtin', setting, 'it is the default, the path above basePath')
}

function migrateDomains(migration: Migration, origin: string): void {
  const allowed = migration.effective.get('whitelist_domains')
  const domains = migration.effective.get('cookie_domains')
  if (domains === undefined || listOf(domains).length === 0) {
    if (allowed !== undefined) remark(migration, 'security', allowed, ONE_HOST)
    return
  }
  const names = listOf(domains).map((name) => name.replace(/^\./, '').replace(/:\d+$/, '').toLowerCase())
  const host = new URL(origin).hostname
  const fits = names.find((name) => (host === name || host.endsWith(`.${name}`)) && /[.][a-z]/.test(name))
  if (fits === undefined) {
    if (allowed !== undefined) remark(migration, 'security', allowed, ONE_HOST)
    return remark(
      migration,
      'differs',
      domains,
      'it covers no publicUrl, so the cookie is valid for one host only: list the public URLs, then set ' +
        'session.cookie.domain',
    )
  }
  put(migration, 'session.cookie.domain', literal(fits), domains)
  remark(
    migration,
    'security',
    domains,
    `every host under ${fits} gets the session cookie, which loses the __Host- prefix: remove domain if one host ` +
      'is enough',
  )
  if (allowed !== undefined) migrateAllowedDomains(migration, allowed, new URL(origin), fits)
}

const ONE_HOST =
  'cookie_domains does not cover it, so a redirect after login stays on its origin: to serve several hosts under one ' +
  'domain, list them in publicUrl and set loginHost and session.cookie.domain'

const EVERY_HOST =
  'a login may lead to every host that a wildcard in publicUrl covers, as before: list only the hosts that this gateway ' +
  'serves; * is exactly one label, so list the domain itself and deeper hosts too'

/** Lets one login serve the hosts to which oauth2-proxy redirects after a login, as far as they get the cookie. */
function migrateAllowedDomains(migration: Migration, allowed: Setting, login: URL, domain: string): void {
  const entries = listOf(allowed).map((entry) => {
    const [, wildcard, name = '', port] = /^(\*?\.)?([a-z0-9.-]+?)(?::(\d+|\*))?$/.exec(entry.toLowerCase()) ?? []
    const covered = name === domain || name.endsWith(`.${domain}`)
    if (!covered) return { entry, url: null }
    const suffix = port === undefined || port === '*' ? '' : `:${port}`
    return { entry, url: `${login.protocol}//${wildcard === undefined ? '' : '*.'}${name}${suffix}` }
  })
  const others = entries.flatMap(({ url }) => (url === null || url === login.origin ? [] : [url]))
  const left = entries.flatMap(({ entry, url }) => (url === null ? [entry] : []))
  if (others.length > 0) {
    put(migration, 'publicUrl', [login.origin, ...new Set(others)], allowed)
    put(migration, 'loginHost', login.origin, allowed)
    if (others.some((url) => url.includes('*'))) remark(migration, 'security', allowed, EVERY_HOST)
  }
  if (listOf(allowed).some((entry) => entry.endsWith(':*')))
    remark(migration, 'differs', allowed, ':* allows every port: list each port of these hosts in publicUrl')
  if (left.length > 0)
    remark(migration, 'security', allowed, `${left.join(', ')} is left out: no redirect after login leads there`)
  else if (others.length === 0) remark(migration, 'builtin', allowed, 'it names no other host than redirect_url')
}

/** Marks as handled the settings that have no effect because of other settings. */
export function markSettledFlags(migration: Migration): void {
  const secretFile = migration.effective.get('client_secret_file')
  if (secretFile !== undefined && migration.effective.has('client_secret'))
    remark(migration, 'builtin', secretFile, 'client_secret takes precedence')
  const skip = migration.effective.get('insecure_oidc_allow_unverified_email')
  if (skip !== undefined && flagOf(skip) !== true) markRouteSource(migration, skip)
}
