import type { IncomingMessage } from 'node:http'
import { pathProblem } from '../gate/path-variants.ts'

/** A parsed request target. */
export type Target =
  /** `path` and `query` are as they were sent; `query` has its `?`. `origin` is the one of an absolute target. */
  | { readonly ok: true; readonly path: string; readonly query: string; readonly origin: string | null }
  | { readonly ok: false; readonly problem: string }

const kTarget = Symbol('target')

interface RequestWithTarget extends IncomingMessage {
  [kTarget]?: Target
}

/**
 * Parses the raw request target before Fastify routes on it, keeps the result with the request, and returns the URL for
 * the routing. An absolute target in one of `origins` becomes its path.
 * @see https://www.rfc-editor.org/rfc/rfc9112#section-3.2.2
 */
export function rewriteTarget(request: RequestWithTarget, origins: readonly string[]): string {
  const target = readTarget(request.url ?? '', origins)
  request[kTarget] = target
  return target.ok ? target.path + target.query : '/'
}

/** Returns the target that `rewriteTarget` has parsed. */
export function targetOf(request: RequestWithTarget): Target {
  return request[kTarget] ?? { ok: false, problem: 'the request has no target' }
}

/** Parses a raw request target, or returns the problem with it. */
export function readTarget(raw: string, origins: readonly string[]): Target {
  const found = raw.startsWith('/') ? { rest: raw, origin: null } : fromAbsolute(raw, origins)
  if (found === null) return { ok: false, problem: 'the request target is neither a path nor one of the public URLs' }
  const { rest: inOriginForm, origin } = found
  const mark = inOriginForm.indexOf('?')
  const path = mark === -1 ? inOriginForm : inOriginForm.slice(0, mark)
  const query = mark === -1 ? '' : inOriginForm.slice(mark)
  if (query.includes('#')) return { ok: false, problem: 'the query has a raw number sign' }
  const problem = pathProblem(path)
  return problem === null ? { ok: true, path, query, origin } : { ok: false, problem }
}

function fromAbsolute(raw: string, origins: readonly string[]): { rest: string; origin: string } | null {
  const [, scheme, authority, rest] = /^(https?):\/\/([^/?#\\]*)(.*)$/is.exec(raw) ?? []
  if (scheme === undefined || authority === undefined || rest === undefined) return null
  const asked = `${scheme}://${authority}`
  if (authority.includes('@') || !URL.canParse(asked)) return null
  // Behind a proxy that terminates TLS the scheme may differ, so only the host is compared.
  const { host } = new URL(asked)
  const origin = origins.find((one) => new URL(one).host === host)
  if (origin === undefined) return null
  return { rest: rest.startsWith('/') ? rest : `/${rest}`, origin }
}
