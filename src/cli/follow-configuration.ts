import { statSync } from 'node:fs'
import { isDeepStrictEqual } from 'node:util'
import { keysRequiringRestart } from '../config/restart-required.ts'
import { ConfigurationError } from '../config/problems.ts'
import type { Config } from '../config/schema.ts'
import { causes } from '../errors.ts'
import type { Log } from '../telemetry/log.ts'

interface Followed {
  /** Reads the configuration; the set gets the paths of all files that are looked at. Throws `ConfigurationError`. */
  readonly read: (files: Set<string>) => { readonly config: Config; readonly warnings: readonly string[] }
  /** Takes it up. */
  readonly apply: (config: Config) => Promise<void>
  /** What is in use, and the files that it came from. */
  readonly config: Config
  readonly files: ReadonlySet<string>
  readonly log: Log
}

/** Mounted files change by moving symbolic links, which no file event tells reliably: looking is enough, ms. */
const LOOK_EVERY = 1_000

/**
 * Reads the configuration again on SIGHUP, and when a file that it came from has changed and is left alone since the
 * last look. All or nothing: one that can't be used, or that needs a restart, is logged with every reason, and the
 * present one goes on. Returns how to stop.
 */
export function followConfiguration({ read, apply, config, files, log }: Followed): () => void {
  let current = config
  let watched = files
  let seen = stampsOf(watched)
  let changed = false
  let busy = Promise.resolve()

  async function reload(cause: 'SIGHUP' | 'file'): Promise<void> {
    const found = new Set<string>()
    try {
      const { config: next, warnings } = read(found)
      const restart = keysRequiringRestart(current, next)
      if (restart.length > 0) {
        log.error(
          { event: 'reload_refused', cause, restart },
          `only a restart can change ${restart.join(', ')}; until then the old configuration goes on as a whole`,
        )
      } else if (isDeepStrictEqual(current, next)) {
        log[cause === 'file' ? 'debug' : 'info']({ event: 'reloaded', cause }, 'the configuration is as it was')
      } else {
        await apply(next)
        current = next
        for (const warning of warnings) log.warn({ event: 'configuration' }, warning)
        log.info({ event: 'reloaded', cause }, 'the configuration has been read again')
      }
      watched = found
    } catch (error) {
      // What is missing may be put where it was looked for.
      watched = new Set([...watched, ...found])
      if (error instanceof ConfigurationError) {
        log.error(
          { event: 'reload_refused', cause, problems: error.problems },
          `the new configuration can’t be used, the old one goes on:\n${error.message}`,
        )
      } else {
        log.error(
          { event: 'reload_refused', cause, problems: [causes(error)] },
          'the new configuration can’t be used, the old one goes on',
        )
      }
    }
    // What changes while it is read is found by the next look: only files that are new here get their stamp now.
    seen = new Map([...stampsOf(watched)].map(([path, stamp]) => [path, seen.get(path) ?? stamp]))
  }

  function inTurn(cause: 'SIGHUP' | 'file'): void {
    busy = busy.then(() => reload(cause))
  }

  function look(): void {
    const now = stampsOf(watched)
    const isStill = isDeepStrictEqual(now, seen)
    seen = now
    if (isStill && changed) inTurn('file')
    changed = !isStill
  }

  const onHangUp = (): void => {
    inTurn('SIGHUP')
  }
  const timer = setInterval(look, LOOK_EVERY).unref()
  process.on('SIGHUP', onHangUp)
  return () => {
    clearInterval(timer)
    // The signal itself would end the process from now on.
    process.off('SIGHUP', onHangUp).on('SIGHUP', () => {})
  }
}

/** What tells one state of each file from another. */
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
