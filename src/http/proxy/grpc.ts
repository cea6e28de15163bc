import type { Session } from '../../session/session.ts'
import { idOf } from '../request-id.ts'
import type { Streams } from './open-streams.ts'
import { complete, limitLastBytes, type ResponseBody } from './response-body.ts'

/** How long calls may continue when the gateway stops. */
const LAST_CALLS_MS = 5_000

/** Status and message in the trailers of a call: https://grpc.io/docs/guides/status-codes/ */
type CallStatus = readonly string[]

const UNAUTHENTICATED: CallStatus = ['grpc-status', '16', 'grpc-message', 'the session has ended']
const UNAVAILABLE: CallStatus = ['grpc-status', '14', 'grpc-message', 'the gateway is stopping']

/**
 * Registers a call as an open stream of its session, and returns a function that removes it. Calls `end` with a status
 * when the session ends, or `LAST_CALLS_MS` after the gateway has begun to stop.
 */
export function addCall(streams: Streams, session: Session | null, end: (status: CallStatus) => void): () => void {
  return streams.add(session, {
    kind: 'grpc',
    close: (reason) => {
      if (reason === 'session-ended') end(UNAUTHENTICATED)
      else setTimeout(end, LAST_CALLS_MS, UNAVAILABLE).unref()
    },
  })
}

/** Ends the response of a call with a status of the gateway's own. */
export function endCall(body: ResponseBody, status: CallStatus): void {
  const { response } = body
  if (response.headersSent) complete(body, status)
  else
    response.writeHead(200, ['Content-Type', 'application/grpc', 'X-Request-Id', idOf(response.req), ...status]).end()
  limitLastBytes(response)
}
