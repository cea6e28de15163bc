import { Fault } from '../errors.ts'
import { inTime } from '../store/in-time.ts'
import type { Store } from '../store/store.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import type { AtHand, Kept } from './at-hand.ts'
import type { Ending } from './ending.ts'
import type { Reading } from './reading.ts'
import { mayBeOver, type Session, type SessionPolicy } from './session.ts'
import type { Ticket } from './ticket.ts'

/** How long a request waits for the store to confirm what is at hand, ms. */
const CONFIRM_WITHIN = 700
/** After the store has failed to confirm, it is not asked again for this long, ms. */
const CONFIRM_PAUSE = 500

/** Whether what is at hand still stands. */
export interface Confirmation {
  /**
   * What the store has; while it does not answer, what is at hand. Rejects with `store_unavailable` when that has not
   * been known to stand for `outageGrace`.
   */
  confirm(kept: Kept, ticket: Ticket, now: number): Promise<Session | null>
  /** Asks at once again: the store is back. */
  resume(): void
}

interface Parts {
  readonly store: Pick<Store, 'assuredUntil'>
  readonly atHand: Pick<AtHand, 'get' | 'hasEnded'>
  readonly reading: Pick<Reading, 'readOnce'>
  readonly ending: Pick<Ending, 'living'>
  readonly policy: SessionPolicy & { readonly outageGrace: number }
  readonly metrics: Metrics
}

/** The store has not failed yet. */
export function createConfirmation({ store, atHand, reading, ending, policy, metrics }: Parts): Confirmation {
  let pausedUntil = Number.NEGATIVE_INFINITY

  /** Rejects after a while, and at once for a moment after that: the requests of all users would wait otherwise. */
  async function look(ticket: Ticket): Promise<Session | null> {
    if (performance.now() < pausedUntil) throw new Fault('store_unavailable')
    try {
      return await inTime(reading.readOnce(ticket), CONFIRM_WITHIN, () => new Fault('store_unavailable'))
    } catch (error) {
      pausedUntil = performance.now() + CONFIRM_PAUSE
      throw error
    }
  }

  return {
    async confirm(kept, ticket, now) {
      try {
        return ending.living(await look(ticket), now)
      } catch (error) {
        if (atHand.hasEnded(ticket.id)) return null
        const { session, readAt } = atHand.get(ticket.id) ?? kept
        const unsureFor = performance.now() - store.assuredUntil(readAt)
        if (mayBeOver(policy, session, now) || unsureFor >= policy.outageGrace) throw error
        metrics.sessionCache.inc({ result: 'grace' })
        return ending.living(session, now)
      }
    },
    resume() {
      pausedUntil = Number.NEGATIVE_INFINITY
    },
  }
}
