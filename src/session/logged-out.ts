import type { Store } from '../store/store.ts'
import type { EndReason, Session } from './session.ts'
import type { Sessions } from './sessions.ts'

/** A login may be on its way back to us while the provider ends it: so long an end waits for it, ms. */
const WAIT_FOR_LOGIN = 15 * 60_000

interface Parts {
  readonly store: Pick<Store, 'mark' | 'marked'>
  readonly sessions: Pick<Sessions, 'find' | 'endById'>
}

/** What a provider has ended: one of its sessions, or all of a user's up to `at` (ms since the epoch). */
interface EndedLogin {
  readonly issuer: string
  readonly subject: string | null
  readonly sid: string | null
  readonly at: number
}

/** Ends the sessions that came of a login, also those that are still to come of it. Tells how many there were. */
export async function endLogin({ store, sessions }: Parts, { issuer, subject, sid, at }: EndedLogin, reason: EndReason): Promise<number> {
  // The mark comes first: a session that begins now meets it, one that has begun is found.
  if (sid !== null) await store.mark(nameOf('sid', issuer, sid), String(at), WAIT_FOR_LOGIN)
  else if (subject !== null) await store.mark(nameOf('sub', issuer, subject), String(at), WAIT_FOR_LOGIN)
  const found = sid !== null ? await sessions.find({ issuer, sid }) : subject !== null ? await sessions.find({ issuer, subject }) : []
  const ended = await Promise.all(found.map(({ id }) => sessions.endById(id, reason)))
  return ended.filter(Boolean).length
}

/** Whether the provider has ended the login of a session that begins just now. */
export async function wasLoggedOut(store: Pick<Store, 'marked'>, { issuer, subject, sid, claims }: Session): Promise<boolean> {
  if (sid !== null && await store.marked(nameOf('sid', issuer, sid)) !== null) return true
  const endedAt = await store.marked(nameOf('sub', issuer, subject))
  const issuedAt = claims['iat']
  // Later logins of the same user are none of its business.
  return endedAt !== null && typeof issuedAt === 'number' && issuedAt * 1000 <= Number(endedAt)
}

function nameOf(kind: 'sid' | 'sub', issuer: string, value: string): string {
  return JSON.stringify(['logged out', kind, issuer, value])
}
