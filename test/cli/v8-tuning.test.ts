import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t from 'tap'

const program = fileURLToPath(new URL('./tick-cost.ts', import.meta.url))

/** What a tick costs after collections that found nobody waiting for one, as a multiple of what it cost before. */
const growth = async (...args: string[]): Promise<number> => {
  const { stdout } = await promisify(execFile)(process.execPath, ['--expose-gc', '--import=tsx', program, ...args])
  return Number(stdout)
}

void t.test('process.nextTick costs the same after a quiet time', async (t) => {
  const kept = await growth('keep')
  t.ok(kept < 2, `${kept.toFixed(1)} times what it cost before`)
  // Where this is no more than the other one, Node.js has mended it, and nothing needs to be kept.
  t.comment(`${(await growth()).toFixed(1)} times where none is kept`)
})
