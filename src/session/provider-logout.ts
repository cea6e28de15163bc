import { numberFrom } from '../config/numbers.ts'
import type { Store } from '../store/store.ts'
import { ownerOf, type EndReason, type Session } from './session.ts'
import type { Sessions } from './sessions.ts'

/** A login may be on its way back to us while the provider ends it: so long an end waits for it, ms. */
const WAIT_FOR_LOGIN = 15 * 60_000

interface Parts {
  readonly store: Pick<Store, 'mark' | 'marked'>
  readonly sessions: Pick<Sessions, 'find' | 'endById'>
}

/** What a provider has ended at `at` (ms since the epoch, by our clock): one of its sessions, or all of a user's. */
interface EndedLogin {
  /** What the provider calls itself in its metadata. */
  readonly issuer: string
  readonly subject: string | null
  readonly sid: string | null
  readonly at: number
  /** Writes no mark for logins under way: the limit of marks is reached. */
  readonly unmarked?: boolean
}

/** Ends the sessions that came of a login, also those that are still to come of it. Tells how many there were. */
export async function endLogin(
  { store, sessions }: Parts,
  { issuer, subject, sid, at, unmarked = false }: EndedLogin,
  reason: EndReason,
): Promise<number> {
  // The mark comes first: a session that begins now meets it, one that has begun is found.
  const named = sid !== null ? nameOf('sid', issuer, sid) : subject !== null ? nameOf('sub', issuer, subject) : null
  if (named !== null && !unmarked) await store.mark(named, String(at), WAIT_FOR_LOGIN)
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
 * Whether the provider has ended the login that began at `begunAt` (ms since the epoch) while it was under way. Logins
 * that begin later are none of its business, also where the provider goes on with the same session.
 */
export async function wasLoggedOut(store: Pick<Store, 'marked'>, session: Session, begunAt: number): Promise<boolean> {
  const { issuer, subject, sid } = ownerOf(session)
  const marks = [
    sid === null ? null : await store.marked(nameOf('sid', issuer, sid)),
    await store.marked(nameOf('sub', issuer, subject)),
  ]
  // What is no number is not written by this gateway: better one login too many.
  return marks.some((mark) => mark !== null && begunAt <= (numberFrom(mark) ?? Number.POSITIVE_INFINITY))
}

function nameOf(kind: 'sid' | 'sub', issuer: string, value: string): string {
  return JSON.stringify(['logged out', kind, issuer, value])
}
