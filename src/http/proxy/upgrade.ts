import { performance } from 'node:perf_hooks'
import type { Duplex } from 'node:stream'
import type { Upgrade } from '../upgrades.ts'
import { clientHeaders } from './answer.ts'
import { headersTimeout } from './final-answer.ts'
import { Receiver, statusText, type Transfer } from './receiver.ts'
import { phraseOf } from './undici-parser.ts'
import { upstreamPath } from './upstream-path.ts'
import { join, switchingHead } from './websocket.ts'

/** A request for a WebSocket. */
export interface WebSocketJob {
  readonly upgrade: Upgrade
  readonly onMessage: () => void
  /** How long either end may take nothing of what waits for it, ms. */
  readonly idleRead: number
  /**
   * The upstream has switched; `close` closes both ends with a code of RFC 6455. Returns what to call when it is over.
   */
  readonly onSwitched: (close: (code: number) => void) => () => void
}

/**
 * Sends the upgrade upstream: its own answer decides, a 101 joins the connections, any other goes to the client as it
 * is.
 */
export function transferUpgrade(job: Transfer, { upgrade, onMessage, onSwitched, idleRead }: WebSocketJob): void {
  const { route, facts, isOwnCookie } = job
  const handedAt = performance.now()
  const switched = (rawHeaders: readonly (Buffer | string)[], upstream: Duplex): void => {
    const { socket: client } = upgrade
    if (client.destroyed) {
      upstream.destroy()
      return
    }
    const { headers } = clientHeaders(rawHeaders, isOwnCookie)
    upgrade.take()
    client.write(switchingHead(headers, 'websocket', statusText(101, phraseOf(upstream))), 'latin1')
    job.onWaited(performance.now() - handedAt, 101, true)
    joinUntilClosed(client, upstream, { onMessage, onSwitched, idleRead })
  }
  job.pool.dispatch(
    {
      path: upstreamPath(route, facts.path) + facts.query,
      method: 'GET',
      headers: job.headers,
      upgrade: 'websocket',
      headersTimeout: headersTimeout(route, false),
      bodyTimeout: 0,
    },
    new Receiver(job, { handedAt, hasBody: false, retry: null, onSwitched: switched }),
  )
}

/** Apart from what asked for it: a connection that stays open for days must not hold on to its request. */
function joinUntilClosed(
  client: Duplex,
  upstream: Duplex,
  { onMessage, onSwitched, idleRead }: Omit<WebSocketJob, 'upgrade'>,
): void {
  const over: { call: () => void } = { call: () => {} }
  const close = join({
    client,
    upstream,
    onMessage,
    idleRead,
    onClosed: () => {
      over.call()
    },
  })
  over.call = onSwitched(close)
}
