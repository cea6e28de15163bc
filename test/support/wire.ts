import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { open } from './raw-http.ts'

/** An HTTP/1 message as its bytes tell it. All text has one character per byte. */
export interface Message {
  /** The request line or the status line. */
  readonly first: string
  /** `Name: value`, in order, without the optional blanks around the value. */
  readonly fields: readonly string[]
  readonly framing: 'none' | 'length' | 'chunked' | 'close'
  readonly body: string
  readonly trailers: readonly string[]
}

/** A response and how the connection went on after it. */
export interface Conversation {
  readonly interim: readonly Message[]
  /** `null` if the connection closed before the response was complete. */
  readonly answer: Message | null
  /** Whether the connection carried one more request, and its response was the next thing on the wire. */
  readonly reusable: boolean
}

interface Read {
  readonly message: Message
  readonly next: number
}

/**
 * Reads the message at an offset, or returns `null` if more bytes are needed. `method` is that of the request if the
 * message is a response, and `null` if the message is a request. `ended`: no more bytes will arrive.
 * @see https://www.rfc-editor.org/rfc/rfc9112#section-6.3
 */
export function readMessage(text: string, at: number, method: string | null, ended: boolean): Read | null {
  const head = readLines(text, at)
  if (head === null) return null
  const [first = '', ...lines] = head.lines
  const fields = lines.map(trimmed)
  const status = method === null ? null : Number(/^HTTP\/1\.\d (\d{2,3})/.exec(first)?.[1])
  if (Number.isNaN(status)) throw new Error(`not a status line: ${JSON.stringify(first.slice(0, 200))}`)
  const of = (body: string, framing: Message['framing'], next: number, trailers: readonly string[] = []): Read => ({
    message: { first, fields, framing, body, trailers },
    next,
  })
  if (status !== null && (method === 'HEAD' || status < 200 || status === 204 || status === 304))
    return of('', 'none', head.next)
  if (valueOf(fields, 'transfer-encoding')?.toLowerCase().endsWith('chunked') === true) {
    const chunks = readChunks(text, head.next)
    return chunks === null ? null : of(chunks.body, 'chunked', chunks.next, chunks.trailers)
  }
  const length = valueOf(fields, 'content-length')
  if (length !== null) {
    const next = head.next + Number(length)
    return next > text.length ? null : of(text.slice(head.next, next), 'length', next)
  }
  if (status === null) return of('', 'none', head.next)
  return ended ? of(text.slice(head.next), 'close', text.length) : null
}

/** Reads the final response at an offset of complete bytes, and the interim responses before it. */
export function readResponse(
  text: string,
  from: number,
  method: string,
): { readonly interim: readonly Message[]; readonly answer: Message; readonly next: number } {
  const interim: Message[] = []
  for (let at = from; ;) {
    const read = readMessage(text, at, method, true)
    if (read === null) throw new Error(`no complete response: ${JSON.stringify(text.slice(at, at + 200))}`)
    if (!read.message.first.startsWith('HTTP/1.1 1')) return { interim, answer: read.message, next: read.next }
    interim.push(read.message)
    at = read.next
  }
}

/** Returns the value of the first field with this name, which is in lower case, or `null`. */
export function valueOf(fields: readonly string[], name: string): string | null {
  const field = fields.find((line) => nameOf(line) === name)
  return field === undefined ? null : field.slice(name.length + 2)
}

/** Returns the name of a field in lower case. */
export function nameOf(field: string): string {
  return field.slice(0, field.indexOf(':')).toLowerCase()
}

function trimmed(line: string): string {
  return line.replace(/^([^:]*):[ \t]*([^]*?)[ \t]*$/, '$1: $2')
}

/** Reads lines until an empty one. */
function readLines(text: string, from: number): { lines: string[]; next: number } | null {
  const lines: string[] = []
  for (let at = from; ;) {
    const end = text.indexOf('\n', at)
    if (end === -1) return null
    const line = text.slice(at, text[end - 1] === '\r' && end > at ? end - 1 : end)
    at = end + 1
    if (line === '') return { lines, next: at }
    lines.push(line)
  }
}

function readChunks(text: string, from: number): { body: string; trailers: string[]; next: number } | null {
  let body = ''
  for (let at = from; ;) {
    const end = text.indexOf('\n', at)
    if (end === -1) return null
    const size = Number.parseInt(text.slice(at, end), 16)
    if (Number.isNaN(size)) throw new Error(`not a chunk size: ${JSON.stringify(text.slice(at, end))}`)
    at = end + 1
    if (size === 0) {
      const trailers = readLines(text, at)
      return trailers === null ? null : { body, trailers: trailers.lines.map(trimmed), next: trailers.next }
    }
    if (text.length < at + size + 2) return null
    body += text.slice(at, at + size)
    at = text.indexOf('\n', at + size) + 1
  }
}

/** The time between two pieces of a message that are sent in packets of their own. */
export const PIECE_DELAY_MS = 2

/**
 * Sends the pieces of a request in packets of their own and reads the response. Then sends `probe`, if it is
 * not `null`, on the same connection, and checks that a response with the body `probe` follows.
 */
export async function converse(
  url: string,
  method: string,
  pieces: readonly string[],
  probe: string | null,
  timeoutMs = 10_000,
): Promise<Conversation> {
  const socket = open(url).setNoDelay(true)
  let text = ''
  let ended = false
  let wake = (): void => undefined
  socket.on('data', (chunk: Buffer) => {
    text += chunk.toString('latin1')
    wake()
  })
  socket.once('close', () => {
    ended = true
    wake()
  })
  const timer = setTimeout(() => socket.destroy(), timeoutMs)

  async function next(at: number, of: string): Promise<Read | null> {
    for (;;) {
      const read = readMessage(text, at, of, ended)
      if (read !== null || ended) return read
      await new Promise<void>((resolve) => {
        wake = resolve
      })
    }
  }

  try {
    await once(socket, 'connect')
    for (const [i, piece] of pieces.entries()) {
      if (i > 0) await sleep(PIECE_DELAY_MS)
      socket.write(piece, 'latin1')
    }
    const interim: Message[] = []
    let at = 0
    for (;;) {
      const read = await next(at, method)
      if (read === null) return { interim, answer: null, reusable: false }
      at = read.next
      if (read.message.first.startsWith('HTTP/1.1 1')) {
        interim.push(read.message)
        continue
      }
      const answer = read.message
      if (probe === null || ended || answer.framing === 'close') return { interim, answer, reusable: false }
      socket.write(probe, 'latin1')
      const probed = await next(at, 'GET').catch(() => null)
      return { interim, answer, reusable: probed?.message.body === 'probe' && probed.next === text.length }
    }
  } finally {
    clearTimeout(timer)
    socket.destroy()
  }
}
