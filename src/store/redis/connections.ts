import { createClient, createCluster, type RedisClientOptions } from '@keyv/redis'
import { withoutBrackets } from '../../config/value-types/address.ts'
import type { StoreLocation } from '../../config/value-types/store.ts'
import type { Config } from '../../config/schema.ts'
import { inTime } from '../in-time.ts'

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

type Client = ReturnType<typeof createClient>

/** Connects to one Redis, which `mustBeMaster` where somebody has named it as such. */
async function connectToOne(
  options: ClientOptions,
  onError: (error: unknown) => void,
  { mustBeMaster = false } = {},
): Promise<Connections> {
  const main = createClient(options).on('error', onError)
  // A connection that listens can do nothing else.
  const subscriber = createClient(options).on('error', onError)
  const close = (): void => {
    destroy(main)
    destroy(subscriber)
  }
  try {
    await readyInTime(bothReady(main, subscriber))
    if (mustBeMaster && !(await isMaster(main))) throw new Error('the sentinels named a master that is none any more')
  } catch (error) {
    close()
    throw error
  }
  return {
    masters: () => ['master'],
    command: (_key, args) => main.sendCommand([...args]),
    publish: (_master, channel, message) => main.sendCommand(['PUBLISH', channel, message]),
    subscribe: async (channels, listener) => {
      await readyInTime(subscriber.subscribe([...channels], listener))
    },
    close,
  }
}

async function bothReady(...clients: Client[]): Promise<void> {
  // All have to be settled: one that is left in the middle of connecting could not be closed.
  const outcomes = await Promise.allSettled(clients.map((client) => client.connect()))
  const failed = outcomes.find(({ status }) => status === 'rejected')
  if (failed?.status === 'rejected') throw failed.reason
}

async function isMaster(client: Client): Promise<boolean> {
  try {
    const role = await readyInTime(client.sendCommand(['ROLE']))
    return Array.isArray(role) && String(role[0]) === 'master'
  } catch (error) {
    // Who may not ask finds out with the first write.
    if (error instanceof Error && error.message.startsWith('NOPERM')) return true
    throw error
  }
}

/** Connects to a cluster that has these nodes among others. */
async function connectToCluster(
  urls: readonly URL[],
  options: ClientOptions,
  onError: (error: unknown) => void,
): Promise<Connections> {
  const { socket, ...rest } = options
  const cluster = createCluster({
    rootNodes: urls.map((url) => ({ socket: { host: hostOf(url), port: portOf(url, 6379) } })),
    defaults: { ...rest, ...(socket === undefined ? {} : { socket }) },
    // One master that is down must not keep the others' sessions away.
    minimizeConnections: true,
  })
  cluster.on('error', onError).on('node-error', onError)
  const close = (): void => {
    // Closing it as a whole stops at the first node that is closed already.
    for (const { client } of cluster.nodeByAddress.values()) destroy(client)
    destroy(cluster.pubSubNode?.client)
    try {
      cluster.destroy()
    } catch {
      // Everything is closed.
    }
  }
  try {
    await readyInTime(cluster.connect())
  } catch (error) {
    close()
    throw error
  }
  return {
    masters: () => cluster.masters.map(({ address }) => address),
    command: (key, args) => cluster.sendCommand(key, false, [...args]),
    async publish(master, channel, message) {
      const node = cluster.masters.find(({ address }) => address === master)
      if (node === undefined) throw new Error(`${master} is no master of the cluster any more`)
      const client = await cluster.nodeClient(node)
      return client.sendCommand(['PUBLISH', channel, message])
    },
    subscribe: async (channels, listener) => {
      await readyInTime(cluster.subscribe([...channels], listener))
    },
    close,
  }
}

/** Asks one sentinel after another; they may, but need not, want the same user and password as Redis itself. */
async function findMaster(
  sentinels: readonly URL[],
  name: string,
  options: ClientOptions,
  credentials: ClientOptions,
): Promise<{ host: string; port: number }> {
  const problems: string[] = []
  for (const url of sentinels) {
    for (const login of [{}, credentials]) {
      const client = createClient(at({ ...options, ...login }, hostOf(url), portOf(url, 26_379))).on('error', () => {})
      try {
        await readyInTime(client.connect())
        const reply = await readyInTime(client.sendCommand(['SENTINEL', 'get-master-addr-by-name', name]))
        if (Array.isArray(reply)) return { host: String(reply[0]), port: Number(reply[1]) }
        problems.push(`${url.host} knows no master of the name ${name}`)
        break
      } catch (error) {
        const message = error instanceof Error ? error.message : String(error)
        if (login !== credentials && message.startsWith('NOAUTH')) continue
        problems.push(`${url.host}: ${message}`)
        break
      } finally {
        destroy(client)
      }
    }
  }
  throw new Error(`no sentinel could name the master: ${problems.join('; ')}`)
}

/** How a client of the library's is made. */
export type ClientOptions = RedisClientOptions

/** For the connection and for what is said first on it (TLS, AUTH, SELECT), ms. */
const READY_TIMEOUT = 5_000

/** The host of a URL as sockets want it. */
function hostOf({ hostname }: URL): string {
  return withoutBrackets(hostname)
}

/** The port of a URL, or the usual one. */
function portOf({ port }: URL, usual: number): number {
  return port === '' ? usual : Number(port)
}

/** The same options for one host. */
function at(options: ClientOptions, host: string, port: number): ClientOptions {
  return { ...options, socket: { ...options.socket, host, port } }
}

/** The same options for sockets that are destroyed when `signal` aborts. */
function endingWith(signal: AbortSignal, options: ClientOptions): ClientOptions {
  // Node.js takes it for a TLS socket, too; the library's types know it for plain ones only.
  const more = { signal }
  return { ...options, socket: { ...options.socket, ...more } }
}

/** Closes a client unless it is closed already. */
function destroy(client: { readonly isOpen: boolean; destroy(): void } | undefined): void {
  if (client?.isOpen === true) client.destroy()
}

/** Rejects when Redis does not answer what is said first on a connection. */
async function readyInTime<T>(work: Promise<T>): Promise<T> {
  return inTime(work, READY_TIMEOUT, () => new Error(`Redis did not answer within ${READY_TIMEOUT} ms`))
}
