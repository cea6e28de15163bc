import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { withDeadline } from '../../src/resilience/deadline.ts'

void t.test('work that is done in time gives its result or its error', async (t) => {
  t.equal(await withDeadline(sleep(1, 'done'), 60_000, () => 'late'), 'done')
  await t.rejects(
    withDeadline(Promise.reject(new Error('failed')), 60_000, () => 'late'),
    { message: 'failed' },
  )
})

void t.test('after the deadline the result of the fallback counts, and the fallback may throw', async (t) => {
  const never = new Promise<string>(() => {})
  t.equal(await withDeadline(never, 5, () => 'late'), 'late')
  await t.rejects(
    withDeadline(never, 5, () => {
      throw new Error('too late')
    }),
    { message: 'too late' },
  )
})

void t.test('an error after the deadline is dropped', async (t) => {
  const work = sleep(20).then(() => {
    throw new Error('failed')
  })
  t.equal(await withDeadline(work, 1, () => 'late'), 'late')
  await sleep(40)
})
