import t from 'tap'
import { createLimiter } from '../../src/resilience/limiter.ts'

void t.test('only the first calls of a window pass', async (t) => {
  const clock = { now: 5_000 }
  const mayPass = createLimiter(2, 1_000, () => clock.now)
  t.same([mayPass(), mayPass(), mayPass()], [true, true, false])
  clock.now += 999
  t.equal(mayPass(), false)
  clock.now += 1
  t.same([mayPass(), mayPass(), mayPass()], [true, true, false], 'the next window begins')
})

void t.test('a window begins with a call, not at a round time', async (t) => {
  const clock = { now: 0 }
  const mayPass = createLimiter(1, 1_000, () => clock.now)
  clock.now = 900
  t.equal(mayPass(), true)
  clock.now = 1_800
  t.equal(mayPass(), false)
  clock.now = 1_900
  t.equal(mayPass(), true)
})
