import type { IncomingMessage } from 'node:http'
import { unreadable } from '../gate/path-variants.ts'

/** A request target that has been looked at. */
export type Target =
  /** As sent, byte for byte; `query` with its `?`, or nothing; `origin` is that of an absolute target. */
  | { readonly ok: true; readonly path: string; readonly query: string; readonly origin: string | null }
  | { readonly ok: false; readonly problem: string }

const kTarget = Symbol('target')

interface Looked extends IncomingMessage {
  [kTarget]?: Target
}

/**
 * Looks at the raw request target before anything routes on it, keeps the result with the request, and returns what may
 * be routed on. An absolute target (RFC 9112, section 3.2.2) that names one of `origins` becomes its path.
 */
export function rewriteTarget(request: Looked, origins: readonly string[]): string {
  const target = readTarget(request.url ?? '', origins)
  request[kTarget] = target
  return target.ok ? target.path + target.query : '/'
}

/** What `rewriteTarget` found. */
export function targetOf(request: Looked): Target {
  return request[kTarget] ?? { ok: false, problem: 'the request has no target' }
}

/** Splits a raw request target, or says what is wrong with it. */
export function readTarget(raw: string, origins: readonly string[]): Target {
  const found = raw.startsWith('/') ? { rest: raw, origin: null } : fromAbsolute(raw, origins)
  if (found === null) return { ok: false, problem: 'the request target is neither a path nor one of the public URLs' }
  const { rest: inOriginForm, origin } = found
  const mark = inOriginForm.indexOf('?')
  const path = mark === -1 ? inOriginForm : inOriginForm.slice(0, mark)
  const query = mark === -1 ? '' : inOriginForm.slice(mark)
  if (query.includes('#')) return { ok: false, problem: 'the query has a raw number sign' }
  const problem = unreadable(path)
  return problem === null ? { ok: true, path, query, origin } : { ok: false, problem }
}

function fromAbsolute(raw: string, origins: readonly string[]): { rest: string; origin: string } | null {
  const [, scheme, authority, rest] = /^(https?):\/\/([^/?#\\]*)(.*)$/is.exec(raw) ?? []
  if (scheme === undefined || authority === undefined || rest === undefined) return null
  const asked = `${scheme}://${authority}`
  if (authority.includes('@') || !URL.canParse(asked)) return null
  // Behind a proxy that ends TLS the scheme says nothing: the name decides.
  const { host } = new URL(asked)
  const origin = origins.find((one) => new URL(one).host === host)
  if (origin === undefined) return null
  return { rest: rest.startsWith('/') ? rest : `/${rest}`, origin }
}
