import type { IncomingHttpHeaders } from 'node:http'

/** What is said of a request when it is over. */
export interface TracedRequest {
  readonly id: string
  /** The pattern of the route, never the path. */
  readonly route: string | null
  readonly kind: string
  readonly verdict: string
  readonly status: number
}

/** One request in a trace. */
export interface RequestTrace {
  /** 32 hexadecimal digits. */
  readonly traceId: string
  /** Runs `work`; what it calls of provider and store, also later, belongs to this request. */
  within(work: () => void): void
  /**
   * The request goes to this origin now; gives the headers that carry the trace on (W3C Trace Context, section 3):
   * name, value …
   */
  goesUpstream(origin: string): readonly string[]
  /** The upstream has answered with this status, or with nothing. */
  wasAnswered(status: number | null): void
  end(request: TracedRequest): void
}

/** Spans of requests, and of the calls that they cause. */
export interface Tracing {
  /** A request has arrived; a trace that its headers name goes on. */
  begin(method: string, headers: IncomingHttpHeaders): RequestTrace
  /** Makes a call to somebody else as a span of its own. Rejects as the call does. */
  call<T>(name: string, attributes: Readonly<Record<string, string>>, call: () => Promise<T>): Promise<T>
  /** Sends what is left, within 3 s. Never rejects. */
  close(): Promise<void>
}

/** The trace that a `traceparent` names (W3C Trace Context, section 3.2), or `null`. */
export function traceIdOf(traceparent: string | string[] | undefined): string | null {
  const [, id] =
    typeof traceparent === 'string'
      ? (/^[\da-f]{2}-([\da-f]{32})-[\da-f]{16}-[\da-f]{2}(?:-|$)/.exec(traceparent) ?? [])
      : []
  return id ?? null
}
