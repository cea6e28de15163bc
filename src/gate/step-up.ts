import type { Session } from '../session/session.ts'
import type { CompiledRoute, StepUp } from './verdict.ts'

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
export function comesFromLoginFor(
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
