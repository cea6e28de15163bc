import { demand, type Draft, NOBODY, put, remark, routed } from '../draft.ts'
import { type Entry, flagOf, listOf, literal, textOf } from '../entry.ts'
import { type Rule, to } from '../rule.ts'

/** A restriction that can't be said here: nobody is let in until somebody has looked at it. */
export function closing(says: string): Rule {
  return {
    ours: 'routes[].require.claims',
    says: `closed until you decide: ${says}`,
    apply(entry, draft) {
      if (listOf(entry).length === 0) return remark(draft, 'builtin', entry, 'it is empty, and asks for nothing')
      demand(draft, NOBODY, [entry.key], entry)
      remark(
        draft,
        'security',
        entry,
        `it let in some users only, and nobody gets in until you decide: ${says}; then take ${NOBODY} out`,
      )
    },
  }
}

/** A list of groups, one of which the user has to be in. */
export function groups(says = ''): Rule {
  return to(
    'routes[].require.claims',
    (entry, draft) => {
      if (listOf(entry).length === 0) return remark(draft, 'builtin', entry, 'it is empty, and asks for nothing')
      demand(draft, groupsClaim(draft), listOf(entry).map(literal), entry)
      if (entry.key === 'gitlab_groups') put(draft, 'provider.userinfo', true, entry)
    },
    says,
  )
}

/** The tenants of Entra ID, one of which the user has to be of. */
export const tenants: Rule = to('routes[].require.claims', (entry, draft) => {
  if (listOf(entry).length > 0) demand(draft, 'tid', listOf(entry).map(literal), entry)
})

/** Tokens that clients bring themselves. */
export const bearer: Rule = to(
  'routes[].bearer',
  (entry, draft) => {
    if (flagOf(entry) === false)
      return remark(draft, 'builtin', entry, "a client's own token opens nothing unless a route says bearer")
    const client = draft.given.get('client_id')
    if (client === undefined)
      return remark(
        draft,
        'todo',
        entry,
        'give the routes bearer: { audience: … }; nobody gets in with a token until then',
      )
    draft.shared.bearer = [literal(textOf(client))]
    routed(draft, entry)
    remark(
      draft,
      'differs',
      entry,
      'access tokens in JWT form (RFC 9068) for one of bearer.audience are taken, ID tokens are not; what the ' +
        "routes require has to be among the token's own claims",
    )
  },
  'access tokens in JWT form for the client id as audience; ID tokens, which the peer takes, are refused',
)

/** The claim that groups are read from. */
export function groupsClaim(draft: Draft): string {
  return claimNamed(draft, 'oidc_groups_claim', 'groups')
}

/** The claim that the e-mail address is read from. */
export function emailClaim(draft: Draft): string {
  const email = claimNamed(draft, 'oidc_email_claim', 'email')
  return email === 'email' ? claimNamed(draft, 'user_id_claim', 'email') : email
}

function claimNamed(draft: Draft, key: string, usual: string): string {
  const entry = draft.given.get(key)
  if (entry === undefined || textOf(entry) === '') return usual
  routed(draft, entry)
  return textOf(entry)
}

/** Reads together what says whose e-mail address is good enough, and which roles and further issuers are. */
export function finishAccess(draft: Draft): void {
  readEmails(draft)
  const roles = draft.given.get('allowed_roles')
  if (roles !== undefined) readRoles(draft, roles)
  const issuers = draft.given.get('extra_jwt_issuers')
  if (issuers !== undefined) readIssuers(draft, issuers)
  for (const key of ['oidc_groups_claim', 'oidc_email_claim', 'user_id_claim']) {
    const entry = draft.given.get(key)
    if (entry !== undefined) routed(draft, entry)
  }
}

