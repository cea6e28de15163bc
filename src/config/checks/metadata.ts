import { formatKeyPath, type KeyPath } from '../key-path.ts'
import type { Finding } from '../problems.ts'
import type { ResolvedConfig, ResolvedRoute } from '../schema.ts'
import { RESOURCE_METADATA_PATH, literalPart, resourcePath } from '../value-types/path.ts'
import { perRoute, type PlacedRoute, type Rule } from './rule.ts'

function publishes({ route }: PlacedRoute): boolean {
  return route.bearer?.metadata === true
}

/** Returns whether a host can match both routes. A host without a port matches any port. */
function hostsOverlap({ host: one }: ResolvedRoute, { host: other }: ResolvedRoute): boolean {
  if (one === null || other === null) return true
  return one === other || one.startsWith(`${other}:`) || other.startsWith(`${one}:`)
}

function at(metadata: PlacedRoute): KeyPath {
  return [...metadata.at, 'bearer', 'metadata']
}

/** A resource is identified by a URL, which cannot contain a wildcard. */
function findWildcard(route: ResolvedRoute, place: KeyPath): Finding[] {
  const rest = route.path.slice(literalPart(route.path).length)
  if (!publishes({ route, at: place }) || !/\/.*\//.test(rest)) return []
  return [
    {
      path: [...place, 'bearer', 'metadata'],
      part: 'key',
      message: `cannot be used with ${route.path}: the URL of the resource ends at the first wildcard, which is not the last segment`,
      instead: 'use a path whose only wildcard is the last segment, such as /mcp/**',
    },
  ]
}

function findSameResource(_: ResolvedConfig, routes: readonly PlacedRoute[]): Finding[] {
  const published = routes.filter(publishes)
  return published.flatMap((one, index): Finding[] => {
    const { route } = one
    const earlier = published
      .slice(0, index)
      .find(({ route: other }) => resourcePath(other.path) === resourcePath(route.path) && hostsOverlap(other, route))
    if (earlier === undefined) return []
    return [
      {
        path: at(one),
        part: 'key',
        message: `is also true in ${formatKeyPath(earlier.at)}, and the metadata of both would have the same URL`,
        instead: 'leave it out of one of the two routes',
      },
    ]
  })
}

/** The gateway serves the metadata itself, so a route for exactly this path would never be reached. */
function findOwnPath(_: ResolvedConfig, routes: readonly PlacedRoute[]): Finding[] {
  return routes.flatMap((one): Finding[] => {
    const owner = routes.find(
      (other) =>
        publishes(other) &&
        hostsOverlap(other.route, one.route) &&
        one.route.path.replace(/\/$/, '') === RESOURCE_METADATA_PATH + resourcePath(other.route.path),
    )
    if (owner === undefined) return []
    return [
      {
        path: [...one.at, 'path'],
        message: `is never reached: the gateway serves the metadata of ${formatKeyPath(owner.at)} there`,
        instead: `leave this route out, or set ${formatKeyPath(at(owner))}: false`,
      },
    ]
  })
}

export const metadataRules: readonly Rule[] = [
  { reads: [], routeReads: ['path', 'bearer'], find: perRoute(findWildcard) },
  { reads: [], routeReads: ['path', 'host', 'bearer'], find: findSameResource },
  { reads: [], routeReads: ['path', 'host', 'bearer'], find: findOwnPath },
]
