import { setTimeout as sleep } from 'node:timers/promises'

/**
 * Waits until a condition holds; one that rejects does not hold yet. Rejects after `most` ms, naming what was waited
 * for.
 */
export const until = async (what: string, holds: () => boolean | Promise<boolean>, most = 10_000): Promise<void> => {
  const end = Date.now() + most
  let last: unknown = null
  for (;;) {
    try {
      if (await holds()) return
    } catch (error) {
      last = error
    }
    if (Date.now() > end) throw new Error(`waited ${most} ms in vain: ${what}`, { cause: last })
    await sleep(50)
  }
}
