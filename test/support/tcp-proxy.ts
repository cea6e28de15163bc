import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import type { Test } from 'tap'

/** Which connections to Redis are meant: those that listen for messages, the others, or both. */
type Which = 'subscribers' | 'commands' | 'all'

/** Stands between the gateways and Redis, and lets things go wrong on the way. */
export type TcpProxy = {
  readonly port: number
  /** From now on each answer arrives so many ms later. */
  delay: (ms: number) => void
  /** Cuts connections; new ones can be made. */
  cut: (which?: Which) => void
  /** Swallows every byte without a word, on new connections, too; `null` ends that, and what was swallowed is lost. */
  swallow: (which: Which | null) => void
}

type Line = { readonly client: Socket; readonly server: Socket; subscriber: boolean; dead: boolean }

/** Starts a proxy in front of a port of this machine; it ends with the test. */
export const startTcpProxy = async (t: Test, target: number): Promise<TcpProxy> => {
  const lines = new Set<Line>()
  let latency = 0
  let swallowed: Which | null = null

  const concerns = (which: Which | null, { subscriber }: Line): boolean =>
    which === 'all' || (which !== null && (which === 'subscribers') === subscriber)

  const server = createServer((client) => {
    const line: Line = { client, server: connect(target, '127.0.0.1'), subscriber: false, dead: false }
    lines.add(line)
    const isLost = (): boolean => {
      // A connection that has lost bytes is never whole again.
      if (concerns(swallowed, line)) line.dead = true
      return line.dead
    }
    client.on('data', (bytes) => {
      if (bytes.toString('latin1').toUpperCase().includes('\nSUBSCRIBE\r')) line.subscriber = true
      if (!isLost()) line.server.write(bytes)
    })
    // Late or not, bytes arrive in the order in which they were sent.
    const waiting: { bytes: Buffer; due: number }[] = []
    const deliver = (): void => {
      for (let next = waiting[0]; next !== undefined; next = waiting[0]) {
        const rest = next.due - Date.now()
        if (rest > 0) {
          setTimeout(deliver, rest).unref()
          return
        }
        waiting.shift()
        if (!isLost() && client.writable) client.write(next.bytes)
      }
    }
    line.server.on('data', (bytes) => {
      waiting.push({ bytes, due: Date.now() + latency })
      if (waiting.length === 1) deliver()
    })
    const end = (): void => {
      lines.delete(line)
      client.destroy()
      // An end that is cut off silently does not see the other end close.
      line.server.destroy()
    }
    for (const socket of [client, line.server])
      socket.on('error', end).on('close', () => {
        if (socket === client || !line.dead) end()
      })
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  t.teardown(() => {
    server.close()
    for (const { client, server: other } of lines) {
      client.destroy()
      other.destroy()
    }
  })
  return {
    port: address.port,
    delay: (ms) => {
      latency = ms
    },
    cut: (which = 'all') => {
      for (const line of lines) if (concerns(which, line)) line.client.destroy()
    },
    swallow: (which) => {
      swallowed = which
    },
  }
}
