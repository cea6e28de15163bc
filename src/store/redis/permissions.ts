import { withDeadline } from '../../resilience/deadline.ts'
import type { Connections } from './connections.ts'
import { TRY_ALL } from './scripts.ts'

/** A trial without an answer after this time counts as permitted. */
const TRIAL_WITHIN_MS = 1_000
/** The errors for a missing permission, of a server that is loading, and of a replica. */
const REFUSAL = /^NOPERM|^LOADING|READONLY/

/**
 * Tries the commands that the gateway needs, so that a missing permission shows before the first login. Rejects with
 * Redis's error if Redis refuses one. Ignores a server that is full or unreachable.
 */
export async function expectPermissions(connections: Connections, channel: string): Promise<void> {
  const key = 'gatehouse:trial'
  const trials = Promise.allSettled([
    connections.command(key, ['EVAL', TRY_ALL.text, '1', key]),
    connections.command(key, ['EVALSHA', TRY_ALL.sha, '1', key]),
    ...connections.masters().map((master) => connections.publish(master, channel, 'trial')),
  ])
  const outcomes = await withDeadline(trials, TRIAL_WITHIN_MS, () => [])
  for (const outcome of outcomes) {
    if (outcome.status === 'rejected' && isRefusal(outcome.reason)) {
      throw new Error('Redis does not let the gateway do what it has to; docs/redis.md lists the permissions', {
        cause: outcome.reason,
      })
    }
  }
}

function isRefusal(reason: unknown): boolean {
  return reason instanceof Error && REFUSAL.test(reason.message)
}
