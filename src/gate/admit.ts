import { numberFrom, timeFrom } from '../config/numbers.ts'
import { unverifiedClaims, type Claims } from '../oidc/token-set.ts'
import type { Session } from '../session/session.ts'
import type { CompiledRoute, Denial, StepUp } from './verdict.ts'

/** Who asks: a session, or the bearer of a token of their own. */
export type User = Pick<Session, 'claims' | 'createdAt' | 'asked'> & Partial<Pick<Session, 'tokens'>>

/** Whether a session may use a route, and if not why; `hadTicket` tells a session that has ended from none at all. */
export function admit(route: CompiledRoute, session: User | null, hadTicket: boolean, now: number): Denial | null {
  if (route.access !== 'required') return null
  if (session === null)
    return hadTicket ? { reason: 'session-expired', clearCookie: true } : { reason: 'login-required' }
  return stepUp(route, session, now) ?? forbidden(route, session)
}

function stepUp({ require }: CompiledRoute, user: User, now: number): Denial | null {
  const { claims, createdAt } = user
  const maxAge = require.maxAge === null ? null : Math.floor(require.maxAge / 1000)
  const acr = claims['acr']
  const lacksAcr = require.acr !== null && !(typeof acr === 'string' && require.acr.includes(acr))
  const told = numberFrom(claims['auth_time'])
  const authTime = (told === null ? null : timeFrom(told * 1000)) ?? createdAt
  const isOlder = require.maxAge !== null && now - authTime > require.maxAge
  const tooOld = isOlder && maxAge !== null && !comesFromLoginFor(maxAge, user, now)
  if (!lacksAcr && !tooOld) return null
  return { reason: 'step-up', stepUp: { acrValues: lacksAcr ? require.acr : null, maxAge: tooOld ? maxAge : null } }
}

function forbidden({ require }: CompiledRoute, { claims, tokens }: User): Denial | null {
  for (const [name, allowed] of Object.entries(require.claims)) {
    const value = claimAt(claims, name)
    const values: unknown[] = Array.isArray(value) ? value : [value]
    if (values.some((one) => allowed.some((wanted) => one === wanted))) continue
    if (value !== undefined) {
      return { reason: 'forbidden', why: `the claim ${name} has none of the values that this route requires` }
    }
    if (!isElsewhere(claims, name)) {
      // Where Keycloak, for one, puts roles unless it is told otherwise.
      const isInAccessToken = claimAt(unverifiedClaims(tokens?.accessToken ?? ''), name) !== undefined
      const hint = isInAccessToken ? '; the access token has it: let the provider add it to the ID token' : ''
      return { reason: 'forbidden', why: `the claim ${name} is missing${hint}` }
    }
    const why = `the provider left the claim ${name} out of the ID token (too many values)`
    return { reason: 'forbidden', leftOut: true, why }
  }
  return null
}

/**
 * A provider that has too much to say points elsewhere (OpenID Connect Core 1.0, section 5.6.2), or just says so, as
 * Entra does with `hasgroups`: nobody has looked there.
 */
function isElsewhere(claims: Claims, name: string): boolean {
  const elsewhere = claimAt(claims, '_claim_names')
  const [outermost = name] = name.split('.')
  const named = typeof elsewhere === 'object' && elsewhere !== null ? elsewhere : {}
  if (Object.hasOwn(named, name) || Object.hasOwn(named, outermost)) return true
  return name === 'groups' && claims['hasgroups'] === true
}

/**
 * A claim by its name outright, or by its path through nested objects (`realm_access.roles`), whose names may have dots
 * of their own (`resource_access.com.example.app.roles`).
 */
export function claimAt(claims: Claims, name: string): unknown {
  if (Object.hasOwn(claims, name)) return claims[name]
  for (let dot = name.indexOf('.'); dot !== -1; dot = name.indexOf('.', dot + 1)) {
    const outer = name.slice(0, dot)
    const inner = Object.hasOwn(claims, outer) ? claims[outer] : undefined
    if (!isObject(inner)) continue
    const found = claimAt(inner, name.slice(dot + 1))
    if (found !== undefined) return found
  }
  return undefined
}

function isObject(value: unknown): value is Claims {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** How long after a login the same wish from the application means that the provider does not deliver, ms. */
const JUST_NOW = 60_000

/** One name for what a step-up asks for, so that two can be told to be the same. */
export function stepUpMark({ acrValues, maxAge, scope, claims }: StepUp): string {
  return JSON.stringify([acrValues?.join(' ') ?? null, maxAge, scope ?? null, claims ?? null])
}

/** What `stepUpMark` has named; `null` where that is nothing. */
export function stepUpOf(mark: string): StepUp | null {
  const parts: unknown = JSON.parse(mark)
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

/** Whether a session has just come from a login that asked for the same: another one would go round in circles. */
export function wasJustAsked(
  session: { readonly asked: string | null; readonly createdAt: number },
  stepUp: StepUp,
  now: number,
): boolean {
  return session.asked === stepUpMark(stepUp) && now - session.createdAt < JUST_NOW
}

/** How long a browser may take from a callback to the page that it was for, ms. */
const ON_THE_WAY = 2_000

/**
 * Whether a session has come this very moment from a login that asked for this `max_age` (s). The callback has looked
 * at `auth_time`, and lets clocks differ a little: to be stricter now would go round in circles.
 */
function comesFromLoginFor(
  maxAge: number,
  { asked, createdAt }: Pick<Session, 'asked' | 'createdAt'>,
  now: number,
): boolean {
  if (asked === null || now - createdAt > ON_THE_WAY) return false
  return stepUpOf(asked)?.maxAge === maxAge
}

/**
 * A step-up that somebody else asks for, with what the route itself requires: a login for the one must not lose the
 * other.
 */
export function withRequirements({ require }: CompiledRoute, stepUp: StepUp): StepUp {
  return { ...stepUp, acrValues: stepUp.acrValues ?? require.acr }
}
