/** RFC 9110, section 7.6.1, in an answer; the upgrade and trailers of one hop say nothing about the next. */
const DROPPED = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'transfer-encoding',
  'upgrade',
  'te',
  'trailer',
  'gatehouse',
])

interface AnswerHeaders {
  /** Name, value, name, value … for the client. */
  readonly headers: string[]
  readonly location: string | null
  readonly contentType: string | null
  /** The values of WWW-Authenticate. */
  readonly authenticate: readonly string[]
}

/**
 * An upstream's headers without what belongs to its hop or to the gateway: hop-by-hop, `Gatehouse`, the gateway's
 * cookies.
 */
export function clientHeaders(
  raw: readonly (Buffer | string)[],
  isOwnCookie: (name: string) => boolean,
): AnswerHeaders {
  const headers: string[] = []
  let location: string | null = null
  let contentType: string | null = null
  const authenticate: string[] = []
  let named: Set<string> | null = null
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const name = text(raw[i])
    const value = text(raw[i + 1])
    const lower = name.toLowerCase()
    if (DROPPED.has(lower)) {
      if (lower === 'connection' && !/^(?:keep-alive|close|upgrade)$/i.test(value)) {
        named = new Set([
          ...(named ?? []),
          ...value
            .toLowerCase()
            .split(',')
            .map((one) => one.trim()),
        ])
      }
      continue
    }
    if (lower === 'location') location = value
    if (lower === 'content-type') contentType = value
    if (lower === 'www-authenticate') authenticate.push(value)
    if (lower === 'set-cookie' && isOwnCookie(cookieName(value))) continue
    headers.push(name, value)
  }
  return { headers: named === null ? headers : without(headers, named), location, contentType, authenticate }
}

/**
 * The name under which a browser sends a cookie back; `=name=value` has none of its own and comes back as `name=value`.
 */
function cookieName(setCookie: string): string {
  const [, name = ''] = /^[\s=]*([^=;]*)/.exec(setCookie) ?? []
  return name.trim()
}

function text(value: Buffer | string | undefined): string {
  return typeof value === 'string' ? value : (value?.toString('latin1') ?? '')
}

function without(headers: readonly string[], names: ReadonlySet<string>): string[] {
  const kept: string[] = []
  for (let i = 0; i + 1 < headers.length; i += 2) {
    const name = headers[i] ?? ''
    if (!names.has(name.toLowerCase())) kept.push(name, headers[i + 1] ?? '')
  }
  return kept
}
