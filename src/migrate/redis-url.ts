/** The parts of a Redis URL; its password is not read. */
interface RedisUrl {
  readonly host: string
  readonly database: string
  readonly username: string
  readonly hasPassword: boolean
}

/** Parses a Redis URL, or a bare `host:port`. */
export function parseRedisUrl(url: string): RedisUrl {
  const [, login = '', host = '', database = ''] =
    /^(?:rediss?:\/\/)?(?:(.*)@)?([^/?#@\s]+)(\/\d{0,4})?/.exec(url) ?? []
  const colon = login.indexOf(':')
  return {
    host,
    database: database === '/' ? '' : database,
    username: colon === -1 ? '' : login.slice(0, colon),
    // By the standard, credentials without a colon are a user name. In practice they are often a password.
    hasPassword: colon === -1 ? login !== '' : login.length > colon + 1,
  }
}
