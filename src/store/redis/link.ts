import { createHash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { inTime } from '../in-time.ts'
import type { Connect, Connections } from './connections.ts'

/** A Lua script, and what Redis knows it by. */
export interface Script {
  readonly text: string
  readonly sha: string
}

/** A connection to Redis that is made anew whenever it breaks. */
export interface RedisLink {
  /**
   * Runs a command on the master that has `key`. Rejects with Redis's or the network's error, at once while there is no
   * connection.
   */
  command(key: string, args: readonly string[]): Promise<unknown>
  /** Runs a script with its keys, all of one slot. */
  run(script: Script, keys: readonly [string, ...string[]], args: readonly string[]): Promise<unknown>
  /** The masters that changes can come from; none while there is no connection. */
  masters(): readonly string[]
  /** Publishes through one of them. */
  publish(master: string, channel: string, message: string): Promise<unknown>
  /** Makes new connections beside the present ones, which serve until then. */
  renew(): void
  close(): void
}

interface LinkParts {
  readonly connect: Connect
  readonly channels: readonly string[]
  readonly onMessage: (message: string) => void
  /** Looks at new connections before they are used; where it rejects, they are given up. */
  readonly check: (connections: Connections) => Promise<void>
  /** There are new connections: messages before this moment may have been lost. */
  readonly onConnected: () => void
  /** Messages may be lost from now on. */
  readonly onTrouble: (error: unknown) => void
}

/** A command that has no answer by then has failed, ms. */
const COMMAND_TIMEOUT = 5_000
const PAUSE_FIRST = 50
const PAUSE_MOST = 500
/** Connections that break sooner than this, ms, are not made anew at once. */
const SETTLED_AFTER = 5_000

/** Makes the text of a script known by its SHA-1, which is how Redis names scripts. */
export function script(text: string): Script {
  return { text, sha: createHash('sha1').update(text).digest('hex') }
}

/** Begins to connect, and goes on until it is closed. */
export function openRedisLink({ connect, channels, onMessage, check, onConnected, onTrouble }: LinkParts): RedisLink {
  let current: Connections | null = null
  let madeAt = Number.NEGATIVE_INFINITY
  let making = false
  const closing = new AbortController()
  /** Replaced connections, which still wait for answers. */
  const retired = new Set<Connections>()

  function retire(connections: Connections): void {
    retired.add(connections)
    setTimeout(() => {
      retired.delete(connections)
      connections.close()
    }, COMMAND_TIMEOUT).unref()
  }

  async function make(): Promise<Connections> {
    const holder: { mine?: Connections } = {}
    const fresh = await connect((error) => {
      // What happens to others than the present ones is known, or told by the attempt itself.
      if (holder.mine !== undefined && holder.mine === current) lost(error)
    })
    holder.mine = fresh
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

  async function makeUntilDone(): Promise<void> {
    if (making) return
    making = true
    let pause = PAUSE_FIRST
    if (performance.now() - madeAt < SETTLED_AFTER) await sleep(PAUSE_MOST, undefined, { ref: false })
    while (!closing.signal.aborted) {
      try {
        const fresh = await make()
        if (closing.signal.aborted) {
          fresh.close()
          break
        }
        if (current !== null) retire(current)
        current = fresh
        madeAt = performance.now()
        onConnected()
        break
      } catch (error) {
        onTrouble(error)
        await sleep(pause, undefined, { ref: false })
        pause = Math.min(pause * 2, PAUSE_MOST)
      }
    }
    making = false
  }

  function lost(error: unknown): void {
    onTrouble(error)
    void makeUntilDone()
  }

  async function command(key: string, args: readonly string[]): Promise<unknown> {
    if (current === null) throw new Error('there is no connection to Redis')
    try {
      // The client itself waits for as long as the connection stands, which may be for ever.
      return await inTime(current.command(key, args), COMMAND_TIMEOUT, late)
    } catch (error) {
      // This one was the master once. (Redis 6 wraps up what happens in a script.)
      if (error instanceof Error && error.message.includes('READONLY')) lost(error)
      throw error
    }
  }

  void makeUntilDone()
  return {
    command,
    async run({ sha, text }, keys, args) {
      const rest = [String(keys.length), ...keys, ...args]
      try {
        return await command(keys[0], ['EVALSHA', sha, ...rest])
      } catch (error) {
        // A restarted or failed-over server does not know it yet.
        if (!(error instanceof Error && error.message.startsWith('NOSCRIPT'))) throw error
        return command(keys[0], ['EVAL', text, ...rest])
      }
    },
    masters: () => current?.masters() ?? [],
    publish: async (master, channel, message) => current?.publish(master, channel, message),
    renew() {
      void makeUntilDone()
    },
    close() {
      closing.abort()
      for (const connections of retired) connections.close()
      current?.close()
      current = null
    },
  }
}

function late(): Error {
  return new Error(`Redis did not answer within ${COMMAND_TIMEOUT} ms`)
}
