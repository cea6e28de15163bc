import type { IncomingMessage, ServerResponse } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { endpointOf, type Endpoint } from './endpoints.ts'

/** How an endpoint fails. With only `delay` or `until`, the usual response follows. */
interface Failure {
  /** Default 500. */
  readonly status?: number
  /** A plain object is sent as JSON. */
  readonly body?: string | Buffer | Readonly<Record<string, unknown>>
  readonly contentType?: string
  readonly headers?: Readonly<Record<string, string>>
  /** Delay before the failure, in milliseconds. */
  readonly delay?: number
  readonly until?: Promise<unknown>
  /** The number of requests that fail; by default all, until the failure is removed. */
  readonly times?: number
  readonly hang?: boolean
  readonly destroy?: boolean
  /** Whether the provider processes the request and the failure replaces only the response. */
  readonly processed?: boolean
}

export interface Failures {
  /** Makes an endpoint fail; `null` removes the failure. */
  fail(endpoint: Endpoint, how: Failure | null): void
  /** Applies the failure of the endpoint, if there is one. Returns whether the request must not be processed further. */
  intercept(req: IncomingMessage, res: ServerResponse): Promise<boolean>
}

function onlyDelays({ delay, until, status, body, hang, destroy }: Failure): boolean {
  return (
    (delay !== undefined || until !== undefined) &&
    status === undefined &&
    body === undefined &&
    hang !== true &&
    destroy !== true
  )
}

function send(failure: Failure, res: ServerResponse): void {
  if (failure.hang === true) return
  if (failure.destroy === true) {
    res.socket?.destroy()
    return
  }
  const { status = 500, body = '', headers = {} } = failure
  const isJson = typeof body === 'object' && !Buffer.isBuffer(body)
  const contentType = failure.contentType ?? (isJson ? 'application/json' : 'text/html; charset=utf-8')
  res.writeHead(status, { 'content-type': contentType, ...headers }).end(isJson ? JSON.stringify(body) : body)
}

function replaceResponse(failure: Failure, res: ServerResponse): void {
  const end = res.end.bind(res)
  const replaced = (): ServerResponse => {
    res.end = end
    for (const name of res.getHeaderNames()) res.removeHeader(name)
    send(failure, res)
    return res
  }
  res.end = replaced as typeof res.end
}

export function createFailures(): Failures {
  const failures = new Map<Endpoint, { failure: Failure; left: number }>()

  const next = (endpoint: Endpoint | null): Failure | null => {
    const entry = endpoint === null ? undefined : failures.get(endpoint)
    if (entry === undefined || entry.left <= 0) return null
    entry.left -= 1
    return entry.failure
  }

  return {
    fail(endpoint, how) {
      if (how === null) failures.delete(endpoint)
      else failures.set(endpoint, { failure: how, left: how.times ?? Infinity })
    },
    async intercept(req, res) {
      const failure = next(endpointOf(req.url ?? '/'))
      if (failure === null) return false
      if (failure.delay !== undefined) await sleep(failure.delay, undefined, { ref: false })
      await failure.until
      if (onlyDelays(failure)) return false
      if (failure.processed === true) {
        replaceResponse(failure, res)
        return false
      }
      send(failure, res)
      return true
    },
  }
}
