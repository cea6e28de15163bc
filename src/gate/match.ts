import { isDeepStrictEqual } from 'node:util'
import type { Route } from '../config/schema.ts'
import { isWildcard, wildcardOf } from '../config/value-types/address.ts'
import { placeholdersIn } from '../config/value-types/http.ts'
import type { WantedTokens } from '../token/acquire.ts'
import { fold, isPlain, pathVariants } from './path-variants.ts'
import { wellKnownOf, type WellKnown } from './protected-resource.ts'
import type { CompiledRoute } from './verdict.ts'

export type Match = CompiledRoute | 'endpoint' | null

export interface RouteTable {
  readonly routes: readonly CompiledRoute[]
  /**
   * Returns the route of a request. The most specific path wins, then a route with a host, then one with methods.
   */
  match(host: string, method: string, path: string): Match
  dependsOnMethod(host: string, method: string, path: string): boolean
  /**
   * Returns a variant of the path that selects another route than `matched`, or `null`. A variant that differs only in
   * its trailing slash conflicts when its route is stricter.
   */
  conflictingVariant(host: string, method: string, path: string, matched: Match): string | null
  /** Returns the document that the gateway serves at a path below `/.well-known/`, or `null`. */
  wellKnown(host: string, method: string, path: string): WellKnown | null
}

interface Node {
  readonly literal: Map<string, Node>
  any: Node | null
  /** Routes whose pattern ends at this node, the most specific first. */
  readonly here: Leaf[]
  /** Routes whose pattern continues from this node with `**`. */
  readonly rest: Leaf[]
}

interface Leaf {
  readonly target: CompiledRoute | 'endpoint'
  readonly host: string | null
  readonly methods: ReadonlySet<string> | null
}

export function compileRoutes(configured: readonly Route[], basePath: string): RouteTable {
  const routes = configured.map((route, index): CompiledRoute => {
    const series = labelOf({ ...route, host: null })
    const isUnique = configured.every((other, i) => i === index || labelOf({ ...other, host: null }) !== series)
    const token = withTokensOfHeaders(route)
    return { ...route, token, index, label: labelOf(route), series: isUnique ? series : `${series} [${index}]` }
  })
  const methods = new Set(configured.flatMap((route) => route.methods ?? []))
  const exact = newNode()
  // For path variants, these trees also contain the decoded form of each pattern with percent-encodings.
  const normalized = newNode()
  const folded = newNode()

  function insertEverywhere(path: string, leaf: Leaf): void {
    insert(exact, path, leaf)
    for (const pattern of new Set([path, decoded(path)])) {
      insert(normalized, pattern, leaf)
      insert(folded, fold(pattern), leaf)
    }
  }

  for (const route of routes) {
    const { path, host, methods: only } = route
    insertEverywhere(path, { target: route, host, methods: only === null ? null : new Set(only) })
  }
  // If no route ends with a slash, a path without a trailing slash cannot conflict with its twin that has one.
  const hasTrailingSlashes = routes.some(({ path }) => path !== '/' && path.endsWith('/'))
  const allLowerCase = [basePath, ...configured.map((route) => decoded(route.path))].every(
    (pattern) => pattern === fold(pattern),
  )
  insertEverywhere(`${basePath}/**`, { target: 'endpoint', host: null, methods: null })
  const documents = wellKnownOf(routes)
  for (const { path, host } of documents) insertEverywhere(path, { target: 'endpoint', host, methods: null })

  // Most applications treat `/admin/` like `/admin`. If the two paths have different routes, the more lenient route
  // must not admit a request that the stricter route would deny, unless the lenient route's pattern matches both paths.
  function trailingSlashConflict(
    root: Node,
    path: string,
    host: string,
    method: string,
    matched: Match,
  ): string | null {
    if (matched === null || matched === 'endpoint' || path === '/') return null
    const isLonger = path.endsWith('/')
    if (!isLonger && !hasTrailingSlashes) return null
    const bare = isLonger ? path.slice(0, -1) : path
    if (namesBoth(matched.path, bare)) return null
    const twin = isLonger ? bare : `${bare}/`
    const other = find(root, twin, 0, host, method)
    if (other === null || other === 'endpoint' || !(isLonger || other.path.endsWith('/'))) return null
    return isStricter(other, matched) ? twin : null
  }

  return {
    routes,
    dependsOnMethod(host, method, path) {
      const matched = find(exact, path, 0, host, method)
      return [...methods, ''].some((other) => find(exact, path, 0, host, other) !== matched)
    },
    match: (host, method, path) => find(exact, path, 0, host, method),
    wellKnown(host, method, path) {
      if (!path.startsWith('/.well-known/')) return null
      const found = documents.find((one) => one.path === path && (one.host === null || names(one.host, host)))
      // A route of the application for exactly this path has precedence.
      return found !== undefined && find(exact, path, 0, host, method) === 'endpoint' ? found : null
    },
    conflictingVariant(host, method, path, matched) {
      if (allLowerCase && isPlain(path)) return trailingSlashConflict(normalized, path, host, method, matched)
      const conflictIn = (root: Node, variants: readonly string[]): string | null => {
        for (const variant of variants) {
          if (find(root, variant, 0, host, method) !== matched) return variant
          const other = trailingSlashConflict(root, variant, host, method, matched)
          if (other !== null) return other
        }
        return null
      }
      const byCase = conflictIn(folded, [fold(path)]) ?? trailingSlashConflict(normalized, path, host, method, matched)
      if (byCase !== null) return byCase
      const variants = pathVariants(path)
      if (variants === null) return path
      return conflictIn(normalized, variants.asIs) ?? conflictIn(folded, variants.folded)
    },
  }
}

