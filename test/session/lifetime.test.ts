import t from 'tap'
import {
  absoluteEnd,
  claimsEndAfterFailure,
  endReasonOf,
  timeoutAt,
  type SessionPolicy,
} from '../../src/session/lifetime.ts'
import { sampleSession } from './sample.ts'

const policy: SessionPolicy = { lifetime: 3_600_000, idleTimeout: 600_000, endWithIdToken: false }
const withIdToken: SessionPolicy = { ...policy, endWithIdToken: true }
const noIdle: SessionPolicy = { ...policy, idleTimeout: null }

void t.test('the absolute end of a session is known', async (t) => {
  t.equal(absoluteEnd(policy, 1_000, null), 3_601_000)
  t.equal(absoluteEnd(policy, 1_000, 5_000), 3_601_000, 'the ID token does not matter')
  t.equal(absoluteEnd(withIdToken, 1_000, 5_000), 5_000, 'unless it is to')
  t.equal(absoluteEnd(withIdToken, 1_000, 9_000_000), 3_601_000, 'it never extends the session')
  t.equal(absoluteEnd(withIdToken, 1_000, null), 3_601_000)
})

void t.test('a session ends at the first of its limits, with the reason', async (t) => {
  const busy = { lastSeenAt: 4_599_000 }
  const cases = [
    [policy, {}, 1_000_000, null],
    [policy, {}, 1_599_999, null],
    [policy, {}, 1_600_000, 'idle'],
    [policy, { lastSeenAt: 1_500_000 }, 1_600_000, null],
    [policy, busy, 4_599_999, null],
    [policy, busy, 4_600_000, 'lifetime'],
    [policy, {}, 9_000_000, 'lifetime'],
    [noIdle, {}, 4_599_999, null],
    [noIdle, {}, 4_600_000, 'lifetime'],
    [withIdToken, { endsAt: 1_300_000 }, 1_299_999, null],
    [withIdToken, { endsAt: 1_300_000 }, 1_300_000, 'id_token'],
    [policy, {}, 999_000, null],
    [noIdle, { endsAt: 1_300_000, claimsEndAt: 1_300_000 }, 1_300_000, 'stale_claims'],
    [noIdle, { claimsEndAt: 9_000_000 }, 4_600_000, 'lifetime'],
  ] as const
  for (const [rules, change, now, reason] of cases) {
    t.equal(endReasonOf(rules, sampleSession(change), now), reason, JSON.stringify([rules, change, now]))
  }
})

void t.test('claims from an API end an hour after they were read, but not soon after the first failure', async (t) => {
  const hour = 3_600_000
  const session = sampleSession({ refreshedAt: 1_000_000 })
  t.equal(claimsEndAfterFailure(session, 1_300_000), 1_000_000 + hour)
  t.equal(claimsEndAfterFailure(session, 1_000_000 + 4 * hour), 1_600_000 + 4 * hour)
  t.equal(claimsEndAfterFailure({ ...session, claimsEndAt: 7 }, 1_300_000), 7, 'further failures move nothing')
  t.equal(absoluteEnd({ ...policy, lifetime: 10 * hour }, 1_000_000, null, 2_000_000), 2_000_000)
})

void t.test('the idle end of a session is known', async (t) => {
  t.equal(timeoutAt(policy, sampleSession()), 1_600_000)
  t.equal(timeoutAt(policy, sampleSession({ lastSeenAt: 4_500_000 })), 4_600_000, 'never later than its end')
  t.equal(timeoutAt(noIdle, sampleSession()), null)
})
