import { createHook } from 'node:async_hooks'
import { getHeapSpaceStatistics, setFlagsFromString } from 'node:v8'

/**
 * Keeps V8 from placing new objects among the old ones where many of their kind have survived: it decides that for good
 * in the first seconds of load. Then the requests' objects keep each other alive, each collection takes four times as
 * long, and a whole one comes every second.
 */
export function keepYoungObjectsYoung(): void {
  setFlagsFromString('--no-allocation-site-pretenuring')
}

/** The size of one half of V8's new space under load with Node.js 22 and later, bytes. V8 copies between two halves. */
const NEW_SPACE = 10 * 1024 * 1024
/** How much the old space may grow before the next collection of all memory, %. */
const OLD_SPACE_GROWTH = 20
/** How often the size of the new space is looked at, ms: before enough has survived for it to grow once more. */
const LOOK_EVERY = 100

/**
 * Lets V8's new space grow in one step when there is something to do: V8 makes it small while nothing happens, and
 * growing by twos, and by what survives, takes seconds with eight times the collections. Node.js 20 stops at 16 MB; later
 * versions would go on to 64 MB, and let the old space grow fourfold between collections, which doubles the resident
 * memory. Here both are bounded. (`--max-semi-space-size` counts on the command line only.) For a process that has
 * started: before, what is loaded survives, and so large a step only costs time.
 */
export function boundHeap(): void {
  if (Number.parseInt(process.versions.node, 10) < 22) {
    setFlagsFromString('--semi-space-growth-factor=16')
    return
  }
  setFlagsFromString(`--heap-growing-percent=${OLD_SPACE_GROWTH}`)
  let factor = 0
  const adjust = (): void => {
    const space = getHeapSpaceStatistics().find(({ space_name }) => space_name === 'new_space')
    const half = (space?.space_size ?? 0) / 2
    const wanted = half === 0 ? 1 : Math.max(1, Math.floor(NEW_SPACE / half))
    if (wanted === factor) return
    factor = wanted
    setFlagsFromString(`--semi-space-growth-factor=${factor}`)
  }
  adjust()
  setInterval(adjust, LOOK_EVERY).unref()
}

const kept: object[] = []

/**
 * Keeps one of the objects alive that `process.nextTick` makes, for good. A collection of all memory that finds none, as
 * in a quiet time, makes V8 forget their shape; after that it sets the two of their properties whose names are computed by
 * a call of its runtime, for as long as the process lives: five times the cost, some ten times a request.
 */
export function keepTickObject(): void {
  const hook = createHook({
    init(_asyncId, type, _triggerAsyncId, resource) {
      if (type === 'TickObject') kept.push(resource)
    },
  }).enable()
  process.nextTick(() => {})
  hook.disable()
}