function readEmails(draft: Draft): void {
  const domains = draft.given.get('email_domains')
  const file = draft.given.get('authenticated_emails_file')
  const wanted = domains === undefined ? [] : listOf(domains)
  const everybody = wanted.includes('*')
  if (domains !== undefined) {
    routed(draft, domains)
    if (everybody) {
      remark(
        draft,
        'security',
        domains,
        'everybody whom the provider lets in gets in, as before: ask for claims under require.claims if that is ' +
          'too many',
      )
    } else if (wanted.length > 0) readDomains(draft, domains, wanted)
  }
  if (file !== undefined && textOf(file) !== '') {
    if (everybody) remark(draft, 'differs', file, 'it had no effect beside email_domains = ["*"], and is left out')
    else {
      demand(draft, emailClaim(draft), ['list-the-addresses@change-me.invalid'], file)
      remark(
        draft,
        'security',
        file,
        'nobody gets in until its addresses are listed under require.claims, one by one' +
          (wanted.length > 0
            ? '; beside email_domains the peer let in who was in either, here both are asked for'
            : ''),
      )
    }
  } else if (wanted.length === 0) {
    draft.shared.claims[NOBODY] = ['email_domains']
    remark(
      draft,
      'security',
      null,
      'email_domains is not given, and without it the peer lets nobody in: routes require a claim ' +
        `${NOBODY} until you decide who may enter (with the setting in another file, name both files)`,
    )
  }
  readVerified(draft)
}

function readDomains(draft: Draft, entry: Entry, wanted: readonly string[]): void {
  const google = provider(draft) === 'google'
  const claim = google ? 'hd' : 'email_domain'
  const exact = wanted.map((domain) => literal(domain.replace(/^(\*\.|\.|@)/, '')))
  demand(draft, claim, exact, entry)
  remark(
    draft,
    'security',
    entry,
    google
      ? 'it is compared with hd, the Workspace domain that Google confirms; other Google accounts with such an ' +
          'address stay outside'
      : "claims are compared whole here, so the address's domain has to come as a claim: have the provider put it " +
          'into email_domain, or ask ' +
          'for another claim instead; nobody gets in until then',
  )
  if (wanted.some((domain) => /^(\*\.|\.)/.test(domain))) {
    remark(draft, 'differs', entry, 'a domain with a dot or *. in front meant its subdomains: list those one by one')
  }
}

function readVerified(draft: Draft): void {
  const entry = draft.given.get('insecure_oidc_allow_unverified_email')
  if (entry !== undefined && flagOf(entry) === true) {
    return remark(
      draft,
      'security',
      entry,
      'addresses that nobody has verified are taken, as before: let routes require email_verified: true',
    )
  }
  if (entry !== undefined) routed(draft, entry)
  // Entra ID and AD FS have no such claim, and the peer takes its absence for a yes.
  if (['azure', 'entra-id', 'adfs'].includes(provider(draft)) || emailClaim(draft) !== 'email') return
  draft.shared.claims['email_verified'] = [true]
  remark(
    draft,
    'differs',
    entry ?? null,
    'routes require email_verified: true, since the peer turns away who has it false; take it out where the ' +
      'provider has no such claim',
  )
}

function readRoles(draft: Draft, entry: Entry): void {
  const byClaim = new Map<string, string[]>()
  for (const role of listOf(entry)) {
    const [, client, name = role] = /^([^:]+):(.+)$/.exec(role) ?? []
    const claim = client === undefined ? 'realm_access.roles' : `resource_access.${client}.roles`
    byClaim.set(claim, [...(byClaim.get(claim) ?? []), literal(name)])
  }
  for (const [claim, names] of byClaim) demand(draft, claim, names, entry)
  remark(
    draft,
    'differs',
    entry,
    `the claim ${[...byClaim.keys()].join(' and ')} has to be in the ID token: add a mapper in Keycloak` +
      (byClaim.size > 1 || draft.given.has('allowed_groups')
        ? '; the peer lets in who has one of all groups and roles, here each claim is asked for'
        : ''),
  )
}

function readIssuers(draft: Draft, entry: Entry): void {
  const own = draft.given.get('oidc_issuer_url')
  const pairs = listOf(entry).map((pair) => /^(.+)=([^=]+)$/.exec(pair) ?? [])
  const same = pairs
    .filter(([, issuer]) => own !== undefined && issuer === textOf(own))
    .map(([, , audience = '']) => literal(audience))
  if (draft.shared.bearer !== undefined) draft.shared.bearer = [...new Set([...draft.shared.bearer, ...same])]
  if (same.length > 0) routed(draft, entry)
  if (same.length < pairs.length) {
    remark(
      draft,
      'gap',
      entry,
      'tokens of other issuers than provider.issuer are not accepted: let those clients get one there, or pass ' +
        'them by ' +
        'the gateway on a public route to an API that checks tokens itself',
    )
  }
}

/** The type of provider; the peer takes Google where none is named. */
export function provider(draft: Draft): string {
  const entry = draft.given.get('provider')
  const type = entry === undefined ? '' : textOf(entry)
  return type === '' ? 'google' : type
}
