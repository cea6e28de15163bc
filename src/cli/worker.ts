import cluster from 'node:cluster'
import type { Config } from '../config/schema.ts'
import { causes } from '../errors.ts'
import type { Answered, Asked } from '../http/admin/workers.ts'
import { openLog } from '../telemetry/log.ts'
import { leave } from './leave.ts'
import { serveHere, type Running } from './running.ts'
import { isStdoutPrompt } from './stdout.ts'

/** What the process that started a worker asks it for, and the answers. */
export interface WorkerCalls {
  /** The first call: serve. Gives the addresses. */
  serve(config: Config): Promise<Addresses>
  reload(config: Config): Promise<void>
  /** Each answer is the last on its connection. */
  drain(): Promise<void>
  /** What the admin listener would answer. */
  admin(asked: Asked): Promise<Answered>
  /** The metrics as prom-client's own JSON. */
  metrics(): Promise<unknown>
  cut(): Promise<void>
}

/** Where a worker listens. */
export type Addresses = Pick<Running, 'address' | 'forwardAuth'>

/** The number of the reply to no call: calls can come now. */
export const READY = 0

/** One call to a worker. */
export interface Call {
  readonly id: number
  readonly name: keyof WorkerCalls
  readonly argument: unknown
}

/** What came of a call. */
export type Reply =
  { readonly id: number; readonly result: unknown } | { readonly id: number; readonly failure: string }

type Here = Awaited<ReturnType<typeof serveHere>>

/** Serves as one of several processes, which the one that started it configures. Resolves with the exit status. */
export async function work(): Promise<number> {
  try {
    await serveUntilTold()
    return 0
  } finally {
    // It would keep the process alive.
    process.disconnect?.()
  }
}

async function serveUntilTold(): Promise<void> {
  const { log, flush } = openLog('info', {
    shared: true,
    prompt: isStdoutPrompt(),
    base: { worker: cluster.worker?.id },
  })
  let begin: (first: Promise<Here>) => void
  const here = new Promise<Here>((resolve) => {
    begin = resolve
  })

  const calls: WorkerCalls = {
    async serve(config) {
      log.level = config.log.level
      begin(serveHere(config, log))
      const { address, forwardAuth } = await here
      return { address, forwardAuth }
    },
    reload: async (config) => (await here).reload(config),
    drain: async () => {
      ;(await here).drain()
    },
    async admin({ method, url, authorization, remoteAddress }) {
      const headers = authorization === undefined ? {} : { authorization }
      const from = remoteAddress === undefined ? {} : { remoteAddress }
      const answer = await (await here).gateway.admin?.inject({ method, url, headers, ...from })
      return {
        status: answer?.statusCode ?? 404,
        type: answer?.headers['content-type'] ?? '',
        body: answer?.body ?? '',
      }
    },
    metrics: async () => (await here).gateway.metrics.registry.getMetricsAsJSON(),
    cut: async () => {
      ;(await here).cut()
    },
  }
  process.on('message', ({ id, name, argument }: Call) => {
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- both ends are the same program
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

  // What is sent before somebody listens is lost.
  process.send?.({ id: READY, result: null } satisfies Reply)

  // A terminal sends these to every process of the group.
  process.on('SIGINT', () => {}).on('SIGHUP', () => {})
  await new Promise((resolve) => {
    process.on('SIGTERM', resolve)
  })
  await (await here).stop()
  await flush()
  leave(0, log, flush)
}
