import { createHash } from 'node:crypto'
import { createClient, createCluster, createSentinel } from '@keyv/redis'
import type { StoreLocation } from '../config/kind-store.ts'
import type { Config } from '../config/schema.ts'

/** A Lua script, and what Redis knows it by. */
export interface Script { readonly text: string, readonly sha: string }

/** The same few things from one Redis, a cluster or sentinels. */
export interface RedisLink {
  /** Runs a command on the node that has `key`, always a master. Rejects with Redis's or the network's error. */
  command(key: string, args: readonly string[]): Promise<unknown>
  /** Runs a script with its keys, all of one slot. */
  run(script: Script, keys: readonly [string, ...string[]], args: readonly string[]): Promise<unknown>
  subscribe(channel: string, listener: (message: string) => void): Promise<void>
  /** Resolves when a connection could be made at last; keeps trying until then. */
  connect(): Promise<void>
  close(): Promise<void>
}

type RedisLocation = Exclude<StoreLocation, { kind: 'memory' }>

/** A command that has no answer by then has failed, ms. */
const COMMAND_TIMEOUT = 5_000
const CONNECT_TIMEOUT = 3_000
const RECONNECT_MOST = 1_000
const SENTINEL_SCAN = 1_000

/** Makes the text of a script known by its SHA-1, which is how Redis names scripts. */
export function script(text: string): Script {
  return { text, sha: createHash('sha1').update(text).digest('hex') }
}

/** Prepares the connections; `onDoubt` hears of everything that may have cost a notification. */
export function openRedisLink(location: RedisLocation, settings: Config['session']['redis'], onDoubt: (error: unknown) => void): RedisLink {
  const send = open(location, settings, onDoubt)
  return {
    command: (key, args) => send.command(key, [...args]),
    async run({ sha, text }, keys, args) {
      const rest = [String(keys.length), ...keys, ...args]
      try {
        return await send.command(keys[0], ['EVALSHA', sha, ...rest])
      } catch (error) {
        // A restarted or failed-over server does not know it yet.
        if (!(error instanceof Error) || !error.message.startsWith('NOSCRIPT')) throw error
        return send.command(keys[0], ['EVAL', text, ...rest])
      }
    },
    subscribe: send.subscribe,
    connect: send.connect,
    close: send.close,
  }
}

interface Connections {
  readonly command: (key: string, args: string[]) => Promise<unknown>
  readonly subscribe: (channel: string, listener: (message: string) => void) => Promise<void>
  readonly connect: () => Promise<void>
  readonly close: () => Promise<void>
}

function open(location: RedisLocation, settings: Config['session']['redis'], onDoubt: (error: unknown) => void): Connections {
  const first = location.kind === 'redis' ? location.url : location.urls[0] ?? ''
  const login = new URL(first)
  const { caFile, certFile, keyFile } = settings
  const tls = login.protocol === 'rediss:' ? {
    tls: true as const,
    ...(caFile === null ? {} : { ca: caFile.content }),
    ...(certFile === null ? {} : { cert: certFile.content }),
    ...(keyFile === null ? {} : { key: keyFile.content }),
  } : {}
  const username = settings.username ?? (login.username === '' ? undefined : decodeURIComponent(login.username))
  const password = settings.password ?? (login.password === '' ? undefined : decodeURIComponent(login.password))
  const credentials = { ...(username === undefined ? {} : { username }), ...(password === undefined ? {} : { password }) }
  const socket = {
    connectTimeout: CONNECT_TIMEOUT,
    reconnectStrategy: (retries: number) => Math.min(50 * 2 ** retries, RECONNECT_MOST),
    ...tls,
  }
  // While it is away, a command fails at once: the caller knows what to do without it.
  const options = { ...credentials, socket, disableOfflineQueue: true, commandOptions: { timeout: COMMAND_TIMEOUT } }

  switch (location.kind) {
    case 'redis': {
      const database = login.pathname.length > 1 ? Number(login.pathname.slice(1)) : 0
      const main = createClient({ ...options, url: `${login.protocol}//${login.host}`, database })
      const subscriber = main.duplicate({ disableOfflineQueue: false })
      main.on('error', onDoubt)
      subscriber.on('error', onDoubt).on('reconnecting', onDoubt)
      return {
        command: (_key, args) => main.sendCommand(args),
        subscribe: async (channel, listener) => { await subscriber.subscribe(channel, listener) },
        connect: async () => { await Promise.all([main.connect(), subscriber.connect()]) },
        close: async () => {
          main.destroy()
          subscriber.destroy()
        },
      }
    }
    case 'redis-cluster': {
      const cluster = createCluster({ rootNodes: location.urls.map((url) => ({ url: withoutLogin(url) })), defaults: options })
      for (const event of ['error', 'node-error', 'node-reconnecting', 'node-disconnect']) cluster.on(event, onDoubt)
      return {
        command: (key, args) => cluster.sendCommand(key, false, args),
        subscribe: async (channel, listener) => { await cluster.subscribe(channel, listener) },
        connect: () => untilConnected(() => cluster.connect(), onDoubt),
        close: async () => { cluster.destroy() },
      }
    }
    case 'redis-sentinel': {
      const sentinel = createSentinel({
        name: location.name,
        sentinelRootNodes: location.urls.map((url) => ({ host: new URL(url).hostname, port: Number(new URL(url).port || 26_379) })),
        nodeClientOptions: options,
        sentinelClientOptions: { socket },
        scanInterval: SENTINEL_SCAN,
        masterPoolSize: 4,
        passthroughClientErrorEvents: true,
      })
      for (const event of ['error', 'client-error', 'topology-change']) sentinel.on(event, onDoubt)
      return {
        command: (_key, args) => sentinel.sendCommand(false, args),
        subscribe: async (channel, listener) => { await sentinel.subscribe(channel, listener) },
        connect: () => untilConnected(() => sentinel.connect(), onDoubt),
        close: async () => { await sentinel.destroy() },
      }
    }
  }
}

function withoutLogin(url: string): string {
  const { protocol, host } = new URL(url)
  return `${protocol}//${host}`
}

/** Unlike a single client, these give up when nobody answers at first. */
async function untilConnected(connect: () => Promise<unknown>, onDoubt: (error: unknown) => void): Promise<void> {
  for (;;) {
    try {
      await connect()
      return
    } catch (error) {
      onDoubt(error)
      await new Promise((resolve) => { setTimeout(resolve, RECONNECT_MOST).unref() })
    }
  }
}
