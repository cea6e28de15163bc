import type { KeyPath } from '../key-path.ts'
import type { Finding } from '../problems.ts'
import type { ProviderSection, ResolvedConfig, ResolvedRoute } from '../schema.ts'
import type { ConfigFile } from '../value-type.ts'
import { belongTogether } from '../value-types/secret.ts'

export interface PlacedRoute {
  readonly route: ResolvedRoute
  readonly at: KeyPath
}

export interface PlacedProvider {
  readonly provider: ProviderSection
  readonly at: KeyPath
}

/**
 * A rule that compares keys. It runs only when all the keys in `reads` have values, only on routes in which all the
 * keys in `routeReads` have values, and only on providers in which all the keys in `providerReads` have values.
 */
export interface Rule {
  readonly reads: readonly string[]
  readonly routeReads?: readonly string[]
  readonly providerReads?: readonly string[]
  readonly find: (
    config: ResolvedConfig,
    routes: readonly PlacedRoute[],
    providers?: readonly PlacedProvider[],
  ) => Finding[]
}

export function perRoute(find: (route: ResolvedRoute, at: KeyPath, config: ResolvedConfig) => Finding[]): Rule['find'] {
  return (config, routes) => routes.flatMap(({ route, at }) => find(route, at, config))
}

type FindInProvider = (
  provider: ProviderSection,
  at: KeyPath,
  config: ResolvedConfig,
  routes: readonly PlacedRoute[],
) => Finding[]

export function perProvider(find: FindInProvider): Rule['find'] {
  return (config, routes, providers = []) => providers.flatMap(({ provider, at }) => find(provider, at, config, routes))
}

/** Returns the routes that allow sessions of the provider at this path. */
export function routesFor(at: KeyPath, routes: readonly PlacedRoute[]): PlacedRoute[] {
  const name = String(at.at(-1))
  return routes.filter(({ route }) => route.provider === null || route.provider.includes(name))
}

/** Returns the finding about a certificate and a key in the section at this path that do not belong together. */
export function findKeyMismatch(certFile: ConfigFile, keyFile: ConfigFile, at: KeyPath): Finding[] {
  if (belongTogether(certFile.content, keyFile.content)) return []
  const instead = 'use a certificate and a key that belong together'
  return [{ path: [...at, 'keyFile'], message: 'is not the key of the certificate in certFile', instead }]
}
