import { quote, type ValueType } from '../value-type.ts'

/**
 * A path segment without wildcards.
 * @see https://www.rfc-editor.org/rfc/rfc3986#section-3.3
 */
const LITERAL_SEGMENT = /^(?:[A-Za-z0-9._~!$&'()+,;=:@-]|%[0-9A-F]{2})*$/

function segmentProblem(segment: string): string | null {
  if (/^\*{1,2}$/.test(segment)) return null
  if (segment.includes('*')) return 'a * must be a whole segment'
  if (segment.includes('\\')) return 'must not contain a backslash'
  if (/[?#]/.test(segment)) return 'must not contain a query or a fragment'
  if (/%(?![0-9A-F]{2})/.test(segment)) return 'percent-encodings must be % and two upper-case hexadecimal digits'
  if (!LITERAL_SEGMENT.test(segment)) return 'must contain only characters of a URL path, others percent-encoded'
  let decoded
  try {
    decoded = decodeURIComponent(segment)
  } catch {
    return 'percent-encodings must be UTF-8'
  }
  if (decoded.includes('\0')) return 'must not contain %00'
  if (decoded === '.' || decoded === '..') return 'must not contain the segments . and ..'
  return null
}

/**
 * Returns what is wrong with a path pattern, or null. A pattern consists of exact segments, `*` for one segment, and a
 * final `**` for all segments that follow.
 */
function pathPatternProblem(pattern: string): string | null {
  if (!pattern.startsWith('/')) return 'must begin with /'
  const segments = pattern.slice(1).split('/')
  if (segments.slice(0, -1).includes('')) return 'must not contain //'
  if (segments.slice(0, -1).includes('**')) return '** must be the last segment'
  return segments.map(segmentProblem).find((problem) => problem !== null) ?? null
}

/** The path of a route: exact segments, `*` for one segment, and a final `**` for any number of segments. */
export const pathPattern: ValueType<string> = {
  name: 'path pattern',
  json: { type: 'string', pattern: '^/[^?#\\\\\\s]*$' },
  parse(written, { refuse }) {
    const problem = typeof written === 'string' ? pathPatternProblem(written) : 'must be a path such as /api/**'
    return problem === null ? String(written) : refuse(`${problem}, in ${quote(written)}`)
  },
  format: (value) => value,
}

/** Returns the part of a path pattern before its first wildcard, without the slash before the wildcard. */
export function literalPart(pattern: string): string {
  const segments = pattern.split('/')
  const wild = segments.findIndex((segment) => segment === '*' || segment === '**')
  return (wild === -1 ? segments : segments.slice(0, wild)).join('/')
}

/** @see https://www.rfc-editor.org/rfc/rfc9728#section-3 */
export const RESOURCE_METADATA_PATH = '/.well-known/oauth-protected-resource'

/** Returns the path of a route's URL as a protected resource: up to the wildcard, and without a slash at the end. */
export function resourcePath(pattern: string): string {
  return literalPart(pattern).replace(/\/$/, '')
}

function plainPath(written: unknown): string | null {
  if (typeof written !== 'string' || written.includes('*')) return null
  return pathPatternProblem(written) === null ? written : null
}

/** A prefix of paths, without wildcards and without a trailing slash; `/` alone is refused. */
export const pathPrefix: ValueType<string> = {
  name: 'path',
  json: { type: 'string', pattern: '^/[^?#*\\\\\\s]*[^?#*/\\\\\\s]$' },
  parse(written, { refuse }) {
    const path = plainPath(written)
    if (path !== null && path !== '/' && !path.endsWith('/')) return path
    return refuse(`must be a path such as /api, without wildcards or a trailing slash, not ${quote(written)}`)
  },
  format: (value) => value,
}

/** The replacement of a prefix: a path prefix, or `/`, which is stored as the empty string. */
export const newPrefix: ValueType<string> = {
  name: 'path',
  json: { type: 'string', pattern: '^/' },
  parse: (written, context) => (written === '/' ? '' : pathPrefix.parse(written, context)),
  format: (value) => (value === '' ? '/' : value),
}

/** The path prefix of the gateway's own endpoints: one or more segments without special characters. */
export const basePath: ValueType<string> = {
  name: 'path',
  json: { type: 'string', pattern: '^(/[A-Za-z0-9._~-]+)+$' },
  parse(written, { refuse }) {
    const path = plainPath(written)
    if (path !== null && /^(\/[A-Za-z0-9._~-]+)+$/.test(path)) return path
    return refuse(`must be a path such as /oauth2, of letters, digits, - and _, and not / alone, not ${quote(written)}`)
  },
  format: (value) => value,
}

/** The path of a cookie: `/`, or segments without special characters and without a trailing slash. */
export const cookiePath: ValueType<string> = {
  name: 'path',
  json: { type: 'string', pattern: '^(/|(/[A-Za-z0-9._~-]+)+)$' },
  parse: (written, context) =>
    written === '/'
      ? '/'
      : basePath.parse(written, {
          ...context,
          refuse: () =>
            context.refuse(`must be / or a path such as /app, of letters, digits, - and _, not ${quote(written)}`),
        }),
  format: (value) => value,
}

/** A pattern of redirect targets: a URL or a path of the upstream, with `*` and `**` as in a route's path. */
export const urlPattern: ValueType<string> = {
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
    const problem = pathPatternProblem(path)
    return problem === null ? written : refuse(`${problem}, in ${quote(written)}`)
  },
  format: (value) => value,
}
