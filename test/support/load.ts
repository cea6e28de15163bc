import { setTimeout as sleep } from 'node:timers/promises'
import type { Browser } from './browser.ts'
import type { GatewayProcess } from './gateway-process.ts'

export type Load = {
  /** Returns the number of responses by status or error since the start or the last call. */
  readonly take: () => Record<string, number>
  readonly stop: () => Promise<void>
}

/** Sends `rate` requests per second from logged-in users to the gateways in turn, until `stop` is called. */
export const startLoad = (browsers: readonly Browser[], gateways: readonly GatewayProcess[], rate: number): Load => {
  const requests = browsers.map((browser) => ({
    cookie: browser.cookies.header(new URL(gateways[0]?.url ?? ''), { crossSite: false, topLevelGet: true }),
  }))
  let counts: Record<string, number> = {}
  const count = (outcome: string): void => {
    counts[outcome] = (counts[outcome] ?? 0) + 1
  }
  const inProgress = new Set<Promise<void>>()
  const ending = new AbortController()

  const send = async (turn: number): Promise<void> => {
    const gateway = gateways[turn % gateways.length]
    const headers = requests[Math.floor(turn / gateways.length) % requests.length]
    try {
      const answer = await fetch(`${gateway?.url ?? ''}/api/orders`, {
        headers: headers ?? {},
        redirect: 'manual',
        signal: AbortSignal.timeout(10_000),
      })
      await answer.arrayBuffer()
      count(
        answer.status === 503
          ? `503 ${answer.headers.get('retry-after') === null ? 'without' : 'with'} Retry-After`
          : String(answer.status),
      )
    } catch (error) {
      count(error instanceof Error ? error.name : 'error')
    }
  }

  const run = async (): Promise<void> => {
    const begun = Date.now()
    for (let turn = 0; !ending.signal.aborted; turn += 1) {
      const request = send(turn).finally(() => {
        inProgress.delete(request)
      })
      inProgress.add(request)
      await sleep(Math.max(0, begun + (turn * 1000) / rate - Date.now()))
    }
  }
  const done = run()
  return {
    take() {
      const taken = counts
      counts = {}
      return taken
    },
    async stop() {
      ending.abort()
      await done
      await Promise.all(inProgress)
    },
  }
}
