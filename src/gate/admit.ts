import { authTimeOf, type Claims } from '../oidc/token-set.ts'
import type { Session } from '../session/session.ts'
import type { Sessions } from '../session/sessions.ts'
import type { StepUp, TokenDenial } from '../token/denial.ts'
import { explainRule } from './rule-explanation.ts'
import { ruleHolds } from './rules.ts'
import type { CompiledRoute, Facts, GateDenial } from './verdict.ts'

type User = Pick<Session, 'claims' | 'createdAt' | 'requestedStepUp' | 'reauthenticated'> &
  Partial<Pick<Session, 'tokens'>>

type Requirement = CompiledRoute['require']

/**
 * Returns why a session may not use a route, or `null` if it may. `hadTicket`: the request has a ticket, so a missing
 * session has ended. `address`: the client's address, or an empty string if it has none.
 */
export function admit(
  route: CompiledRoute,
  session: User | null,
  hadTicket: boolean,
  now: number,
  address: string,
): GateDenial | null {
  if (route.access !== 'required') return null
  if (session === null)
    return hadTicket ? { reason: 'session-expired', clearCookie: true } : { reason: 'login-required' }
  return requireStepUp(route.require, session, now) ?? requireRule(route.require, 'require', session, address)
}

/**
 * Returns why a client with a verified token of its own may not use a route, or `null` if it may. What the token must
 * have is `bearer.require`, and otherwise `require`. `address`: the client's address, or an empty string if it has none.
 */
export function admitToken(route: CompiledRoute, claims: Claims, now: number, address: string): GateDenial | null {
  const own = route.bearer?.require ?? null
  const requirement = own ?? route.require
  // Without a session, only the token's `auth_time` can show when the user logged in.
  const stepUp = requireStepUp(requirement, { claims, createdAt: 0, requestedStepUp: null }, now)
  if (stepUp !== null) return { reason: 'insufficient-authentication', stepUp: stepUp.stepUp }
  return requireRule(requirement, own === null ? 'require' : 'bearer.require', { claims }, address)
}

/** Returns whether a route accepts sessions of a provider. */
export function allowsProvider({ provider }: Pick<CompiledRoute, 'provider'>, name: string | undefined): boolean {
  return provider?.includes(name ?? '') ?? true
}

export function denyWithoutToken(
  denial: TokenDenial,
  route: CompiledRoute,
  session: Session,
  facts: Pick<Facts, 'ticket'>,
  sessions: Pick<Sessions, 'hasSuccessor'>,
  now: number,
): GateDenial {
  if (denial.reason !== 'step-up') return keepCookieOfSuccessor(denial, facts, sessions)
  const stepUp = withRequirements(route, denial.stepUp)
  return isRepeatedStepUp(session, stepUp, now) ? { reason: 'token-refused' } : { reason: 'step-up', stepUp }
}

/** Keeps the cookie if another session has replaced the ended one, because the cookie may belong to the new session. */
export function keepCookieOfSuccessor(
  denial: GateDenial,
  { ticket }: Pick<Facts, 'ticket'>,
  sessions: Pick<Sessions, 'hasSuccessor'>,
): GateDenial {
  if (denial.reason !== 'session-expired' || ticket === null || !sessions.hasSuccessor(ticket.id)) return denial
  return { ...denial, clearCookie: false }
}

type StepUpDenial = Extract<GateDenial, { readonly reason: 'step-up' }>

function requireStepUp(require: Requirement, user: User, now: number): StepUpDenial | null {
  if (require.acr === null && require.maxAge === null) return null
  const { claims, createdAt, reauthenticated } = user
  const maxAge = require.maxAge === null ? null : Math.floor(require.maxAge / 1000)
  const acr = claims['acr']
  const lacksAcr = require.acr !== null && !(typeof acr === 'string' && require.acr.includes(acr))
  // Without `auth_time`, an ordinary login proves nothing: the provider may have used a session of its own.
  const authTime = authTimeOf(claims) ?? (reauthenticated === true ? createdAt : Number.NEGATIVE_INFINITY)
  const isOlder = require.maxAge !== null && now - authTime > require.maxAge
  const tooOld = isOlder && maxAge !== null && !comesFromLoginFor(maxAge, user, now)
  if (!lacksAcr && !tooOld) return null
  return { reason: 'step-up', stepUp: { acrValues: lacksAcr ? require.acr : null, maxAge: tooOld ? maxAge : null } }
}

function requireRule(
  require: Requirement,
  at: string,
  { claims, tokens }: Pick<User, 'claims' | 'tokens'>,
  address: string,
): GateDenial | null {
  if (ruleHolds(require, claims, address)) return null
  const input = { claims, address, accessToken: tokens?.accessToken }
  const { reasons, hint, isOmission } = explainRule(require, input, at)
  return {
    reason: 'forbidden',
    why: reasons.join('; '),
    ...(hint === null ? {} : { hint }),
    ...(isOmission ? { overage: true } : {}),
  }
}

/** If a step-up is required again this soon after its login, the provider does not deliver it. */
const REPEATED_WITHIN_MS = 60_000

/** Returns a key for a step-up. Equal step-ups have equal keys. */
export function stepUpKey({ acrValues, maxAge, scope, claims }: StepUp): string {
  return JSON.stringify([acrValues?.join(' ') ?? null, maxAge, scope ?? null, claims ?? null])
}

/** Returns the step-up of a key from `stepUpKey`, or `null` if the step-up is empty. */
export function parseStepUpKey(key: string): StepUp | null {
  const parts: unknown = JSON.parse(key)
  if (!Array.isArray(parts)) return null
  const [acr, maxAge, scope, claims]: unknown[] = parts
  if ([acr, maxAge, scope, claims].every((part) => part === null)) return null
  return {
    acrValues: typeof acr === 'string' ? acr.split(' ') : null,
    maxAge: typeof maxAge === 'number' ? maxAge : null,
    ...(typeof scope === 'string' ? { scope } : {}),
    ...(typeof claims === 'string' ? { claims } : {}),
  }
}

/** Returns whether the session comes from a recent login with the same step-up, so that another login would loop. */
export function isRepeatedStepUp(
  session: { readonly requestedStepUp: string | null; readonly createdAt: number },
  stepUp: StepUp,
  now: number,
): boolean {
  return session.requestedStepUp === stepUpKey(stepUp) && now - session.createdAt < REPEATED_WITHIN_MS
}

/** How long a browser may take from the callback to the target of the login. */
const CALLBACK_TO_TARGET_MS = 2_000

/**
 * Returns whether the session was created within the last two seconds by a login with this `max_age`, in seconds. The
 * callback checks `auth_time` with a tolerance for clock skew, so a stricter check here would start another login.
 */
function comesFromLoginFor(
  maxAge: number,
  { requestedStepUp, createdAt }: Pick<Session, 'requestedStepUp' | 'createdAt'>,
  now: number,
): boolean {
  if (requestedStepUp === null || now - createdAt > CALLBACK_TO_TARGET_MS) return false
  return parseStepUpKey(requestedStepUp)?.maxAge === maxAge
}

/**
 * Adds the route's `acr` to a step-up that the provider or the application requires, so that one login satisfies both.
 */
export function withRequirements({ require }: CompiledRoute, stepUp: StepUp): StepUp {
  return { ...stepUp, acrValues: stepUp.acrValues ?? require.acr }
}
