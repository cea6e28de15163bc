import type { Socket } from 'node:net'
import type { Dispatcher } from 'undici'
import type { UpstreamHeaders } from '../../gate/headers.ts'
import type { CompiledRoute, Facts, Verdict } from '../../gate/verdict.ts'
import type { Session } from '../../session/session.ts'
import type { RequestTrace } from '../../telemetry/tracing.ts'
import type { Context } from '../context.ts'
import { dispatcherFor, hasConnectionLogin, hasOwnConnections } from './connection-bound.ts'
import type { Upstreams } from './upstreams.ts'

/** Returns the headers that go upstream: name, value, name, value … */
export function upstreamHeaders(
  rules: UpstreamHeaders,
  { route, who, accessToken, proofKey }: Extract<Verdict, { type: 'forward' }>,
  { facts, trace }: Context,
): string[] {
  const headers = rules.build(facts, route, who, accessToken, proofKey === null ? 'Bearer' : 'DPoP')
  return trace === null ? headers : withTrace(headers, route, trace)
}

/**
 * Replaces the client's trace context with the gateway's trace context, which continues the client's trace. If the
 * route removes `traceparent`, the gateway does not add its own trace context.
 */
function withTrace(headers: string[], { upstream, headers: { remove } }: CompiledRoute, trace: RequestTrace): string[] {
  const own = trace.startUpstreamSpan(upstream.origin)
  if (remove.some((name) => name.toLowerCase() === 'traceparent')) return headers
  const out = [...own]
  for (let i = 0; i + 1 < headers.length; i += 2) {
    const name = headers[i] ?? ''
    if (!/^trace(?:parent|state)$/i.test(name)) out.push(name, headers[i + 1] ?? '')
  }
  return out
}

export function dispatcherOf(
  upstreams: Upstreams,
  route: CompiledRoute,
  session: Session | null,
  facts: Facts,
  client: Socket,
  headers: readonly string[],
): Dispatcher {
  const pool = upstreams.poolFor(route)
  // All clients share an HTTP/2 connection, so no application authenticates it.
  if (route.upstreamProtocol !== 'http1') return pool
  if (facts.headers.authorization === undefined && !hasOwnConnections(client)) return pool
  const owner = { client, address: facts.client.address, session: session?.id ?? null }
  return dispatcherFor(owner, pool, hasConnectionLogin(headers), () => upstreams.openOne(route))
}
