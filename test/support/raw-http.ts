import { connect, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'

export type RawAnswer = {
  status: number
  /** Names in lower case; values of one name in their order. */
  headers: Map<string, string[]>
  body: Buffer
  /** The lines of the trailer section. */
  trailers: string[]
}

/**
 * Opens a connection to the host of a URL, by default from any address of this machine. For https it uses TLS and accepts
 * any certificate.
 */
export const open = (url: string, localAddress?: string): Socket => {
  const { hostname, port, protocol } = new URL(url)
  const tcp = connect({ host: hostname, port: Number(port), ...(localAddress === undefined ? {} : { localAddress }) })
  const socket = protocol === 'https:' ? connectTls({ socket: tcp, rejectUnauthorized: false }) : tcp
  socket.on('error', () => {
    /* Tests examine the bytes that arrived before an error. */
  })
  return socket
}

/** Opens a connection and collects all bytes that arrive; `text` decodes them as Latin-1. */
export function openAndRead(url: string): {
  readonly socket: Socket
  readonly bytes: () => Buffer
  readonly text: () => string
} {
  const socket = open(url)
  const chunks: Buffer[] = []
  socket.on('data', (chunk: Buffer) => {
    chunks.push(chunk)
  })
  const bytes = (): Buffer => Buffer.concat(chunks)
  return { socket, bytes, text: () => bytes().toString('latin1') }
}

/**
 * Sends bytes (one per character of a string) and returns all bytes that arrive until the other side
 * closes.
 */
export const sendRaw = async (url: string, bytes: string | Buffer, timeout = 10_000): Promise<Buffer> => {
  const socket = open(url)
  const chunks: Buffer[] = []
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      socket.destroy()
      reject(
        new Error(
          `the connection is still open after ${timeout} ms: ${Buffer.concat(chunks).toString('latin1').slice(0, 200)}`,
        ),
      )
    }, timeout)
    socket.on('data', (chunk) => {
      chunks.push(chunk)
    })
    socket.once('close', () => {
      clearTimeout(timer)
      resolve(Buffer.concat(chunks))
    })
    socket.write(typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes)
  })
}

/** Sends one request without a body, with its target byte for byte, and returns its only response. */
export const ask = async (
  url: string,
  method: string,
  target: string,
  headers: readonly string[] = [],
): Promise<RawAnswer> => {
  const lines = [
    `${method} ${target} HTTP/1.1`,
    ...(headers.some((line) => /^host:/i.test(line)) ? [] : [`Host: ${new URL(url).host}`]),
    ...headers,
    'Connection: close',
    '',
    '',
  ]
  const [answer, ...more] = parseAnswers(await sendRaw(url, lines.join('\r\n')), [method])
  if (answer === undefined || more.length > 0) throw new Error(`${1 + more.length} answers to one request`)
  return answer
}

/** Returns the value of a header, or `null`; throws if it occurs more than once. */
export const header = (answer: RawAnswer, name: string): string | null => {
  const values = answer.headers.get(name) ?? []
  if (values.length > 1) throw new Error(`${name} occurs ${values.length} times`)
  return values[0] ?? null
}

/** Parses bytes as HTTP/1.1 responses (RFC 9112); throws if they are malformed. `methods` are those of the requests. */
export const parseAnswers = (bytes: Buffer, methods: readonly string[] = []): RawAnswer[] => {
  const answers: RawAnswer[] = []
  let at = 0
  while (at < bytes.length) {
    const end = bytes.indexOf('\r\n\r\n', at)
    if (end === -1) throw new Error(`a head without an end: ${JSON.stringify(bytes.toString('latin1', at, at + 200))}`)
    const [first = '', ...lines] = bytes.toString('latin1', at, end).split('\r\n')
    const [, code = ''] = /^HTTP\/1\.1 (\d{3}) [\x20-\x7e]*$/.exec(first) ?? []
    if (code === '') throw new Error(`not a status line: ${JSON.stringify(first.slice(0, 200))}`)
    const headers = new Map<string, string[]>()
    for (const line of lines) {
      const [, name = '', value = ''] = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\r\n\0]*)$/.exec(line) ?? []
      if (name === '') throw new Error(`not a header: ${JSON.stringify(line.slice(0, 200))}`)
      headers.set(name.toLowerCase(), [...(headers.get(name.toLowerCase()) ?? []), value])
    }
    const status = Number(code)
    if (status >= 100 && status < 200) {
      at = end + 4
      continue
    }
    const { body, next, trailers = [] } = readBody(bytes, end + 4, status, headers, methods[answers.length])
    answers.push({ status, headers, body, trailers })
    at = next
  }
  return answers
}

type Content = { body: Buffer; next: number; trailers?: string[] }

const readBody = (
  bytes: Buffer,
  from: number,
  status: number,
  headers: RawAnswer['headers'],
  method: string | undefined,
): Content => {
  if (method === 'HEAD' || status === 204 || status === 304) return { body: Buffer.alloc(0), next: from }
  if (headers.get('transfer-encoding')?.at(-1)?.toLowerCase() === 'chunked') return readChunks(bytes, from)
  const length = headers.get('content-length')?.[0]
  const next = length === undefined ? bytes.length : from + Number(length)
  if (next > bytes.length) throw new Error(`${bytes.length - from} bytes of a body of ${length}`)
  return { body: bytes.subarray(from, next), next }
}

const readChunks = (bytes: Buffer, from: number): Content => {
  const chunks: Buffer[] = []
  for (let at = from; ;) {
    const line = bytes.indexOf('\r\n', at)
    const size = line === -1 ? Number.NaN : Number.parseInt(bytes.toString('latin1', at, line), 16)
    if (Number.isNaN(size) || line + 4 + size > bytes.length) throw new Error('a chunked body without an end')
    if (size === 0) {
      const end = bytes.indexOf('\r\n\r\n', line)
      const trailers = bytes
        .toString('latin1', line + 2, end)
        .split('\r\n')
        .filter((text) => text !== '')
      return { body: Buffer.concat(chunks), next: end + 4, trailers }
    }
    chunks.push(bytes.subarray(line + 2, line + 2 + size))
    at = line + 4 + size
  }
}
