import cluster, { type Worker } from 'node:cluster'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Config } from '../../config/schema.ts'
import { causes } from '../../errors.ts'
import { buildWorkersAdmin } from '../../http/admin/workers.ts'
import { acceptLast } from '../../http/server/accept-queue.ts'
import { exponentialBackoff } from '../../resilience/backoff.ts'
import type { Log } from '../../telemetry/log.ts'
import { explainListenErrors, removeStaleSockets } from '../listen.ts'
import type { RunningGateway } from '../serve.ts'
import { trackClusterConnections } from './connections.ts'
import { READY_ID, type Addresses, type Call, type Reply, type WorkerCalls } from './worker.ts'

interface WorkerChannel {
  readonly worker: Worker
  /** Calls the worker. Rejects if the call fails or the worker ends first. */
  readonly call: <Name extends keyof WorkerCalls>(
    name: Name,
    ...argument: Parameters<WorkerCalls[Name]>
  ) => ReturnType<WorkerCalls[Name]>
  readonly ended: Promise<void>
}

const restartDelayMs = exponentialBackoff(200, 10_000)
/** A worker that has run this long resets the restart delay to the shortest one. */
const STABLE_AFTER_MS = 30_000
/** How much longer than `shutdown.wait` and `shutdown.drain` a worker may take to end before it is killed. */
const KILL_GRACE_MS = 15_000

/**
 * Serves in `count` worker processes that share the listeners. This process runs the admin listener and replaces
 * workers that die. Stops everything and rejects if the workers cannot serve.
 */
export async function serveInWorkers(count: number, initial: Config, log: Log): Promise<RunningGateway> {
  let config = initial
  let isDraining = false
  let restartAttempt = 1
  const serving = new Set<WorkerChannel>()
  const connections = trackClusterConnections(config)
  // The default serialization, JSON, would not preserve the buffers of keys and certificates.
  cluster.setupPrimary({ serialization: 'advanced' })

  async function addWorker(): Promise<Addresses> {
    const channel = openChannel(cluster.fork())
    connections.track(channel.worker)
    const addresses = await begin(channel).catch((error: unknown) => {
      channel.worker.process.kill('SIGKILL')
      throw error
    })
    serving.add(channel)
    const since = performance.now()
    void channel.ended.then(async () => {
      serving.delete(channel)
      if (isDraining) return
      if (performance.now() - since > STABLE_AFTER_MS) restartAttempt = 1
      logDeath(channel)
      await replaceWorker()
    })
    return addresses
  }

  async function begin({ call }: WorkerChannel): Promise<Addresses> {
    let sent = config
    const addresses = await call('serve', sent)
    // A reload may have replaced the configuration while the worker started.
    while (sent !== config) {
      sent = config
      await call('reload', sent)
    }
    return addresses
  }

  function logDeath({ worker }: WorkerChannel): void {
    const { exitCode: code, signalCode: signal } = worker.process
    log.error({ event: 'worker_died', worker: worker.id, code, signal }, 'a worker has died and will be replaced')
  }

  async function replaceWorker(): Promise<void> {
    await sleep(restartDelayMs(restartAttempt), undefined, { ref: false })
    restartAttempt += 1
    if (isDraining) return
    try {
      await addWorker()
    } catch (error) {
      log.error({ event: 'worker_failed', cause: causes(error) }, 'a worker could not start')
      await replaceWorker()
    }
  }

  const settings = config.admin === null ? null : { ...config.admin }
  const admin =
    settings === null
      ? null
      : buildWorkersAdmin({
          settings,
          log,
          workers: () =>
            [...serving].map(({ call }) => ({
              answer: (request) => call('admin', request),
              metrics: () => call('metrics'),
            })),
          isDraining: () => isDraining,
          limits: config.limits,
        })

  async function end(signal: NodeJS.Signals): Promise<void> {
    const workers = Object.values(cluster.workers ?? {}).filter((worker) => worker !== undefined)
    await Promise.all(
      workers.map(async (worker) => {
        const exited = worker.isDead() ? null : once(worker, 'exit')
        worker.process.kill(signal)
        const kill = setTimeout(
          () => {
            worker.process.kill('SIGKILL')
          },
          config.shutdown.wait + config.shutdown.drain + KILL_GRACE_MS,
        )
        await exited
        clearTimeout(kill)
      }),
    )
    await admin?.close()
  }

  let addresses: Addresses
  try {
    await removeStaleSockets(config)
    if (admin !== null && config.admin !== null) {
      const { listen } = config.admin
      await explainListenErrors('admin.listen', listen, async () => admin.listen({ ...listen }))
    }
    // An invalid configuration fails in the first worker, before the others start.
    addresses = await addWorker()
    await Promise.all(Array.from({ length: count - 1 }, addWorker))
  } catch (error) {
    isDraining = true
    await end('SIGKILL')
    throw error
  }

  return {
    ...addresses,
    async reload(next) {
      const [firstWorker, ...others] = serving
      await firstWorker?.call('reload', next)
      config = next
      if (settings !== null) Object.assign(settings, next.admin)
      log.level = next.log.level
      await Promise.all(
        others.map(async ({ call, worker }) => {
          // The first worker has accepted this configuration. If another worker fails to apply it, a new worker that
          // starts with this configuration replaces that worker.
          await call('reload', next).catch(() => {
            worker.process.kill('SIGKILL')
          })
        }),
      )
    },
    async stop() {
      isDraining = true
      for (const { call } of serving) call('drain').catch(() => {})
      await sleep(config.shutdown.wait)
      await acceptLast(
        () => connections.passed(),
        () => connections.pending(),
      )
      connections.stopListening()
      await end('SIGTERM')
    },
    cut() {
      for (const { call } of serving) call('cut').catch(() => {})
    },
  }
}

function openChannel(worker: Worker): WorkerChannel {
  const waiting = new Map<
    number,
    { readonly resolve: (result: unknown) => void; readonly reject: (error: Error) => void }
  >()
  const ready = new Promise<unknown>((resolve, reject) => {
    waiting.set(READY_ID, { resolve, reject })
  })
  const ended = new Promise<void>((resolve) => {
    worker.once('exit', () => {
      for (const { reject } of waiting.values()) reject(new Error('the worker has ended'))
      waiting.clear()
      resolve()
    })
  })
  worker.on('message', (reply: Reply) => {
    const call = waiting.get(reply.id)
    waiting.delete(reply.id)
    if ('result' in reply) call?.resolve(reply.result)
    else call?.reject(new Error(reply.failure))
  })
  let lastId = READY_ID
  return {
    worker,
    ended,
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the worker runs the same program
    call: (async (name, ...[argument]) => {
      await ready
      return new Promise((resolve, reject) => {
        lastId += 1
        waiting.set(lastId, { resolve, reject })
        worker.send({ id: lastId, name, argument } satisfies Call, (error) => {
          if (error !== null) reject(error)
        })
      })
    }) as WorkerChannel['call'],
  }
}
