const PLAIN = /^(?:\/[a-z0-9\-_~!$&'()*+,=:@][a-z0-9\-_.~!$&'()*+,=:@]*(?<!\.))*\/?$/
const UNSENDABLE = /[^\u0021-\u007e]/
const MALFORMED = /%(?![0-9A-Fa-f]{2})/

// What a second decoding would make of these is refused in any case, so it is not waited for.
const NUL = /%(?:25)?00/
const OVERLONG_TWICE = /%25(?:c[01]%25[89ab]|e0%25[89]|f0%258)/i

/** More readings than this, in number or in characters, mean that the path was made to be misread. */
const MAX_READINGS = 512
const MAX_CHARACTERS = 65_536

/**
 * Whether a path has one reading only: lower case, nothing encoded, no dot segment, no empty segment, no parameter, no dot
 * at a segment's end, no name of a stream.
 */
export function isPlain(path: string): boolean {
  return PLAIN.test(path) && !path.includes(':$')
}

/** Why a path is refused whatever the routes are, or `null`. `path` is as it was sent, without the query. */
export function unreadable(path: string): string | null {
  if (isPlain(path)) return null
  if (!path.startsWith('/')) return 'the path does not begin with a slash'
  if (path.includes('\\')) return 'the path has a raw backslash'
  if (path.includes('#')) return 'the path has a raw number sign'
  // Node's parser lets none of these through; `explain` takes what is typed.
  if (UNSENDABLE.test(path)) return 'the path has a character that must be percent-encoded'
  if (MALFORMED.test(path)) return 'the path has a malformed percent-encoding'
  if (NUL.test(path)) return 'the path has a NUL'
  return isUtf8(path) && !OVERLONG_TWICE.test(path) ? null : 'the path’s percent-encoding is not UTF-8'
}

interface Reading {
  readonly path: string
  readonly decoded: number
}

/**
 * Every way in which some server may read a path: percent-decoded once or twice, dot segments removed, slashes merged,
 * `;parameters` dropped, `\` as `/`, and what `LENIENT` has, in any combination and order. An encoded slash may stay one
 * while all else is decoded, as URL parsers have it. Case is folded in a second list, `folded`. `null` when there are too
 * many to be honest.
 */
export function pathVariants(
  path: string,
): { readonly asIs: readonly string[]; readonly folded: readonly string[] } | null {
  if (isPlain(path)) return PLAIN_READINGS
  const seen = new Map<string, Reading>()
  const queue: Reading[] = []
  const add = (reading: Reading): void => {
    const known = seen.get(reading.path)
    if (known !== undefined && known.decoded <= reading.decoded) return
    seen.set(reading.path, reading)
    queue.push(reading)
  }
  add({ path, decoded: 0 })
  let characters = 0
  for (let reading = queue.pop(); reading !== undefined; reading = queue.pop()) {
    const { path: at, decoded } = reading
    characters += at.length
    if (seen.size > MAX_READINGS || characters > MAX_CHARACTERS) return null
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

/** What some servers make of a path, decoded or not, and when. */
const LENIENT: readonly (readonly [when: RegExp, read: (path: string) => string])[] = [
  // Apache's mod_rewrite before 2.4.60 (CVE-2024-38474), and applications that parse a decoded path as a URL.
  [/\?/, (path) => path.slice(0, path.indexOf('?'))],
  // URL parsers drop these anywhere: https://url.spec.whatwg.org/#concept-basic-url-parser, Python's urlsplit.
  [/[\t\n\r]/, (path) => path.replace(/[\t\n\r]/g, '')],
  // `new URL(request.url, base)` of Node.js and urlsplit of Python take what stands behind `//` for a host.
  [/^\/\//, (path) => path.replace(/^\/\/+[^/]*/, '') || '/'],
  // Windows drops dots and spaces at the end of a name, and knows a file by its streams: `secret::$DATA`.
  [/[. ](?:\/|$)/, (path) => path.replace(/(?<! ) +(?=\/|$)/g, '').replace(/([^/. ])[. ]+(?=\/|$)/g, '$1')],
  [/:\$/, (path) => path.replace(/:[^/:]*:\$[^/]*/g, '')],
  // PHP on Windows, among others, gets fullwidth and similar characters as the nearest ones of its code page (best fit).
  [/[^\0-\x7f]/, (path) => bestFit(path)],
]

/** Characters that look like ASCII as ASCII: the compatibility forms of Unicode, and the slashes of code pages. */
function bestFit(path: string): string {
  return path
    .normalize('NFKC')
    .replace(/[\u2044\u2215]/g, '/')
    .replace(/[\u00a5\u20a9\u2216]/g, '\\')
}

/** Folds case as a server without a sense for it may: `ſ` and the Kelvin sign find their letters, too. */
export function fold(path: string): string {
  return path.toUpperCase().toLowerCase()
}

/** A path that reads the same in every way but for patterns written in upper case. */
const PLAIN_READINGS = { asIs: [], folded: [] }

function isUtf8(path: string): boolean {
  try {
    decodeURIComponent(path)
    return true
  } catch {
    return false
  }
}

/**
 * Decodes as a lenient server does: what is malformed stays (`100%25` decoded twice), what is not UTF-8 becomes U+FFFD.
 */
function decode(path: string): string {
  if (isUtf8(path)) return decodeURIComponent(path)
  return path.replace(/(?:%[0-9a-f]{2})+/gi, (bytes) => Buffer.from(bytes.replaceAll('%', ''), 'hex').toString())
}

/** RFC 3986, section 5.2.4. */
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
