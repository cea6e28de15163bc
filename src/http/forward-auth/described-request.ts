import { METHODS, type IncomingHttpHeaders } from 'node:http'
import { isCrossOrigin } from '../../gate/csrf.ts'
import { type RouteTable, hostOf, originsByHost } from '../../gate/match.ts'
import type { Facts, FinalDenial } from '../../gate/verdict.ts'
import { readTarget } from '../target.ts'

/** What the URL of a forward-auth request says. */
export interface Question {
  /** The path and query of the described request, when they follow the endpoint's own path; otherwise `null`. */
  readonly behind: string | null
  /** Whether the answer to a denied navigation redirects to the login. */
  readonly redirect: boolean
}

/** Reads the URL of a forward-auth request. Returns `null` for a URL that is not found. */
export function questionOf({ path, query }: Pick<Facts, 'path' | 'query'>, basePath: string): Question | null {
  const whole = `${basePath}/auth`
  if (path === '/auth' || path === whole) {
    return { behind: null, redirect: new URLSearchParams(query).get('redirect') === 'true' }
  }
  // With a base path of `/auth`, a path after the short form would have two meanings.
  const owns = whole.startsWith('/auth/') ? [whole] : [whole, '/auth']
  const own = owns.find((one) => path.startsWith(`${one}/`))
  // The query belongs to the described request.
  return own === undefined ? null : { behind: path.slice(own.length) + query, redirect: false }
}

const NEVER_ALLOWED = new Set(['TRACE', 'TRACK', 'CONNECT'])

/** A description that can't be understood; never leaves this file. */
class Malformed extends Error {}

/**
 * Returns the facts of the request that a proxy describes, or a denial: when nothing describes it, when two
 * descriptions differ, when it would be malformed itself, or when its method is never allowed.
 */
export function describedBy(
  question: Question,
  facts: Facts,
  publicUrls: readonly string[],
  routes: DependsOnMethod,
): Facts | FinalDenial {
  try {
    return readDescription(question, facts, publicUrls, routes)
  } catch (error) {
    if (error instanceof Malformed) return { reason: 'malformed', cause: error.message }
    throw error
  }
}

function readDescription(
  { behind }: Question,
  facts: Facts,
  publicUrls: readonly string[],
  routes: DependsOnMethod,
): Facts | FinalDenial {
  const { headers } = facts
  const url = text(headers, 'x-original-url')
  const uris = [
    url === null ? null : url.replace(/^https?:\/\/[^/?#\\]*/i, '') || '/',
    text(headers, 'x-original-uri'),
    text(headers, 'x-forwarded-uri'),
  ]
  if (behind !== null && uris.some((uri) => uri !== null)) {
    throw new Malformed('the request is named behind the path and by a header, which only one of them may do')
  }
  // A bare slash may be a mistake in a proxy's configuration. Envoy always sends Content-Length, which tells the two
  // apart.
  if (behind === '/' && headers['content-length'] === undefined)
    throw new Malformed('no request is named behind the path')
  const uri = agreed('URI', [...uris, behind])
  if (uri === null) throw new Malformed('no X-Original-URL, X-Original-URI or X-Forwarded-Uri names the request')
  const named = agreed('method', [
    text(headers, 'x-original-method'),
    text(headers, 'x-forwarded-method'),
    behind === null ? null : facts.method,
  ])
  const target = readTarget(uri, publicUrls)
  if (!target.ok) throw new Malformed(target.problem)
  const method = named ?? facts.method
  // The proxy must not pass TRACE on either: its answer would show the client the token.
  if (NEVER_ALLOWED.has(method)) return { reason: 'method-not-allowed', allow: null }
  if (!METHODS.includes(method)) throw new Malformed('the method is not one that Node.js knows')
  const about: Facts = {
    ...facts,
    method,
    origin: originNamed(url, target.origin, facts, publicUrls),
    path: target.path,
    query: target.query,
  }
  if (named === null && dependsOnMethod(about, routes)) {
    throw new Malformed('neither X-Original-Method nor X-Forwarded-Method names the method, which decides here')
  }
  return about
}

type DependsOnMethod = Pick<RouteTable, 'dependsOnMethod'>

/** Returns whether another method than the one of the proxy's own request could change the verdict. */
function dependsOnMethod(about: Facts, routes: DependsOnMethod): boolean {
  const byOrigin = about.headers.origin !== undefined && isCrossOrigin(about)
  return byOrigin || routes.dependsOnMethod(hostOf(about.origin), about.method, about.path)
}

/**
 * Returns the public origin of the described request: from the headers that name its host, which must agree, otherwise
 * from the proxy's own request. With several public URLs a host that is in none of them is malformed, because the proxy
 * passes the request on to that host.
 */
function originNamed(
  url: string | null,
  ofTarget: string | null,
  { headers }: Facts,
  publicUrls: readonly string[],
): string {
  const forwarded = text(headers, 'x-forwarded-host')
  if (forwarded !== null && /[,\s]/.test(forwarded)) throw new Malformed('X-Forwarded-Host names more than one host')
  const hosts = [
    url === null || url.startsWith('/') ? null : hostOfUrl(url),
    ofTarget === null ? null : hostOf(ofTarget),
    forwarded?.toLowerCase() ?? null,
  ]
    .filter((host) => host !== null)
    .map(withoutRoot)
  // Some proxies leave the port out.
  agreed(
    'host',
    hosts.map((host) => host.replace(/:\d+$/, '')),
  )
  const originOf = originsByHost(publicUrls)
  const origins = (hosts.length === 0 ? [withoutRoot(headers.host ?? '')] : hosts).map(originOf)
  if (publicUrls.length > 1 && origins.includes(null)) throw new Malformed('the host of the request is in no publicUrl')
  return agreed('host', origins) ?? publicUrls[0] ?? ''
}

/** Removes the dot of the DNS root from the end of a host name. */
function withoutRoot(host: string): string {
  return host.replace(/\.(?=:\d+$|$)/, '')
}

function hostOfUrl(url: string): string {
  if (!/^https?:\/\//i.test(url) || !URL.canParse(url))
    throw new Malformed('X-Original-URL is neither a path nor a URL')
  return new URL(url).host
}

function agreed(what: string, said: readonly (string | null)[]): string | null {
  const values = new Set(said.filter((value) => value !== null))
  if (values.size > 1) throw new Malformed(`the proxy’s headers name different ${what}s`)
  return [...values][0] ?? null
}

function text(headers: IncomingHttpHeaders, name: string): string | null {
  const value = headers[name]
  return typeof value === 'string' && value !== '' ? value : null
}
