import { foldHeaderName, FOR_THE_GATEWAY, HOP_BY_HOP } from '../../header-names.ts'
import { formatKeyPath, type KeyPath } from '../key-path.ts'
import type { Finding } from '../problems.ts'
import type { ResolvedConfig, ResolvedRoute } from '../schema.ts'
import { suggest } from '../suggest.ts'
import { mayBeSameSite, wildcardOf } from '../value-types/address.ts'
import { isAboutUser, placeholdersIn } from '../value-types/http.ts'
import { literalPart } from '../value-types/path.ts'
import { isEmptyRequirement } from './requirements.ts'
import { perRoute, type PlacedRoute, type Rule } from './rule.ts'
import { isBelow } from './session.ts'

function methodsOverlap(a: readonly string[] | null, b: readonly string[] | null): boolean {
  return a === null || b === null ? a === b : a.some((method) => b.includes(method))
}

function findDuplicates(_: ResolvedConfig, routes: readonly PlacedRoute[]): Finding[] {
  return routes.flatMap(({ route, at }, index): Finding[] => {
    const earlier = routes
      .slice(0, index)
      .find(
        ({ route: other }) =>
          other.path === route.path && other.host === route.host && methodsOverlap(other.methods, route.methods),
      )
    return earlier === undefined
      ? []
      : [
          {
            path: [...at, 'path'],
            message: `matches the same requests as ${formatKeyPath(earlier.at)}`,
            instead: 'merge the two routes, or give them different paths, hosts or methods',
          },
        ]
  })
}

function findUnreachablePath(route: ResolvedRoute, at: KeyPath, { basePath }: ResolvedConfig): Finding[] {
  if (route.path !== basePath && !route.path.startsWith(`${basePath}/`)) return []
  return [
    {
      path: [...at, 'path'],
      message: `is never reached: everything under ${basePath} is the gateway's own`,
      instead: 'use another path, or another basePath',
    },
  ]
}

function findUnreachableHost(route: ResolvedRoute, at: KeyPath, { publicUrl }: ResolvedConfig): Finding[] {
  const hosts = publicUrl.map((url) => new URL(url))
  if (route.host === null) return []
  const names = [route.host, wildcardOf(route.host)]
  if (hosts.some(({ host, hostname }) => names.includes(host) || names.includes(hostname))) return []
  return [
    {
      path: [...at, 'host'],
      message: `is never reached: no publicUrl has the host ${route.host}`,
      instead: `use one of ${hosts.map(({ hostname }) => hostname).join(', ')}, or add it to publicUrl`,
    },
  ]
}

function findPrefix({ path, stripPrefix, rewritePrefix }: ResolvedRoute, at: KeyPath): Finding[] {
  const findings: Finding[] = []
  if (stripPrefix !== null && rewritePrefix !== null) {
    findings.push({
      path: [...at, 'rewritePrefix'],
      part: 'key',
      message: 'cannot be combined with stripPrefix',
      instead: 'use rewritePrefix alone, with to: / to strip the prefix',
    })
  }
  const literal = literalPart(path)
  const fits = (prefix: string): boolean => literal === prefix || literal.startsWith(`${prefix}/`)
  const mustFit = (key: KeyPath, prefix: string | undefined): void => {
    if (prefix === undefined || fits(prefix)) return
    findings.push({
      path: [...at, ...key],
      message: `the route's path ${path} does not begin with ${prefix}`,
      instead: literal === '' ? null : `use a prefix of ${literal}`,
    })
  }
  mustFit(['stripPrefix'], stripPrefix ?? undefined)
  mustFit(['rewritePrefix', 'from'], rewritePrefix?.from)
  return findings
}

