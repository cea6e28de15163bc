import { createHash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { exponentialBackoff } from '../../resilience/backoff.ts'
import { withDeadline } from '../../resilience/deadline.ts'
import type { Connect, Connections } from './connections.ts'

export interface Script {
  readonly text: string
  readonly sha: string
}

/** A link to Redis that reconnects by itself. */
export interface RedisLink {
  /**
   * Runs a command on the master for `key`. Rejects with an error from Redis or the network, and immediately while there
   * is no connection.
   */
  command(key: string, args: readonly string[]): Promise<unknown>
  /** Runs a script. All `keys` must belong to the same slot. */
  run(script: Script, keys: readonly [string, ...string[]], args: readonly string[]): Promise<unknown>
  /** Returns the masters that can publish changes, or none while there is no connection. */
  masters(): readonly string[]
  publish(master: string, channel: string, message: string): Promise<unknown>
  /** Opens new connections, and uses the old ones until the new ones are ready. */
  renew(): void
  close(): void
}

interface LinkOptions {
  readonly connect: Connect
  readonly channels: readonly string[]
  readonly onMessage: (message: string) => void
  /** Checks new connections before they are used. They are closed if the check rejects. */
  readonly check: (connections: Connections) => Promise<void>
  /** New connections are in use. Earlier messages may have been lost. */
  readonly onConnected: () => void
  /** The connections have failed. Messages may be lost from now on. */
  readonly onTrouble: (error: unknown) => void
}

const COMMAND_TIMEOUT_MS = 5_000
const MAX_PAUSE_MS = 500
const reconnectPauseMs = exponentialBackoff(50, MAX_PAUSE_MS)
/** Connections that fail sooner than this are replaced after the longest pause. */
const STABLE_AFTER_MS = 5_000

export function script(text: string): Script {
  return { text, sha: createHash('sha1').update(text).digest('hex') }
}

/** Opens a link, which connects in the background. */
export function openRedisLink({ connect, channels, onMessage, check, onConnected, onTrouble }: LinkOptions): RedisLink {
  let current: Connections | null = null
  let openedAt = Number.NEGATIVE_INFINITY
  let connecting = false
  const closing = new AbortController()
  /** Replaced connections that still wait for replies. */
  const retired = new Set<Connections>()

  function retire(connections: Connections): void {
    retired.add(connections)
    setTimeout(() => {
      retired.delete(connections)
      connections.close()
    }, COMMAND_TIMEOUT_MS).unref()
  }

  async function open(): Promise<Connections> {
    const holder: { opened?: Connections } = {}
    const fresh = await connect((error) => {
      // Errors of replaced connections do not matter, and the attempt to open new connections reports its own errors.
      if (holder.opened !== undefined && holder.opened === current) handleLoss(error)
    })
    holder.opened = fresh
    try {
      await Promise.all([
        fresh.subscribe(channels, (message) => {
          if (fresh === current) onMessage(message)
        }),
        check(fresh),
      ])
    } catch (error) {
      fresh.close()
      throw error
    }
    return fresh
  }

  async function connectUntilDone(): Promise<void> {
    if (connecting) return
    connecting = true
    if (performance.now() - openedAt < STABLE_AFTER_MS) await sleep(MAX_PAUSE_MS, undefined, { ref: false })
    for (let attempt = 1; !closing.signal.aborted; attempt += 1) {
      try {
        const fresh = await open()
        if (closing.signal.aborted) {
          fresh.close()
          break
        }
        if (current !== null) retire(current)
        current = fresh
        openedAt = performance.now()
        onConnected()
        break
      } catch (error) {
        onTrouble(error)
        await sleep(reconnectPauseMs(attempt), undefined, { ref: false })
      }
    }
    connecting = false
  }

  function handleLoss(error: unknown): void {
    onTrouble(error)
    void connectUntilDone()
  }

  async function command(key: string, args: readonly string[]): Promise<unknown> {
    if (current === null) throw new Error('there is no connection to Redis')
    try {
      // The client has no time limit of its own while the connection is open.
      return await withDeadline(current.command(key, args), COMMAND_TIMEOUT_MS, throwTimeout)
    } catch (error) {
      // A failover has made this server a replica. Redis 6 wraps the errors of scripts, so `includes` is used.
      if (error instanceof Error && error.message.includes('READONLY')) handleLoss(error)
      throw error
    }
  }

  void connectUntilDone()
  return {
    command,
    async run({ sha, text }, keys, args) {
      const rest = [String(keys.length), ...keys, ...args]
      try {
        return await command(keys[0], ['EVALSHA', sha, ...rest])
      } catch (error) {
        // After a restart or a failover, the server does not have the script.
        if (!(error instanceof Error && error.message.startsWith('NOSCRIPT'))) throw error
        return command(keys[0], ['EVAL', text, ...rest])
      }
    },
    masters: () => current?.masters() ?? [],
    publish: async (master, channel, message) => current?.publish(master, channel, message),
    renew() {
      void connectUntilDone()
    },
    close() {
      closing.abort()
      for (const connections of retired) connections.close()
      current?.close()
      current = null
    },
  }
}

function throwTimeout(): never {
  throw new Error(`Redis did not answer within ${COMMAND_TIMEOUT_MS} ms`)
}
