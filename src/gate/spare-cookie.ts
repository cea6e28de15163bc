import type { Sessions } from '../session/sessions.ts'
import type { Denial, Facts } from './verdict.ts'

/**
 * The same denial without the cookie's end, where another session has taken the place of the one that ended: by now the
 * cookie may be that one's.
 */
export function spareCookie(
  denial: Denial,
  { ticket }: Pick<Facts, 'ticket'>,
  sessions: Pick<Sessions, 'wasFollowed'>,
): Denial {
  if (denial.reason !== 'session-expired' || ticket === null || !sessions.wasFollowed(ticket.id)) return denial
  return { ...denial, clearCookie: false }
}