function findOutsideCookiePath(route: ResolvedRoute, at: KeyPath, { session }: ResolvedConfig): Finding[] {
  const { path } = session.cookie
  if (path === null || route.access === 'public' || isBelow(route.path, path)) return []
  if (route.path.includes('*') && isBelow(path, literalPart(route.path) || '/')) return []
  return [
    {
      path: [...at, 'path'],
      message: `${route.path} is not below ${path}, the path of the session cookie: its requests have no session`,
      instead: `begin it with ${path}, or set session.cookie.path: /`,
      warning: true,
    },
  ]
}

function findRequirements(route: ResolvedRoute, at: KeyPath): Finding[] {
  const { acr, maxAge } = route.require
  const requires = !isEmptyRequirement(route.require) || acr !== null || maxAge !== null
  if (route.access === 'required' || !requires) return []
  return [
    {
      path: [...at, 'require'],
      part: 'key',
      message: `has no effect with access: ${route.access}`,
      instead: 'use access: required, or leave require out',
    },
  ]
}

function findPublicInjection({ access, token, headers, bearer }: ResolvedRoute, at: KeyPath): Finding[] {
  if (access !== 'public') return []
  const findings: Finding[] = []
  const report = (path: KeyPath, message: string): void => {
    findings.push({
      path: [...at, ...path],
      message,
      instead: 'use access: optional or required, or leave this key out',
    })
  }
  if (token.grant !== 'none') report(['token', 'grant'], 'no token is sent upstream with access: public')
  for (const [name, value] of Object.entries(headers.set)) {
    if (!isAboutUser(value)) continue
    const unknown = /\{(?:claims\.|sub\})/.test(value) ? 'claims are' : 'user is'
    report(['headers', 'set', name], `no ${unknown} known with access: public`)
  }
  if (bearer !== null) report(['bearer'], 'no token is verified with access: public')
  return findings
}

/** Headers that frame a message or name its target, and headers that the gateway writes itself. */
const WRITTEN_BY_THE_GATEWAY = new Set(['host', 'content-length', 'cookie', 'dpop', 'forwarded', 'via'])

// Headers that describe the client's connection and request. A route may set other X-Forwarded-* headers, such as
// X-Forwarded-User.
const FORWARDED = /^x-forwarded-(for|proto|protocol|scheme|ssl|host|port|server|by|prefix|path|uri|url|method)$/

/** Returns whether no route may set a header, because it belongs to the connection or the gateway writes it. */
export function isReservedHeader(name: string): boolean {
  const folded = foldHeaderName(name)
  return (
    HOP_BY_HOP.has(folded) ||
    FOR_THE_GATEWAY.has(folded) ||
    WRITTEN_BY_THE_GATEWAY.has(folded) ||
    FORWARDED.test(folded)
  )
}

function findProviders({ provider, access }: ResolvedRoute, at: KeyPath, config: ResolvedConfig): Finding[] {
  if (provider === null) return []
  const path = [...at, 'provider']
  if (access === 'public')
    return [{ path, part: 'key', message: 'has no effect: the route is public', instead: 'leave it out' }]
  if (config.providers === null) {
    const instead = 'leave it out, or use providers in place of provider'
    return [{ path, part: 'key', message: 'names providers, but there is only one provider', instead }]
  }
  const names = Object.keys(config.providers)
  return provider.flatMap((name, index): Finding[] => {
    if (names.includes(name)) return []
    const near = suggest(name, names)
    const instead = near === null ? `providers: ${names.join(', ')}` : `did you mean ${near}?`
    return [{ path: [...path, index], message: `${JSON.stringify(name)} is not one of the providers`, instead }]
  })
}

function carriesAccessToken(template: string): boolean {
  return placeholdersIn(template).includes('accessToken')
}

/**
 * Finds access tokens that would be sent without a proof. With forward-auth, the proxy sends the requests, so the gateway
 * cannot follow the nonces of the application. Otherwise, a proof goes with the access token in `token.header`.
 */
