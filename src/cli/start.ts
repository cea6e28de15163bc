import { Server as TlsServer } from 'node:tls'
import { setTimeout as sleep } from 'node:timers/promises'
import { buildApp, type Gatehouse } from '../app.ts'
import type { Config } from '../config/schema.ts'
import { openLog, type LogSink } from '../telemetry/log.ts'
import { openTracing } from '../telemetry/tracing.ts'
import { followCertificate } from './certificate.ts'
import type { Command } from './command.ts'
import { configuredBy } from './configured.ts'
import { freeSocket } from './free-socket.ts'

/** `gatehouse start`. */
export const start: Command = {
  help: `gatehouse start [--config FILE]

Serves until SIGTERM or SIGINT, then finishes what runs and leaves with status 0. Without --config the file that
GATEHOUSE_CONFIG names is read, or the environment alone (GATEHOUSE_PUBLIC_URL, GATEHOUSE_UPSTREAM, …). One line of the
log, on stdout, says where it listens; GET /readyz on the admin listener says whether it can serve.
`,
  async run(args) {
    const { config, warnings } = configuredBy(args)
    const sink = openLog(config.log.level)
    for (const warning of warnings) sink.log.warn({ event: 'configuration' }, warning)
    const tracing = await openTracing(process.env, sink.log)
    const gateway = await buildApp(config, sink.log, tracing)
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
    await tracing?.close()
    sink.flush()
    return 0
  },
}

async function listen({ app, admin }: Gatehouse, config: Config, { log, flush }: LogSink): Promise<void> {
  if (admin !== null && config.admin !== null) {
    await freeSocket(config.admin.listen)
    await admin.listen({ ...config.admin.listen })
  }
  await freeSocket(config.listen)
  await app.listen({ ...config.listen })
  const bound = app.server.address()
  const address = bound === null || typeof bound === 'string' ? `unix:${bound ?? ''}`
    : `${config.tls === null ? 'http' : 'https'}://${bound.family === 'IPv6' ? `[${bound.address}]` : bound.address}:${bound.port}`
  // Whatever the level: who has started it waits for this line.
  const always = log.child({}, { level: 'info' })
  always.info({ event: 'listening', address, publicUrl: config.publicUrl }, `listening on ${address} for ${config.publicUrl.join(', ')}`)
  flush()
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
