import cluster from 'node:cluster'
import type { Config } from '../../config/schema.ts'
import { causes } from '../../errors.ts'
import type { AdminResponse, AdminRequest } from '../../http/admin/workers.ts'
import { openLog } from '../../telemetry/log.ts'
import { exitSoon, isStdoutSynchronous } from '../process.ts'
import { serveHere, type ProcessGateway, type RunningGateway } from '../serve.ts'

export interface WorkerCalls {
  /** Starts serving; always the first call. Returns the addresses that the worker listens on. */
  serve(config: Config): Promise<Addresses>
  reload(config: Config): Promise<void>
  drain(): Promise<void>
  cut(): Promise<void>
  admin(request: AdminRequest): Promise<AdminResponse>
  /** Returns the metrics as prom-client's JSON. */
  metrics(): Promise<unknown>
}

export type Addresses = Pick<RunningGateway, 'address' | 'forwardAuth' | 'redirectFrom'>

/** The id of the reply that a worker sends when it is ready for calls. */
export const READY_ID = 0

export interface Call {
  readonly id: number
  readonly name: keyof WorkerCalls
  readonly argument: unknown
}

export type Reply =
  { readonly id: number; readonly result: unknown } | { readonly id: number; readonly failure: string }

/** Serves as a worker until SIGTERM. Resolves with the exit status. */
export async function runWorker(): Promise<number> {
  try {
    await serveUntilStopped()
    return 0
  } finally {
    // An open channel to the primary keeps the process alive.
    process.disconnect?.()
  }
}

async function serveUntilStopped(): Promise<void> {
  const { log, flush } = openLog('info', {
    shared: true,
    synchronous: isStdoutSynchronous(),
    base: { worker: cluster.worker?.id },
  })
  let begin: (serving: Promise<ProcessGateway>) => void
  const running = new Promise<ProcessGateway>((resolve) => {
    begin = resolve
  })

  const calls: WorkerCalls = {
    async serve(config) {
      log.level = config.log.level
      begin(serveHere(config, log))
      const { address, forwardAuth, redirectFrom } = await running
      return { address, forwardAuth, redirectFrom }
    },
    async reload(config) {
      await (await running).reload(config)
    },
    async drain() {
      ;(await running).drain()
    },
    async cut() {
      ;(await running).cut()
    },
    async admin({ method, url, authorization, remoteAddress }) {
      const headers = authorization === undefined ? {} : { authorization }
      const from = remoteAddress === undefined ? {} : { remoteAddress }
      const answer = await (await running).gateway.admin?.inject({ method, url, headers, ...from })
      return {
        status: answer?.statusCode ?? 404,
        type: answer?.headers['content-type'] ?? '',
        body: answer?.body ?? '',
      }
    },
    async metrics() {
      return (await running).gateway.metrics.registry.getMetricsAsJSON()
    },
  }
  process.on('message', ({ id, name, argument }: Call) => {
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the primary runs the same program
    const call = calls[name] as (argument: unknown) => Promise<unknown>
    call(argument).then(
      (result) => {
        process.send?.({ id, result } satisfies Reply)
      },
      (error: unknown) => {
        process.send?.({ id, failure: causes(error) } satisfies Reply)
      },
    )
  })

  // Messages that arrive before the listener above are lost, so the primary waits for this reply.
  process.send?.({ id: READY_ID, result: null } satisfies Reply)

  // A terminal sends these signals to every process of the group. The primary handles them.
  process.on('SIGINT', () => {}).on('SIGHUP', () => {})
  await new Promise((resolve) => {
    process.on('SIGTERM', resolve)
  })
  await (await running).stop()
  await flush()
  exitSoon(0, log, flush)
}
