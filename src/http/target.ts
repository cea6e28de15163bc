import type { IncomingMessage } from 'node:http'
import { hostOf } from '../gate/match.ts'
import { isPlain, pathProblem } from '../gate/path-variants.ts'
import type { PublicOrigins } from '../gate/public-origins.ts'

export type Target =
  /** `path` and `query` are raw; `query` includes the `?`. `origin` is the public origin of an absolute target. */
  | { readonly ok: true; readonly path: string; readonly query: string; readonly origin: string | null }
  | { readonly ok: false; readonly problem: string }

const kTarget = Symbol('target')

interface RequestWithTarget extends IncomingMessage {
  [kTarget]?: Target
}

/**
 * Parses the raw request target before Fastify uses it for routing, stores the result in the request, and returns the
 * URL for the routing: the path and query, also of an absolute target at a public origin.
 * @see https://www.rfc-editor.org/rfc/rfc9112#section-3.2.2
 */
export function rewriteTarget(request: RequestWithTarget, origins: Pick<PublicOrigins, 'find'>): string {
  const target = readTarget(request.url ?? '', origins)
  request[kTarget] = target
  if (!target.ok) return '/'
  // Fastify refuses paths that are not UTF-8. Such a path is not one of the gateway's own.
  return (canDecode(target.path) ? target.path : target.path.replace(NOT_ASCII, '~')) + target.query
}

const NOT_ASCII = /[\u0080-\u00ff]|%[89a-f][0-9a-f]/gi

function canDecode(path: string): boolean {
  if (isPlain(path)) return true
  try {
    decodeURIComponent(path)
    return true
  } catch {
    return false
  }
}

/** Returns the target that `rewriteTarget` has stored. */
export function targetOf(request: RequestWithTarget): Target {
  return request[kTarget] ?? { ok: false, problem: 'the request has no target' }
}

/**
 * Parses a raw request target, with one character for each byte. Returns the problem with a malformed target.
 */
export function readTarget(raw: string, origins: Pick<PublicOrigins, 'find'>): Target {
  const found = raw.startsWith('/') ? { rest: raw, origin: null } : fromAbsolute(raw, origins)
  if (found === null) return { ok: false, problem: 'the request target is neither a path nor one of the public URLs' }
  const { rest: originForm, origin } = found
  const queryStart = originForm.indexOf('?')
  const path = queryStart === -1 ? originForm : originForm.slice(0, queryStart)
  const query = queryStart === -1 ? '' : originForm.slice(queryStart)
  if (query.includes('#')) return { ok: false, problem: 'the query has a raw number sign' }
  const problem = pathProblem(path)
  return problem === null ? { ok: true, path, query, origin } : { ok: false, problem }
}

function fromAbsolute(raw: string, origins: Pick<PublicOrigins, 'find'>): { rest: string; origin: string } | null {
  const [, scheme, authority, rest] = /^(https?):\/\/([^/?#\\]*)(.*)$/is.exec(raw) ?? []
  if (scheme === undefined || authority === undefined || rest === undefined) return null
  const requested = `${scheme}://${authority}`
  if (authority.includes('@') || !URL.canParse(requested)) return null
  // Compares only the host, because the scheme may differ behind a proxy that terminates TLS.
  const { host } = new URL(requested)
  const origin = origins.find(host)
  if (origin === null || hostOf(origin) !== host) return null
  return { rest: rest.startsWith('/') ? rest : `/${rest}`, origin }
}
