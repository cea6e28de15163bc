const PLAIN = /^(?:\/[a-z0-9\-_~!$&'()*+,=:@][a-z0-9\-_.~!$&'()*+,=:@]*(?<!\.))*\/?$/
const UNSENDABLE = /[^\u0021-\u007e]/
const MALFORMED = /%(?![0-9A-Fa-f]{2})/

// Doubly encoded forms count too, because the second decoding would yield a NUL or invalid UTF-8.
const NUL = /%(?:25)?00/
const OVERLONG_TWICE = /%25(?:c[01]%25[89ab]|e0%25[89]|f0%258)/i

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

/** Returns why a path is refused on every route, or `null`. `path` is the raw path without the query. */
export function pathProblem(path: string): string | null {
  if (isPlain(path)) return null
  if (!path.startsWith('/')) return 'the path does not begin with a slash'
  if (path.includes('\\')) return 'the path has a raw backslash'
  if (path.includes('#')) return 'the path has a raw number sign'
  // Node.js rejects these characters itself, but `explain` takes its URL from the command line.
  if (UNSENDABLE.test(path)) return 'the path has a character that must be percent-encoded'
  if (MALFORMED.test(path)) return 'the path has a malformed percent-encoding'
  if (NUL.test(path)) return 'the path has a NUL'
  return isUtf8(path) && !OVERLONG_TWICE.test(path) ? null : 'the path’s percent-encoding is not UTF-8'
}

interface Variant {
  readonly path: string
  readonly decoded: number
}

/**
 * Returns every path that a server may make of a path by normalizing it: percent-decoded once or twice, dot segments
 * removed, slashes merged, `;parameters` dropped, `\` as `/`, and the rules of `LENIENT`, in any combination and order.
 * An encoded slash may stay encoded, as in URL parsers. `folded` has the same paths with their case folded. Returns
 * `null` if there are too many variants to enumerate.
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
  add({ path, decoded: 0 })
  let characters = 0
  for (let variant = queue.pop(); variant !== undefined; variant = queue.pop()) {
    const { path: at, decoded } = variant
    characters += at.length
    if (seen.size > MAX_VARIANTS || characters > MAX_CHARACTERS) return null
    if (decoded < 2 && at.includes('%')) {
      add({ path: decode(at), decoded: decoded + 1 })
      if (/%(?:2f|5c)/i.test(at)) add({ path: decode(at.replace(/%(?=2f|5c)/gi, '%25')), decoded: decoded + 1 })
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

function isUtf8(path: string): boolean {
  try {
    decodeURIComponent(path)
    return true
  } catch {
    return false
  }
}

/** Decodes like a lenient server: leaves malformed encodings as they are and replaces invalid UTF-8 by U+FFFD. */
function decode(path: string): string {
  if (isUtf8(path)) return decodeURIComponent(path)
  return path.replace(/(?:%[0-9a-f]{2})+/gi, (bytes) => Buffer.from(bytes.replaceAll('%', ''), 'hex').toString())
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
