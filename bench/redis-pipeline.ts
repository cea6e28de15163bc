import { once } from 'node:events'
import net from 'node:net'

export interface Pipeline {
  /** Sends commands whose replies have `lines` lines in total. Resolves when the pipeline accepts more commands. */
  send(commands: readonly (readonly string[])[], lines: number): Promise<void>
  /** Resolves when all replies have arrived. Rejects, as `send` does, with the first error reply. */
  end(): Promise<void>
}

const MAX_PENDING_LINES = 10_000

export async function openPipeline(port: number): Promise<Pipeline> {
  const socket = net.connect(port, '127.0.0.1')
  await once(socket, 'connect')
  const state: { pending: number; error: Error | null } = { pending: 0, error: null }
  let wake: (() => void) | null = null
  const stop = (error: Error): void => {
    state.error ??= error
    wake?.()
  }
  socket.on('error', stop).on('data', (bytes) => {
    const text = bytes.toString('latin1')
    if (text.includes('-')) stop(new Error(`Redis replied: ${text.trim()}`))
    state.pending -= text.split('\n').length - 1
    wake?.()
  })

  async function waitUntilPending(max: number): Promise<void> {
    while (state.pending > max && state.error === null)
      await new Promise<void>((resolve) => {
        wake = resolve
      })
    if (state.error !== null) throw state.error
  }

  return {
    async send(commands, lines) {
      state.pending += lines
      socket.write(commands.map(encode).join(''))
      await waitUntilPending(MAX_PENDING_LINES)
    },
    async end() {
      await waitUntilPending(0)
      socket.destroy()
    },
  }
}

function encode(words: readonly string[]): string {
  return `*${words.length}\r\n${words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`).join('')}`
}
