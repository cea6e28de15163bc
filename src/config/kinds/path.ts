import { type Kind, quote } from '../kind.ts'

// RFC 3986 section 3.3 pchar; an asterisk stands for a segment and is looked at before this.
const literal = /^(?:[A-Za-z0-9._~!$&'()+,;=:@-]|%[0-9A-F]{2})*$/

function segmentTrouble(segment: string): string | null {
  if (/^\*{1,2}$/.test(segment)) return null
  if (segment.includes('*')) return 'a * must be a whole segment'
  if (segment.includes('\\')) return 'must not hold a backslash'
  if (/[?#]/.test(segment)) return 'must not hold a query or a fragment'
  if (/%(?![0-9A-F]{2})/.test(segment)) return 'percent-encodings must be % and two upper-case hexadecimal digits'
  if (!literal.test(segment)) return 'must hold only characters of a URL path, others percent-encoded'
  let decoded
  try {
    decoded = decodeURIComponent(segment)
  } catch {
    return 'percent-encodings must be UTF-8'
  }
  if (decoded.includes('\0')) return 'must not hold %00'
  if (decoded === '.' || decoded === '..') return 'must not hold the segments . and ..'
  return null
}

/** Why a path pattern (exact segments, `*` for one, `**` last for the rest) cannot be used; null when it can. */
function pathPatternTrouble(pattern: string): string | null {
  if (!pattern.startsWith('/')) return 'must begin with /'
  const segments = pattern.slice(1).split('/')
  if (segments.slice(0, -1).includes('')) return 'must not hold //'
  if (segments.slice(0, -1).includes('**')) return '** must be the last segment'
  return segments.map(segmentTrouble).find((trouble) => trouble !== null) ?? null
}

/** The path of a route: exact, `*` one segment, `**` the rest and the path itself. */
export const pathPattern: Kind<string> = {
  name: 'path pattern',
  json: { type: 'string', pattern: '^/[^?#\\\\\\s]*$' },
  parse(written, { refuse }) {
    const trouble = typeof written === 'string' ? pathPatternTrouble(written) : 'must be a path such as /api/**'
    return trouble === null ? String(written) : refuse(`${trouble}, in ${quote(written)}`)
  },
  format: (value) => value,
}

function plainPath(written: unknown): string | null {
  if (typeof written !== 'string' || written.includes('*')) return null
  return pathPatternTrouble(written) === null ? written : null
}

/** A path without wildcards that other paths begin with; not `/` alone, and without a slash at its end. */
export const pathPrefix: Kind<string> = {
  name: 'path',
  json: { type: 'string', pattern: '^/[^?#*\\\\\\s]*[^?#*/\\\\\\s]$' },
  parse(written, { refuse }) {
    const path = plainPath(written)
    if (path !== null && path !== '/' && !path.endsWith('/')) return path
    return refuse(`must be a path such as /api, without wildcards or a slash at the end, not ${quote(written)}`)
  },
  format: (value) => value,
}

/** What takes a prefix's place: a path as of `pathPrefix`, or `/`, which resolves to the empty text. */
export const newPrefix: Kind<string> = {
  name: 'path',
  json: { type: 'string', pattern: '^/' },
  parse: (written, input) => (written === '/' ? '' : pathPrefix.parse(written, input)),
  format: (value) => (value === '' ? '/' : value),
}

/** Where the gateway's own endpoints are: one or more plain segments. */
export const basePath: Kind<string> = {
  name: 'path',
  json: { type: 'string', pattern: '^(/[A-Za-z0-9._~-]+)+$' },
  parse(written, { refuse }) {
    const path = plainPath(written)
    if (path !== null && /^(\/[A-Za-z0-9._~-]+)+$/.test(path)) return path
    return refuse(`must be a path such as /oauth2, of letters, digits, - and _, and not / alone, not ${quote(written)}`)
  },
  format: (value) => value,
}

/** A pattern for redirect targets: a URL, or a path of the upstream's own, with `*` and `**` as in a route's path. */
export const urlPattern: Kind<string> = {
  name: 'URL pattern',
  json: { type: 'string', pattern: '^(https?://[^/?#*\\\\\\s]+)?/[^?#\\\\\\s]*$' },
  parse(written, { refuse }) {
    const example = 'https://login.example.com/** or /login/**'
    const [, path] = /^(?:https?:\/\/[A-Za-z0-9_.:[\]-]+)?(\/.*)?$/.exec(String(written)) ?? []
    const origin = String(written).slice(0, String(written).length - (path ?? '').length)
    if (typeof written !== 'string' || (origin !== '' && !URL.canParse(origin)) || written === '') {
      return refuse(`must be a URL pattern such as ${example}, not ${quote(written)}`)
    }
    if (path === undefined) {
      return refuse(`must be a URL pattern such as ${example}, not ${quote(written)}`, `${written}/**`)
    }
    const trouble = pathPatternTrouble(path)
    return trouble === null ? written : refuse(`${trouble}, in ${quote(written)}`)
  },
  format: (value) => value,
}
