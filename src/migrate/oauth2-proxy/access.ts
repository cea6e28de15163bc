import { isIP } from 'node:net'
import {
  allOf,
  anyOf,
  claimIn,
  type Condition,
  exactly,
  isMetByEveryUser,
  notOf,
  undecided,
  UNDECIDED_CLAIM,
} from '../condition.ts'
import {
  allowPlainHttp,
  has,
  isIssuer,
  markRouteSource,
  type Migration,
  partAt,
  remark,
  requireOnAllRoutes,
} from '../migration.ts'
import { becomes, type Rule } from '../rule.ts'
import { flagOf, listOf, literal, type Setting, textOf } from '../setting.ts'

/** The tenants of Entra ID whose users are let in. */
export const tenants: Rule = becomes('routes[].require.claims', (setting, migration) => {
  if (listOf(setting).length > 0) requireOnAllRoutes(migration, claimIn('tid', listOf(setting).map(exactly)), setting)
})

/** Lets clients authenticate with tokens of their own instead of a session. */
export const bearer: Rule = becomes(
  'routes[].bearer',
  (setting, migration) => {
    if (flagOf(setting) === false)
      return remark(migration, 'builtin', setting, "a client's own token is accepted only on routes with bearer")
    const client = migration.effective.get('client_id')
    if (client === undefined)
      return remark(
        migration,
        'todo',
        setting,
        'add bearer: { audience: … } to the routes; until then no token is accepted',
      )
    migration.routeDefaults.bearer = { audience: [literal(textOf(client))], issuers: [] }
    markRouteSource(migration, setting)
    remark(
      migration,
      'differs',
      setting,
      'access tokens for one of bearer.audience are accepted, ID tokens are not; the claims that routes require must be ' +
        'in the token itself. The provider is asked about tokens that are not JWTs (bearer.introspection)',
    )
  },
  'the gateway accepts access tokens with the client id as audience; it rejects ID tokens, which oauth2-proxy accepts',
)

export function groupsClaim(migration: Migration): string {
  return claimNamed(migration, 'oidc_groups_claim', 'groups')
}

export function emailClaim(migration: Migration): string {
  const email = claimNamed(migration, 'oidc_email_claim', 'email')
  return email === 'email' ? claimNamed(migration, 'user_id_claim', 'email') : email
}

function claimNamed(migration: Migration, key: string, defaultName: string): string {
  const setting = migration.effective.get(key)
  if (setting === undefined || textOf(setting) === '') return defaultName
  markRouteSource(migration, setting)
  return textOf(setting)
}

export function migrateAccess(migration: Migration): void {
  requireEmails(migration)
  acceptAudiences(migration)
  acceptIssuers(migration)
  for (const key of ['oidc_groups_claim', 'oidc_email_claim', 'user_id_claim']) {
    const setting = migration.effective.get(key)
    if (setting !== undefined) markRouteSource(migration, setting)
  }
}

/** A user must have an address of `email_domains` or of the file. Without both, oauth2-proxy lets no user in. */
function requireEmails(migration: Migration): void {
  const domains = migration.effective.get('email_domains')
  const names = domains === undefined ? [] : listOf(domains)
  const list = emailList(migration)
  if (domains !== undefined) markRouteSource(migration, domains)
  if (domains !== undefined && names.includes('*')) {
    if (list !== null)
      remark(
        migration,
        'differs',
        list.setting,
        'it had no effect together with email_domains = ["*"], and is left out',
      )
    remark(
      migration,
      'security',
      domains,
      'every user of the provider is let in, as before, and also users without an email address: require claims under ' +
        'require.claims to let in fewer users',
    )
  } else if (names.length === 0 && list === null) {
    requireOnAllRoutes(migration, undecided('email_domains'))
    remark(
      migration,
      'security',
      null,
      'email_domains is not given, and without it oauth2-proxy lets no user in: routes require the claim ' +
        `${UNDECIDED_CLAIM} until you decide who is let in (if the setting is in another file, name both files)`,
    )
  } else {
    const inDomains = domains === undefined ? [] : names.map((name) => domainCondition(migration, domains, name))
    const condition = anyOf([...inDomains, ...(list === null ? [] : [listCondition(migration, list)])])
    requireOnAllRoutes(migration, condition, ...(list === null ? [] : [list.setting]))
  }
  requireVerifiedEmail(migration)
}

