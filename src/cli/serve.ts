import { chmodSync } from 'node:fs'
import { performance } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import { buildApp, type Gatehouse } from '../app.ts'
import type { Config } from '../config/schema.ts'
import type { Log } from '../telemetry/log.ts'
import { startTracing } from '../telemetry/start-tracing.ts'
import { explainListenErrors, removeStaleSockets } from './listen.ts'
import { boundHeap } from './v8-tuning.ts'

export interface RunningGateway {
  readonly address: string
  readonly forwardAuth: string | null
  readonly redirectFrom: string | null
  /** Applies a new configuration. Rejects without any change if the configuration cannot be applied. */
  reload(config: Config): Promise<void>
  /**
   * Reports not ready, waits for `shutdown.wait`, then at most `shutdown.drain` for requests in progress. Resolves when
   * everything is closed.
   */
  stop(): Promise<void>
  /** Closes all connections without waiting for requests in progress. */
  cut(): void
}

export interface ProcessGateway extends RunningGateway {
  readonly gateway: Gatehouse
  /** Reports not ready, and closes connections after their next response. */
  drain(): void
}

/** Serves in this process without an admin listener. Closes everything and rejects if it cannot listen. */
export async function serveHere(initial: Config, log: Log): Promise<ProcessGateway> {
  let config = initial
  const tracing = await startTracing(process.env, log)
  const gateway = await buildApp(config, log, tracing)
  try {
    const { listen: publicAddress, listenMode, forwardAuth } = initial
    await explainListenErrors('listen', publicAddress, async () => gateway.listener.listen(publicAddress, listenMode))
    // A default ACL of the directory overrides the umask with which the listener creates the socket.
    if (listenMode !== null && 'path' in publicAddress) chmodSync(publicAddress.path, listenMode)
    if (forwardAuth !== null) {
      const { listen } = forwardAuth
      await explainListenErrors('forwardAuth.listen', listen, async () => gateway.forwardAuth?.listen(listen))
    }
    const redirectFrom = initial.tls?.redirectFrom ?? null
    if (redirectFrom !== null)
      await explainListenErrors('tls.redirectFrom', redirectFrom, async () => gateway.redirect?.listen(redirectFrom))
  } catch (error) {
    await gateway.close()
    throw error
  }
  boundHeap()
  let drainingSince: number | null = null
  const drain = (): void => {
    gateway.drain()
    drainingSince ??= performance.now()
  }
  return {
    gateway,
    drain,
    address: addressOf(gateway.listener, config.tls === null ? 'http' : 'https'),
    forwardAuth: gateway.forwardAuth === null ? null : addressOf(gateway.forwardAuth, 'http'),
    redirectFrom: gateway.redirect === null ? null : addressOf(gateway.redirect, 'http'),
    async reload(next) {
      await gateway.reload(next)
      log.level = next.log.level
      config = next
    },
    async stop() {
      drain()
      await sleep(Math.max(0, config.shutdown.wait - (performance.now() - (drainingSince ?? 0))))
      const cut = setTimeout(() => {
        log.warn({ event: 'drain_timeout' }, 'closing connections that are still open')
        gateway.cut()
      }, config.shutdown.drain)
      await gateway.close()
      clearTimeout(cut)
      await tracing?.close()
    },
    cut() {
      gateway.cut()
    },
  }
}

/** Serves in this process with the admin listener. Closes everything and rejects if it cannot listen. */
export async function serveWithAdmin(config: Config, log: Log): Promise<RunningGateway> {
  await removeStaleSockets(config)
  const running = await serveHere(config, log)
  const { admin } = running.gateway
  try {
    if (admin !== null && config.admin !== null) {
      const { listen } = config.admin
      await explainListenErrors('admin.listen', listen, async () => admin.listen({ ...listen }))
    }
  } catch (error) {
    await running.gateway.close()
    throw error
  }
  return running
}

function addressOf(listener: Gatehouse['listener'], scheme: 'http' | 'https'): string {
  const bound = listener.address()
  if (bound === null || typeof bound === 'string') return `unix:${bound ?? ''}`
  const host = bound.family === 'IPv6' ? `[${bound.address}]` : bound.address
  return `${scheme}://${host}:${bound.port}`
}
