import type { Log } from '../telemetry/log.ts'

/** How long, ms, what is still open may keep a process that has nothing left to do. */
const PATIENCE = 1_000

/** Ends the process with `status` soon, also when something that nobody has closed would keep it alive. */
export function leave(status: number, log: Log, flush: () => Promise<void>): void {
  setTimeout(() => {
    log.warn({ event: 'left_open', open: process.getActiveResourcesInfo() }, 'leaving, though something is still open')
    void flush().finally(() => process.exit(status))
  }, PATIENCE).unref()
}
