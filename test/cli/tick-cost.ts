/** A process of its own: prints how much dearer process.nextTick is after collections of all memory. */
import { setTimeout as sleep } from 'node:timers/promises'
import { keepTickObject } from '../../src/cli/v8-tuning.ts'

const TICKS = 200_000

const measure = async (): Promise<number> =>
  new Promise((resolve) => {
    let left = TICKS
    const since = process.hrtime.bigint()
    const tick = (): void => {
      if (left-- > 0) process.nextTick(tick)
      else resolve(Number(process.hrtime.bigint() - since))
    }
    process.nextTick(tick)
  })

/** The quickest of some: what else the machine does only makes them slower. */
const quickest = async (): Promise<number> => {
  const all: number[] = []
  for (let i = 0; i < 6; i++) all.push(await measure())
  return Math.min(...all)
}

if (process.argv[2] === 'keep') keepTickObject()
const before = await quickest()
for (let i = 0; i < 6; i++) {
  globalThis.gc?.()
  await sleep(50)
}
process.stdout.write(String((await quickest()) / before))