function findProofs(
  { token, headers, provider: names }: ResolvedRoute,
  at: KeyPath,
  { provider, providers, forwardAuth }: ResolvedConfig,
): Finding[] {
  const sendsToken = token.grant !== 'none' && token.grant !== 'id-token'
  const inHeaders = Object.entries(headers.set).filter(([, template]) => carriesAccessToken(template))
  const allowed = Object.entries(providers ?? {}).filter(([name]) => names?.includes(name) ?? true)
  const keys = [
    ...(provider?.dpop === 'on' ? ['provider.dpop'] : []),
    ...allowed.flatMap(([name, { dpop }]) => (dpop === 'on' ? [`providers.${name}.dpop`] : [])),
  ]
  if (keys.length === 0) return []
  const unproven = inHeaders.map(([name]): Finding => ({
    path: [...at, 'headers', 'set', name],
    part: 'key',
    message: `cannot carry the access token with ${keys.join(', ')}: the token would be sent without a proof`,
    instead:
      forwardAuth === null
        ? `use token: { header: ${name} }, with which a proof is sent`
        : 'leave it out, or leave out forwardAuth and let the gateway forward the requests',
  }))
  if (forwardAuth === null) return sendsToken ? [] : unproven
  if (!sendsToken) return unproven
  return [
    {
      path: [...at, 'token', 'grant'],
      part: 'key',
      message:
        `cannot be combined with ${keys.join(', ')} and forwardAuth: ` +
        'the proxy would send the token without a proof',
      instead: 'use none, or leave out forwardAuth and let the gateway forward the requests',
    },
    ...unproven,
  ]
}

/** The ID token is that of the login, so nothing can be requested for it. */
function findIdToken({ token }: ResolvedRoute, at: KeyPath): Finding[] {
  const { grant, audience, resource, scopes } = token
  if (grant !== 'id-token') return []
  return Object.entries({ audience, resource, scopes }).flatMap(([name, value]): Finding[] =>
    value === null
      ? []
      : [
          {
            path: [...at, 'token', name],
            part: 'key',
            message: 'has no effect with grant: id-token',
            instead: 'leave it out; the audience of an ID token is the client ID',
          },
        ],
  )
}

/** The keys to use in place of a header that no route may set. */
const KEYS_FOR_HEADERS = new Map([
  ['host', 'use upstreamHost'],
  ['x-forwarded-prefix', 'leave it out: stripPrefix and rewritePrefix send it'],
])

function findHeaders({ token, headers }: ResolvedRoute, at: KeyPath): Finding[] {
  const findings = Object.keys(headers.set).flatMap((name): Finding[] => {
    const path = [...at, 'headers', 'set', name]
    if (isReservedHeader(name)) {
      const message = 'cannot be set: it belongs to the connection, or the gateway writes it'
      return [{ path, part: 'key', message, instead: KEYS_FOR_HEADERS.get(foldHeaderName(name)) ?? 'use another name' }]
    }
    if (token.grant === 'none' || name.toLowerCase() !== token.header.toLowerCase()) return []
    const instead = 'set token: { grant: none }, or use another name'
    return [{ path, part: 'key', message: 'is the header that carries the token', instead }]
  })
  if (isReservedHeader(token.header)) {
    findings.push({
      path: [...at, 'token', 'header'],
      message: `${token.header} cannot carry the token: it belongs to the connection, or the gateway writes it`,
      instead: 'use Authorization, or a name of your own',
    })
  }
  return findings
}

function isAuthorization(name: string): boolean {
  return foldHeaderName(name) === 'authorization'
}

