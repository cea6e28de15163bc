import { setTimeout as sleep } from 'node:timers/promises'

/** Waits until `check` says yes; rejects after ten seconds. */
export const eventually = async (check: () => boolean | Promise<boolean>): Promise<void> => {
  for (let tries = 0; tries < 500; tries += 1) {
    if (await check()) return
    await sleep(20)
  }
  throw new Error(`not within ten seconds: ${check.toString()}`)
}
