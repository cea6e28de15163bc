import { METHODS, type IncomingHttpHeaders } from 'node:http'
import { Fault } from '../../errors.ts'
import { isCrossOrigin } from '../../gate/csrf.ts'
import { type RouteTable, hostOf, originsByHost } from '../../gate/match.ts'
import type { Facts } from '../../gate/verdict.ts'
import { readTarget } from '../target.ts'

/** What a path of the forward-auth listener asks for. */
export interface Question {
  /** The path and query of the request that it is about, where they stand behind the endpoint's own path. */
  readonly behind: string | null
  /** Whether a navigation is sent to the login by the proxy's answer. */
  readonly redirect: boolean
}

/** Reads path and query on the forward-auth listener; `null` for an address that is not there. */
export function questionOf({ path, query }: Pick<Facts, 'path' | 'query'>, basePath: string): Question | null {
  const whole = `${basePath}/auth`
  if (path === '/auth' || path === whole) {
    return { behind: null, redirect: new URLSearchParams(query).get('redirect') === 'true' }
  }
  // With a base path of `/auth`, what is behind the short form would have two meanings.
  const owns = whole.startsWith('/auth/') ? [whole] : [whole, '/auth']
  const own = owns.find((one) => path.startsWith(`${one}/`))
  // The query is that of the request it is about.
  return own === undefined ? null : { behind: path.slice(own.length) + query, redirect: false }
}

const NEVER = new Set(['TRACE', 'TRACK', 'CONNECT'])

/**
 * The facts of the request that a proxy asks about. Throws `bad_request` where nothing names it, where it is named in
 * two ways that differ, or where it can't be one; `method_not_allowed` for a method that never passes.
 */
export function describedBy(
  { behind }: Question,
  facts: Facts,
  publicUrls: readonly string[],
  routes: DependsOnMethod,
): Facts {
  const { headers } = facts
  const url = text(headers, 'x-original-url')
  const uris = [
    url === null ? null : url.replace(/^https?:\/\/[^/?#\\]*/i, '') || '/',
    text(headers, 'x-original-uri'),
    text(headers, 'x-forwarded-uri'),
  ]
  if (behind !== null && uris.some((uri) => uri !== null)) {
    throw unclear('the request is named behind the path and by a header, which only one of them may do')
  }
  // A slash at the end alone may be a mistake in a proxy's configuration. Envoy announces a body, if an empty one.
  if (behind === '/' && headers['content-length'] === undefined) throw unclear('no request is named behind the path')
  const uri = agreed('URI', [...uris, behind])
  if (uri === null) throw unclear('no X-Original-URL, X-Original-URI or X-Forwarded-Uri names the request')
  const named = agreed('method', [
    text(headers, 'x-original-method'),
    text(headers, 'x-forwarded-method'),
    behind === null ? null : facts.method,
  ])
  const target = readTarget(uri, publicUrls)
  if (!target.ok) throw unclear(target.problem)
  const about: Facts = {
    ...facts,
    method: checkedMethod(named ?? facts.method),
    origin: originNamed(url, target.origin, facts, publicUrls),
    path: target.path,
    query: target.query,
  }
  if (named === null && mattersOf(about, routes)) {
    throw unclear('neither X-Original-Method nor X-Forwarded-Method names the method, which decides here')
  }
  return about
}

type DependsOnMethod = Pick<RouteTable, 'dependsOnMethod'>

/** Whether another method than the one that a proxy has asked with could get another verdict. */
function mattersOf(about: Facts, routes: DependsOnMethod): boolean {
  const byOrigin = about.headers.origin !== undefined && isCrossOrigin(about)
  return byOrigin || routes.dependsOnMethod(hostOf(about.origin), about.method, about.path)
}

/** A method that the public listener would take, too: others would pass by the routes that name theirs. */
function checkedMethod(method: string): string {
  // The proxy must not pass it on either: its answer would show the client the token.
  if (NEVER.has(method)) throw new Fault('method_not_allowed')
  if (!METHODS.includes(method)) throw unclear('the method is not one that Node.js knows')
  return method
}

/**
 * The public origin of the request: what names its host must agree, else it is the one of the proxy's own request. The
 * proxy passes the request on to whatever host it was sent to, so with several public URLs one that is none of them,
 * or another port, gets no verdict on the first.
 */
function originNamed(
  url: string | null,
  ofTarget: string | null,
  { headers }: Facts,
  publicUrls: readonly string[],
): string {
  const forwarded = text(headers, 'x-forwarded-host')
  if (forwarded !== null && /[,\s]/.test(forwarded)) throw unclear('X-Forwarded-Host names more than one host')
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
  if (publicUrls.length > 1 && origins.includes(null)) throw unclear('the host of the request is in no publicUrl')
  return agreed('host', origins) ?? publicUrls[0] ?? ''
}

/** A host name may be written with the root of all names at its end, a dot. */
function withoutRoot(host: string): string {
  return host.replace(/\.(?=:\d+$|$)/, '')
}

function hostOfUrl(url: string): string {
  if (!/^https?:\/\//i.test(url) || !URL.canParse(url)) throw unclear('X-Original-URL is neither a path nor a URL')
  return new URL(url).host
}

function agreed(what: string, said: readonly (string | null)[]): string | null {
  const values = new Set(said.filter((value) => value !== null))
  if (values.size > 1) throw unclear(`the proxy’s headers name different ${what}s`)
  return [...values][0] ?? null
}

function text(headers: IncomingHttpHeaders, name: string): string | null {
  const value = headers[name]
  return typeof value === 'string' && value !== '' ? value : null
}

function unclear(problem: string): Fault {
  return new Fault('bad_request', { cause: new Error(problem) })
}
