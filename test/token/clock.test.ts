import t from 'tap'
import { cooldown, cooldownUntil, dueAt, isExpired } from '../../src/token/clock.ts'
import { sampleSession } from '../session/sample.ts'

const tokens = (seconds: number | null): Pick<ReturnType<typeof sampleSession>, 'tokens'> => ({
  tokens: { ...sampleSession().tokens, expiresAt: seconds === null ? null : 1_000_000 + seconds * 1000 },
})

void t.test('an access token has expired once its expiry time is reached', async (t) => {
  t.equal(isExpired(sampleSession(), 1_099_999), false)
  t.equal(isExpired(sampleSession(), 1_100_000), true)
  t.equal(isExpired(sampleSession(tokens(null)), 9_999_999_999), false, 'one that names none is used')
})

void t.test('a token is due for a refresh before its expiry', async (t) => {
  const cases = [
    [100, { share: 0.5 }, 1_050_000],
    [100, { share: 0.1 }, 1_090_000],
    [100, { duration: 10_000 }, 1_090_000],
    [100, { duration: 300_000 }, 1_000_000],
    [3600, { share: 0.25 }, 3_700_000],
    [null, { share: 0.5 }, null],
    [null, { duration: 1_000 }, null],
  ] as const
  for (const [seconds, before, due] of cases)
    t.equal(dueAt(sampleSession(tokens(seconds)), before, 1_000_000), due, JSON.stringify([seconds, before]))
})

void t.test('the cooldown is a minute, or half the life of shorter tokens', async (t) => {
  t.equal(cooldown(sampleSession(tokens(3600))), 60_000)
  t.equal(cooldown(sampleSession(tokens(120))), 60_000)
  t.equal(cooldown(sampleSession(tokens(100))), 50_000)
  t.equal(cooldown(sampleSession(tokens(0))), 0)
  t.equal(cooldown(sampleSession(tokens(null))), 60_000)
})

void t.test('the cooldown starts with a refresh, not with a login', async (t) => {
  t.equal(cooldownUntil(sampleSession(), 1_000_000), 0)
  const issuedAt = 1_200_000
  const refreshed = sampleSession({
    refreshedAt: issuedAt,
    tokens: { ...sampleSession().tokens, issuedAt, expiresAt: issuedAt + 100_000 },
  })
  t.equal(cooldownUntil(refreshed, issuedAt), 1_250_000)
  t.equal(cooldownUntil(refreshed, issuedAt - 49_000), 1_250_000, 'replicas’ clocks differ a little')
})

void t.test('after the clock is set back a token is due, and no cooldown delays its refresh', async (t) => {
  const issuedAt = 5_000_000
  const session = sampleSession({
    refreshedAt: issuedAt,
    tokens: { ...sampleSession().tokens, issuedAt, expiresAt: issuedAt + 100_000 },
  })
  const now = issuedAt - 3_600_000
  t.equal(dueAt(session, { share: 0.5 }, now), now)
  t.equal(cooldownUntil(session, now), 0)
})
