type StoredCookie = {
  name: string
  value: string
  domain: string
  hostOnly: boolean
  path: string
  secure: boolean
  httpOnly: boolean
  sameSite: string | null
  /** In ms since the epoch; null for a session cookie. */
  expiresAt: number | null
}

/** The properties of a request that SameSite depends on; by default it is same-site. */
export type Cause = {
  crossSite: boolean
  topLevelGet: boolean
}

/** The cookies of one browser, as RFC 6265bis defines them: cookies belong to a host, regardless of the port. */
export type CookieJar = {
  /** Stores the `Set-Cookie` lines of a response from `url`, or refuses them as a browser would. */
  store: (url: URL, lines: readonly string[]) => void
  /** The `Cookie` header for a request to `url`; empty if there are no cookies to send. */
  header: (url: URL, cause?: Cause) => string
  list: (url: URL | string) => StoredCookie[]
  get: (url: URL | string, name: string) => string | null
  all: () => StoredCookie[]
  clear: () => void
}

const loopback = /^(?:localhost|127(?:\.\d+){3}|\[::1\])$/

const isTrustworthy = (url: URL): boolean => url.protocol === 'https:' || loopback.test(url.hostname)

const defaultPath = ({ pathname }: URL): string => pathname.slice(0, Math.max(1, pathname.lastIndexOf('/')))

const domainMatches = (host: string, domain: string): boolean => host === domain || host.endsWith(`.${domain}`)

const pathMatches = (path: string, cookiePath: string): boolean =>
  path === cookiePath || path.startsWith(cookiePath.endsWith('/') ? cookiePath : `${cookiePath}/`)

const split = (text: string, separator: string): [string, string] => {
  const at = text.indexOf(separator)
  return at < 0 ? [text.trim(), ''] : [text.slice(0, at).trim(), text.slice(at + 1).trim()]
}

const parse = (url: URL, line: string, now: number): StoredCookie | null => {
  const [pair, ...rest] = line.split(';')
  const [name, value] = split(pair ?? '', '=')
  const attributes = new Map(
    rest.map((attribute) => {
      const [key, text] = split(attribute, '=')
      return [key.toLowerCase(), text]
    }),
  )
  const domain = attributes.get('domain')?.replace(/^\./, '').toLowerCase() ?? ''
  const path = attributes.get('path') ?? ''
  const maxAge = attributes.get('max-age')
  const expires = attributes.get('expires')
  const byDate = expires === undefined ? null : Date.parse(expires)
  const cookie: StoredCookie = {
    name,
    value,
    domain: domain === '' ? url.hostname : domain,
    hostOnly: domain === '',
    path: path.startsWith('/') ? path : defaultPath(url),
    secure: attributes.has('secure'),
    httpOnly: attributes.has('httponly'),
    sameSite: attributes.get('samesite')?.toLowerCase() ?? null,
    expiresAt: maxAge === undefined ? byDate : now + Number(maxAge) * 1000,
  }
  return isAcceptable(cookie, url, attributes.get('path')) ? cookie : null
}

const isAcceptable = (cookie: StoredCookie, url: URL, path: string | undefined): boolean => {
  const { name } = cookie
  if (cookie.secure && !isTrustworthy(url)) return false
  if (!domainMatches(url.hostname, cookie.domain)) return false
  if (/^__secure-/i.test(name) && !cookie.secure) return false
  if (/^__host-/i.test(name) && !(cookie.secure && cookie.hostOnly && path === '/')) return false
  // Browsers silently drop larger cookies.
  return name.length + cookie.value.length <= 4096
}

// A cookie without SameSite is Lax (RFC 6265bis, section 5.6.7.1). None without Secure is ignored.
const isSentFor = ({ sameSite, secure }: StoredCookie, { crossSite, topLevelGet }: Cause): boolean => {
  if (!crossSite || (sameSite === 'none' && secure)) return true
  return topLevelGet && sameSite !== 'strict'
}

const ownSite: Cause = { crossSite: false, topLevelGet: true }

const sameCookie = (a: StoredCookie, b: StoredCookie): boolean =>
  a.name === b.name && a.domain === b.domain && a.path === b.path && a.hostOnly === b.hostOnly

export const createCookieJar = (): CookieJar => {
  let cookies: StoredCookie[] = []

  const isAlive = ({ expiresAt }: StoredCookie): boolean => expiresAt === null || expiresAt > Date.now()

  const list = (to: URL | string): StoredCookie[] => {
    const url = new URL(to)
    cookies = cookies.filter(isAlive)
    return cookies
      .filter(
        ({ domain, hostOnly, path, secure }) =>
          (hostOnly ? url.hostname === domain : domainMatches(url.hostname, domain)) &&
          pathMatches(url.pathname, path) &&
          (!secure || isTrustworthy(url)),
      )
      .toSorted((a, b) => b.path.length - a.path.length)
  }

  return {
    list,
    store: (url, lines) => {
      for (const line of lines) {
        const cookie = parse(url, line, Date.now())
        if (cookie === null) continue
        cookies = [...cookies.filter((known) => !sameCookie(known, cookie)), cookie].filter(isAlive)
      }
    },
    header: (url, cause = ownSite) =>
      list(url)
        .filter((cookie) => isSentFor(cookie, cause))
        .map(({ name, value }) => `${name}=${value}`)
        .join('; '),
    get: (url, name) => list(url).find((cookie) => cookie.name === name)?.value ?? null,
    all: () => cookies.filter(isAlive),
    clear: () => {
      cookies = []
    },
  }
}
