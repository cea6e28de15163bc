import { createClient, createCluster, type RedisClientOptions } from '@keyv/redis'
import { withoutBrackets } from '../../config/value-types/address.ts'
import type { StoreLocation } from '../../config/value-types/store.ts'
import type { Config } from '../../config/schema.ts'
import { withDeadline } from '../../resilience/deadline.ts'

/**
 * Connections to a single Redis, to the master that sentinels report, or to a cluster. They do not reconnect, so the
 * caller must open new ones after the first error.
 */
export interface Connections {
  /** Returns the addresses of the masters that can publish changes. */
  masters(): readonly string[]
  /** Runs a command on the master for `key`. Rejects with an error from Redis or the network. */
  command(key: string, args: readonly string[]): Promise<unknown>
  publish(master: string, channel: string, message: string): Promise<unknown>
  /** Subscribes to channels. Rejects if Redis does not confirm the subscription in time. */
  subscribe(channels: readonly string[], listener: (message: string) => void): Promise<void>
  close(): void
}

/** Opens connections and calls `onError` when one of them fails. Rejects if they cannot be opened. */
export type Connect = (onError: (error: unknown) => void) => Promise<Connections>

type Location = Exclude<StoreLocation, { kind: 'memory' }>

const CONNECT_TIMEOUT_MS = 3_000

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
        closingSockets(node, (clientOptions) => connectToOne(at(clientOptions, addressOf(first, 6379)), onError))
    }
    case 'redis-sentinel':
      return (onError) =>
        closingSockets(options, async (clientOptions) => {
          const master = await findMaster(urls, location.name, clientOptions, credentials)
          return connectToOne(at({ ...clientOptions, ...credentials }, master), onError, { mustBeMaster: true })
        })
    case 'redis-cluster':
      return (onError) =>
        closingSockets({ ...options, ...credentials }, (clientOptions) =>
          connectToCluster(urls, clientOptions, onError),
        )
  }
}

/**
 * Opens connections whose `close` also destroys sockets that the library leaves open: the socket of a client that is
 * closed while it connects, and the socket that a command opens in a cluster that has been closed.
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

interface ClientSettings {
  readonly options: ClientOptions
  readonly credentials: ClientOptions
}

function optionsFor(url: URL, settings: Config['session']['redis']): ClientSettings {
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
      socket: { connectTimeout: CONNECT_TIMEOUT_MS, reconnectStrategy: false, ...tls },
      // Without a connection, a command fails immediately, and the caller continues without Redis.
      disableOfflineQueue: true,
      disableClientInfo: true,
      // Otherwise the library adds its defaults to these options, and builds a new class for changed options.
      maintNotifications: 'disabled',
    },
    credentials: username === null && password === null ? {} : { credentialsProvider: providerOf(username, password) },
  }
}

/** Creates the credentials that the library would create for each client. See `maintNotifications` for the reason. */
function providerOf(
  username: string | null,
  password: string | null,
): NonNullable<ClientOptions['credentialsProvider']> {
  const credentials = { ...(username === null ? {} : { username }), ...(password === null ? {} : { password }) }
  return { type: 'async-credentials-provider', credentials: async () => credentials }
}

type Client = ReturnType<typeof createClient>

/** Connects to a single Redis. With `mustBeMaster`, rejects if the server is not a master. */
async function connectToOne(
  options: ClientOptions,
  onError: (error: unknown) => void,
  { mustBeMaster = false } = {},
): Promise<Connections> {
  const main = createClient(options).on('error', onError)
  // A subscribed connection accepts no other commands.
  const subscriber = createClient(options).on('error', onError)
  const close = (): void => {
    destroy(main)
    destroy(subscriber)
  }
  try {
    await readyInTime(bothReady(main, subscriber))
    if (mustBeMaster && !(await isMaster(main)))
      throw new Error('the sentinels reported a server that is no longer a master')
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
  // Waits for all clients, because a client that is still connecting cannot be closed.
  const outcomes = await Promise.allSettled(clients.map((client) => client.connect()))
  const failed = outcomes.find(({ status }) => status === 'rejected')
  if (failed?.status === 'rejected') throw failed.reason
}

async function isMaster(client: Client): Promise<boolean> {
  try {
    const role = await readyInTime(client.sendCommand(['ROLE']))
    return Array.isArray(role) && String(role[0]) === 'master'
  } catch (error) {
    // Without the permission for ROLE, the first write shows whether this is a master.
    if (error instanceof Error && error.message.startsWith('NOPERM')) return true
    throw error
  }
}

async function connectToCluster(
  urls: readonly URL[],
  options: ClientOptions,
  onError: (error: unknown) => void,
): Promise<Connections> {
  const { socket, ...rest } = options
  const cluster = createCluster({
    rootNodes: urls.map((url) => ({ socket: addressOf(url, 6379) })),
    defaults: { ...rest, ...(socket === undefined ? {} : { socket }) },
    // An unreachable master must not prevent access to the sessions of the other masters.
    minimizeConnections: true,
  })
  cluster.on('error', onError).on('node-error', onError)
  const close = (): void => {
    // `cluster.destroy` stops at the first node that is already closed.
    for (const { client } of cluster.nodeByAddress.values()) destroy(client)
    destroy(cluster.pubSubNode?.client)
    try {
      cluster.destroy()
    } catch {
      // All nodes are already closed.
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
      if (node === undefined) throw new Error(`${master} is no longer a master of the cluster`)
      const client = await cluster.nodeClient(node)
      return client.sendCommand(['PUBLISH', channel, message])
    },
    subscribe: async (channels, listener) => {
      await readyInTime(cluster.subscribe([...channels], listener))
    },
    close,
  }
}

/** Asks the sentinels in order for the master, each first without and then with the credentials for Redis. */
async function findMaster(
  sentinels: readonly URL[],
  name: string,
  options: ClientOptions,
  credentials: ClientOptions,
): Promise<Address> {
  const problems: string[] = []
  for (const url of sentinels) {
    for (const login of [{}, credentials]) {
      const client = createClient(at({ ...options, ...login }, addressOf(url, 26_379))).on('error', () => {})
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
  throw new Error(`no sentinel reported the master: ${problems.join('; ')}`)
}

type ClientOptions = RedisClientOptions

/** The time limit for a connection and its first commands (TLS, AUTH, SELECT). */
const READY_TIMEOUT_MS = 5_000

interface Address {
  readonly host: string
  readonly port: number
}

/** Returns the address in a URL in the form that sockets expect. */
function addressOf({ hostname, port }: URL, defaultPort: number): Address {
  return { host: withoutBrackets(hostname), port: port === '' ? defaultPort : Number(port) }
}

function at(options: ClientOptions, address: Address): ClientOptions {
  return { ...options, socket: { ...options.socket, ...address } }
}

function endingWith(signal: AbortSignal, options: ClientOptions): ClientOptions {
  // Node.js also accepts a signal for TLS sockets, but the library's types allow it only for plain ones.
  const more = { signal }
  return { ...options, socket: { ...options.socket, ...more } }
}

function destroy(client: { readonly isOpen: boolean; destroy(): void } | undefined): void {
  if (client?.isOpen === true) client.destroy()
}

/** Rejects if Redis does not respond to the first commands on a connection in time. */
async function readyInTime<T>(work: Promise<T>): Promise<T> {
  return withDeadline(work, READY_TIMEOUT_MS, () => {
    throw new Error(`Redis did not answer within ${READY_TIMEOUT_MS} ms`)
  })
}
