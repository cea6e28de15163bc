import { setTimeout as sleep } from 'node:timers/promises'
import type { Connections } from './connections.ts'
import { TRY_ALL } from './scripts.ts'

/** Who has not answered by then, ms, has refused nothing. */
const PATIENCE = 1_000
/** What is said to a user without a permission, by a server that is still loading, and by a replica. */
const REFUSAL = /^NOPERM|^LOADING|READONLY/

/**
 * Rejects, in Redis's words, when Redis refuses what the gateway will have to do there, so that nobody finds out with
 * the first login. Of a server that is full, or away, it says nothing.
 */
export async function expectPermissions(connections: Connections, channel: string): Promise<void> {
  const key = 'gatehouse:trial'
  const trials = Promise.allSettled([
    connections.command(key, ['EVAL', TRY_ALL.text, '1', key]),
    connections.command(key, ['EVALSHA', TRY_ALL.sha, '1', key]),
    ...connections.masters().map((master) => connections.publish(master, channel, 'trial')),
  ])
  const outcomes = await Promise.race([trials, sleep(PATIENCE, [], { ref: false })])
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
