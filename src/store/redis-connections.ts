import type { StoreLocation } from '../config/kind-store.ts'
import type { Config } from '../config/schema.ts'
import { at, endingWith, hostOf, portOf, type ClientOptions } from './redis-client.ts'
import { connectToCluster } from './redis-cluster.ts'
import { connectToOne } from './redis-one.ts'
import { findMaster } from './redis-sentinels.ts'

/**
 * Connections to one Redis, to the master that sentinels name, or to a cluster. They never mend themselves: after the
 * first error somebody has to open new ones.
 */
export interface Connections {
  /** The masters that changes can come from, by address. */
  masters(): readonly string[]
  /** Runs a command on the master that has `key`. Rejects with Redis's or the network's error. */
  command(key: string, args: readonly string[]): Promise<unknown>
  /** Publishes through one of the masters. */
  publish(master: string, channel: string, message: string): Promise<unknown>
  /** Rejects when Redis does not confirm it in time. */
  subscribe(channels: readonly string[], listener: (message: string) => void): Promise<void>
  close(): void
}

/** Opens connections; calls `onError` when one of them has broken. Rejects when they can't be made. */
export type Connect = (onError: (error: unknown) => void) => Promise<Connections>

type Location = Exclude<StoreLocation, { kind: 'memory' }>

const CONNECT_TIMEOUT = 3_000

/** How to connect to the configured place. */
export function connectTo(location: Location, settings: Config['session']['redis']): Connect {
  const urls = (location.kind === 'redis' ? [location.url] : location.urls).map((url) => new URL(url))
  const [first] = urls
  if (first === undefined) throw new TypeError('a store in Redis has at least one URL')
  const { options, credentials } = optionsFor(first, settings)
  switch (location.kind) {
    case 'redis': {
      const database = first.pathname.length > 1 ? { database: Number(first.pathname.slice(1)) } : {}
      const node = { ...options, ...credentials, ...database }
      return (onError) =>
        closingSockets(node, (mine) => connectToOne(at(mine, hostOf(first), portOf(first, 6379)), onError))
    }
    case 'redis-sentinel':
      return (onError) =>
        closingSockets(options, async (mine) => {
          const { host, port } = await findMaster(urls, location.name, mine, credentials)
          return connectToOne(at({ ...mine, ...credentials }, host, port), onError, { mustBeMaster: true })
        })
    case 'redis-cluster':
      return (onError) =>
        closingSockets({ ...options, ...credentials }, (mine) => connectToCluster(urls, mine, onError))
  }
}

/**
 * Connections whose `close` also ends the sockets that the library has lost sight of: a client that is closed while its
 * socket is still being made, and a cluster's client that a command under way has made after all were closed, would
 * stay open for ever.
 */
async function closingSockets(
  options: ClientOptions,
  connect: (options: ClientOptions) => Promise<Connections>,
): Promise<Connections> {
  const sockets = new AbortController()
  try {
    const connections = await connect(endingWith(sockets.signal, options))
    return {
      ...connections,
      close() {
        connections.close()
        sockets.abort()
      },
    }
  } catch (error) {
    sockets.abort()
    throw error
  }
}

interface Reaching {
  readonly options: ClientOptions
  readonly credentials: ClientOptions
}

function optionsFor(url: URL, settings: Config['session']['redis']): Reaching {
  const { caFile, certFile, keyFile } = settings
  const tls =
    url.protocol === 'rediss:'
      ? {
          tls: true as const,
          ...(caFile === null ? {} : { ca: caFile.content }),
          ...(certFile === null ? {} : { cert: certFile.content }),
          ...(keyFile === null ? {} : { key: keyFile.content }),
        }
      : {}
  const username = settings.username ?? (url.username === '' ? null : decodeURIComponent(url.username))
  const password = settings.password ?? (url.password === '' ? null : decodeURIComponent(url.password))
  return {
    options: {
      socket: { connectTimeout: CONNECT_TIMEOUT, reconnectStrategy: false, ...tls },
      // While it is away, a command fails at once: the caller knows what to do without it.
      disableOfflineQueue: true,
      disableClientInfo: true,
      // The library would write its defaults into these options, and build a new class for options that have changed.
      maintNotifications: 'disabled',
    },
    credentials: username === null && password === null ? {} : { credentialsProvider: providerOf(username, password) },
  }
}

/** As the library would make it of user and password, but once: see `maintNotifications`. */
function providerOf(
  username: string | null,
  password: string | null,
): NonNullable<ClientOptions['credentialsProvider']> {
  const credentials = { ...(username === null ? {} : { username }), ...(password === null ? {} : { password }) }
  return { type: 'async-credentials-provider', credentials: async () => credentials }
}
