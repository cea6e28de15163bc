import t from 'tap'
import { median, percentile } from '../../bench/statistics.ts'

void t.test('median', async (t) => {
  t.equal(median([30, 1, 2]), 2)
  t.equal(median([4, 1, 30, 2]), 3)
  t.equal(median([7]), 7)
  t.ok(Number.isNaN(median([])))
})

void t.test('percentile by nearest rank', async (t) => {
  const hundred = Float64Array.from({ length: 100 }, (_, index) => index + 1)
  t.equal(percentile(hundred, 0.5), 50)
  t.equal(percentile(hundred, 0.99), 99)
  t.equal(percentile(hundred, 1), 100)
  t.equal(percentile([5, 9], 0.99), 9)
  t.equal(percentile([5], 0), 5)
  t.ok(Number.isNaN(percentile([], 0.5)))
})
