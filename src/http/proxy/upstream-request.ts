import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import { Readable } from 'node:stream'
import type { Dispatcher } from 'undici'
import { Fault } from '../../errors.ts'
import type { UpstreamHeaders } from '../../gate/headers.ts'
import type { CompiledRoute, Facts, Verdict } from '../../gate/verdict.ts'
import type { Session } from '../../session/session.ts'
import type { RequestTrace } from '../../telemetry/tracing.ts'
import type { Context } from '../context.ts'
import { askForBody, waitsToBeAsked } from '../server/expect-continue.ts'
import { tooManyFields } from '../server/framing.ts'
import { dispatcherFor, hasConnectionLogin, hasOwnConnections } from './connection-bound.ts'
import type { Upload } from './http2-dispatch.ts'
import { withTrailers } from './undici-writer.ts'
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

/**
 * Returns the request's body with its limits. `trailers` returns the fields that go upstream behind a body without a
 * Content-Length.
 */
export function uploadOf(
  request: IncomingMessage,
  { maxBody }: CompiledRoute,
  maxTrailerFields: number,
  trailers: () => readonly string[],
): Upload {
  return {
    stream: request,
    maxBytes: maxBody ?? Number.POSITIVE_INFINITY,
    start() {
      askForBody(request)
    },
    trailers() {
      if (request.rawTrailers.length > 2 * maxTrailerFields) throw tooManyFields('trailer', maxTrailerFields)
      return trailers()
    },
  }
}

/**
 * Returns the request's body as a stream for undici, which applies the limits and requests the body when the upstream is
 * ready for it. The stream leaves the client's connection open if the upstream fails, so that the client gets a response.
 */
export function bodyOf(request: IncomingMessage, upload: Upload): Readable {
  const chunks: AsyncIterable<Buffer> = request.iterator({ destroyOnReturn: false })
  const hasLength = request.headers['content-length'] !== undefined
  const isUnlimited = upload.maxBytes === Number.POSITIVE_INFINITY && !waitsToBeAsked(request)
  if (hasLength && isUnlimited) return Readable.from(chunks, { objectMode: false })
  let trailers: readonly string[] = []
  async function* limited(): AsyncIterable<Buffer> {
    upload.start()
    let size = 0
    for await (const chunk of chunks) {
      size += chunk.length
      if (size > upload.maxBytes) throw new Fault('payload_too_large')
      yield chunk
    }
    trailers = upload.trailers()
  }
  const stream = Readable.from(limited(), { objectMode: false })
  return hasLength ? stream : withTrailers(stream, () => trailers)
}
