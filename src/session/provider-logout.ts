import { numberFrom } from '../config/numbers.ts'
import type { Store } from '../store/store.ts'
import { ownerOf, type EndReason, type Session } from './session.ts'
import type { Sessions } from './sessions.ts'

/** How long a note of the logout waits for a login that is under way. */
const NOTE_LIFE_MS = 15 * 60_000

/** A logout at the provider, of one of its sessions or of a user. */
interface EndedLogin {
  /** The issuer in the provider's metadata. */
  readonly issuer: string
  readonly subject: string | null
  readonly sid: string | null
  /** The time of the logout, in ms since the epoch by the gateway's clock. */
  readonly at: number
  /** Leaves no note for logins under way, because the limit of notes is reached. */
  readonly unnoted?: boolean
}

/** Ends the sessions of a login, and those of logins still under way. Returns how many it has ended. */
export async function endLogin(
  store: Pick<Store, 'setNote'>,
  sessions: Pick<Sessions, 'find' | 'endById'>,
  { issuer, subject, sid, at, unnoted = false }: EndedLogin,
  reason: EndReason,
): Promise<number> {
  // The note comes first: a login that finishes now meets it, and an earlier session is found.
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
 * Returns whether the provider has ended a login that began at `begunAt`, in ms since the epoch, while it was under way.
 * Later logins are not affected, even if the provider continues the same session.
 */
export async function wasLoggedOut(store: Pick<Store, 'getNote'>, session: Session, begunAt: number): Promise<boolean> {
  const { issuer, subject, sid } = ownerOf(session)
  const notes = [
    sid === null ? null : await store.getNote(nameOf('sid', issuer, sid)),
    await store.getNote(nameOf('sub', issuer, subject)),
  ]
  // This gateway writes numbers only. For any other note, another login is the safe answer.
  return notes.some((note) => note !== null && begunAt <= (numberFrom(note) ?? Number.POSITIVE_INFINITY))
}

function nameOf(kind: 'sid' | 'sub', issuer: string, value: string): string {
  return JSON.stringify(['logged out', kind, issuer, value])
}
