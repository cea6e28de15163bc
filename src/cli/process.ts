import { fstatSync } from 'node:fs'
import { isatty } from 'node:tty'
import type { Log } from '../telemetry/log.ts'

const EXIT_AFTER_MS = 1_000

/** Returns whether writes to stdout finish at once, as they do for files and devices but not for pipes and terminals. */
export function isStdoutSynchronous(): boolean {
  const stat = fstatSync(1)
  return stat.isFile() || (stat.isCharacterDevice() && !isatty(1))
}

/**
 * Resolves with the first signal that stops the process. Calls `onInterrupt` at a further SIGINT, but not at a further
 * SIGTERM, because some supervisors send SIGTERM to every process of a group.
 */
export async function stopSignal(onInterrupt: () => unknown): Promise<NodeJS.Signals> {
  let isStopping = false
  return new Promise((resolve) => {
    const listener = (signal: NodeJS.Signals): void => {
      if (isStopping && signal === 'SIGINT') void onInterrupt()
      isStopping = true
      resolve(signal)
    }
    process.on('SIGTERM', listener)
    process.on('SIGINT', listener)
  })
}

/** Exits with `status` after a second if open handles still keep the stopped process alive, and logs them. */
export function exitSoon(status: number, log: Log, flush: () => Promise<void>): void {
  setTimeout(() => {
    log.warn({ event: 'left_open', open: process.getActiveResourcesInfo() }, 'exiting although some handles are open')
    void flush().finally(() => process.exit(status))
  }, EXIT_AFTER_MS).unref()
}
