import { isUtf8 } from 'node:buffer'
import { randomUUID } from 'node:crypto'

/** The fields of a posted form as a browser can post them again. */
export interface FormFields {
  /** Name and value in their order; `null` for a file field that was left empty. */
  readonly fields: readonly (readonly [name: string, value: string | null])[]
  /** What to encode them in so that the same bytes come out (HTML standard, `accept-charset`). */
  readonly charset: 'utf-8' | 'windows-1252'
}

/**
 * What windows-1252 has at 80 to 9F (Encoding standard): every byte is a character, so nothing gets lost on the way.
 */
const UPPER = '€\u0081‚ƒ„…†‡ˆ‰Š‹Œ\u008dŽ\u008f\u0090‘’“”•–—˜™š›œ\u009džŸ'

/** Reads a form's body, urlencoded or multipart; `null` when it has files. Rejects when it can't be read. */
export async function readFormFields(body: Buffer, contentType: string): Promise<FormFields | null> {
  return /^application\/x-www-form-urlencoded/i.test(contentType)
    ? readUrlencoded(body)
    : readMultipart(body, contentType)
}

function readUrlencoded(body: Buffer): FormFields {
  const pairs = body
    .toString('latin1')
    .split('&')
    .filter((pair) => pair !== '')
    .map((pair) => {
      const at = pair.indexOf('=')
      return [bytesOf(at === -1 ? pair : pair.slice(0, at)), bytesOf(at === -1 ? '' : pair.slice(at + 1))] as const
    })
  const unicode = pairs.every((pair) => pair.every((bytes) => isUtf8(bytes)))
  const text = unicode ? (bytes: Buffer) => bytes.toString('utf8') : fromWindows1252
  return {
    fields: pairs.map(([name, value]) => [text(name), text(value)]),
    charset: unicode ? 'utf-8' : 'windows-1252',
  }
}

async function readMultipart(body: Buffer, contentType: string): Promise<FormFields | null> {
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

/** The bytes behind a percent-encoded name or value (URL standard, section 5.1). */
function bytesOf(encoded: string): Buffer {
  const plain = encoded
    .replaceAll('+', ' ')
    .replace(/%([0-9a-f]{2})/gi, (_all, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
  return Buffer.from(plain, 'latin1')
}

function fromWindows1252(bytes: Buffer): string {
  return bytes.toString('latin1').replace(/[\u0080-\u009f]/g, (c) => UPPER[c.charCodeAt(0) - 0x80] ?? c)
}
