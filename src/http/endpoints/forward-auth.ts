import type { IncomingHttpHeaders } from 'node:http'
import type { Config } from '../../config/schema.ts'
import { Fault } from '../../errors.ts'
import { challenge } from '../../gate/challenge.ts'
import type { UpstreamHeaders } from '../../gate/headers.ts'
import type { Gate } from '../../gate/pipeline.ts'
import type { Facts } from '../../gate/verdict.ts'
import { contextOf } from '../context.ts'
import { noteDenial } from '../denials.ts'
import { readTarget } from '../target.ts'
import type { Endpoint } from './endpoint.ts'
import { mayBeTold } from './may-be-told.ts'

/** What forward-auth asks beside the other endpoints. */
export interface Decision {
  readonly gate: Gate
  readonly headers: Pick<UpstreamHeaders, 'identity'>
}

/**
 * `GET auth`: the verdict on another request, for nginx `auth_request`, Traefik, Caddy and Envoy. Only a trusted proxy
 * may say which request, and only one that asks by itself gets what would go upstream.
 */
export const forwardAuth =
  ({ gate, headers }: Decision): Endpoint =>
  (services) =>
  async (request, reply) => {
    const { sessions, answers, config } = services
    const context = contextOf(request)
    const { trusted } = context.facts.client
    const described = describedBy(config, context.facts)
    const facts = trusted ? described : rootOf(context.facts)
    const about = await gate(facts, context.now)
    // What somebody says who is not trusted opens nothing, but it may close: a proxy that was left out of
    // `trustedProxies` must not let everything in on the verdict about `/`.
    const verdict = trusted || about.type === 'deny' ? about : await gate(described, context.now)
    context.route = verdict.route
    if (verdict.type === 'forward') {
      if (verdict.session !== null) sessions.touch(verdict.session, context.now)
      context.verdict = 'allow'
      if (mayBeTold(context.facts, described, `${config.basePath}/auth`)) {
        const own = headers.identity(verdict.route, verdict.who, verdict.accessToken)
        for (let i = 0; i + 1 < own.length; i += 2) reply.header(own[i] ?? '', own[i + 1] ?? '')
        // The client's own goes on as it would here: a proxy that takes the header from this answer would drop it else.
        const theirs = verdict.session === null ? facts.headers.authorization : undefined
        if (theirs !== undefined && !reply.hasHeader('authorization')) reply.header('authorization', theirs)
      } else if (trusted) {
        request.log.warn(
          { event: 'forward_auth_untold', id: request.id },
          'a trusted proxy got no upstream headers: it did not ask about another request',
        )
      }
      return reply.header('cache-control', 'no-store').code(200).send()
    }
    const { denial, kind, route } = verdict
    context.kind = kind
    noteDenial(request, denial, route?.label)
    const { location, ...answer } = challenge(denial, kind, facts, route, config)
    const status = statusForProxy(answer.status)
    return answers.send(request, reply, {
      ...answer,
      status,
      ...(location === undefined ? {} : { loginUrl: location }),
      ...(status === 401 && answer.authenticate === undefined ? { authenticate: 'Bearer' } : {}),
    })
  }

const NEVER = new Set(['TRACE', 'TRACK', 'CONNECT'])

/** What a proxy is told where the request itself would get `status`: proxies know 401, 403 and errors. */
export function statusForProxy(status: number): number {
  if (status === 302) return 401
  return status < 500 && status !== 401 ? 403 : status
}

/**
 * The facts of the request that the headers name, `GET /` where they name none. Throws `bad_request` where they
 * disagree.
 */
export function describedBy(config: Pick<Config, 'basePath' | 'publicUrl'>, facts: Facts): Facts {
  const root = rootOf(facts)
  const { headers } = facts
  const behind = behindUs(facts, `${config.basePath}/auth`)
  // Envoy asks with the method of the request itself.
  const own = behind === null ? null : facts.method
  const named = agreed('method', [text(headers, 'x-original-method'), text(headers, 'x-forwarded-method'), own])
  // As little as here may the proxy pass it on: its answer would show the client the token.
  if (named !== null && NEVER.has(named)) throw new Fault('method_not_allowed')
  const url = text(headers, 'x-original-url')
  const origin = originOf(url, facts, config.publicUrl)
  const uri = agreed('URI', [
    url === null ? null : url.replace(/^https?:\/\/[^/?#]*/i, '') || '/',
    text(headers, 'x-original-uri'),
    text(headers, 'x-forwarded-uri'),
    behind,
  ])
  if (uri === null) return { ...root, method: named ?? 'GET', origin }
  const target = readTarget(uri, config.publicUrl)
  if (!target.ok) throw new Fault('bad_request', { cause: new Error(target.problem) })
  return { ...facts, method: named ?? facts.method, origin, path: target.path, query: target.query }
}

/** The facts of `GET /` by the same client. */
export function rootOf(facts: Facts): Facts {
  return { ...facts, method: 'GET', path: '/', query: '' }
}

/** Envoy puts the URI of the request behind the path that it asks. */
function behindUs({ path, query }: Facts, own: string): string | null {
  return path.startsWith(`${own}/`) ? path.slice(own.length) + query : null
}

/** The public URL that an absolute X-Original-URL names; else the one that the request itself belongs to. */
function originOf(url: string | null, facts: Facts, publicUrls: readonly string[]): string {
  if (url === null || url.startsWith('/')) return facts.origin
  const host = URL.canParse(url) ? new URL(url).host : null
  if (host === null) throw new Fault('bad_request', { cause: new Error('X-Original-URL is neither a path nor a URL') })
  const named = publicUrls.find((origin) => new URL(origin).host === host)
  if (named !== undefined && facts.headers['x-forwarded-host'] !== undefined && named !== facts.origin) {
    throw new Fault('bad_request', { cause: new Error('X-Original-URL and X-Forwarded-Host name different hosts') })
  }
  return named ?? facts.origin
}

function agreed(what: string, said: readonly (string | null)[]): string | null {
  const values = new Set(said.filter((value) => value !== null))
  if (values.size > 1)
    throw new Fault('bad_request', { cause: new Error(`the proxy’s headers name different ${what}s`) })
  return [...values][0] ?? null
}

function text(headers: IncomingHttpHeaders, name: string): string | null {
  const value = headers[name]
  return typeof value === 'string' && value !== '' ? value : null
}
