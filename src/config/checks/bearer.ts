import type { KeyPath } from '../key-path.ts'
import type { Finding } from '../problems.ts'
import type { ResolvedConfig, ResolvedRoute } from '../schema.ts'
import { isLoopback } from '../value-types/address.ts'
import { perRoute, type Rule } from './rule.ts'

/** Without a key that limits tokens, a route would accept the tokens of every application at the provider. */
function findUnbounded({ bearer }: ResolvedRoute, at: KeyPath): Finding[] {
  if (bearer === null || bearer.audience !== null || bearer.clientIds !== null || bearer.metadata) return []
  const message = 'does not say which tokens it accepts: audience, clientIds and metadata are missing'
  const instead = 'add the audience of the tokens, such as audience: api://orders, or the clientIds that send them'
  return [{ path: [...at, 'bearer'], part: 'key', message, instead }]
}

/** The settings of the first provider that a route allows also apply to calls to the other issuers of the route. */
function allowsHttp({ provider: names }: ResolvedRoute, { provider, providers }: ResolvedConfig): boolean {
  const [first] = Object.entries(providers ?? {}).filter(([name]) => names?.includes(name) ?? true)
  return (provider ?? first?.[1])?.allowHttp === true
}

function findPlainHttp(route: ResolvedRoute, at: KeyPath, config: ResolvedConfig): Finding[] {
  if (route.bearer === null || allowsHttp(route, config)) return []
  return route.bearer.issuers.flatMap(({ issuer, jwksUri }, index) =>
    Object.entries({ issuer, jwksUri }).flatMap(([key, written]): Finding[] => {
      const url = written === null ? null : new URL(written)
      if (url === null || url.protocol === 'https:' || isLoopback(url.hostname)) return []
      const path = [...at, 'bearer', 'issuers', index, key]
      return [{ path, message: 'is plain http: an attacker could send other keys', instead: 'use https' }]
    }),
  )
}

const EXCHANGES: readonly string[] = ['token-exchange', 'on-behalf-of']

function findExchange({ bearer, token }: ResolvedRoute, at: KeyPath): Finding[] {
  if (bearer === null || bearer.token !== 'exchange' || EXCHANGES.includes(token.grant)) return []
  const message = `exchange is not possible with token.grant: ${token.grant}`
  const instead = 'set token: { grant: token-exchange, audience: … }, or grant: on-behalf-of with scopes for Entra ID'
  return [{ path: [...at, 'bearer', 'token'], message, instead }]
}

export const bearerRules: readonly Rule[] = [
  { reads: [], routeReads: ['bearer'], find: perRoute(findUnbounded) },
  { reads: ['provider', 'providers'], routeReads: ['bearer', 'provider'], find: perRoute(findPlainHttp) },
  { reads: [], routeReads: ['bearer', 'token.grant'], find: perRoute(findExchange) },
]
