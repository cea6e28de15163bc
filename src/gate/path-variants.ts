const PLAIN = /^(?:\/[a-z0-9\-_~!$&'()*+,=:@][a-z0-9\-_.~!$&'()*+,=:@]*(?<!\.))*\/?$/
const UNSENDABLE = /[^\u0021-\u007e]/
const MALFORMED = /%(?![0-9A-Fa-f]{2})/

// A second decoding would yield what is refused in any case.
const NUL = /%(?:25)?00/
const OVERLONG_TWICE = /%25(?:c[01]%25[89ab]|e0%25[89]|f0%258)/i

/** No honest path has more variants, or variants of more characters in total. */
const MAX_VARIANTS = 512
const MAX_CHARACTERS = 65_536

/**
 * Returns whether a path is its only variant: lower case, nothing encoded, no dot segment, no empty segment, no
 * parameter, no dot at a segment's end, no stream of a Windows file.
 */
export function isPlain(path: string): boolean {
  return PLAIN.test(path) && !path.includes(':$')
}

/** Returns why a path is refused on any route, or `null`. `path` is as it was sent, without the query. */
export function unreadable(path: string): string | null {
  if (isPlain(path)) return null
  if (!path.startsWith('/')) return 'the path does not begin with a slash'
  if (path.includes('\\')) return 'the path has a raw backslash'
  if (path.includes('#')) return 'the path has a raw number sign'
  // Node's parser rejects these itself, but `explain` takes its URL from the command line.
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
 * Returns every way in which some server may normalise a path: percent-decoded once or twice, dot segments removed,
 * slashes merged, `;parameters` dropped, `\` as `/`, and the rules of `LENIENT`, in any combination and order. As in
 * URL parsers, an encoded slash may stay encoded. The case is folded in a second list, `folded`. Returns `null` when
 * there are too many variants to enumerate.
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

/** Normalisations of lenient servers and URL parsers, and the paths to which they apply. */
const LENIENT: readonly (readonly [when: RegExp, read: (path: string) => string])[] = [
  // Apache's mod_rewrite before 2.4.60 (CVE-2024-38474), and applications that parse a decoded path as a URL.
  [/\?/, (path) => path.slice(0, path.indexOf('?'))],
  // URL parsers drop these anywhere: https://url.spec.whatwg.org/#concept-basic-url-parser, Python's urlsplit.
  [/[\t\n\r]/, (path) => path.replace(/[\t\n\r]/g, '')],
  // `new URL(request.url, base)` of Node.js and urlsplit of Python take the text after a leading `//` for a host.
  [/^\/\//, (path) => path.replace(/^\/\/+[^/]*/, '') || '/'],
  // Windows drops dots and spaces at the end of a name, and opens a file by its streams: `secret::$DATA`.
  [/[. ](?:\/|$)/, (path) => path.replace(/(?<! ) +(?=\/|$)/g, '').replace(/([^/. ])[. ]+(?=\/|$)/g, '$1')],
  [/:\$/, (path) => path.replace(/:[^/:]*:\$[^/]*/g, '')],
  // PHP on Windows, for one, gets fullwidth and similar characters as the closest ones of its code page (best fit).
  [/[^\0-\x7f]/, (path) => bestFit(path)],
]

/** Replaces characters that look like ASCII: the compatibility forms of Unicode, and the slashes of code pages. */
function bestFit(path: string): string {
  return path
    .normalize('NFKC')
    .replace(/[\u2044\u2215]/g, '/')
    .replace(/[\u00a5\u20a9\u2216]/g, '\\')
}

/** Folds the case as a case-insensitive server may: `ſ` and the Kelvin sign become ASCII letters, too. */
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

/** Decodes as a lenient server does: malformed encodings stay, and invalid UTF-8 becomes U+FFFD. */
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
