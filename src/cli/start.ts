import { rmSync, statSync } from 'node:fs'
import { Server as TlsServer } from 'node:tls'
import { setTimeout as sleep } from 'node:timers/promises'
import { buildApp, type Gatehouse } from '../app.ts'
import type { Config, Listen } from '../config/schema.ts'
import { openLog, type LogSink } from '../telemetry/log.ts'
import { followCertificate } from './certificate.ts'
import type { Command } from './command.ts'
import { configuredBy } from './configured.ts'

/** `gatehouse start`. */
export const start: Command = {
  help: `gatehouse start [--config FILE]

Serves until SIGTERM or SIGINT, then finishes what runs and leaves with status 0. Without --config the file that
GATEHOUSE_CONFIG names is read, or the environment alone (GATEHOUSE_PUBLIC_URL, GATEHOUSE_UPSTREAM, …). One line of the log says where
it listens; GET /readyz on the admin listener says whether it can serve.
`,
  async run(args) {
    const { config, warnings } = configuredBy(args)
    const sink = openLog(config.log.level)
    for (const warning of warnings) sink.log.warn({ event: 'configuration' }, warning)
    const gateway = await buildApp(config, sink.log)
    try {
      await listen(gateway, config, sink)
    } catch (error) {
      await gateway.close()
      sink.flush()
      throw error
    }
    const unfollow = config.tls === null || !(gateway.app.server instanceof TlsServer) ? () => {}
      : followCertificate(gateway.app.server, config.tls, sink.log)
    await untilStopped(gateway, config, sink)
    unfollow()
    return 0
  },
}

async function listen({ app, admin }: Gatehouse, config: Config, { log, flush }: LogSink): Promise<void> {
  if (admin !== null && config.admin !== null) await admin.listen(clearedSocket(config.admin.listen))
  const scheme = config.tls === null ? 'http' : 'https'
  const address = await app.listen(clearedSocket(config.listen))
  const where = 'path' in config.listen ? `unix:${config.listen.path}` : address.replace(/^https?/, scheme)
  log.info({ event: 'listening', address: where, publicUrl: config.publicUrl }, `listening on ${where} for ${config.publicUrl.join(', ')}`)
  flush()
}

/** A socket that a killed process has left behind would keep this one from listening. */
function clearedSocket(where: Listen): Listen {
  if ('path' in where && statSync(where.path, { throwIfNoEntry: false })?.isSocket() === true) rmSync(where.path)
  return { ...where }
}

/** Waits for SIGTERM or SIGINT: not ready at once, then `shutdown.wait`, then at most `shutdown.drain` for what runs. */
async function untilStopped(gateway: Gatehouse, { shutdown }: Config, { log, flush }: LogSink): Promise<void> {
  const signal = await new Promise<string>((resolve) => {
    process.once('SIGTERM', resolve)
    process.once('SIGINT', resolve)
  })
  log.info({ event: 'stopping', signal }, 'finishing what runs')
  gateway.drain()
  await sleep(shutdown.wait)
  const cut = setTimeout(() => {
    log.warn({ event: 'drain_timeout' }, 'closing connections that are still open')
    gateway.app.server.closeAllConnections()
  }, shutdown.drain)
  await gateway.close()
  clearTimeout(cut)
  log.info({ event: 'stopped' }, 'stopped')
  flush()
}
