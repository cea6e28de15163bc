import type { ServerResponse } from 'node:http'
import type { Dispatcher } from 'undici'
import type { Upgrade } from '../upgrades.ts'
import { clientHeaders } from './answer.ts'
import { receiver, type Transfer } from './transfer.ts'
import { upstreamPath } from './upstream-path.ts'
import { join, switchingHead } from './websocket.ts'

/** A request for a WebSocket on its way upstream. */
export interface UpgradeTransfer extends Transfer {
  readonly upgrade: Upgrade
  readonly onMessage: () => void
  /** The upstream has switched; `close` closes both ends with a code of RFC 6455. Returns what to call when it is over. */
  readonly onSwitched: (close: (code: number) => void) => () => void
}

/** Sends the upgrade upstream: its own answer decides, a 101 joins the connections, any other goes to the client as it is. */
export function transferUpgrade(job: UpgradeTransfer): void {
  const { route, facts, upgrade, response } = job
  const refused = receiver(job, false, null)
  job.pool.dispatch({
    path: upstreamPath(route, facts.path) + facts.query,
    method: 'GET',
    headers: job.headers,
    upgrade: 'websocket',
    headersTimeout: route.timeout,
    bodyTimeout: 0,
  }, {
    ...refused,
    onRequestUpgrade(controller: Dispatcher.DispatchController, _status, _headers, socket) {
      const raw = controller.rawHeaders
      const { headers } = clientHeaders(Array.isArray(raw) ? raw : [], job.isOwnCookie)
      detach(response, upgrade)
      upgrade.socket.write(switchingHead(headers, 'websocket'), 'latin1')
      const over: { call: () => void } = { call: () => {} }
      const close = join({ client: upgrade.socket, upstream: socket, onMessage: job.onMessage, onClosed: () => { over.call() } })
      over.call = job.onSwitched(close)
      if (upgrade.head.length > 0) upgrade.socket.unshift(upgrade.head)
    },
  })
}

/** From here on the connection is not HTTP's any more. */
function detach(response: ServerResponse, { socket }: Upgrade): void {
  response.removeAllListeners('finish')
  if (response.socket === socket) response.detachSocket(response.socket)
}
