import type { CompiledRoute, StepUp } from './verdict.ts'

/** How long after a login the same wish from the application means that the provider does not deliver, ms. */
const JUST_NOW = 60_000

/** One name for what a step-up asks for, so that two can be told to be the same. */
export function stepUpMark({ acrValues, maxAge, scope, claims }: StepUp): string {
  return JSON.stringify([acrValues?.join(' ') ?? null, maxAge, scope ?? null, claims ?? null])
}

/** Whether a session has just come from a login that asked for the same: another one would go round in circles. */
export function wasJustAsked(session: { readonly asked: string | null, readonly createdAt: number }, stepUp: StepUp, now: number): boolean {
  return session.asked === stepUpMark(stepUp) && now - session.createdAt < JUST_NOW
}

/** A step-up that somebody else asks for, with what the route itself requires: a login for the one must not lose the other. */
export function withRequirements({ require }: CompiledRoute, stepUp: StepUp): StepUp {
  return { ...stepUp, acrValues: stepUp.acrValues ?? require.acr }
}
