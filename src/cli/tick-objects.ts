import { createHook } from 'node:async_hooks'

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