/** Returns a function that tells whether any of these patterns matches a path. */
export function compilePaths(patterns: readonly string[]): (path: string) => boolean {
  const root = newNode()
  for (const pattern of patterns) insert(root, pattern, { target: 'endpoint', host: null, methods: null })
  return (path) => find(root, path, 0, '', '') !== null
}

/** Returns whether a pattern is the path itself, the path with a trailing slash, or the path with `/**`. */
function namesBoth(pattern: string, path: string): boolean {
  if (!pattern.startsWith(path)) return false
  const rest = pattern.length - path.length
  return rest === 0 || (rest === 1 && pattern.endsWith('/')) || (rest === 3 && pattern.endsWith('/**'))
}

function isStricter(one: Route, other: Route): boolean {
  if (one.access !== 'required') return false
  if (other.access !== 'required') return true
  const asks = Object.values(one.require).some((required) => required !== null && !isDeepStrictEqual(required, {}))
  const isLimited = one.provider !== null && !isDeepStrictEqual(one.provider, other.provider)
  return (
    isLimited ||
    (asks && !isDeepStrictEqual(one.require, other.require)) ||
    (other.bearer !== null && !isDeepStrictEqual(one.bearer, other.bearer)) ||
    (one.csrf !== 'off' && other.csrf === 'off') ||
    other.cors?.origins.some((origin) => one.cors?.origins.includes(origin) !== true) === true
  )
}

/** Percent-decodes a pattern, except segments that would become several segments or a wildcard. */
function decoded(pattern: string): string {
  return pattern
    .split('/')
    .map((segment) => {
      const text = decodeURIComponent(segment)
      return /[/\\*]/.test(text) ? segment : text
    })
    .join('/')
}

function withTokensOfHeaders({ token, headers }: Route): WantedTokens {
  const placeholders = Object.values(headers.set).flatMap(placeholdersIn)
  return {
    ...token,
    ...(placeholders.includes('accessToken') ? { alsoAccessToken: true } : {}),
    ...(placeholders.includes('idToken') ? { alsoIdToken: true } : {}),
  }
}

function labelOf({ path, host, methods }: Route): string {
  return `${methods === null ? '' : `${methods.join(',')} `}${host ?? ''}${path}`
}

