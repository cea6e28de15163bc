import { once } from 'node:events'
import net from 'node:net'

/** Commands to Redis that do not wait for each other's answers. */
export type Pipeline = {
  /** Sends commands whose answers have so many lines together; resolves when there is room for more. */
  send(commands: readonly (readonly string[])[], lines: number): Promise<void>
  /** Resolves when everything is answered, and rejects, as `send` does, with the first error of Redis's. */
  end(): Promise<void>
}

const UNANSWERED_LINES = 10_000

/** Connects to a Redis of this machine. */
export async function openPipeline(port: number): Promise<Pipeline> {
  const socket = net.connect(port, '127.0.0.1')
  await once(socket, 'connect')
  const state: { waiting: number; refusal: Error | null } = { waiting: 0, refusal: null }
  let wake: (() => void) | null = null
  const stop = (error: Error): void => {
    state.refusal ??= error
    wake?.()
  }
  socket.on('error', stop).on('data', (bytes) => {
    const text = bytes.toString('latin1')
    if (text.includes('-')) stop(new Error(`Redis says: ${text.trim()}`))
    state.waiting -= text.split('\n').length - 1
    wake?.()
  })

  async function untilWaitingFor(most: number): Promise<void> {
    while (state.waiting > most && state.refusal === null)
      await new Promise<void>((resolve) => {
        wake = resolve
      })
    if (state.refusal !== null) throw state.refusal
  }

  return {
    async send(commands, lines) {
      state.waiting += lines
      socket.write(commands.map(encode).join(''))
      await untilWaitingFor(UNANSWERED_LINES)
    },
    async end() {
      await untilWaitingFor(0)
      socket.destroy()
    },
  }
}

/** A command in the words of RESP. */
function encode(words: readonly string[]): string {
  return `*${words.length}\r\n${words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`).join('')}`
}
