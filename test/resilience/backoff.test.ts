import t from 'tap'
import { exponentialBackoff } from '../../src/resilience/backoff.ts'

void t.test('each pause is twice the one before, up to the longest', async (t) => {
  const pauseMs = exponentialBackoff(200, 1_000)
  t.same([1, 2, 3, 4, 5].map(pauseMs), [200, 400, 800, 1_000, 1_000])
  t.equal(pauseMs(5_000), 1_000, 'also after more failures than a number can double')
})