/** A domain that begins with `.` or `*.` stands for its subdomains. */
function domainCondition(migration: Migration, setting: Setting, written: string): Condition {
  const [, subdomains, name = ''] = /^(\*?\.)?(.*)$/s.exec(written.toLowerCase()) ?? []
  if (name === '' || name.includes('@')) {
    remark(migration, 'security', setting, `${JSON.stringify(written)} is not a domain: it lets no user in, as before`)
    return undecided('email_domains')
  }
  const domain = subdomains === undefined ? exactly(name) : `*.${exactly(name)}`
  if (providerType(migration) !== 'google') return claimIn(emailClaim(migration), [`*@${domain}`])
  remark(
    migration,
    'security',
    setting,
    'it is compared with hd, the Workspace domain that Google confirms: other Google accounts with an address in that ' +
      `domain are not let in, as they were; email: "*@${written}" under require.claims lets them in`,
  )
  return claimIn('hd', [domain])
}

interface EmailList {
  readonly setting: Setting
  /** The text of the file; `null` if it cannot be read. */
  readonly text: string | null
}

/** Returns the file with the addresses of users. */
function emailList(migration: Migration): EmailList | null {
  const setting = migration.effective.get('authenticated_emails_file')
  if (setting === undefined || textOf(setting) === '') return null
  return { setting, text: migration.readFile(textOf(setting), setting.file) }
}

const MAX_ADDRESSES = 1000

function listCondition(migration: Migration, { setting, text }: EmailList): Condition {
  const addresses = text === null ? null : addressesOf(text)
  if (addresses !== null && addresses.length > 0 && addresses.length <= MAX_ADDRESSES) {
    const what = `its ${addresses.length === 1 ? 'address is' : `${addresses.length} addresses are`}`
    remark(migration, 'differs', setting, `${what} in require.claims: a later change of the file has no effect`)
    return claimIn(emailClaim(migration), addresses.map(exactly))
  }
  const problem =
    text === null
      ? 'the file cannot be read here'
      : addresses === null || addresses.length === 0
        ? 'the file is not a list of addresses'
        : `the file has more than ${MAX_ADDRESSES} addresses, for which a group is better`
  remark(
    migration,
    'security',
    setting,
    `${problem}: no user is let in by it until you list the addresses under require.claims.${emailClaim(migration)}, in ` +
      `place of ${PLACEHOLDER}`,
  )
  return claimIn(emailClaim(migration), [PLACEHOLDER])
}

const PLACEHOLDER = 'list-the-addresses@change-me.invalid'

/** Returns the first field of each line, in lower case; `null` if the lines have different numbers of fields. */
function addressesOf(text: string): string[] | null {
  const rows = text
    .split(/\r?\n/)
    .filter((line) => line.trim() !== '' && !line.startsWith('#'))
    .map((line) => line.split(','))
  if (rows.some((row) => row.length !== rows[0]?.length)) return null
  const found = rows.map(([first = '']) =>
    first
      .trim()
      .replace(/^"([^"]*)"$/, '$1')
      .trim()
      .toLowerCase(),
  )
  return found.some((address) => address.includes('"')) ? null : [...new Set(found)].filter((one) => one.includes('@'))
}

/** The providers whose users oauth2-proxy lets in only with `email_verified: true`. */
const ALWAYS_VERIFIED: ReadonlySet<string> = new Set(['google', 'gitlab', 'github', 'gitea', 'bitbucket', 'login.gov'])

/** Requires what oauth2-proxy requires of `email_verified`. With most providers, the claim may be missing. */
function requireVerifiedEmail(migration: Migration): void {
  const setting = migration.effective.get('insecure_oidc_allow_unverified_email')
  const kind = providerType(migration)
  // oauth2-proxy reads the switch only for GitLab and for providers with a generic ID token.
  const readsSwitch = kind === 'gitlab' || !ALWAYS_VERIFIED.has(kind)
  if (setting !== undefined && flagOf(setting) === true && readsSwitch) {
    return remark(
      migration,
      'security',
      setting,
      'unverified addresses are accepted, as before: let routes require email_verified: true',
    )
  }
  if (setting !== undefined) markRouteSource(migration, setting)
  if (ALWAYS_VERIFIED.has(kind)) requireOnAllRoutes(migration, claimIn('email_verified', [true]))
  else if (emailClaim(migration) === 'email') requireOnAllRoutes(migration, notOf(claimIn('email_verified', [false])))
}

