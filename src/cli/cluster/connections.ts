import type { ChildProcess } from 'node:child_process'
import type { Worker } from 'node:cluster'
import type { Config } from '../../config/schema.ts'
import { umaskOf } from '../../http/server/listener.ts'

export interface ClusterConnections {
  track(worker: Worker): void
  /** Returns how many connections have been passed to workers since the start. */
  passed(): number
  /** Returns how many connections wait for a worker to take them. */
  pending(): number
  /** Closes the shared listening sockets before the workers close theirs. */
  stopListening(): void
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
  readonly address?: unknown
}

/**
 * Creates the tracker. When a worker ends, the tracker closes the connections that the worker has not taken.
 * node:cluster forgets these connections (https://github.com/nodejs/node/issues/21746), and their clients would wait
 * forever. The tracker also gives the Unix socket in `listen` its mode, because node:cluster creates the socket in this process.
 */
export function trackClusterConnections({
  listen,
  listenMode,
}: Pick<Config, 'listen' | 'listenMode'>): ClusterConnections {
  let count = 0
  const pending = new Set<ReadonlyMap<unknown, Connection>>()
  /** node:cluster's keys of the listening sockets that each worker shares. */
  const shared = new Map<ChildProcess, Set<unknown>>()

  return {
    passed: () => count,
    pending: () => [...pending].reduce((sum, { size }) => sum + size, 0),
    stopListening() {
      // Workers send this message when they stop listening. Once all workers have sent it, node:cluster closes the
      // socket.
      for (const [child, keys] of shared)
        for (const key of keys) child.emit('internalMessage', { cmd: 'NODE_CLUSTER', act: 'close', key })
    },
    track({ process: child }) {
      const keys = new Set<unknown>()
      shared.set(child, keys)
      const waiting = new Map<unknown, Connection>()
      pending.add(waiting)
      const send: (...message: Parameters<ChildProcess['send']>) => boolean = child.send.bind(child)
      const trackedSend: typeof send = (...message) => {
        const [content, handle]: readonly unknown[] = message
        if (isObject(content) && content.key !== undefined) keys.add(content.key)
        if (isObject(content) && content.act === 'newconn' && isConnection(handle)) {
          count += 1
          waiting.set(content.seq, handle)
        }
        return send(...message)
      }
      Object.assign(child, { send: trackedSend })
      // Node.js emits its own messages as `internalMessage`, not as `message`.
      child.on('internalMessage', (message: unknown) => {
        if (isObject(message) && message.ack !== undefined) waiting.delete(message.ack)
      })
      if (listenMode !== null && 'path' in listen) narrowSockets(child, listen.path, listenMode)
      child.once('exit', () => {
        for (const connection of waiting.values()) connection.close()
        pending.delete(waiting)
        shared.delete(child)
      })
    },
  }
}

/** Sets the umask while node:cluster handles a worker's request to listen on the Unix socket `path`. */
function narrowSockets(child: ChildProcess, path: string, mode: number): void {
  let umask: number | null = null
  child.prependListener('internalMessage', (message: unknown) => {
    if (isObject(message) && message.act === 'queryServer' && message.address === path)
      umask = process.umask(umaskOf(mode))
  })
  child.on('internalMessage', () => {
    if (umask !== null) process.umask(umask)
    umask = null
  })
}

function isObject(value: unknown): value is ClusterMessage {
  return typeof value === 'object' && value !== null
}

function isConnection(value: unknown): value is Connection {
  return typeof value === 'object' && value !== null && 'close' in value && typeof value.close === 'function'
}
