import { performance } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import { buildApp, type Gatehouse } from '../app.ts'
import type { Config } from '../config/schema.ts'
import type { Log } from '../telemetry/log.ts'
import { openTracing } from '../telemetry/open-tracing.ts'
import { freeSocket } from './free-socket.ts'
import { listening } from './listen-error.ts'
import { boundHeap } from './v8-tuning.ts'

/** A gateway that serves, in this process or in workers. */
export interface Running {
  /** Where it listens. */
  readonly address: string
  /** Where it listens for the proxy that asks for verdicts, or `null`. */
  readonly forwardAuth: string | null
  /** Serves by another configuration; rejects when that can't be done, and goes on with the present one. */
  reload(config: Config): Promise<void>
  /**
   * Not ready at once, then `shutdown.wait`, then at most `shutdown.drain` for what runs. Resolves when everything has
   * ended.
   */
  stop(): Promise<void>
  /** Does not wait for what runs any longer. */
  cut(): void
}

/** Serves in this process. Rejects when it can't listen, and leaves nothing open. */
export async function serveHere(
  first: Config,
  log: Log,
): Promise<Running & { readonly gateway: Gatehouse; readonly drain: () => void }> {
  let config = first
  const tracing = await openTracing(process.env, log)
  const gateway = await buildApp(config, log, tracing)
  try {
    await listening('listen', first.listen, async () => gateway.listener.listen(first.listen))
    const { forwardAuth } = first
    if (forwardAuth !== null) {
      const { listen } = forwardAuth
      await listening('forwardAuth.listen', listen, async () => gateway.forwardAuth?.listen(listen))
    }
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
    cut: () => {
      gateway.cut()
    },
  }
}

/** The same with the admin listener. */
export async function serveAlone(config: Config, log: Log): Promise<Running> {
  await freeSockets(config)
  const running = await serveHere(config, log)
  const { admin } = running.gateway
  try {
    if (admin !== null && config.admin !== null) {
      const { listen } = config.admin
      await listening('admin.listen', listen, async () => admin.listen({ ...listen }))
    }
  } catch (error) {
    await running.gateway.close()
    throw error
  }
  return running
}

/** Removes the Unix sockets that a killed process has left behind where this one is to listen. */
export async function freeSockets({ listen, admin, forwardAuth }: Config): Promise<void> {
  const all = { 'listen': listen, 'admin.listen': admin?.listen, 'forwardAuth.listen': forwardAuth?.listen }
  for (const [key, where] of Object.entries(all))
    if (where !== undefined) await listening(key, where, async () => freeSocket(where))
}

function addressOf(listener: Gatehouse['listener'], scheme: 'http' | 'https'): string {
  const bound = listener.address()
  if (bound === null || typeof bound === 'string') return `unix:${bound ?? ''}`
  const host = bound.family === 'IPv6' ? `[${bound.address}]` : bound.address
  return `${scheme}://${host}:${bound.port}`
}
