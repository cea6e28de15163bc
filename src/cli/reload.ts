import { statSync } from 'node:fs'
import { isDeepStrictEqual } from 'node:util'
import { ConfigurationError } from '../config/problems.ts'
import { keysRequiringRestart } from '../config/restart-required.ts'
import type { Config } from '../config/schema.ts'
import { causes } from '../errors.ts'
import type { Log } from '../telemetry/log.ts'

interface ReloadOptions {
  readonly config: Config
  readonly files: ReadonlySet<string>
  /** Reads the configuration and adds the paths of its files to `files`. Throws `ConfigurationError`. */
  readonly read: (files: Set<string>) => { readonly config: Config; readonly warnings: readonly string[] }
  readonly apply: (config: Config) => Promise<void>
  readonly log: Log
}

/** Files are polled because file events are unreliable for Kubernetes mounts, which change by moving symbolic links. */
const POLL_MS = 1_000

/**
 * Reloads the configuration on SIGHUP, and when one of its files has changed and has then been stable for one poll. A
 * configuration that is invalid or needs a restart is logged and not applied. Returns a function that stops reloading.
 */
export function reloadOnChange({ config, files, read, apply, log }: ReloadOptions): () => void {
  let current = config
  let watched = files
  let lastStamps = stampsOf(watched)
  let isChanged = false
  let queue = Promise.resolve()

  async function reload(cause: 'SIGHUP' | 'file'): Promise<void> {
    const found = new Set<string>()
    try {
      const { config: next, warnings } = read(found)
      const restart = keysRequiringRestart(current, next)
      if (restart.length > 0) {
        log.error(
          { event: 'reload_refused', cause, restart },
          `changing ${restart.join(', ')} requires a restart; the running configuration stays in use, without any of the changes`,
        )
      } else if (isDeepStrictEqual(current, next)) {
        // A signal also makes the gateway read the provider's metadata again.
        if (cause === 'SIGHUP') await apply(next)
        log[cause === 'file' ? 'debug' : 'info']({ event: 'reloaded', cause }, 'the configuration has not changed')
      } else {
        await apply(next)
        current = next
        for (const warning of warnings) log.warn({ event: 'configuration' }, warning)
        log.info({ event: 'reloaded', cause }, 'the configuration has been reloaded')
      }
      watched = found
    } catch (error) {
      // A missing file may appear later, so the new files are watched too.
      watched = new Set([...watched, ...found])
      const message = 'the new configuration cannot be used; the running one stays in use'
      if (error instanceof ConfigurationError) {
        log.error({ event: 'reload_refused', cause, problems: error.problems }, `${message}:\n${error.message}`)
      } else {
        log.error({ event: 'reload_refused', cause, problems: [causes(error)] }, message)
      }
    }
    // Known files keep their old stamp, so that the next poll finds changes made while the configuration was read.
    lastStamps = new Map([...stampsOf(watched)].map(([path, stamp]) => [path, lastStamps.get(path) ?? stamp]))
  }

  function enqueue(cause: 'SIGHUP' | 'file'): void {
    queue = queue.then(() => reload(cause))
  }

  function poll(): void {
    const stamps = stampsOf(watched)
    const isStable = isDeepStrictEqual(stamps, lastStamps)
    lastStamps = stamps
    if (isStable && isChanged) enqueue('file')
    isChanged = !isStable
  }

  const onHangUp = (): void => {
    enqueue('SIGHUP')
  }
  const timer = setInterval(poll, POLL_MS).unref()
  process.on('SIGHUP', onHangUp)
  return () => {
    clearInterval(timer)
    // Without a listener SIGHUP would end the process.
    process.off('SIGHUP', onHangUp).on('SIGHUP', () => {})
  }
}

function stampsOf(paths: ReadonlySet<string>): Map<string, string> {
  return new Map([...paths].map((path) => [path, stampOf(path)]))
}

function stampOf(path: string): string {
  try {
    const { mtimeMs, ctimeMs, size, ino } = statSync(path)
    return `${mtimeMs} ${ctimeMs} ${size} ${ino}`
  } catch {
    return 'missing'
  }
}