/** With `authorization: client`, the client's own Authorization must be the only one that the application can receive. */
function findAuthorization({ authorization, access, token, headers, bearer }: ResolvedRoute, at: KeyPath): Finding[] {
  if (authorization !== 'client') return []
  if (access === 'public') {
    const message = "has no effect: the route is public, so the client's own Authorization passes anyway"
    return [{ path: [...at, 'authorization'], part: 'key', message, instead: 'leave it out', warning: true }]
  }
  const findings: Finding[] = []
  const report = (path: KeyPath, message: string, instead: string): void => {
    findings.push({ path: [...at, ...path], part: 'key', message, instead })
  }
  if (token.grant !== 'none' && isAuthorization(token.header))
    report(
      ['authorization'],
      'client cannot be used here: Authorization carries the token of the session',
      'set token: { grant: none }, or another token.header',
    )
  for (const name of Object.keys(headers.set).filter(isAuthorization))
    report(
      ['headers', 'set', name],
      "cannot be set: authorization: client sends the client's own header",
      'leave it out, or set authorization: token',
    )
  for (const [index, name] of headers.remove.entries())
    if (isAuthorization(name))
      report(
        ['headers', 'remove', index],
        "cannot be removed: authorization: client sends the client's own header",
        'leave it out, or set authorization: token',
      )
  if (bearer !== null)
    report(
      ['bearer'],
      'cannot be combined with authorization: client: with bearer, only tokens that the gateway has verified pass',
      "leave out bearer, and let the application check its clients' tokens; or leave out authorization",
    )
  return findings
}

function findCors(
  { cors, access, bearer }: ResolvedRoute,
  at: KeyPath,
  { publicUrl, session }: ResolvedConfig,
): Finding[] {
  const sendsCookie = access !== 'public' && bearer === null
  const { sameSite } = session.cookie
  return (cors?.origins ?? []).flatMap((origin, index): Finding[] => {
    const path = [...at, 'cors', 'origins', index]
    if (publicUrl.length === 1 && publicUrl[0] === origin)
      return [
        {
          path,
          message: 'is publicUrl, whose pages may call the route anyway',
          instead: 'leave it out',
          warning: true,
        },
      ]
    const isNear = publicUrl.some((url) => mayBeSameSite(url, origin))
    if (!sendsCookie || sameSite === 'none' || isNear) return []
    const message = `${origin} is another site than publicUrl: with SameSite=${sameSite}, its requests have no session cookie`
    const instead = 'set session.cookie.sameSite: none, or use two hosts below one domain'
    return [{ path, message, instead, warning: true }]
  })
}

export const routeRules: readonly Rule[] = [
  { reads: [], routeReads: ['path', 'host', 'methods'], find: findDuplicates },
  { reads: ['basePath'], routeReads: ['path'], find: perRoute(findUnreachablePath) },
  { reads: ['publicUrl'], routeReads: ['host'], find: perRoute(findUnreachableHost) },
  {
    reads: ['session.cookie.path', 'basePath'],
    routeReads: ['path', 'access'],
    find: perRoute(findOutsideCookiePath),
  },
  { reads: [], routeReads: ['path', 'stripPrefix', 'rewritePrefix'], find: perRoute(findPrefix) },
  { reads: [], routeReads: ['access', 'require'], find: perRoute(findRequirements) },
  { reads: [], routeReads: ['access', 'token.grant', 'headers.set', 'bearer'], find: perRoute(findPublicInjection) },
  { reads: [], routeReads: ['token.grant', 'token.header', 'headers.set', 'access'], find: perRoute(findHeaders) },
  {
    reads: [],
    routeReads: ['authorization', 'token.grant', 'token.header', 'headers', 'bearer', 'access'],
    find: perRoute(findAuthorization),
  },
  { reads: ['providers'], routeReads: ['provider', 'access'], find: perRoute(findProviders) },
  {
    reads: ['provider', 'providers', 'forwardAuth'],
    routeReads: ['token.grant', 'provider', 'headers.set'],
    find: perRoute(findProofs),
  },
  { reads: [], routeReads: ['token'], find: perRoute(findIdToken) },
  {
    reads: ['publicUrl', 'session.cookie.sameSite'],
    routeReads: ['cors', 'access', 'bearer'],
    find: perRoute(findCors),
  },
]
