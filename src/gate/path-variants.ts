import { isUtf8 } from 'node:buffer'
import { percentEncodeBytes } from '../bytes.ts'

const PLAIN = /^(?:\/[a-z0-9\-_~!$&'()*+,=:@][a-z0-9\-_.~!$&'()*+,=:@]*(?<!\.))*\/?$/
// oxlint-disable-next-line no-control-regex
const UNSENDABLE = /[\u0000-\u0020\u007f]|[^\u0000-\u00ff]/
const MALFORMED = /%(?![0-9A-Fa-f]{2})/
// The doubly encoded form counts too, because the second decoding would yield a NUL.
const NUL = /%(?:25)?00/

/**
 * Sequences of more bytes than UTF-8 needs for the character, including the five and six bytes that UTF-8 once allowed.
 * @see https://www.rfc-editor.org/rfc/rfc3629#section-10
 */
const OVERLONG =
  /[\u00c0\u00c1][\u0080-\u00bf]|\u00e0[\u0080-\u009f][\u0080-\u00bf]|\u00f0[\u0080-\u008f][\u0080-\u00bf]{2}|\u00f8[\u0080-\u0087][\u0080-\u00bf]{3}|\u00fc[\u0080-\u0083][\u0080-\u00bf]{4}/
const ENCODED_RUN = /(?:%[0-9a-f]{2})+/gi
const NOT_ASCII = /[\u0080-\uffff]/

/** Only an attacker sends a path with more variants, or with variants of more characters in total. */
const MAX_VARIANTS = 512
const MAX_CHARACTERS = 65_536

/**
 * Returns whether a path has no variants: it is in lower case, and has no percent-encodings, no dot or empty segments,
 * no parameters, no dot at the end of a segment, and no Windows file stream.
 */
export function isPlain(path: string): boolean {
  return PLAIN.test(path) && !path.includes(':$')
}

/**
 * Returns why a path is refused on every route, or `null`. `path` is the raw path without the query, with one character
 * for each byte.
 */
export function pathProblem(path: string): string | null {
  if (isPlain(path)) return null
  if (!path.startsWith('/')) return 'the path does not begin with a slash'
  if (path.includes('\\')) return 'the path has a raw backslash'
  if (path.includes('#')) return 'the path has a raw number sign'
  // Node.js rejects these characters itself, but `explain` takes its URL from the command line.
  if (UNSENDABLE.test(path)) return 'the path has a character that must be percent-encoded'
  if (MALFORMED.test(path)) return 'the path has a malformed percent-encoding'
  if (NUL.test(path)) return 'the path has a NUL'
  // Lenient decoders read an overlong form as the short one, and some applications decode twice.
  const bytes = toBytes(path)
  return OVERLONG.test(bytes) || OVERLONG.test(toBytes(bytes)) ? 'the path has an overlong UTF-8 encoding' : null
}

interface Variant {
  readonly path: string
  readonly decoded: number
}

/**
 * Returns every path that a server may make of a path by normalizing it: percent-decoded once or twice, dot segments
 * removed, slashes merged, `;parameters` dropped, `\` as `/`, and the rules of `LENIENT`, in any combination and order.
 * Bytes that are not UTF-8 are read in each of `CHARSETS`. An encoded slash may stay encoded, as in URL parsers. `folded`
 * has the same paths with their case folded. Returns `null` if there are too many variants to enumerate.
 */
export function pathVariants(
  path: string,
): { readonly asIs: readonly string[]; readonly folded: readonly string[] } | null {
  if (isPlain(path)) return NO_VARIANTS
  const seen = new Map<string, Variant>()
  const queue: Variant[] = []
  const add = (variant: Variant): void => {
    const known = seen.get(variant.path)
    if (known !== undefined && known.decoded <= variant.decoded) return
    seen.set(variant.path, variant)
    queue.push(variant)
  }
  // Some servers percent-decode before they read bytes as text. Others first read the raw bytes as text.
  const encoded = percentEncodeBytes(path)
  add({ path: encoded, decoded: 0 })
  if (encoded !== path) for (const read of rawReadings(path)) add({ path: read, decoded: 0 })
  let characters = 0
  for (let variant = queue.pop(); variant !== undefined; variant = queue.pop()) {
    const { path: at, decoded } = variant
    characters += at.length
    if (seen.size > MAX_VARIANTS || characters > MAX_CHARACTERS) return null
    if (decoded < 2 && at.includes('%')) {
      const withSlashes = /%(?:2f|5c)/i.test(at) ? decodings(at.replace(/%(?=2f|5c)/gi, '%25')) : []
      for (const read of [...decodings(at), ...withSlashes]) {
        characters += read.length
        add({ path: read, decoded: decoded + 1 })
      }
    }
    if (at.includes('\\')) add({ path: at.replaceAll('\\', '/'), decoded })
    if (at.includes('//')) add({ path: at.replace(/\/{2,}/g, '/'), decoded })
    if (at.includes(';')) {
      add({ path: at.replace(/;[^/]*/g, ''), decoded })
      add({ path: at.slice(0, at.indexOf(';')), decoded })
    }
    if (at.includes('/.')) add({ path: withoutDotSegments(at), decoded })
    for (const [when, read] of LENIENT) if (when.test(at)) add({ path: read(at), decoded })
  }
  const asIs = [...seen.keys()]
  return { asIs, folded: [...new Set(asIs.map(fold))] }
}

