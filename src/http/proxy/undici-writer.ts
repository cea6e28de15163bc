import type { Socket } from 'node:net'
import type { Readable } from 'node:stream'

/** The trailer section of the request whose body ends at this moment, with one character per byte, or `''`. */
let trailerSection = ''

type Written = (error?: Error | null) => void

/** What undici 7 writes at the end of a chunked body. */
const LAST_CHUNK = '\r\n0\r\n\r\n'
const NO_CONTENT = /(?:content-length: 0\r\n)?\r\n$/
const CONNECTION = /\r\nconnection: [^\r]*/

/**
 * Completes the requests that undici writes on a connection. The caller must call this function before undici writes
 * the first request.
 *
 * - The body that `withTrailers` returns ends with its trailer fields. Undici sends none:
 *   https://github.com/nodejs/undici/issues/179
 * - `Connection` names a `TE` header (https://www.rfc-editor.org/rfc/rfc9110#section-10.1.4). Undici writes the header
 *   `Connection` itself.
 */
export function patchWriter(socket: Socket): void {
  const write = socket.write.bind(socket)
  socket.write = (chunk: Uint8Array | string, encoding?: BufferEncoding | Written, written?: Written) => {
    const sent = typeof chunk === 'string' ? patched(chunk) : chunk
    return typeof encoding === 'function' ? write(sent, undefined, encoding) : write(sent, encoding, written)
  }
}

function patched(text: string): string {
  const section = trailerSection
  trailerSection = ''
  if (section !== '' && text === LAST_CHUNK) return `\r\n0\r\n${section}\r\n`
  const head = text.includes('\r\nTE: trailers\r\n') ? text.replace(CONNECTION, '$&, TE') : text
  // The body is empty, so undici sends no body.
  return section === '' ? head : head.replace(NO_CONTENT, () => `transfer-encoding: chunked\r\n\r\n0\r\n${section}\r\n`)
}

/**
 * Returns the stream `body`, which sends trailer fields on connections that `patchWriter` has prepared. Calls
 * `trailers` when the body has ended; the function returns name, value, name, value …, with one character per byte.
 */
export function withTrailers(body: Readable, trailers: () => readonly string[]): Readable {
  const emit: (event: string | symbol, ...args: unknown[]) => boolean = body.emit.bind(body)
  body.emit = (event: string | symbol, ...args: unknown[]) => {
    if (event !== 'end') return emit(event, ...args)
    // Undici writes the end of the body while it handles the event.
    trailerSection = sectionOf(trailers())
    try {
      return emit(event)
    } finally {
      trailerSection = ''
    }
  }
  return body
}

function sectionOf(trailers: readonly string[]): string {
  let section = ''
  for (let i = 0; i + 1 < trailers.length; i += 2) section += `${trailers[i] ?? ''}: ${trailers[i + 1] ?? ''}\r\n`
  return section
}
