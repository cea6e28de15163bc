import { closeSync, createWriteStream, openSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Writable } from 'node:stream'
import t, { type Test } from 'tap'
import { openLineBuffer, type LineBuffer, type LineTarget } from '../../src/telemetry/line-buffer.ts'
import { eventually } from '../support/eventually.ts'

type How = { readonly name: string; readonly out: (fd: number) => number | Writable; readonly target: LineTarget }

const inPlace: How = { name: 'in place', out: (fd) => fd, target: {} }
const stream: How = {
  name: 'through a stream',
  out: (fd) => createWriteStream('', { fd, autoClose: false }),
  target: {},
}
const shared: How = { ...stream, name: 'through a stream that several processes share', target: { shared: true } }

function fileBuffer(t: Test, { out, target }: How): { lines: LineBuffer; content: () => string } {
  const file = join(t.testdir({}), 'log')
  const fd = openSync(file, 'a')
  t.teardown(() => {
    closeSync(fd)
  })
  return { lines: openLineBuffer(out(fd), target), content: () => readFileSync(file, 'utf8') }
}

for (const how of [inPlace, stream, shared]) {
  void t.test(`lines are written whole and in order, ${how.name}`, async (t) => {
    const { lines, content } = fileBuffer(t, how)
    const written = Array.from(
      { length: 2000 },
      (_, i) => `${i} ${i % 100 === 0 ? 'ü€😀'.repeat(i) : 'x'.repeat(i % 300)}\n`,
    )
    for (const line of written) lines.write(line)
    await lines.flush()
    t.equal(content(), written.join(''))
  })

  void t.test(`a line is written soon without a flush, ${how.name}`, async (t) => {
    const { lines, content } = fileBuffer(t, how)
    lines.write('a line\n')
    await eventually(async () => content() === 'a line\n', { what: 'the line is written' })
    t.pass()
  })
}

void t.test('lines that a stalled reader has no room for are dropped, and counted in their place', async (t) => {
  const read: string[] = []
  let goOn: (() => void) | null = null
  const stalled = new Writable({
    write(chunk: Buffer, _encoding, done) {
      read.push(chunk.toString())
      if (goOn === null) goOn = done
      else done()
    },
  })
  const lines = openLineBuffer(stalled, {
    onLost: (count) => {
      lines.write(`lost ${count}\n`)
    },
  })
  const total = 40_000
  for (let i = 0; i < total; i += 1) lines.write(`${i} ${'x'.repeat(500)}\n`)
  const before = Date.now()
  await lines.flush()
  t.ok(Date.now() - before < 3_000, 'the stop does not wait for a stalled reader')
  ;(goOn as (() => void) | null)?.()
  await eventually(() => read.join('').includes('lost '), { what: 'the gap is reported' })
  lines.write('later\n')
  await lines.flush()
  const out = read.join('').trimEnd().split('\n')
  const told = out.findIndex((line) => line.startsWith('lost '))
  t.equal(out[told], `lost ${total - told}`, 'all other lines are written')
  t.ok(told > 5_000 && told < 20_000, `some megabytes have been kept: ${told} lines`)
  t.same(out.slice(told + 1), ['later'])
  t.ok(
    out.slice(0, told).every((line, i) => line.startsWith(`${i} `)),
    'in order',
  )
})
