import cluster from 'node:cluster'
import { availableParallelism } from 'node:os'
import type { Config } from '../config/schema.ts'
import { causes } from '../errors.ts'
import { openLog, type Log } from '../telemetry/log.ts'
import { VERSION } from '../version.ts'
import { type Command, loadConfigOption } from './command.ts'
import { exitSoon, isStdoutSynchronous, stopSignal } from './process.ts'
import { reloadOnChange } from './reload.ts'
import { serveWithAdmin, type RunningGateway } from './serve.ts'
import { disablePretenuring, keepTickObject } from './v8-tuning.ts'

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
    disablePretenuring()
    keepTickObject()
    if (cluster.isWorker) return (await import('./cluster/worker.ts')).runWorker()
    const files = new Set<string>()
    const { config, warnings } = loadConfigOption(args, files)
    const { log, flush } = openLog(config.log.level, { synchronous: isStdoutSynchronous() })
    for (const warning of warnings) log.warn({ event: 'configuration' }, warning)
    const count = config.workers === 'auto' ? availableParallelism() : config.workers
    const started = count === 1 ? serveWithAdmin(config, log) : serveInWorkers(count, config, log)
    // A signal may arrive before the gateway has started.
    const stopped = stopSignal(async () => {
      ;(await started).cut()
    })
    const stopReloading = reloadOnChange({
      config,
      files,
      read: (found) => loadConfigOption(args, found),
      apply: async (next) => (await started).reload(next),
      log,
    })
    let running: RunningGateway
    try {
      running = await started
    } catch (error) {
      stopReloading()
      log.error({ event: 'start_failed', cause: causes(error) }, error instanceof Error ? error.message : String(error))
      await flush()
      throw error
    }
    const { address, forwardAuth, redirectFrom } = running
    // Supervisors and scripts wait for this line, so it is written at every log level.
    log.child({}, { level: 'info' }).info(
      {
        event: 'listening',
        version: VERSION,
        address,
        ...(forwardAuth === null ? {} : { forwardAuth }),
        ...(redirectFrom === null ? {} : { redirectFrom }),
        publicUrl: config.publicUrl,
      },
      `listening on ${address} for ${config.publicUrl.join(', ')}` +
        (forwardAuth === null ? '' : `, and on ${forwardAuth} for forward-auth`) +
        (redirectFrom === null ? '' : `, and on ${redirectFrom} to redirect`),
    )
    await flush()
    const signal = await stopped
    log.info({ event: 'stopping', signal }, 'finishing the requests in progress')
    stopReloading()
    await running.stop()
    log.info({ event: 'stopped' }, 'stopped')
    await flush()
    exitSoon(0, log, flush)
    return 0
  },
}

/** Loads the code for several processes only when it is used. */
async function serveInWorkers(count: number, config: Config, log: Log): Promise<RunningGateway> {
  return (await import('./cluster/primary.ts')).serveInWorkers(count, config, log)
}
