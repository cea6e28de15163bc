import { createClient, createCluster, type RedisClientOptions } from '@keyv/redis'
import type { StoreLocation } from '../config/kind-store.ts'
import type { Config } from '../config/schema.ts'

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
type Options = RedisClientOptions
type Client = ReturnType<typeof createClient>

const CONNECT_TIMEOUT = 3_000
/** For the connection and for what is said first on it (TLS, AUTH, SELECT), ms. */
const READY_TIMEOUT = 5_000

/** How to connect to the configured place. */
export function connectTo(location: Location, settings: Config['session']['redis']): Connect {
  const urls = (location.kind === 'redis' ? [location.url] : location.urls).map((url) => new URL(url))
  const [first] = urls
  if (first === undefined) throw new TypeError('a store in Redis has at least one URL')
  const { options, credentials } = optionsFor(first, settings)
  switch (location.kind) {
    case 'redis': {
      const node = { ...options, ...credentials, ...(first.pathname.length > 1 ? { database: Number(first.pathname.slice(1)) } : {}) }
      return (onError) => connectToOne(at(node, hostOf(first), portOf(first, 6379)), onError)
    }
    case 'redis-sentinel':
      return async (onError) => {
        const { host, port } = await findMaster(urls, location.name, options, credentials)
        return connectToOne(at({ ...options, ...credentials }, host, port), onError, { mustBeMaster: true })
      }
    case 'redis-cluster':
      return (onError) => connectToCluster(urls, { ...options, ...credentials }, onError)
  }
}

function optionsFor(url: URL, settings: Config['session']['redis']): { options: Options, credentials: Options } {
  const { caFile, certFile, keyFile } = settings
  const tls = url.protocol === 'rediss:' ? {
    tls: true as const,
    ...(caFile === null ? {} : { ca: caFile.content }),
    ...(certFile === null ? {} : { cert: certFile.content }),
    ...(keyFile === null ? {} : { key: keyFile.content }),
  } : {}
  const username = settings.username ?? (url.username === '' ? null : decodeURIComponent(url.username))
  const password = settings.password ?? (url.password === '' ? null : decodeURIComponent(url.password))
  return {
    options: {
      socket: { connectTimeout: CONNECT_TIMEOUT, reconnectStrategy: false, ...tls },
      // While it is away, a command fails at once: the caller knows what to do without it.
      disableOfflineQueue: true,
      disableClientInfo: true,
    },
    credentials: { ...(username === null ? {} : { username }), ...(password === null ? {} : { password }) },
  }
}

function hostOf({ hostname }: URL): string {
  return hostname.replace(/^\[|\]$/g, '')
}

function portOf({ port }: URL, usual: number): number {
  return port === '' ? usual : Number(port)
}

function at(options: Options, host: string, port: number): Options {
  return { ...options, socket: { ...options.socket, host, port } }
}

async function connectToOne(options: Options, onError: (error: unknown) => void, { mustBeMaster = false } = {}): Promise<Connections> {
  const main = createClient(options).on('error', onError)
  // A connection that listens can do nothing else.
  const subscriber = createClient(options).on('error', onError)
  const close = (): void => {
    destroy(main)
    destroy(subscriber)
  }
  try {
    await inTime(bothReady(main, subscriber))
    if (mustBeMaster && !await isMaster(main)) throw new Error('the sentinels named a master that is none any more')
  } catch (error) {
    close()
    throw error
  }
  return {
    masters: () => ['master'],
    command: (_key, args) => main.sendCommand([...args]),
    publish: (_master, channel, message) => main.sendCommand(['PUBLISH', channel, message]),
    subscribe: async (channels, listener) => { await inTime(subscriber.subscribe([...channels], listener)) },
    close,
  }
}

async function bothReady(...clients: Client[]): Promise<void> {
  // All have to be settled: one that is left in the middle of connecting could not be closed.
  const failed = (await Promise.allSettled(clients.map((client) => client.connect()))).find(({ status }) => status === 'rejected')
  if (failed?.status === 'rejected') throw failed.reason
}

async function isMaster(client: Client): Promise<boolean> {
  try {
    const role = await inTime(client.sendCommand(['ROLE']))
    return Array.isArray(role) && String(role[0]) === 'master'
  } catch (error) {
    // Who may not ask finds out with the first write.
    if (error instanceof Error && error.message.startsWith('NOPERM')) return true
    throw error
  }
}

/** Asks one sentinel after another; they may, but need not, want the same user and password as Redis itself. */
async function findMaster(sentinels: readonly URL[], name: string, options: Options, credentials: Options): Promise<{ host: string, port: number }> {
  const problems: string[] = []
  for (const url of sentinels) {
    for (const login of [{}, credentials]) {
      const client = createClient(at({ ...options, ...login }, hostOf(url), portOf(url, 26_379))).on('error', () => {})
      try {
        await inTime(client.connect())
        const reply = await inTime(client.sendCommand(['SENTINEL', 'get-master-addr-by-name', name]))
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

async function connectToCluster(urls: readonly URL[], options: Options, onError: (error: unknown) => void): Promise<Connections> {
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
    await inTime(cluster.connect())
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
    subscribe: async (channels, listener) => { await inTime(cluster.subscribe([...channels], listener)) },
    close,
  }
}

function destroy(client: { readonly isOpen: boolean, destroy(): void } | undefined): void {
  if (client?.isOpen === true) client.destroy()
}

async function inTime<T>(work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => { reject(new Error(`Redis did not answer within ${READY_TIMEOUT} ms`)) }, READY_TIMEOUT)
  })
  try {
    return await Promise.race([work, late])
  } finally {
    clearTimeout(timer)
  }
}
