import type { Finding, PlacedRoute, Rule } from './rule.ts'
import { foldHeaderName, FOR_THE_GATEWAY, HOP_BY_HOP } from '../../header-names.ts'
import { formatPath, type Path } from '../problems.ts'
import type { Config, Route } from '../schema.ts'

const each =
  (find: (route: Route, at: Path, config: Config) => Finding[]): Rule['find'] =>
  (config, routes) =>
    routes.flatMap(({ route, at }) => find(route, at, config))

function findUpstream({ upstream }: Config, routes: readonly PlacedRoute[]): Finding[] {
  const without = routes.find(({ route }) => (route.upstream as Route['upstream'] | null) === null)
  if (upstream !== null || without === undefined) return []
  return [
    {
      path: ['upstream'],
      part: 'key',
      message: `is required, because ${formatPath(without.at)} has no upstream of its own`,
      instead: 'http://127.0.0.1:3000, or GATEHOUSE_UPSTREAM',
    },
  ]
}

function sameMethods(a: readonly string[] | null, b: readonly string[] | null): boolean {
  return a === null || b === null ? a === b : a.some((method) => b.includes(method))
}

function findTwins(_: Config, routes: readonly PlacedRoute[]): Finding[] {
  return routes.flatMap(({ route, at }, index): Finding[] => {
    const twin = routes
      .slice(0, index)
      .find(
        ({ route: other }) =>
          other.path === route.path && other.host === route.host && sameMethods(other.methods, route.methods),
      )
    return twin === undefined
      ? []
      : [
          {
            path: [...at, 'path'],
            message: `matches the same requests as ${formatPath(twin.at)}`,
            instead: 'make the two one, or tell them apart by path, host or methods',
          },
        ]
  })
}

function findUnreachablePath(route: Route, at: Path, { basePath }: Config): Finding[] {
  if (route.path !== basePath && !route.path.startsWith(`${basePath}/`)) return []
  return [
    {
      path: [...at, 'path'],
      message: `is never reached: everything under ${basePath} is the gateway's own`,
      instead: 'use another path, or another basePath',
    },
  ]
}

function findUnreachableHost(route: Route, at: Path, { publicUrl }: Config): Finding[] {
  const hosts = publicUrl.map((url) => new URL(url))
  if (route.host === null) return []
  if (hosts.some(({ host, hostname }) => route.host === host || route.host === hostname)) return []
  return [
    {
      path: [...at, 'host'],
      message: `is never reached: no publicUrl has the host ${route.host}`,
      instead: `use one of ${hosts.map(({ hostname }) => hostname).join(', ')}, or add it to publicUrl`,
    },
  ]
}

/** The beginning of a pattern's path before its first wildcard, without a slash at its end. */
function literalPart(pattern: string): string {
  const segments = pattern.split('/')
  const wild = segments.findIndex((segment) => segment === '*' || segment === '**')
  return (wild === -1 ? segments : segments.slice(0, wild)).join('/')
}

function findPrefix({ path, stripPrefix, rewritePrefix }: Route, at: Path): Finding[] {
  const findings: Finding[] = []
  if (stripPrefix !== null && rewritePrefix !== null) {
    findings.push({
      path: [...at, 'rewritePrefix'],
      part: 'key',
      message: 'does not go with stripPrefix',
      instead: 'use rewritePrefix alone, with to: / to strip',
    })
  }
  const literal = literalPart(path)
  const fits = (prefix: string): boolean => literal === prefix || literal.startsWith(`${prefix}/`)
  const mustFit = (key: Path, prefix: string | undefined): void => {
    if (prefix === undefined || fits(prefix)) return
    findings.push({
      path: [...at, ...key],
      message: `${prefix} is not what the route's path ${path} begins with`,
      instead: literal === '' ? null : `a beginning of ${literal}`,
    })
  }
  mustFit(['stripPrefix'], stripPrefix ?? undefined)
  mustFit(['rewritePrefix', 'from'], rewritePrefix?.from)
  return findings
}

function requirements({ require: { claims, acr, maxAge } }: Route): string[] {
  const keys = []
  if (Object.keys(claims).length > 0) keys.push('claims')
  if (acr !== null) keys.push('acr')
  if (maxAge !== null) keys.push('maxAge')
  return keys
}

function findRequirements(route: Route, at: Path): Finding[] {
  if (route.access === 'required' || requirements(route).length === 0) return []
  return [
    {
      path: [...at, 'require'],
      part: 'key',
      message: `has no effect with access: ${route.access}`,
      instead: 'use access: required, or leave require out',
    },
  ]
}

