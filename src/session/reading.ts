import type { Store } from '../store/store.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import type { AtHand } from './at-hand.ts'
import type { Ending } from './ending.ts'
import { fromRecord } from './record.ts'
import type { Session } from './session.ts'
import type { Ticket } from './ticket.ts'

/** How sessions come out of the store. Each call rejects with `store_unavailable`. */
export interface Reading {
  /** What the store has for a ticket, kept at hand from now on; `null` when there is nothing that the ticket opens. */
  read(ticket: Ticket): Promise<Session | null>
  /** The same; who asks while somebody else does gets the same answer. */
  readOnce(ticket: Ticket): Promise<Session | null>
}

interface Parts {
  readonly store: Pick<Store, 'read'>
  readonly atHand: AtHand
  readonly ending: Pick<Ending, 'lose' | 'wasRenewed'>
  /** Hears of a session that is newer at hand than in the store. */
  readonly onBehind: (session: Session) => void
  readonly metrics: Metrics
}

/** Nothing is under way yet. */
export function createReading({ store, atHand, ending, onBehind, metrics }: Parts): Reading {
  const underWay = new Map<string, Promise<Session | null>>()

  async function fromStore(ticket: Ticket): Promise<Session | null> {
    const readAt = performance.now()
    const record = await store.read(ticket.id)
    const known = atHand.get(ticket.id)?.session ?? null
    if (atHand.hasEnded(ticket.id)) return null
    if (record === null) {
      // Before anybody is told to clear the cookie: it may be that of the session that a login has put in its place.
      await ending.wasRenewed(ticket.id)
      metrics.sessionCache.inc({ result: 'lost' })
      ending.lose(ticket.id)
      return null
    }
    metrics.sessionCache.inc({ result: known === null ? 'miss' : 'confirmed' })
    // At hand may be what the store does not have: it could not be written yet, or was lost with a failed master.
    const session = known !== null && known.version >= record.version ? known : fromRecord(ticket, record)
    if (session === null) return null
    if (session.version > record.version) onBehind(session)
    session.lastSeenAt = Math.max(session.lastSeenAt, record.seenAt, known?.lastSeenAt ?? 0)
    atHand.keep(session, readAt)
    return session
  }

  function join(ticket: Ticket): Promise<Session | null> {
    const others = underWay.get(ticket.id)
    if (others !== undefined) return others
    const mine = fromStore(ticket).finally(() => {
      underWay.delete(ticket.id)
    })
    underWay.set(ticket.id, mine)
    return mine
  }

  return {
    read: async (ticket) => owned(await fromStore(ticket), ticket),
    readOnce: async (ticket) => owned(await join(ticket), ticket),
  }
}

/** A ticket with another key belongs to nobody. */
function owned(session: Session | null, ticket: Ticket): Session | null {
  return session?.ticket.key === ticket.key ? session : null
}
