import type { Session } from '../session/session.ts'
import type { Sessions } from '../session/sessions.ts'
import type { Acquired } from '../token/acquire.ts'
import { wasJustAsked, withRequirements } from './admit.ts'
import type { CompiledRoute, Denial, Facts } from './verdict.ts'

/** What a request is told for which no token can be had. */
export function denialForMissingToken(
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

/**
 * The same denial without the cookie's end, where another session has taken the place of the one that ended: by now the
 * cookie may be that one's.
 */
export function keepsCookie(
  denial: Denial,
  { ticket }: Pick<Facts, 'ticket'>,
  sessions: Pick<Sessions, 'wasFollowed'>,
): Denial {
  if (denial.reason !== 'session-expired' || ticket === null || !sessions.wasFollowed(ticket.id)) return denial
  return { ...denial, clearCookie: false }
}
