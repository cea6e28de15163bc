import t from 'tap'
import { createSemaphore } from '../../src/resilience/semaphore.ts'

void t.test('a released permit goes to the caller that has waited longest', async (t) => {
  const semaphore = createSemaphore(1)
  t.equal(await semaphore.acquire(10), true)
  const order: string[] = []
  const waiting = ['first', 'second'].map(async (name) => {
    await semaphore.acquire(60_000)
    order.push(name)
    semaphore.release()
  })
  semaphore.release()
  await Promise.all(waiting)
  t.same(order, ['first', 'second'])
  t.equal(await semaphore.acquire(10), true, 'the last permit is free again')
})

void t.test('a caller that finds no permit in time leaves the line', async (t) => {
  const semaphore = createSemaphore(1)
  t.equal(await semaphore.acquire(10), true)
  t.equal(await semaphore.acquire(10), false)
  semaphore.release()
  t.equal(await semaphore.acquire(10), true)
})