/** Normalizations by lenient servers and URL parsers, with the pattern of the paths that they change. */
const LENIENT: readonly (readonly [when: RegExp, read: (path: string) => string])[] = [
  // Apache's mod_rewrite before 2.4.60 (CVE-2024-38474), and applications that parse a decoded path as a URL.
  [/\?/, (path) => path.slice(0, path.indexOf('?'))],
  // URL parsers, such as urlsplit, drop these characters: https://url.spec.whatwg.org/#concept-basic-url-parser
  [/[\t\n\r]/, (path) => path.replace(/[\t\n\r]/g, '')],
  // `new URL(request.url, base)` in Node.js and urlsplit in Python parse the text after a leading `//` as a host.
  [/^\/\//, (path) => path.replace(/^\/\/+[^/]*/, '') || '/'],
  // Windows drops dots and spaces at the end of a name, and opens a file through its streams: `secret::$DATA`.
  [/[. ](?:\/|$)/, (path) => path.replace(/(?<! ) +(?=\/|$)/g, '').replace(/([^/. ])[. ]+(?=\/|$)/g, '$1')],
  [/:\$/, (path) => path.replace(/:[^/:]*:\$[^/]*/g, '')],
  // Windows maps fullwidth and similar characters to the closest ones of the code page (best fit), for PHP among
  // others.
  [/[^\0-\x7f]/, (path) => bestFit(path)],
]

/** Replaces Unicode compatibility characters and the characters that code pages map to slashes. */
function bestFit(path: string): string {
  return path
    .normalize('NFKC')
    .replace(/[\u2044\u2215]/g, '/')
    .replace(/[\u00a5\u20a9\u2216]/g, '\\')
}

/** Folds the case like a case-insensitive server: even `ſ` and the Kelvin sign become ASCII letters. */
export function fold(path: string): string {
  return path.toUpperCase().toLowerCase()
}

const NO_VARIANTS = { asIs: [], folded: [] }

/**
 * The characters of windows-1252 for the bytes 80 to 9F. Every byte has one, so any bytes can be decoded and encoded.
 * @see https://encoding.spec.whatwg.org/#windows-1252
 */
export const WINDOWS_1252_UPPER = '€\u0081‚ƒ„…†‡ˆ‰Š‹Œ\u008dŽ\u008f\u0090‘’“”•–—˜™š›œ\u009džŸ'

/** How servers read bytes that are not UTF-8. */
const CHARSETS: readonly ((bytes: Buffer) => string)[] = [
  // Most decoders replace an invalid byte by U+FFFD, others drop it.
  (bytes) => bytes.toString(),
  (bytes) => bytes.toString().replaceAll('\ufffd', ''),
  toLatin1,
  (bytes) =>
    toLatin1(bytes).replace(/[\u0080-\u009f]/g, (byte) => WINDOWS_1252_UPPER[byte.charCodeAt(0) - 0x80] ?? byte),
  decodeCarelessly,
]

function toLatin1(bytes: Buffer): string {
  return bytes.toString('latin1')
}

/**
 * Decodes UTF-8 like decoders that do not check the second byte of a pair (IIS, CVE-2000-0884), and that accept surrogate
 * pairs of which each half is encoded separately (CESU-8).
 * @see https://www.unicode.org/reports/tr26/
 */
function decodeCarelessly(bytes: Buffer): string {
  const text = toLatin1(bytes)
    .replace(/([\u00c0\u00c1])([^])/g, (_, lead: string, next: string) =>
      String.fromCharCode(((lead.charCodeAt(0) & 1) << 6) | (next.charCodeAt(0) & 0x3f)),
    )
    .replace(/(?:\u00ed[\u00a0-\u00bf][\u0080-\u00bf])+/g, (halves) => {
      const units = halves.match(/[^]{3}/g) ?? []
      const pairs = units.map((unit) =>
        String.fromCharCode(0xd000 | ((unit.charCodeAt(1) & 0x3f) << 6) | (unit.charCodeAt(2) & 0x3f)),
      )
      return toLatin1(Buffer.from(pairs.join('')))
    })
  return Buffer.from(text, 'latin1').toString()
}

/** Percent-decodes a path to one character for each byte. */
function toBytes(path: string): string {
  return path.replace(/%[0-9a-f]{2}/gi, (encoded) => String.fromCharCode(Number.parseInt(encoded.slice(1), 16)))
}

/** Returns the readings of a percent-encoded path. Malformed encodings stay as they are. */
function decodings(path: string): string[] {
  try {
    return [decodeURIComponent(path)]
  } catch {
    // An ASCII path is decoded as a whole, because decoding many runs one by one would take milliseconds.
    if (!NOT_ASCII.test(path)) return CHARSETS.map((read) => read(Buffer.from(toBytes(path), 'latin1')))
    return CHARSETS.map((read) => path.replace(ENCODED_RUN, (run) => read(Buffer.from(toBytes(run), 'latin1'))))
  }
}

/** Returns the readings of the raw bytes of a path. */
function rawReadings(path: string): string[] {
  const bytes = Buffer.from(path, 'latin1')
  return (isUtf8(bytes) ? CHARSETS.slice(0, 1) : CHARSETS).map((read) => read(bytes))
}

/** @see https://www.rfc-editor.org/rfc/rfc3986#section-5.2.4 */
function withoutDotSegments(path: string): string {
  const kept: string[] = []
  const segments = path.split('/')
  const last = segments.at(-1)
  for (const segment of segments.slice(1)) {
    if (segment === '..') kept.pop()
    else if (segment !== '.') kept.push(segment)
  }
  if (last === '.' || last === '..') kept.push('')
  return `/${kept.join('/')}`
}
