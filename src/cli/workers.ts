import cluster, { type Worker } from 'node:cluster'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Config } from '../config/schema.ts'
import { causes } from '../errors.ts'
import { acceptLast } from '../http/server/accept-last.ts'
import { buildWorkersAdmin } from '../http/admin/workers.ts'
import { exponentialBackoff } from '../resilience/backoff.ts'
import type { Log } from '../telemetry/log.ts'
import { createHandovers } from './handovers.ts'
import { listening } from './listen-error.ts'
import { freeSockets, type Running } from './running.ts'
import { READY, type Addresses, type Call, type Reply, type WorkerCalls } from './worker.ts'

/** A worker, and how to ask it for something; what it can't answer any more is rejected. */
interface WorkerChannel {
  readonly worker: Worker
  readonly ask: <Name extends keyof WorkerCalls>(
    name: Name,
    ...argument: Parameters<WorkerCalls[Name]>
  ) => ReturnType<WorkerCalls[Name]>
  readonly gone: Promise<void>
}

/** The pause before a worker that has died is replaced. */
const replacementPauseMs = exponentialBackoff(200, 10_000)
/** A worker that has lived for so long, ms, died of something new. */
const SETTLED_AFTER = 30_000
/** How much longer than `shutdown.wait` and `drain` a worker may take to end, ms. */
const LAST_WORDS = 15_000

/**
 * Serves in `count` processes that share the listener; this one has the admin listener, and replaces a worker that
 * dies. Rejects when they can't serve, and leaves nothing open.
 */
export async function serveInWorkers(count: number, first: Config, log: Log): Promise<Running> {
  let config = first
  let draining = false
  let attempt = 1
  const serving = new Set<WorkerChannel>()
  const handovers = createHandovers()
  // Keys and certificates stay the bytes that they are.
  cluster.setupPrimary({ serialization: 'advanced' })

  async function add(): Promise<Addresses> {
    const channel = openChannel(cluster.fork())
    handovers.follow(channel.worker)
    const addresses = await begin(channel).catch((error: unknown) => {
      channel.worker.process.kill('SIGKILL')
      throw error
    })
    serving.add(channel)
    const since = performance.now()
    void channel.gone.then(async () => {
      serving.delete(channel)
      if (draining) return
      if (performance.now() - since > SETTLED_AFTER) attempt = 1
      reportLoss(channel)
      await replace()
    })
    return addresses
  }

  async function begin({ ask }: WorkerChannel): Promise<Addresses> {
    let sent = config
    const addresses = await ask('serve', sent)
    // The configuration may have changed meanwhile.
    while (sent !== config) {
      sent = config
      await ask('reload', sent)
    }
    return addresses
  }

  function reportLoss({ worker }: WorkerChannel): void {
    const { exitCode: code, signalCode: signal } = worker.process
    log.error(
      { event: 'worker_died', worker: worker.id, code, signal },
      'a worker has ended by itself; another one takes its place',
    )
  }

  /** Until it has been done. */
  async function replace(): Promise<void> {
    await sleep(replacementPauseMs(attempt), undefined, { ref: false })
    attempt += 1
    if (draining) return
    try {
      await add()
    } catch (error) {
      log.error({ event: 'worker_failed', cause: causes(error) }, 'a worker could not start')
      await replace()
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
            [...serving].map(({ ask }) => ({ answer: (asked) => ask('admin', asked), metrics: () => ask('metrics') })),
          isDraining: () => draining,
          limits: config.limits,
        })

  async function end(signal: NodeJS.Signals): Promise<void> {
    const workers = Object.values(cluster.workers ?? {}).filter((worker) => worker !== undefined)
    await Promise.all(
      workers.map(async (worker) => {
        const exited = worker.isDead() ? null : once(worker, 'exit')
        worker.process.kill(signal)
        const late = setTimeout(
          () => {
            worker.process.kill('SIGKILL')
          },
          config.shutdown.wait + config.shutdown.drain + LAST_WORDS,
        )
        await exited
        clearTimeout(late)
      }),
    )
    await admin?.close()
  }

  let addresses: Addresses
  try {
    await freeSockets(config)
    if (admin !== null && config.admin !== null) {
      const { listen } = config.admin
      await listening('admin.listen', listen, async () => admin.listen({ ...listen }))
    }
    // The first one finds out whether it can be done at all.
    addresses = await add()
    await Promise.all(Array.from({ length: count - 1 }, add))
  } catch (error) {
    draining = true
    await end('SIGKILL')
    throw error
  }

  return {
    ...addresses,
    async reload(next) {
      const [one, ...others] = serving
      await one?.ask('reload', next)
      config = next
      if (settings !== null) Object.assign(settings, next.admin)
      log.level = next.log.level
      await Promise.all(
        others.map(async ({ ask, worker }) => {
          // What one could do the others can; who can't is replaced by one that begins with it.
          await ask('reload', next).catch(() => {
            worker.process.kill('SIGKILL')
          })
        }),
      )
    },
    async stop() {
      draining = true
      for (const { ask } of serving) ask('drain').catch(() => {})
      await sleep(config.shutdown.wait)
      await acceptLast(
        () => handovers.count(),
        () => handovers.pending(),
      )
      handovers.close()
      await end('SIGTERM')
    },
    cut() {
      for (const { ask } of serving) ask('cut').catch(() => {})
    },
  }
}

function openChannel(worker: Worker): WorkerChannel {
  const waiting = new Map<
    number,
    { readonly resolve: (result: unknown) => void; readonly reject: (error: Error) => void }
  >()
  const ready = new Promise<unknown>((resolve, reject) => {
    waiting.set(READY, { resolve, reject })
  })
  const gone = new Promise<void>((resolve) => {
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
  let calls = READY
  return {
    worker,
    gone,
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- both ends are the same program
    ask: (async (name, ...[argument]) => {
      await ready
      return new Promise((resolve, reject) => {
        calls += 1
        waiting.set(calls, { resolve, reject })
        worker.send({ id: calls, name, argument } satisfies Call, (error) => {
          if (error !== null) reject(error)
        })
      })
    }) as WorkerChannel['ask'],
  }
}
