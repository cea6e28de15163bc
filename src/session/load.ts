import type { Store } from '../store/store.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import type { AtHand } from './at-hand.ts'
import type { Confirmation } from './confirmation.ts'
import type { Ending } from './ending.ts'
import type { Reading } from './reading.ts'
import { mayBeOver } from './session.ts'
import type { Sessions } from './sessions.ts'

/** A session at hand is used without asking while notices of changes have come in no longer ago than this, ms. */
const TRUST = 500
/** What no notice tells (eviction, a flushed store) is looked for in the background this often, ms. */
const LOOK_EVERY = 2_000
/** What nobody has looked for within this time, ms, is looked for before the answer. */
const LOOK_AT_LAST = 4_000

interface Parts {
  readonly store: Pick<Store, 'assuredUntil' | 'size'>
  readonly atHand: Pick<AtHand, 'get' | 'hasEnded'>
  readonly reading: Reading
  readonly confirmation: Pick<Confirmation, 'confirm'>
  readonly ending: Pick<Ending, 'living'>
  readonly policy: Sessions['policy']
  readonly metrics: Pick<Metrics, 'countHit'>
}

/** Makes `Sessions.load`: what is at hand, at once, unless something speaks against it. */
export function createLoad({ store, atHand, reading, confirmation, ending, policy, metrics }: Parts): Sessions['load'] {
  const isShared = store.size() === null

  return function load(ticket, now) {
    const kept = atHand.get(ticket.id)
    if (kept === null) {
      if (atHand.hasEnded(ticket.id)) return null
      return reading.readOnce(ticket).then((found) => ending.living(found, now))
    }
    const { session, readAt, outdated } = kept
    if (session.ticket.key !== ticket.key) return null
    if (isShared) {
      // Not `now`: the wall clock may have been set since.
      const at = performance.now()
      const isUncertain = outdated || at - readAt > LOOK_AT_LAST || store.assuredUntil(readAt) < at - TRUST
      if (isUncertain || mayBeOver(policy, session, now)) return confirmation.confirm(kept, ticket, now)
      if (at - readAt > LOOK_EVERY) {
        reading.readOnce(ticket).catch(() => {
          // Only looking: what is at hand stays good as long as the notices come in.
        })
      }
    }
    metrics.countHit()
    return ending.living(session, now)
  }
}
