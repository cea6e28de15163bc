import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { createRetryQueue } from '../../src/session/retry-queue.ts'

void t.test('a failing action is retried until it succeeds', async (t) => {
  const queue = createRetryQueue()
  let tries = 0
  void queue.persist(async () => {
    tries += 1
    if (tries < 3) throw new Error('not yet')
  }, 60_000)
  t.equal(await queue.settled(10_000), 0)
  t.equal(tries, 3)
  await sleep(600)
  t.equal(tries, 3)
})

void t.test('retries stop at the deadline, and a caller waits no longer than requested', async (t) => {
  const queue = createRetryQueue()
  let tries = 0
  void queue.persist(async () => {
    tries += 1
    throw new Error('never')
  }, 1_000)
  const begun = Date.now()
  t.equal(await queue.settled(100), 1)
  t.ok(Date.now() - begun < 500)
  t.equal(await queue.settled(10_000), 0)
  const done = tries
  t.ok(done >= 1)
  await sleep(1_200)
  t.equal(tries, done)
})

void t.test('without pending actions there is no wait', async (t) => {
  const begun = Date.now()
  t.equal(await createRetryQueue().settled(10_000), 0)
  t.ok(Date.now() - begun < 100)
})
