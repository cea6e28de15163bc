import { once } from 'node:events'
import {
  createSecureServer,
  createServer,
  type Http2Server,
  type IncomingHttpHeaders,
  type SecureServerOptions,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2'
import type { Test } from 'tap'
import { boundPort } from '../../src/demo/bound-port.ts'

export type Http2Request = {
  readonly headers: IncomingHttpHeaders
  /** Name, value, name, value …, with the pseudo-header fields. */
  readonly raw: readonly string[]
  readonly stream: ServerHttp2Stream
}

export type Http2Application = {
  readonly url: string
  readonly requests: readonly Http2Request[]
  /** The connections since the start. */
  readonly sessions: readonly ServerHttp2Session[]
}

/**
 * Starts an application that speaks HTTP/2, with TLS if `options` has a key. The server closes when the test ends.
 * `address` is a port of this machine, 0 by default, or the path of a Unix socket.
 */
export const startHttp2Application = async (
  t: Test,
  listener: (request: Http2Request, count: number) => void,
  options: SecureServerOptions = {},
  address: number | string = 0,
): Promise<Http2Application> => {
  const requests: Http2Request[] = []
  const sessions: ServerHttp2Session[] = []
  const isTls = options.key !== undefined
  const server: Http2Server = isTls ? createSecureServer(options) : createServer(options)
  server.on('session', (session) => {
    sessions.push(session)
    session.on('error', () => {})
  })
  server.on('stream', (stream: ServerHttp2Stream, headers: IncomingHttpHeaders, _flags: number, raw: string[]) => {
    stream.on('error', () => {})
    const request = { headers, raw, stream }
    requests.push(request)
    listener(request, requests.length)
  })
  if (typeof address === 'string') server.listen(address)
  else server.listen(address, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    for (const session of sessions) session.destroy()
    server.close()
  })
  const url =
    typeof address === 'string' ? `unix:${address}` : `http${isTls ? 's' : ''}://127.0.0.1:${boundPort(server)}`
  return { url, requests, sessions }
}