/**
 * Lets in every user whose client has an address of `trusted_ips`, from which oauth2-proxy required no login. Runs after
 * the steps that add conditions.
 */
export function migrateTrustedAddresses(migration: Migration): void {
  const setting = migration.effective.get('trusted_ips')
  if (setting === undefined) return
  const { conditions } = migration.routeDefaults
  const ranges = listOf(setting)
  const isKnown = ranges.every((range) => isIP(range.replace(/\/\d{1,3}$/, '')) !== 0)
  const all = allOf(conditions)
  const proxies = partAt(migration, 'trustedProxies')?.value
  // With `reverse_proxy`, the addresses are those in a header, which the gateway reads from trusted proxies only. The
  // clients of a Unix socket have no address.
  const isSocket = String(partAt(migration, 'listen')?.value).startsWith('unix:')
  const knowsAddress = has(migration, 'trustedProxies') ? Array.isArray(proxies) && proxies.length > 0 : !isSocket
  const login = 'clients with these addresses needed no login, and need one now'
  if (isKnown && knowsAddress && !isMetByEveryUser(all)) {
    conditions.splice(0, conditions.length, anyOf([{ kind: 'networks', ranges }, all]))
    markRouteSource(migration, setting)
    const text =
      `${login}; every user of the provider is then let in (require.any). The gateway compares the address of the ` +
      'connection, unless trustedProxies lists the proxies in front of it'
    return remark(migration, 'security', setting, text)
  }
  const instead = 'let those clients send a token (bearer), or make the paths public'
  const networks = isMetByEveryUser(all)
    ? ''
    : '; once trustedProxies lists the proxies in front, networks under require.any can let in their users without ' +
      'other requirements'
  remark(migration, 'security', setting, `${login}: ${instead}${networks}`)
}

/** Adds `oidc_extra_audiences`, which oauth2-proxy accepts in ID tokens and in the tokens that clients send. */
function acceptAudiences(migration: Migration): void {
  const setting = migration.effective.get('oidc_extra_audiences')
  const { bearer: before } = migration.routeDefaults
  if (setting === undefined || before === undefined) return
  const audience = [...new Set([...before.audience, ...listOf(setting).map(literal)])]
  migration.routeDefaults.bearer = { ...before, audience }
  markRouteSource(migration, setting)
  remark(
    migration,
    'differs',
    setting,
    'carried over for tokens that clients send; the audience of the ID token of a login must be this client',
  )
}

/** Adds `extra_jwt_issuers`, pairs of an issuer and an audience. */
function acceptIssuers(migration: Migration): void {
  const setting = migration.effective.get('extra_jwt_issuers')
  const { bearer: before } = migration.routeDefaults
  if (setting === undefined || before === undefined) return
  const own = migration.effective.get('oidc_issuer_url')
  const extra = migration.effective.get('oidc_extra_audiences')
  const pairs = listOf(setting).map((pair) => /^(.+)=([^=]+)$/.exec(pair) ?? [])
  const valid = pairs.filter(([, issuer = '']) => isIssuer(issuer))
  const isOwn = ([, issuer]: readonly string[]): boolean => own !== undefined && issuer === textOf(own)
  const audience = [...before.audience, ...valid.filter(isOwn).map(([, , name = '']) => literal(name))]
  const issuers = valid
    .filter((pair) => !isOwn(pair))
    .map(([, issuer = '', name = '']) => ({
      issuer: literal(issuer),
      audience: [name, ...(extra === undefined ? [] : listOf(extra))].map(literal),
    }))
  migration.routeDefaults.bearer = { audience: [...new Set(audience)], issuers }
  for (const { issuer } of issuers) allowPlainHttp(migration, issuer, setting)
  markRouteSource(migration, setting)
  if (valid.length < pairs.length)
    remark(migration, 'gap', setting, 'an item that is not ISSUER=AUDIENCE is left out: add it to bearer.issuers')
  if (issuers.length > 0)
    remark(
      migration,
      'differs',
      setting,
      'the keys are read where the metadata of the issuer says: an issuer without metadata needs jwksUri, which ' +
        'oauth2-proxy guesses (…/.well-known/jwks.json)',
    )
}

/** Returns the type of provider; `google` is the default of oauth2-proxy. */
export function providerType(migration: Migration): string {
  const setting = migration.effective.get('provider')
  const type = setting === undefined ? '' : textOf(setting)
  return type === '' ? 'google' : type
}
