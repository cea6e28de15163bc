import { closeSync, openSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { openLineBuffer, type LineBuffer, type LineTarget } from '../../src/telemetry/line-buffer.ts'
import { until } from '../support/until.ts'

function fileBuffer(t: Test, target: LineTarget = {}): { lines: LineBuffer; content: () => string } {
  const file = join(t.testdir({}), 'log')
  const fd = openSync(file, 'a')
  t.teardown(() => {
    closeSync(fd)
  })
  return { lines: openLineBuffer(fd, target), content: () => readFileSync(file, 'utf8') }
}

for (const target of [{}, { shared: true }, { prompt: true }]) {
  void t.test(`lines come out whole and in order, ${JSON.stringify(target)}`, async (t) => {
    const { lines, content } = fileBuffer(t, target)
    const written = Array.from(
      { length: 2000 },
      (_, i) => `${i} ${i % 100 === 0 ? 'ü€😀'.repeat(i) : 'x'.repeat(i % 300)}\n`,
    )
    for (const line of written) lines.write(line)
    await lines.flush()
    t.equal(content(), written.join(''))
  })
}

void t.test('a line is out soon, without a flush', async (t) => {
  const { lines, content } = fileBuffer(t)
  lines.write('a line\n')
  await until('the line is there', async () => content() === 'a line\n')
  t.pass()
})
