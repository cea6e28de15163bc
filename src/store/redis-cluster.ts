import { createCluster } from '@keyv/redis'
import { destroy, hostOf, portOf, readyInTime, type ClientOptions } from './redis-client.ts'
import type { Connections } from './redis-connections.ts'

/** Connects to a cluster that has these nodes among others. */
export async function connectToCluster(
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
