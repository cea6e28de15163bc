import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import { waitsToBeAsked } from './expectation.ts'

/** A client that sends nothing of a body that is waited for between two looks, ms, is given up. */
const LOOK_FOR_SILENT = 30_000

/** What has come last on a connection: a request with a body, one without, or none yet. */
export type Asked = IncomingMessage | 'bodyless' | 'nothing'

/**
 * Uploads may last for hours, as long as something comes. A body that the application does not take yet is no client's
 * fault. Looks at the connections and their latest requests until the timer is cleared, and hands those over that are
 * silent.
 */
export function giveUpOnSilentUploads(
  speaking: ReadonlyMap<Socket, Asked>,
  giveUp: (socket: Socket, request: IncomingMessage) => void,
): NodeJS.Timeout {
  const read = new WeakMap<Socket, number>()
  return setInterval(() => {
    for (const [socket, asked] of speaking) {
      if (typeof asked === 'string' || asked.complete || waitsToBeAsked(asked)) continue
      const isSilent = read.get(socket) === socket.bytesRead && asked.readableLength === 0
      read.set(socket, socket.bytesRead)
      if (isSilent) giveUp(socket, asked)
    }
  }, LOOK_FOR_SILENT).unref()
}
