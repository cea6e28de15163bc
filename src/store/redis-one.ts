import { createClient } from '@keyv/redis'
import { destroy, readyInTime, type ClientOptions } from './redis-client.ts'
import type { Connections } from './redis-connections.ts'

type Client = ReturnType<typeof createClient>

/** Connects to one Redis, which `mustBeMaster` where somebody has named it as such. */
export async function connectToOne(
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
