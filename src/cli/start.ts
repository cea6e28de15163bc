import cluster from 'node:cluster'
import { availableParallelism } from 'node:os'
import type { Config } from '../config/schema.ts'
import { openLog, type Log } from '../telemetry/log.ts'
import type { Command } from './command.ts'
import { configuredBy } from './configured.ts'
import { followConfiguration } from './follow-configuration.ts'
import { leave } from './leave.ts'
import { serveAlone, type Running } from './running.ts'
import { isStdoutPrompt } from './stdout.ts'
import { keepYoungObjectsYoung, keepTickObject } from './v8-tuning.ts'

/** `gatehouse start`. */
export const start: Command = {
  help: `gatehouse start [--config FILE]

Runs the gateway until SIGTERM or SIGINT, then finishes the requests in progress and exits with status 0.
Without --config the gateway reads the file that GATEHOUSE_CONFIG names, or environment variables alone
(GATEHOUSE_PUBLIC_URL, GATEHOUSE_UPSTREAM, …). A log line on stdout says where it listens. GET /readyz on the admin
listener says whether it can serve requests.
The gateway reloads its configuration on SIGHUP, and when the configuration file or a file that it refers to changes. A
reload drops no connections. If the new configuration is invalid, the gateway keeps the old one and logs the problems.
`,
  async run(args) {
    keepYoungObjectsYoung()
    keepTickObject()
    if (cluster.isWorker) return (await import('./worker.ts')).work()
    const files = new Set<string>()
    const { config, warnings } = configuredBy(args, files)
    const { log, flush } = openLog(config.log.level, { prompt: isStdoutPrompt() })
    for (const warning of warnings) log.warn({ event: 'configuration' }, warning)
    const count = config.workers === 'auto' ? availableParallelism() : config.workers
    const started = count === 1 ? serveAlone(config, log) : serveInWorkers(count, config, log)
    // A signal may come before everything is open.
    const stopped = stopSignal(async () => {
      ;(await started).cut()
    })
    const unfollow = followConfiguration({
      read: (read) => configuredBy(args, read),
      apply: async (next) => (await started).reload(next),
      config,
      files,
      log,
    })
    let running: Running
    try {
      running = await started
    } catch (error) {
      unfollow()
      await flush()
      throw error
    }
    const { address, forwardAuth } = running
    // Whatever the level: who has started it waits for this line.
    log
      .child({}, { level: 'info' })
      .info(
        { event: 'listening', address, ...(forwardAuth === null ? {} : { forwardAuth }), publicUrl: config.publicUrl },
        `listening on ${address} for ${config.publicUrl.join(', ')}` +
          (forwardAuth === null ? '' : `, and on ${forwardAuth} for forward-auth`),
      )
    await flush()
    const signal = await stopped
    log.info({ event: 'stopping', signal }, 'finishing what runs')
    unfollow()
    await running.stop()
    log.info({ event: 'stopped' }, 'stopped')
    await flush()
    leave(0, log, flush)
    return 0
  },
}

/** What only those load who use it. */
async function serveInWorkers(count: number, config: Config, log: Log): Promise<Running> {
  return (await import('./workers.ts')).serveInWorkers(count, config, log)
}

/**
 * Resolves with the name of the first signal that asks the process to end. `again` is called when somebody at a
 * terminal asks once more; that another SIGTERM comes says nothing, since some send it to every process of a group.
 */
export async function stopSignal(again: () => unknown): Promise<NodeJS.Signals> {
  let asked = false
  return new Promise((resolve) => {
    const listener = (signal: NodeJS.Signals): void => {
      if (asked && signal === 'SIGINT') void again()
      asked = true
      resolve(signal)
    }
    process.on('SIGTERM', listener)
    process.on('SIGINT', listener)
  })
}
