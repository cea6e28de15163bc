import type { ChildProcess } from 'node:child_process'
import type { Worker } from 'node:cluster'

/** Connections that this process has taken and hands over to its workers. */
export interface Handovers {
  /** From now on these of a worker are followed. */
  follow(worker: Worker): void
  /** How many there have been. */
  count(): number
  /** How many no worker has taken yet. */
  pending(): number
  /** Stops listening at once, before the workers do. */
  close(): void
}

/** A connection as node:cluster sends it. */
interface Connection {
  close(): void
}

interface ClusterMessage {
  readonly act?: unknown
  readonly seq?: unknown
  readonly ack?: unknown
  readonly key?: unknown
}

/**
 * Closes the connections that a worker has not taken when it ends: node:cluster forgets them, and their clients would
 * wait for ever.
 */
export function createHandovers(): Handovers {
  let count = 0
  const followed = new Set<ReadonlyMap<unknown, Connection>>()
  /** By worker, the listening sockets that it shares, by node:cluster's names. */
  const shared = new Map<ChildProcess, Set<unknown>>()

  return {
    count: () => count,
    pending: () => [...followed].reduce((sum, { size }) => sum + size, 0),
    close() {
      // What node:cluster does when a worker tells it that it listens no more: with the last one the socket is closed.
      for (const [child, keys] of shared)
        for (const key of keys) child.emit('internalMessage', { cmd: 'NODE_CLUSTER', act: 'close', key })
    },
    follow({ process: child }) {
      const keys = new Set<unknown>()
      shared.set(child, keys)
      const waiting = new Map<unknown, Connection>()
      followed.add(waiting)
      const send: (...message: Parameters<ChildProcess['send']>) => boolean = child.send.bind(child)
      const watched: typeof send = (...message) => {
        const [said, handle]: readonly unknown[] = message
        if (isObject(said) && said.key !== undefined) keys.add(said.key)
        if (isObject(said) && said.act === 'newconn' && isConnection(handle)) {
          count += 1
          waiting.set(said.seq, handle)
        }
        return send(...message)
      }
      Object.assign(child, { send: watched })
      listenTo(child, ({ ack }) => {
        waiting.delete(ack)
      })
      child.once('exit', () => {
        for (const connection of waiting.values()) connection.close()
        followed.delete(waiting)
        shared.delete(child)
      })
    },
  }
}

/** Node's own messages come as an event of their own. */
function listenTo(child: ChildProcess, onMessage: (message: ClusterMessage) => void): void {
  child.on('internalMessage', (message: unknown) => {
    if (isObject(message) && message.ack !== undefined) onMessage(message)
  })
}

function isObject(value: unknown): value is ClusterMessage {
  return typeof value === 'object' && value !== null
}

function isConnection(value: unknown): value is Connection {
  return typeof value === 'object' && value !== null && 'close' in value && typeof value.close === 'function'
}
