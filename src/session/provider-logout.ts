import { numberFrom } from '../config/numbers.ts'
import { criteriaOf, type Criterion, type Store } from '../store/store.ts'
import { ownerOf, type EndReason, type Session } from './session.ts'
import type { Sessions } from './sessions.ts'

/** How long a note of a logout is kept for logins that are in progress. */
const NOTE_LIFE_MS = 15 * 60_000

interface EndedLogin {
  /** The issuer of the user's tokens, or the issuer in the provider's metadata. */
  readonly issuer: string
  readonly subject: string | null
  readonly sid: string | null
  /** The time of the logout, in ms since the epoch by the gateway's clock. */
  readonly at: number
  /** If `true`, no note is written for logins in progress, because the limit of notes is reached. */
  readonly unnoted?: boolean
}

/** Ends the sessions of a login, including logins that are still in progress. Returns the ids of the ended sessions. */
export async function endLogin(
  store: Pick<Store, 'setNote'>,
  sessions: Pick<Sessions, 'find' | 'endById'>,
  { issuer, subject, sid, at, unnoted = false }: EndedLogin,
  reason: EndReason,
): Promise<string[]> {
  // The note is written before the search: a login that finishes in between finds the note, and the search finds
  // earlier sessions.
  const criterion = sid !== null ? { issuer, sid } : subject !== null ? { issuer, subject } : null
  if (criterion === null) return []
  if (!unnoted) await store.setNote(nameOf(criterion), String(at), NOTE_LIFE_MS)
  const found = await sessions.find(criterion)
  const ended = await Promise.all(found.map(async ({ id }) => sessions.endById(id, reason, subject)))
  return found.filter((_session, i) => ended[i] === true).map(({ id }) => id)
}

/**
 * Returns whether the provider ended a login while it was in progress. `begunAt` is the start of the login, in ms since
 * the epoch. A logout does not affect later logins, even if the provider session is the same.
 */
export async function wasLoggedOut(store: Pick<Store, 'getNote'>, session: Session, begunAt: number): Promise<boolean> {
  const criteria = criteriaOf(ownerOf(session))
  const notes = await Promise.all(criteria.map(async (criterion) => store.getNote(nameOf(criterion))))
  // Gateways write only numbers. Any other note counts as a logout, because an unneeded login does no harm.
  return notes.some((note) => note !== null && begunAt <= (numberFrom(note) ?? Number.POSITIVE_INFINITY))
}

function nameOf(criterion: Criterion): string {
  const [kind, value] = 'sid' in criterion ? ['sid', criterion.sid] : ['sub', criterion.subject]
  return JSON.stringify(['logged out', kind, criterion.issuer, value])
}
