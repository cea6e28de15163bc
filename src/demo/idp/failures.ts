import type { IncomingMessage, ServerResponse } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { endpointOf, type Endpoint } from './endpoints.ts'

/** What an endpoint does in place of its work. A `delay`, or `until`, alone comes before the usual answer. */
type Failure = {
  /** Default 500. */
  status?: number
  /** A plain object is sent as JSON. */
  body?: string | Buffer | Readonly<Record<string, unknown>>
  contentType?: string
  headers?: Readonly<Record<string, string>>
  /** Milliseconds of silence first. */
  delay?: number
  /** Silence until this has settled. */
  until?: Promise<unknown>
  /** How many requests it concerns; without it all, until it is taken back. */
  times?: number
  /** Never answers. */
  hang?: boolean
  /** Cuts the connection. */
  destroy?: boolean
  /** The provider does its work first, and only its answer is lost. */
  processed?: boolean
}

/** Stands in front of the provider and fails on request; `null` takes a failure back. */
export type Failures = {
  fail: (endpoint: Endpoint, how: Failure | null) => void
  /** Whether the request was answered (or left hanging) here. */
  intercept: (req: IncomingMessage, res: ServerResponse) => Promise<boolean>
}

const onlyDelays = ({ delay, until, status, body, hang, destroy }: Failure): boolean =>
  (delay !== undefined || until !== undefined) &&
  status === undefined &&
  body === undefined &&
  hang !== true &&
  destroy !== true

const send = (failure: Failure, res: ServerResponse): void => {
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

const sendInPlaceOfAnswer = (failure: Failure, res: ServerResponse): void => {
  const end = res.end.bind(res)
  const replaced = (): ServerResponse => {
    res.end = end
    for (const name of res.getHeaderNames()) res.removeHeader(name)
    send(failure, res)
    return res
  }
  res.end = replaced as typeof res.end
}

/** No failures yet; each endpoint can have one at a time. */
export const createFailures = (): Failures => {
  const failures = new Map<Endpoint, { failure: Failure; left: number }>()

  const next = (endpoint: Endpoint | null): Failure | null => {
    const entry = endpoint === null ? undefined : failures.get(endpoint)
    if (entry === undefined || entry.left <= 0) return null
    entry.left -= 1
    return entry.failure
  }

  return {
    fail: (endpoint, how) => {
      if (how === null) failures.delete(endpoint)
      else failures.set(endpoint, { failure: how, left: how.times ?? Infinity })
    },
    intercept: async (req, res) => {
      const failure = next(endpointOf(req.url ?? '/'))
      if (failure === null) return false
      if (failure.delay !== undefined) await sleep(failure.delay, undefined, { ref: false })
      await failure.until
      if (onlyDelays(failure)) return false
      if (failure.processed === true) {
        sendInPlaceOfAnswer(failure, res)
        return false
      }
      send(failure, res)
      return true
    },
  }
}
