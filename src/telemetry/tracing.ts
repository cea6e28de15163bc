import type { IncomingHttpHeaders } from 'node:http'

export interface TracedRequest {
  readonly id: string
  /** The path pattern of the route, which unlike the path identifies no user. */
  readonly route: string | null
  readonly kind: string
  readonly verdict: string
  readonly status: number
}

export interface RequestTrace {
  /** The trace id in 32 hexadecimal digits. */
  readonly traceId: string
  /** Runs `work`. The calls that `work` makes to the provider and the store become children of this request's span. */
  within(work: () => void): void
  /**
   * Starts a span for the request to an upstream. Returns the headers that propagate the trace, as a flat list of names
   * and values.
   * @see https://www.w3.org/TR/trace-context/#traceparent-header
   */
  startUpstreamSpan(origin: string): readonly string[]
  /** Ends the upstream's span with the status of the response, or `null` if there was no response. */
  endUpstreamSpan(status: number | null): void
  end(request: TracedRequest): void
}

export interface Tracing {
  /** Starts the span of a request, which continues the trace in its headers. */
  begin(method: string, headers: IncomingHttpHeaders): RequestTrace
  /** Makes a call to another service in a span of its own. Rejects as the call does. */
  call<T>(name: string, attributes: Readonly<Record<string, string>>, call: () => Promise<T>): Promise<T>
  /** Exports the remaining spans within 3 s. Never rejects. */
  close(): Promise<void>
}

/**
 * Returns the trace id in a `traceparent` header, or `null`.
 * @see https://www.w3.org/TR/trace-context/#trace-id
 */
export function traceIdOf(traceparent: string | string[] | undefined): string | null {
  const [, id] =
    typeof traceparent === 'string'
      ? (/^[\da-f]{2}-([\da-f]{32})-[\da-f]{16}-[\da-f]{2}(?:-|$)/.exec(traceparent) ?? [])
      : []
  return id ?? null
}
