import { causes } from '../errors.ts'
import type { Store } from '../store/store.ts'
import type { Log } from '../telemetry/log.ts'
import type { Ending } from './ending.ts'
import { ownerOf, type Session } from './session.ts'

interface Parts {
  readonly store: Pick<Store, 'find'>
  readonly ending: Pick<Ending, 'endById'>
  readonly log: Log
}

/**
 * Ends the oldest sessions of a user who has more than `most`, after each login: of several at the same moment, the
 * last one sees them all. Never rejects: where the store can't say, the limit is not worth a login.
 */
export async function limitSessions({ store, ending, log }: Parts, session: Session, most: number): Promise<void> {
  try {
    const { issuer, subject } = ownerOf(session)
    const ids = await store.find({ issuer, subject })
    const tooMany = ids.slice(0, Math.max(0, ids.length - most))
    await Promise.all(tooMany.map((one) => ending.endById(one, 'max_per_user')))
  } catch (error) {
    const facts = { event: 'limit_not_kept', session: session.id, cause: causes(error) }
    log.warn(facts, 'the user may have more sessions than maxPerUser now')
  }
}