function findInjection({ access, token, headers, bearer }: Route, at: Path): Finding[] {
  if (access !== 'public') return []
  const findings: Finding[] = []
  const note = (path: Path, message: string): void => {
    findings.push({ path: [...at, ...path], message, instead: 'use access: optional or required, or leave it out' })
  }
  if (token.grant !== 'none') note(['token', 'grant'], 'no token goes upstream with access: public')
  for (const [name, value] of Object.entries(headers.set)) {
    if (value.includes('{claims.')) note(['headers', 'set', name], 'claims are not known with access: public')
  }
  if (bearer !== null) note(['bearer'], 'no token is looked at with access: public')
  return findings
}

/** Headers that frame a message or name its target, and headers that the gateway writes itself. */
const WRITTEN_BY_THE_GATEWAY = new Set(['host', 'content-length', 'cookie', 'forwarded', 'via'])

/** Headers about the connection and the request. X-Forwarded-User and the like are free for claims. */
const FORWARDED = /^x-forwarded-(for|proto|protocol|scheme|ssl|host|port|server|by|prefix|path|uri|url|method)$/

/** Whether a header is for the connection, or written by the gateway itself, so that no route can set it. */
export function isReservedHeader(name: string): boolean {
  const folded = foldHeaderName(name)
  return (
    HOP_BY_HOP.has(folded) ||
    FOR_THE_GATEWAY.has(folded) ||
    WRITTEN_BY_THE_GATEWAY.has(folded) ||
    FORWARDED.test(folded)
  )
}

function findHeaders({ token, headers }: Route, at: Path): Finding[] {
  const findings = Object.keys(headers.set).flatMap((name): Finding[] => {
    const path = [...at, 'headers', 'set', name]
    if (isReservedHeader(name)) {
      const message = 'cannot be set: it is for the connection, or written by the gateway'
      return [{ path, part: 'key', message, instead: 'use another name' }]
    }
    if (token.grant === 'none' || name.toLowerCase() !== token.header.toLowerCase()) return []
    const instead = 'say token: { grant: none }, or use another name'
    return [{ path, part: 'key', message: 'is the header that carries the token', instead }]
  })
  if (isReservedHeader(token.header)) {
    findings.push({
      path: [...at, 'token', 'header'],
      message: `${token.header} cannot carry the token: it is for the connection, or written by the gateway`,
      instead: 'Authorization, or a name of your own',
    })
  }
  return findings
}

function findUpstreamTls({ upstreamTls, upstream }: Route, at: Path): Finding[] {
  const { caFile, serverName, insecureSkipVerify } = upstreamTls
  const path = [...at, 'upstreamTls']
  if (caFile === null && serverName === null && !insecureSkipVerify) return []
  // A missing upstream is another rule's finding.
  const known = upstream as Route['upstream'] | null
  if (known !== null && !known.origin.startsWith('https:')) {
    const instead = 'use an https upstream, or leave it out'
    return [{ path, part: 'key', message: 'has no effect: the upstream is not https', instead }]
  }
  return insecureSkipVerify
    ? [
        {
          path: [...path, 'insecureSkipVerify'],
          message: 'takes any certificate: whoever is on the way can read and change everything',
          instead: 'give caFile',
          warning: true,
        },
      ]
    : []
}

/** The rules about routes, each by itself and among each other. */
export const checkRoutes: readonly Rule[] = [
  { reads: ['upstream'], routeReads: ['upstream'], find: findUpstream },
  { reads: [], routeReads: ['path', 'host', 'methods'], find: findTwins },
  { reads: ['basePath'], routeReads: ['path'], find: each(findUnreachablePath) },
  { reads: ['publicUrl'], routeReads: ['host'], find: each(findUnreachableHost) },
  { reads: [], routeReads: ['path', 'stripPrefix', 'rewritePrefix'], find: each(findPrefix) },
  { reads: [], routeReads: ['access', 'require'], find: each(findRequirements) },
  { reads: [], routeReads: ['access', 'token.grant', 'headers.set', 'bearer'], find: each(findInjection) },
  { reads: [], routeReads: ['token.grant', 'token.header', 'headers.set', 'access'], find: each(findHeaders) },
  { reads: ['upstream'], routeReads: ['upstream', 'upstreamTls'], find: each(findUpstreamTls) },
]
