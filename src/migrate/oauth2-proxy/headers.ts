import { type Draft, remark, routed } from '../draft.ts'
import { type Entry, flagOf, literal } from '../entry.ts'
import { emailClaim, groupsClaim } from './access.ts'
import { type Rule, to, together } from '../rule.ts'
import { giveVerdicts } from '../verdicts.ts'

/** The user's name, address and groups for the upstream. */
export const identity: Rule = together(
  'routes[].headers.set',
  'X-Forwarded-User, -Email, -Groups and -Preferred-Username from the claims',
)

/** The same in the answer to a proxy that asks. */
export const responseIdentity: Rule = to(
  'routes[].headers.set',
  (entry, draft) => {
    if (flagOf(entry) === false) return remark(draft, 'builtin', entry, 'it is off, and nothing is set')
    Object.assign(draft.shared.set, {
      'X-Auth-Request-User': '{claims.sub}',
      'X-Auth-Request-Email': `{claims.${emailClaim(draft)}}`,
      'X-Auth-Request-Groups': `{claims.${groupsClaim(draft)}}`,
      'X-Auth-Request-Preferred-Username': '{claims.preferred_username}',
    })
    routed(draft, entry)
  },
  'the same names, for the upstream and in the verdicts on forwardAuth.listen; never in an answer to the browser',
)

/** The token that goes upstream. */
export const tokens: Rule = together('routes[].token', 'one header carries the access token; the ID token stays inside')

const isOn = (draft: Draft, key: string, otherwise: boolean): boolean => {
  const entry = draft.given.get(key)
  return entry === undefined ? otherwise : flagOf(entry) !== false
}

/**
 * Reads together which headers the upstream gets; `usual` are the peer's defaults, which its newer format does not
 * have.
 */
export function finishHeaders(draft: Draft, usual: boolean): void {
  const about = ['pass_user_headers', 'pass_basic_auth', 'prefer_email_to_user'].flatMap(
    (key) => draft.given.get(key) ?? [],
  )
  if (isOn(draft, 'pass_user_headers', usual) || isOn(draft, 'pass_basic_auth', usual)) {
    const email = `{claims.${emailClaim(draft)}}`
    const preferEmail = isOn(draft, 'prefer_email_to_user', false)
    Object.assign(draft.shared.set, {
      'X-Forwarded-User': preferEmail ? email : '{claims.sub}',
      ...(preferEmail ? {} : { 'X-Forwarded-Email': email }),
      'X-Forwarded-Groups': `{claims.${groupsClaim(draft)}}`,
      'X-Forwarded-Preferred-Username': '{claims.preferred_username}',
    })
    if (about.length === 0) {
      remark(
        draft,
        'differs',
        null,
        'pass_user_headers is not given, and on by default: headers.set has X-Forwarded-User and its kin; take out ' +
          'what the application does not read',
      )
    }
  }
  routed(draft, ...about)
  // An application may read them though no claim is sent, and a trusted proxy pass on what a client made up.
  draft.shared.remove.push(
    ...['X-Forwarded', 'X-Auth-Request'].flatMap((family) =>
      ['User', 'Email', 'Groups', 'Preferred-Username', 'Access-Token'].map((name) => `${family}-${name}`),
    ),
  )
  const injected = onlyOn(draft, 'pass_authorization_header') ?? draft.given.get('basic_auth_password')
  if (injected !== undefined && isOn(draft, 'skip_auth_strip_headers', true)) draft.shared.remove.push('Authorization')
  finishTokens(draft)
  for (const key of ['set_xauthrequest', 'set_authorization_header']) {
    const entry = onlyOn(draft, key)
    if (entry !== null) giveVerdicts(draft, entry)
  }
}

function finishTokens(draft: Draft): void {
  const access = onlyOn(draft, 'pass_access_token')
  const authorization = onlyOn(draft, 'pass_authorization_header') ?? onlyOn(draft, 'set_authorization_header')
  for (const key of ['pass_access_token', 'pass_authorization_header', 'set_authorization_header']) {
    const entry = draft.given.get(key)
    if (entry !== undefined && flagOf(entry) === false) routed(draft, entry)
  }
  const answers = draft.given.get('set_xauthrequest')
  if (access !== null) {
    const nginx = answers !== undefined && flagOf(answers) === true
    draft.shared.token = { header: nginx ? 'X-Auth-Request-Access-Token' : 'X-Forwarded-Access-Token' }
    routed(draft, access)
    if (nginx)
      remark(
        draft,
        'differs',
        access,
        'one header carries the token: X-Auth-Request-Access-Token, upstream as well as for the proxy that asks',
      )
    if (authorization !== null) {
      remark(
        draft,
        'security',
        authorization,
        'the ID token does not leave the gateway; the access token goes upstream as pass_access_token says',
      )
    }
  } else if (authorization !== null) {
    draft.shared.token = { header: 'Authorization' }
    routed(draft, authorization)
    remark(
      draft,
      'security',
      authorization,
      'Authorization carries the access token here, not the ID token: the application has to check that one, ' +
        'or read the user from headers.set; token: { grant: none } sends none',
    )
  } else if (draft.shared.token === undefined) draft.shared.token = { grant: 'none' }
}

function onlyOn(draft: Draft, key: string): Entry | null {
  const entry = draft.given.get(key)
  return entry !== undefined && flagOf(entry) !== false ? entry : null
}

/** The template for a claim of a session as the peer names it; `null` where there is no such claim here. */
export function templateOf(draft: Draft, claim: string): string | null {
  if (['access_token', 'id_token', 'refresh_token', 'created_at', 'expires_on'].includes(claim)) return null
  const names: Readonly<Record<string, string>> = { user: 'sub', email: emailClaim(draft), groups: groupsClaim(draft) }
  const name = Object.hasOwn(names, claim) ? (names[claim] ?? claim) : claim
  return /^[^{}]+$/.test(name) ? `{claims.${literal(name)}}` : null
}
