import { isUtf8 } from 'node:buffer'
import { randomUUID } from 'node:crypto'

/** The fields of a posted form as a browser can post them again. */
export interface FormFields {
  /** Name and value in their order; `null` for a file field that was left empty. */
  readonly fields: readonly (readonly [name: string, value: string | null])[]
  /** What to encode them in so that the same bytes come out (HTML standard, `accept-charset`). */
  readonly charset: 'utf-8' | 'windows-1252'
}

/** More fields are not kept, urlencoded or multipart: to read and show them would hold up all other requests. */
const MOST_FIELDS = 5_000
const MOST_PARTS = 1_000

/** What windows-1252 has at 80 to 9F (Encoding standard): every byte is a character, so nothing gets lost on the way. */
const UPPER = '€\u0081‚ƒ„…†‡ˆ‰Š‹Œ\u008dŽ\u008f\u0090‘’“”•–—˜™š›œ\u009džŸ'
const WINDOWS_1252 = Uint16Array.from({ length: 256 }, (_, byte) =>
  byte < 0x80 || byte > 0x9f ? byte : UPPER.charCodeAt(byte - 0x80),
)

/**
 * Reads a form's body, urlencoded or multipart; `null` when it has files, or more than 5,000 fields (multipart: 1,000).
 * Rejects when it can't be read.
 */
export async function readFormFields(body: Buffer, contentType: string): Promise<FormFields | null> {
  return /^application\/x-www-form-urlencoded/i.test(contentType)
    ? readUrlencoded(body)
    : readMultipart(body, contentType)
}

function readUrlencoded(body: Buffer): FormFields | null {
  const pairs: [name: Buffer, value: Buffer][] = []
  for (let from = 0, end = 0; end <= body.length; end += 1) {
    if (end < body.length && body[end] !== AMPERSAND) continue
    if (end > from) {
      if (pairs.length === MOST_FIELDS) return null
      const pair = body.subarray(from, end)
      const equals = pair.indexOf('=')
      const middle = equals === -1 ? pair.length : equals
      pairs.push([bytesOf(pair.subarray(0, middle)), bytesOf(pair.subarray(middle + 1))])
    }
    from = end + 1
  }
  const unicode = pairs.every((pair) => pair.every((bytes) => isUtf8(bytes)))
  const text = unicode ? (bytes: Buffer) => bytes.toString('utf8') : fromWindows1252
  return {
    fields: pairs.map(([name, value]) => [text(name), text(value)]),
    charset: unicode ? 'utf-8' : 'windows-1252',
  }
}

async function readMultipart(body: Buffer, contentType: string): Promise<FormFields | null> {
  if (hasManyParts(body)) return null
  const unicode = isUtf8(body)
  const readable = unicode ? body : Buffer.from(fromWindows1252(body), 'utf8')
  const { bytes, type } = withBoundaryOfItsOwn(readable, contentType)
  const data = [...(await new Response(new Uint8Array(bytes), { headers: { 'content-type': type } }).formData())]
  if (data.some(([, value]) => isFile(value))) return null
  return {
    fields: data.map(([name, value]) => [name, typeof value === 'string' ? value : null]),
    charset: unicode ? 'utf-8' : 'windows-1252',
  }
}

/** Every part has to have a line that begins so. */
function hasManyParts(body: Buffer): boolean {
  let count = 0
  for (let at = body.indexOf('\n--'); at !== -1 && count <= MOST_PARTS; at = body.indexOf('\n--', at + 3)) count += 1
  return count > MOST_PARTS
}

/**
 * The same form with a boundary that occurs nowhere else: Node's reader takes a short one for a delimiter wherever it
 * stands, also in the middle of a line (RFC 2046, section 5.1.1).
 */
function withBoundaryOfItsOwn(body: Buffer, contentType: string): { bytes: Buffer; type: string } {
  const [, quoted, plain] = /;\s*boundary=(?:"([^"]+)"|([^\s;"]+))/i.exec(contentType) ?? []
  const given = quoted ?? plain
  if (given === undefined) return { bytes: body, type: contentType }
  const own = `gatehouse-${randomUUID()}`
  const delimiter = new RegExp(
    `\\r\\n--${given.replaceAll(/[^\w]/g, (sign) => `\\u${sign.charCodeAt(0).toString(16).padStart(4, '0')}`)}` +
      '(?=(?:--)?[ \\t]*(?:\\r\\n|$))',
    'g',
  )
  const text = `\r\n${body.toString('latin1')}`.replaceAll(delimiter, `\r\n--${own}`)
  return { bytes: Buffer.from(text.slice(2), 'latin1'), type: `multipart/form-data; boundary=${own}` }
}

/** A file field that was left empty is sent as a nameless empty file, which is none. */
function isFile(value: string | File): boolean {
  return typeof value !== 'string' && (value.size > 0 || (value.name !== '' && value.name !== 'blob'))
}

/** The bytes behind a percent-encoded name or value (URL standard, section 5.1), in place. */
function bytesOf(encoded: Buffer): Buffer {
  let to = 0
  for (let from = 0; from < encoded.length; from += 1) {
    const byte = encoded[from] ?? 0
    const [high, low] = byte === PERCENT ? [hexOf(encoded[from + 1]), hexOf(encoded[from + 2])] : NO_HEX
    if (high !== -1 && low !== -1) from += 2
    encoded[to] = high !== -1 && low !== -1 ? high * 16 + low : byte === PLUS ? SPACE : byte
    to += 1
  }
  return encoded.subarray(0, to)
}

const [SPACE, PERCENT, AMPERSAND, PLUS] = [0x20, 0x25, 0x26, 0x2b]
const NO_HEX = [-1, -1] as const

/** What a hexadecimal digit stands for; -1 for any other byte. */
function hexOf(byte: number | undefined): number {
  if (byte === undefined) return -1
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30
  const letter = byte | 0x20
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x57 : -1
}

function fromWindows1252(bytes: Buffer): string {
  const codes = new Uint16Array(bytes.length)
  for (let i = 0; i < bytes.length; i += 1) codes[i] = WINDOWS_1252[bytes[i] ?? 0] ?? 0
  return Buffer.from(codes.buffer).toString('utf16le')
}
