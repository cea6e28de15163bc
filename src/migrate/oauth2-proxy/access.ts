import { requireClaim, type Migration, UNDECIDED_CLAIM, remark, markRouteSource } from '../migration.ts'
import { type Setting, flagOf, listOf, literal, textOf } from '../setting.ts'
import { type Rule, becomes } from '../rule.ts'

/** Creates a rule for a restriction that routes cannot express: no user is let in until the operator has decided. */
export function closedUntilDecided(note: string): Rule {
  return {
    target: 'routes[].require.claims',
    note: `no user is let in until you decide; ${note}`,
    apply(setting, migration) {
      if (listOf(setting).length === 0)
        return remark(migration, 'builtin', setting, 'it is empty, and requires nothing')
      requireClaim(migration, UNDECIDED_CLAIM, [setting.key], setting)
      remark(
        migration,
        'security',
        setting,
        `it let in only some users, and no user is let in until you decide: ${note}; then remove ${UNDECIDED_CLAIM}`,
      )
    },
  }
}

/** The tenants of Entra ID whose users are let in. */
export const tenants: Rule = becomes('routes[].require.claims', (setting, migration) => {
  if (listOf(setting).length > 0) requireClaim(migration, 'tid', listOf(setting).map(literal), setting)
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
    migration.routeDefaults.bearer = [literal(textOf(client))]
    markRouteSource(migration, setting)
    remark(
      migration,
      'differs',
      setting,
      'access tokens in JWT form (RFC 9068) for one of bearer.audience are accepted, ID tokens are not; the claims ' +
        'that routes require must be in the token itself',
    )
  },
  'the gateway accepts access tokens in JWT form with the client id as audience; it rejects ID tokens, ' +
    'which oauth2-proxy accepts',
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
  const roles = migration.effective.get('allowed_roles')
  if (roles !== undefined) requireRoles(migration, roles)
  const issuers = migration.effective.get('extra_jwt_issuers')
  if (issuers !== undefined) acceptIssuers(migration, issuers)
  for (const key of ['oidc_groups_claim', 'oidc_email_claim', 'user_id_claim']) {
    const setting = migration.effective.get(key)
    if (setting !== undefined) markRouteSource(migration, setting)
  }
}

function requireEmails(migration: Migration): void {
  const domains = migration.effective.get('email_domains')
  const file = migration.effective.get('authenticated_emails_file')
  const domainNames = domains === undefined ? [] : listOf(domains)
  const anyDomain = domainNames.includes('*')
  if (domains !== undefined) {
    markRouteSource(migration, domains)
    if (anyDomain) {
      remark(
        migration,
        'security',
        domains,
        'every user of the provider is let in, as before: require claims under require.claims to let in ' +
          'fewer users',
      )
    } else if (domainNames.length > 0) requireDomains(migration, domains, domainNames)
  }
  if (file !== undefined && textOf(file) !== '') {
    if (anyDomain)
      remark(migration, 'differs', file, 'it had no effect together with email_domains = ["*"], and is left out')
    else {
      requireClaim(migration, emailClaim(migration), ['list-the-addresses@change-me.invalid'], file)
      remark(
        migration,
        'security',
        file,
        'no user is let in until you list the addresses in this file under require.claims' +
          (domainNames.length > 0
            ? '; oauth2-proxy let in users who matched either this file or email_domains; here users must match both'
            : ''),
      )
    }
  } else if (domainNames.length === 0) {
    migration.routeDefaults.claims[UNDECIDED_CLAIM] = ['email_domains']
    remark(
      migration,
      'security',
      null,
      'email_domains is not given, and without it oauth2-proxy lets no user in: routes require the claim ' +
        `${UNDECIDED_CLAIM} until you decide who is let in (if the setting is in another file, name both files)`,
    )
  }
  requireVerifiedEmail(migration)
}

function requireDomains(migration: Migration, setting: Setting, domainNames: readonly string[]): void {
  const google = providerType(migration) === 'google'
  const claim = google ? 'hd' : 'email_domain'
  const exact = domainNames.map((domain) => literal(domain.replace(/^(\*\.|\.|@)/, '')))
  requireClaim(migration, claim, exact, setting)
  remark(
    migration,
    'security',
    setting,
    google
      ? 'it is compared with hd, the Workspace domain that Google confirms; other Google accounts with an address in ' +
          'that domain are not let in'
      : 'the gateway compares whole claims, so the domain must be a claim: let the provider put it into email_domain, ' +
          'or require another claim; no user is let in until then',
  )
  if (domainNames.some((domain) => /^(\*\.|\.)/.test(domain))) {
    remark(
      migration,
      'differs',
      setting,
      'a domain that starts with a dot or *. meant its subdomains: list each of them',
    )
  }
}

function requireVerifiedEmail(migration: Migration): void {
  const setting = migration.effective.get('insecure_oidc_allow_unverified_email')
  if (setting !== undefined && flagOf(setting) === true) {
    return remark(
      migration,
      'security',
      setting,
      'unverified addresses are accepted, as before: let routes require email_verified: true',
    )
  }
  if (setting !== undefined) markRouteSource(migration, setting)
  // Entra ID and AD FS have no such claim, and oauth2-proxy treats an absent claim as verified.
  if (['azure', 'entra-id', 'adfs'].includes(providerType(migration)) || emailClaim(migration) !== 'email') return
  migration.routeDefaults.claims['email_verified'] = [true]
  remark(
    migration,
    'differs',
    setting ?? null,
    'routes require email_verified: true, because oauth2-proxy rejects users with false; remove it if the provider ' +
      'has no such claim',
  )
}

function requireRoles(migration: Migration, setting: Setting): void {
  const byClaim = new Map<string, string[]>()
  for (const role of listOf(setting)) {
    const [, client, name = role] = /^([^:]+):(.+)$/.exec(role) ?? []
    const claim = client === undefined ? 'realm_access.roles' : `resource_access.${client}.roles`
    byClaim.set(claim, [...(byClaim.get(claim) ?? []), literal(name)])
  }
  for (const [claim, names] of byClaim) requireClaim(migration, claim, names, setting)
  remark(
    migration,
    'differs',
    setting,
    `the claim ${[...byClaim.keys()].join(' and ')} must be in the ID token: add a mapper in Keycloak` +
      (byClaim.size > 1 || migration.effective.has('allowed_groups')
        ? '; oauth2-proxy lets in users with any one of the groups and roles; here each claim is required'
        : ''),
  )
}

function acceptIssuers(migration: Migration, setting: Setting): void {
  const own = migration.effective.get('oidc_issuer_url')
  const pairs = listOf(setting).map((pair) => /^(.+)=([^=]+)$/.exec(pair) ?? [])
  const same = pairs
    .filter(([, issuer]) => own !== undefined && issuer === textOf(own))
    .map(([, , audience = '']) => literal(audience))
  if (migration.routeDefaults.bearer !== undefined)
    migration.routeDefaults.bearer = [...new Set([...migration.routeDefaults.bearer, ...same])]
  if (same.length > 0) markRouteSource(migration, setting)
  if (same.length < pairs.length) {
    remark(
      migration,
      'gap',
      setting,
      'only tokens of provider.issuer are accepted: let the clients get their tokens there, or use a public route if ' +
        'the API checks tokens itself',
    )
  }
}

/** Returns the type of provider; `google` is the default of oauth2-proxy. */
export function providerType(migration: Migration): string {
  const setting = migration.effective.get('provider')
  const type = setting === undefined ? '' : textOf(setting)
  return type === '' ? 'google' : type
}
