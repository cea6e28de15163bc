import t from 'tap'
import { formatDuration, formatSize, parseDuration, parseSize } from '../../src/config/units.ts'

await t.test('durations are parsed', async (t) => {
  const table: [string, number][] = [
    ['0s', 0],
    ['500ms', 500],
    ['1s', 1000],
    ['30s', 30_000],
    ['15m', 900_000],
    ['10h', 36_000_000],
    ['7d', 604_800_000],
  ]
  for (const [text, ms] of table) {
    t.equal(parseDuration(text), ms, text)
    t.equal(formatDuration(ms), text, `${ms} back`)
  }
  const odd = ['30S', '30sec', '+1s', '1w', '9999999999999d', '1e3s']
  for (const text of ['', '30', 's', '30 s', '1h30m', '1.5h', '-1s', ...odd]) {
    t.equal(parseDuration(text), undefined, `refuses ${JSON.stringify(text)}`)
  }
  t.equal(formatDuration(90_000), '90s')
  t.equal(formatDuration(86_400_000), '1d')
  t.equal(formatDuration(1500), '1500ms')
})

await t.test('sizes are parsed', async (t) => {
  const table: [string, number][] = [
    ['1b', 1],
    ['64kb', 65_536],
    ['1mb', 1_048_576],
    ['2gb', 2_147_483_648],
  ]
  for (const [text, bytes] of table) {
    t.equal(parseSize(text), bytes, text)
    t.equal(formatSize(bytes), text, `${bytes} back`)
  }
  for (const text of ['', '64', '64k', '64KB', '1.5mb', 'kb', '-1kb', '1toString']) {
    t.equal(parseSize(text), undefined, `refuses ${JSON.stringify(text)}`)
  }
})
