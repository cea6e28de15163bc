import { isForAllTenants } from '../config/known-providers.ts'
import { claimAt } from '../gate/admit.ts'
import { parseTemplate, whyNoHeader } from '../gate/template.ts'
import type { CompiledRoute, Denial, Verdict } from '../gate/verdict.ts'
import { CLOCK_TOLERANCE } from '../oidc/keys.ts'
import type { Claims } from '../oidc/token-set.ts'

/** What is wrong with a token of these claims, as far as they are given; `null` where the gateway would take it. */
export function whyNotTaken(claims: Claims, audiences: readonly string[], issuer: string, now: number): string | null {
  const { iss, aud, exp, nbf, iat } = claims
  const audience = aud === undefined ? null : [aud].flat()
  // Which tenants a provider for all of them has, only its metadata tells.
  if (iss !== undefined && iss !== issuer && !isForAllTenants(issuer))
    return `the token’s iss is ${JSON.stringify(iss)}, the provider’s is ${issuer}`
  if (audience !== null && !audience.some((one) => audiences.some((wanted) => wanted === one))) {
    return `the token’s aud is ${JSON.stringify(aud)}, the route takes ${audiences.join(', ')}`
  }
  const seconds = now / 1000
  if (typeof exp === 'number' && exp <= seconds - CLOCK_TOLERANCE) return 'the token has expired'
  const isAhead = [nbf, iat].some((time) => typeof time === 'number' && time > seconds + CLOCK_TOLERANCE)
  return isAhead ? 'the token is not valid yet' : null
}

/** What the route asks of a user, and how these claims answer. */
export function metRequirements({ require }: CompiledRoute, claims: Claims, now: number): string[] {
  const named = Object.entries(require.claims).map(([name, allowed]) => {
    const value = claimAt(claims, name)
    const matching = [value].flat().find((one) => allowed.some((wanted) => wanted === one))
    return `the claim ${name} has ${JSON.stringify(matching)}`
  })
  const acr = require.acr === null ? [] : [`acr is ${String(claims['acr'])}`]
  const authTime = claims['auth_time']
  const age =
    require.maxAge === null
      ? []
      : [
          typeof authTime === 'number'
            ? `the login is ${Math.max(0, Math.round(now / 1000 - authTime))} s old, ` +
              `${Math.floor(require.maxAge / 1000)} s are allowed`
            : 'the login is taken to be of now: auth_time is not given',
        ]
  return [...named, ...acr, ...age]
}

/** Which token goes upstream. */
export function tokenOf({ route: { access, token }, who, session }: Extract<Verdict, { type: 'forward' }>): string {
  if (access === 'public' || who === null) return 'none of the gateway’s; the client’s own Authorization passes'
  if (who.bearer === true || session === null) return 'the client’s own, as it came'
  const { grant, audience, resource, scopes } = token
  const target = [
    audience === null ? '' : `audience ${audience}`,
    resource === null ? '' : `resource ${resource}`,
    scopes === null ? '' : `scopes ${scopes.join(' ')}`,
  ]
    .filter((part) => part !== '')
    .join(', ')
  switch (grant) {
    case 'none':
      return 'none'
    case 'session':
      return target === '' ? 'the session’s access token' : `the session’s refresh token is redeemed for ${target}`
    case 'client-credentials':
      return `the gateway’s own, by client-credentials${target === '' ? '' : ` for ${target}`}`
    case 'token-exchange':
    case 'on-behalf-of':
      return `the session’s access token is exchanged by ${grant}${target === '' ? '' : ` for ${target}`}`
  }
}

/** The headers that the route would set, but not for these claims. */
export function notSent({ headers }: CompiledRoute, claims: Claims): (readonly [string, string])[] {
  return Object.entries(headers.set).flatMap(([name, template]): (readonly [string, string])[] => {
    const why = whyNoHeader(parseTemplate(template), claims, headers.encoding)
    return why === null ? [] : [['not_sent', `${name}: ${why}`]]
  })
}

/** Why a request does not pass. */
export function reasonOf(denial: Denial): string {
  switch (denial.reason) {
    case 'no-route':
      return 'no route matches host, method and path'
    case 'ambiguous-path':
      return `some server reads this path as ${denial.reading}, which is another route’s`
    case 'login-required':
      return 'the route requires a session, and there is none'
    case 'session-expired':
      return 'the session has ended'
    case 'step-up':
      return [
        denial.stepUp.acrValues === null ? '' : `acr must be one of ${denial.stepUp.acrValues.join(', ')}`,
        denial.stepUp.maxAge === null ? '' : `the login must not be older than ${denial.stepUp.maxAge} s`,
      ]
        .filter((text) => text !== '')
        .join('; ')
    case 'forbidden':
      return denial.why
    case 'cross-origin':
      return 'an unsafe method with a session, sent by another origin'
    case 'token-refused':
      return 'the provider gives no token for this route'
    case 'invalid-token':
      return 'the client’s own token is not taken'
    case 'upstream-login':
      return 'the application sends scripts to a login'
    case 'step-up-refused':
      return 'the provider did not deliver the login that the application asks for'
    case 'token-unavailable':
      return 'the access token has expired and can’t be renewed now'
  }
}
