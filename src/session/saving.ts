import type { Store } from '../store/store.ts'
import type { Log } from '../telemetry/log.ts'
import { recordLife } from './activity.ts'
import type { AtHand } from './at-hand.ts'
import type { Ending } from './ending.ts'
import type { Perseverance } from './perseverance.ts'
import type { Reading } from './reading.ts'
import { toRecord } from './record.ts'
import { ownerOf, type Session, type SessionPolicy } from './session.ts'

/** What a refresh can change. */
export type SessionChange = Partial<Pick<Session, 'claims' | 'idToken' | 'tokens' | 'sid' | 'refreshedAt' | 'endsAt'>>

/** What became of a change. */
export interface Renewed {
  /** `null` when it had ended, which stands; a newer one when another process was first. */
  readonly session: Session | null
  /** `false` while the store can't be reached: it is written as soon as it can. */
  readonly saved: boolean
}

/** How changed sessions get into the store: now, or as soon as it can be reached. */
export interface Saving {
  /** See `Sessions.renew`. */
  renew(session: Session, change: SessionChange): Promise<Renewed>
  /** Writes a session that the store has only an older version of. */
  saveAtLast(session: Session): void
}

interface Parts {
  readonly store: Pick<Store, 'relist' | 'replace'>
  readonly atHand: AtHand
  readonly reading: Pick<Reading, 'read'>
  readonly ending: Pick<Ending, 'lose'>
  readonly perseverance: Perseverance
  readonly policy: SessionPolicy
  readonly log: Log
}

/** Nothing waits to be written yet. */
export function createSaving({ store, atHand, reading, ending, perseverance, policy, log }: Parts): Saving {
  /** Sessions whose newest version waits for the store. */
  const unsaved = new Set<string>()

  /** Writes a new version; gives back what counts afterwards. */
  async function save(renewed: Session, relists: boolean): Promise<Session | null> {
    // A logout by the provider must find it by its present sid.
    if (relists) await store.relist(renewed.id, ownerOf(renewed))
    const outcome = await store.replace(renewed.id, toRecord(renewed), recordLife(policy, renewed, Date.now()))
    if (outcome === 'replaced') return renewed
    if (outcome === 'gone') ending.lose(renewed.id)
    else atHand.drop(renewed.id)
    return outcome === 'gone' ? null : reading.read(renewed.ticket)
  }

  function saveAtLast(renewed: Session): void {
    const { id } = renewed
    if (unsaved.has(id)) return
    unsaved.add(id)
    void perseverance
      .persist(async () => {
        const latest = atHand.get(id)?.session ?? renewed
        if (!atHand.hasEnded(id)) await save(latest.version > renewed.version ? latest : renewed, true)
      }, renewed.endsAt - Date.now())
      .then(() => {
        unsaved.delete(id)
      })
  }

  return {
    saveAtLast,

    async renew(session, change) {
      const renewed: Session = { ...session, ...change, version: session.version + 1 }
      const asked = performance.now()
      const current = (): Session | undefined => atHand.get(session.id)?.session
      try {
        const written = await save(renewed, renewed.sid !== session.sid)
        renewed.lastSeenAt = Math.max(renewed.lastSeenAt, current()?.lastSeenAt ?? 0)
        if (written === renewed) atHand.keep(renewed, asked)
        return { session: atHand.hasEnded(session.id) ? null : written, saved: true }
      } catch {
        // The old refresh token may be spent: losing the new one would cost the session.
        if (atHand.hasEnded(session.id)) return { session: null, saved: true }
        renewed.lastSeenAt = Math.max(renewed.lastSeenAt, current()?.lastSeenAt ?? 0)
        atHand.keep(renewed, atHand.get(session.id)?.readAt ?? asked)
        log.warn({ event: 'save_delayed', session: session.id }, 'renewed tokens wait for the store to come back')
        saveAtLast(renewed)
        return { session: renewed, saved: false }
      }
    },
  }
}
