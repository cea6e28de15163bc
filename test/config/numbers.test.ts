import t from 'tap'
import { isoDate, numberFrom, timeFrom } from '../../src/config/numbers.ts'

void t.test('an outside number is a JSON number or a string of decimal digits', async (t) => {
  const numbers: [unknown, number][] = [
    [0, 0],
    [3600, 3600],
    [0.5, 0.5],
    [1e300, 1e300],
    ['3600', 3600],
    ['3600.0', 3600],
    ['007', 7],
  ]
  for (const [value, number] of numbers) t.equal(numberFrom(value), number, JSON.stringify(value))
  const none = [-1, Number.NaN, Number.POSITIVE_INFINITY, null, undefined, true, [], [5], {}, '', ' ', '-1', '+1']
  for (const value of [...none, '1e3', '0x10', 'soon', '5s', 'NaN', 'Infinity', '9'.repeat(400)])
    t.equal(numberFrom(value), null, String(value))
})

void t.test('a time is valid if a Date can hold it', async (t) => {
  t.equal(timeFrom(1_700_000_000_000), 1_700_000_000_000)
  t.equal(timeFrom(8.64e15), 8.64e15)
  for (const value of [8.64e15 + 1, 1e300, -1, Number.NaN, null, 'soon']) {
    t.equal(timeFrom(value), null)
    t.equal(isoDate(value), null)
  }
  t.equal(isoDate(1_700_000_000_000), '2023-11-14T22:13:20.000Z')
  t.equal(isoDate(8.64e15), '+275760-09-13T00:00:00.000Z')
})
