import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders } from 'node:http'
import { buffer } from 'node:stream/consumers'
import type { Test } from 'tap'
import { boundPort } from '../../src/demo/bound-port.ts'

/** A span of OTLP's JSON, without its times. */
export type ReceivedSpan = {
  readonly traceId: string
  readonly spanId: string
  /** Empty for the root span. */
  readonly parentSpanId: string
  readonly name: string
  /** 2 for a server span, 3 for a client span. */
  readonly kind: number
  readonly attributes: Readonly<Record<string, unknown>>
  readonly isError: boolean
}

/** A receiver of OTLP over HTTP, and the received requests. */
export type TraceReceiver = {
  readonly url: string
  readonly requests: readonly { readonly path: string; readonly headers: IncomingHttpHeaders; readonly body: Buffer }[]
  /** The spans of all JSON requests, and the attributes of their resources. */
  readonly spans: () => ReceivedSpan[]
  readonly resource: () => Readonly<Record<string, unknown>>
}

const listAt = (value: unknown, name: string): unknown[] => {
  const found: unknown = typeof value === 'object' && value !== null ? Reflect.get(value, name) : undefined
  return Array.isArray(found) ? found : []
}

const at = (value: unknown, ...names: readonly string[]): unknown =>
  names.reduce(
    (inner: unknown, name) => (typeof inner === 'object' && inner !== null ? Reflect.get(inner, name) : undefined),
    value,
  )

const attributesOf = (value: unknown): Record<string, unknown> =>
  Object.fromEntries(
    listAt(value, 'attributes').map((one) => {
      const told = at(one, 'value')
      return [String(at(one, 'key')), at(told, 'stringValue') ?? Number(at(told, 'intValue'))]
    }),
  )

/** Listens on a free port until the test ends. */
export const startTraceReceiver = async (t: Test): Promise<TraceReceiver> => {
  const requests: { path: string; headers: IncomingHttpHeaders; body: Buffer }[] = []
  const server = createServer((req, res) => {
    void buffer(req).then((body) => {
      requests.push({ path: `${req.method ?? ''} ${req.url ?? ''}`, headers: req.headers, body })
      res
        .writeHead(200, { 'content-type': req.headers['content-type'] ?? '' })
        .end(req.headers['content-type'] === 'application/json' ? '{}' : '')
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.close()
    server.closeAllConnections()
  })
  const resources = (): unknown[] =>
    requests
      .filter(({ headers }) => headers['content-type'] === 'application/json')
      .flatMap(({ body }) => listAt(JSON.parse(body.toString()), 'resourceSpans'))
  return {
    url: `http://127.0.0.1:${boundPort(server)}`,
    requests,
    resource: () => attributesOf(at(resources()[0], 'resource')),
    spans: () =>
      resources()
        .flatMap((one) => listAt(one, 'scopeSpans'))
        .flatMap((one) => listAt(one, 'spans'))
        .map((span) => ({
          traceId: String(at(span, 'traceId')),
          spanId: String(at(span, 'spanId')),
          parentSpanId: String(at(span, 'parentSpanId') ?? ''),
          name: String(at(span, 'name')),
          kind: Number(at(span, 'kind')),
          attributes: attributesOf(span),
          isError: at(span, 'status', 'code') === 2,
        })),
  }
}
