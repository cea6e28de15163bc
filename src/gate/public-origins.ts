import type { Config } from '../config/schema.ts'
import { isWildcard } from '../config/value-types/address.ts'
import { hostOf, originsByHost } from './match.ts'

export interface PublicOrigins {
  /** The origin of a request whose Host names no public origin. */
  readonly fallback: string
  /** Whether there is only one public origin, which is then the origin of every request. */
  readonly isSingle: boolean
  /** Returns the public origin that a Host header names, or `null`. */
  find(host: string): string | null
  /** Returns whether an origin is public: scheme, host and port are equal, and a wildcard stands for one label. */
  has(origin: string): boolean
}

export function publicOriginsOf({ publicUrl, loginHost }: Pick<Config, 'publicUrl' | 'loginHost'>): PublicOrigins {
  const find = originsByHost(publicUrl)
  return {
    fallback: fallbackOrigin({ publicUrl, loginHost }),
    isSingle: publicUrl.length === 1 && !publicUrl.some(isWildcard),
    find,
    has: (origin) => find(hostOf(origin)) === origin,
  }
}

/** Returns the first public URL, or the login host if that URL is a wildcard. */
export function fallbackOrigin({ publicUrl, loginHost }: Pick<Config, 'publicUrl' | 'loginHost'>): string {
  const [first = ''] = publicUrl
  return isWildcard(first) ? (loginHost ?? '') : first
}
