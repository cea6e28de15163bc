import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import type { Test } from 'tap'

/** Which connections to Redis: those with a subscription, the others, or both. */
type Which = 'subscribers' | 'commands' | 'all'

export type TcpProxy = {
  readonly port: number
  /** Delays each answer by this many ms. */
  delay: (ms: number) => void
  cut: (which?: Which) => void
  /** Silently drops all bytes, also on new connections. `null` ends the fault; the dropped bytes stay lost. */
  swallow: (which: Which | null) => void
}

type Line = { readonly client: Socket; readonly server: Socket; subscriber: boolean; dead: boolean }

/** Starts a proxy in front of a port of this machine; it ends with the test. */
export const startTcpProxy = async (t: Test, target: number): Promise<TcpProxy> => {
  const lines = new Set<Line>()
  let latency = 0
  let swallowed: Which | null = null

  const matches = (which: Which | null, { subscriber }: Line): boolean =>
    which === 'all' || (which !== null && (which === 'subscribers') === subscriber)

  const server = createServer((client) => {
    const line: Line = { client, server: connect(target, '127.0.0.1'), subscriber: false, dead: false }
    lines.add(line)
    const isLost = (): boolean => {
      // A connection that has lost bytes stays broken.
      if (matches(swallowed, line)) line.dead = true
      return line.dead
    }
    client.on('data', (bytes) => {
      if (bytes.toString('latin1').toUpperCase().includes('\nSUBSCRIBE\r')) line.subscriber = true
      if (!isLost()) line.server.write(bytes)
    })
    // Delayed bytes keep their order.
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
      line.server.destroy()
    }
    for (const socket of [client, line.server])
      socket.on('error', end).on('close', () => {
        // On a connection that has lost bytes, the client does not see the server close.
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
      for (const line of lines) if (matches(which, line)) line.client.destroy()
    },
    swallow: (which) => {
      swallowed = which
    },
  }
}
