import type { Session } from '../session/session.ts'
import type { Acquired } from '../token/acquire.ts'
import { wasJustAsked, withRequirements } from './step-up.ts'
import type { CompiledRoute, Denial } from './verdict.ts'

/** What a request is told for which no token can be had. */
export function withoutToken(
  got: Extract<Acquired, { ok: false }>,
  route: CompiledRoute,
  session: Session,
  now: number,
): Denial {
  switch (got.problem) {
    case 'spent':
      return { reason: 'session-expired', clearCookie: false }
    case 'ended':
      return { reason: 'session-expired', clearCookie: true }
    case 'refused':
      return { reason: 'token-refused' }
    case 'unavailable':
      return { reason: 'token-unavailable', retryAfter: got.retryAfter }
    case 'step-up': {
      const stepUp = withRequirements(route, {
        acrValues: null,
        maxAge: null,
        ...(got.claims === null ? {} : { claims: got.claims }),
      })
      return wasJustAsked(session, stepUp, now) ? { reason: 'token-refused' } : { reason: 'step-up', stepUp }
    }
  }
}