function newNode(): Node {
  return { literal: new Map(), any: null, here: [], rest: [] }
}

function insert(root: Node, pattern: string, leaf: Leaf): void {
  let node = root
  for (const segment of pattern.slice(1).split('/')) {
    if (segment === '**') {
      add(node.rest, leaf)
      return
    }
    if (segment === '*') {
      node.any ??= newNode()
      node = node.any
    } else {
      let next = node.literal.get(segment)
      if (next === undefined) node.literal.set(segment, (next = newNode()))
      node = next
    }
  }
  add(node.here, leaf)
}

function add(leaves: Leaf[], leaf: Leaf): void {
  leaves.push(leaf)
  leaves.sort((a, b) => specificity(b) - specificity(a))
}

function specificity({ host, methods }: Leaf): number {
  return (host === null ? 0 : 2) + (methods === null ? 0 : 1)
}

/** `at` is the index of the slash before the next segment, or the path's length after the last one. */
function find(node: Node, path: string, at: number, host: string, method: string): Match {
  if (at < path.length) {
    const next = path.indexOf('/', at + 1)
    const end = next === -1 ? path.length : next
    const segment = path.slice(at + 1, end)
    const literal = node.literal.get(segment)
    const found = literal === undefined ? null : find(literal, path, end, host, method)
    if (found !== null) return found
    if (node.any !== null && segment !== '') {
      const any = find(node.any, path, end, host, method)
      if (any !== null) return any
    }
  } else {
    const here = pick(node.here, host, method)
    if (here !== null) return here
  }
  return pick(node.rest, host, method)
}

function pick(leaves: readonly Leaf[], host: string, method: string): Match {
  for (const leaf of leaves) {
    if ((leaf.host === null || names(leaf.host, host)) && (leaf.methods === null || leaf.methods.has(method)))
      return leaf.target
  }
  return null
}

/** A route's host may have a port. A host without a port matches any port. */
function names(wanted: string, host: string): boolean {
  return host === wanted || host.startsWith(`${wanted}:`)
}

/** Returns the host of an origin, with its port if it has one. */
export function hostOf(origin: string): string {
  return origin.slice(origin.indexOf('//') + 2)
}

const DEFAULT_PORT = { 'https:': ':443', 'http:': ':80' }

/**
 * Returns a function that finds the public origin for a Host header. A Host without a port also finds an origin on
 * another port if no other origin has that name. An exact origin wins over a wildcard, for which the function returns
 * the origin with the label of the Host.
 * @see https://www.rfc-editor.org/rfc/rfc9110#section-7.2
 */
export function originsByHost(publicUrls: readonly string[]): (host: string) => string | null {
  const exact = mapByHost(
    publicUrls.filter((url) => !isWildcard(url)),
    publicUrls,
  )
  const wildcards = mapByHost(publicUrls.filter(isWildcard), publicUrls)
  return (host) => {
    const name = host.toLowerCase()
    const origin = exact.get(name)
    if (origin !== undefined || wildcards.size === 0) return origin ?? null
    const wildcard = wildcards.get(wildcardOf(name) ?? '')
    return wildcard === undefined ? null : wildcard.replace('*', name.slice(0, name.indexOf('.')))
  }
}

/** Returns origins by the hosts that name them. `all` are the origins that a name without a port could mean. */
function mapByHost(origins: readonly string[], all: readonly string[]): Map<string, string> {
  const byHost = new Map<string, string>()
  for (const origin of origins) {
    const { hostname, port, protocol } = new URL(origin)
    if (port === '') byHost.set(hostname + DEFAULT_PORT[protocol === 'http:' ? 'http:' : 'https:'], origin)
    const ofThatName = all.filter((other) => [hostname, wildcardOf(hostname)].includes(new URL(other).hostname))
    if (ofThatName.length === 1) byHost.set(hostname, origin)
  }
  // These entries are set last, so that a name without a port finds the origin without a port.
  for (const origin of origins) byHost.set(hostOf(origin), origin)
  return byHost
}
