import { createHook } from 'node:async_hooks'
import { getHeapSpaceStatistics, setFlagsFromString } from 'node:v8'

/**
 * Keeps V8 from allocating objects directly in the old space. V8 decides once for each allocation site, in the first
 * seconds of load, whether to do so. If it does, the objects of requests keep each other alive, each collection takes
 * four times as long, and a full collection happens every second.
 */
export function disablePretenuring(): void {
  setFlagsFromString('--no-allocation-site-pretenuring')
}

/** The size of a semi-space, one half of V8's new space, under load with Node.js 22 and later. */
const SEMI_SPACE_BYTES = 10 * 1024 * 1024
/** How much the old space may grow before the next full collection. */
const OLD_SPACE_GROWTH_PERCENT = 20
/** The interval at which the size of the new space is checked; short enough to notice each step of its growth. */
const CHECK_INTERVAL_MS = 100

/**
 * Lets V8's new space grow to its full size in one step, and bounds both spaces. V8 shrinks the new space of an idle
 * process and doubles it only as objects survive. That growth takes seconds, with eight times as many collections.
 * Node.js 20 grows the new space to 16 MB at most. Later versions grow it to 64 MB and let the old space grow fourfold
 * between collections, which doubles the resident memory. (`--max-semi-space-size` takes effect on the command line
 * only.) Call this function once the process has started: loaded code survives collections, so a large step before the
 * start only costs time.
 */
export function boundHeap(): void {
  if (Number.parseInt(process.versions.node, 10) < 22) {
    setFlagsFromString('--semi-space-growth-factor=16')
    return
  }
  setFlagsFromString(`--heap-growing-percent=${OLD_SPACE_GROWTH_PERCENT}`)
  let currentFactor = 0
  const adjust = (): void => {
    const space = getHeapSpaceStatistics().find(({ space_name }) => space_name === 'new_space')
    const semiSpace = (space?.space_size ?? 0) / 2
    const factor = semiSpace === 0 ? 1 : Math.max(1, Math.floor(SEMI_SPACE_BYTES / semiSpace))
    if (factor === currentFactor) return
    currentFactor = factor
    setFlagsFromString(`--semi-space-growth-factor=${factor}`)
  }
  adjust()
  setInterval(adjust, CHECK_INTERVAL_MS).unref()
}

const kept: object[] = []

/**
 * Keeps one of the objects that `process.nextTick` creates alive forever. If a full collection finds no such object, as
 * in an idle process, V8 forgets their shape. From then on V8 sets their two properties with computed names through its
 * runtime, which costs five times as much, about ten times per request.
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
