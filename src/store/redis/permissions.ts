import { withDeadline } from '../../resilience/deadline.ts'
import type { Connections } from './connections.ts'
import { TRY_ALL } from './scripts.ts'

/** Commands without a reply after this time count as permitted. */
const TRIAL_TIMEOUT_MS = 1_000
/** Matches the errors for a missing permission, from a server that is loading data, and from a replica. */
const REFUSAL = /^NOPERM|^LOADING|READONLY/

/**
 * Tries the commands that the gateway needs, so that a missing permission is found before the first login. Rejects with
 * the error of Redis if Redis refuses a command. Ignores a server that is full or unreachable.
 */
export async function expectPermissions(connections: Connections, channel: string): Promise<void> {
  const key = 'gatehouse:trial'
  const trials = Promise.allSettled([
    connections.command(key, ['EVAL', TRY_ALL.text, '1', key]),
    connections.command(key, ['EVALSHA', TRY_ALL.sha, '1', key]),
    ...connections.masters().map((master) => connections.publish(master, channel, 'trial')),
  ])
  const outcomes = await withDeadline(trials, TRIAL_TIMEOUT_MS, () => [])
  for (const outcome of outcomes) {
    if (outcome.status === 'rejected' && isRefusal(outcome.reason)) {
      throw new Error('Redis does not allow a command that the gateway needs; docs/redis.md lists the permissions', {
        cause: outcome.reason,
      })
    }
  }
}

function isRefusal(reason: unknown): boolean {
  return reason instanceof Error && REFUSAL.test(reason.message)
}
