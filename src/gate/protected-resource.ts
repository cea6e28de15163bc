import type { Route } from '../config/schema.ts'
import { RESOURCE_METADATA_PATH, resourcePath } from '../config/value-types/path.ts'
import type { CompiledRoute } from './verdict.ts'

/**
 * Where clients look for the metadata of the authorization server if they do not support protected resource metadata.
 * @see https://modelcontextprotocol.io/specification/2025-03-26/basic/authorization#2-3-server-metadata-discovery
 */
const PROVIDER_PATHS = ['/.well-known/oauth-authorization-server', '/.well-known/openid-configuration']

/** A document that the gateway serves below `/.well-known/`, outside its base path. */
export interface WellKnown {
  readonly path: string
  /** The only host that has the document, or `null`. */
  readonly host: string | null
  /** The metadata of the resource, or that of the provider. */
  readonly about: 'resource' | 'provider'
  readonly route: CompiledRoute
}

/**
 * Returns the identifier of a route as a protected resource at a public origin.
 * @see https://www.rfc-editor.org/rfc/rfc9728#section-1.2
 */
export function resourceUrl(route: Pick<Route, 'path'>, origin: string): string {
  return origin + resourcePath(route.path)
}

/**
 * Returns the audiences by which tokens can name a resource. URL parsers append a slash to an origin, so clients may
 * request a token for either form.
 */
export function resourceAudiences(route: Pick<Route, 'path'>, origin: string): string[] {
  const url = resourceUrl(route, origin)
  return [url, `${url}/`]
}

/** @see https://www.rfc-editor.org/rfc/rfc9728#section-3.1 */
export function metadataUrl(route: Pick<Route, 'path'>, origin: string): string {
  return origin + RESOURCE_METADATA_PATH + resourcePath(route.path)
}

/**
 * Returns the documents of all routes with metadata. The first document of a path that a host has wins: those of routes
 * with a host come before the others, otherwise the order is that of the routes.
 */
export function wellKnownOf(routes: readonly CompiledRoute[]): WellKnown[] {
  const published = routes
    .filter(({ bearer }) => bearer?.metadata === true)
    .toSorted((one, other) => Number(one.host === null) - Number(other.host === null))
  return published.flatMap((route): WellKnown[] => {
    const { host } = route
    const path = RESOURCE_METADATA_PATH + resourcePath(route.path)
    return [
      ...[path, `${path}/`].map((one) => ({ path: one, host, about: 'resource' as const, route })),
      ...PROVIDER_PATHS.map((one) => ({ path: one, host, about: 'provider' as const, route })),
    ]
  })
}
