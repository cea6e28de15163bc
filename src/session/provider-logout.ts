import { numberFrom } from '../config/numbers.ts'
import type { Store } from '../store/store.ts'
import { ownerOf, type EndReason, type Session } from './session.ts'
import type { Sessions } from './sessions.ts'

/** How long a note of a logout is kept for logins that are in progress. */
const NOTE_LIFE_MS = 15 * 60_000

interface EndedLogin {
  /** The issuer in the provider's metadata. */
  readonly issuer: string
  readonly subject: string | null
  readonly sid: string | null
  /** The time of the logout, in ms since the epoch by the gateway's clock. */
  readonly at: number
  /** If `true`, no note is written for logins in progress, because the limit of notes is reached. */
  readonly unnoted?: boolean
}

/** Ends the sessions of a login, including logins that are still in progress. Returns the number of ended sessions. */
export async function endLogin(
  store: Pick<Store, 'setNote'>,
  sessions: Pick<Sessions, 'find' | 'endById'>,
  { issuer, subject, sid, at, unnoted = false }: EndedLogin,
  reason: EndReason,
): Promise<number> {
  // The note is written before the search: a login that finishes in between finds the note, and the search finds
  // earlier sessions.
  const named = sid !== null ? nameOf('sid', issuer, sid) : subject !== null ? nameOf('sub', issuer, subject) : null
  if (named !== null && !unnoted) await store.setNote(named, String(at), NOTE_LIFE_MS)
  const found =
    sid !== null
      ? await sessions.find({ issuer, sid })
      : subject !== null
        ? await sessions.find({ issuer, subject })
        : []
  const ended = await Promise.all(found.map(({ id }) => sessions.endById(id, reason)))
  return ended.filter(Boolean).length
}

/**
 * Returns whether the provider ended a login while it was in progress. `begunAt` is the start of the login, in ms since
 * the epoch. A logout does not affect later logins, even if the provider session is the same.
 */
export async function wasLoggedOut(store: Pick<Store, 'getNote'>, session: Session, begunAt: number): Promise<boolean> {
  const { issuer, subject, sid } = ownerOf(session)
  const notes = [
    sid === null ? null : await store.getNote(nameOf('sid', issuer, sid)),
    await store.getNote(nameOf('sub', issuer, subject)),
  ]
  // Gateways write only numbers. Any other note counts as a logout, because an unneeded login does no harm.
  return notes.some((note) => note !== null && begunAt <= (numberFrom(note) ?? Number.POSITIVE_INFINITY))
}

function nameOf(kind: 'sid' | 'sub', issuer: string, value: string): string {
  return JSON.stringify(['logged out', kind, issuer, value])
}
