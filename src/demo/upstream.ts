import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { Duplex } from 'node:stream'
import { text } from 'node:stream/consumers'
import { boundPort } from './bound-port.ts'
import { apiAnswers, type ApiAnswer } from './upstream/api.ts'
import { streamEvents } from './upstream/event-stream.ts'
import { adminPage, homePage, notFoundPage, orderedPage, publicPage } from './upstream/pages.ts'
import { approvedPage, reportPage, reportedPage, tabPage } from './upstream/report-page.ts'
import { createStatusAnswer } from './upstream/status.ts'
import { acceptWebSocket } from './upstream/web-socket.ts'

/** Where the sample application listens: on a port of `host` (default 127.0.0.1, any free one) or a Unix socket. */
export type UpstreamOptions = {
  host?: string
  port?: number
  socketPath?: string
  /** PEM; with it the application speaks TLS. */
  tls?: { cert: string; key: string }
}

/** A request as the application received it. */
export type ReceivedRequest = {
  method: string
  url: string
  headers: IncomingHttpHeaders
  rawHeaders: string[]
}

/** The running application, and what it has received. */
export type Upstream = {
  /** In the spelling of the configuration: an origin, or `unix:/path`. */
  url: string
  /** The latest requests, oldest first, upgrades included. */
  requests: ReceivedRequest[]
  /** Event streams and WebSockets that are open now. */
  openStreams: () => number
  close: () => Promise<void>
}

const keptRequests = 10_000

const sendPage = (res: ServerResponse, status: number, html: string): void => {
  res.writeHead(status, { 'content-type': 'text/html; charset=utf-8', 'cache-control': 'no-store' }).end(html)
}

const answerOrder = async (req: IncomingMessage, res: ServerResponse): Promise<void> => {
  const form = new URLSearchParams(await text(req))
  sendPage(res, 200, orderedPage(req.headers, form.get('note') ?? ''))
}

const urlOf = (options: UpstreamOptions, port: () => number): string => {
  if (options.socketPath !== undefined) return `unix:${options.socketPath}`
  const host = options.host ?? '127.0.0.1'
  return `${options.tls === undefined ? 'http' : 'https'}://${host.includes(':') ? `[${host}]` : host}:${port()}`
}

/** Starts the sample application of the demo and of the tests; it believes every header that it gets. */
export const startUpstream = async (options: UpstreamOptions = {}): Promise<Upstream> => {
  const requests: ReceivedRequest[] = []
  const streams = new Set<ServerResponse | Duplex>()

  const keep = (stream: ServerResponse | Duplex): void => {
    streams.add(stream)
    stream.once('close', () => {
      streams.delete(stream)
    })
  }

  const api = new Map<string, ApiAnswer>([
    ...Object.entries(apiAnswers),
    ['status', createStatusAnswer()],
    [
      'stream',
      (req, res, query) => {
        keep(res)
        return streamEvents(req, res, query)
      },
    ],
  ])

  const record = ({ method = '', url = '', headers, rawHeaders }: IncomingMessage): void => {
    requests.push({ method, url, headers, rawHeaders })
    if (requests.length > keptRequests) requests.shift()
  }

  const answer = async (req: IncomingMessage, res: ServerResponse): Promise<void> => {
    const [path = '', query = ''] = (req.url ?? '').split(/\?(.*)/s)
    const apiAnswer = path.startsWith('/api/') ? api.get(path.split('/')[2] ?? '') : undefined
    if (apiAnswer !== undefined) await apiAnswer(req, res, new URLSearchParams(query))
    else if (path === '/') sendPage(res, 200, homePage(req.headers, req.rawHeaders))
    else if (path === '/orders' && req.method === 'POST') await answerOrder(req, res)
    else if (path === '/report')
      sendPage(
        res,
        200,
        req.method === 'POST'
          ? reportedPage(req.headers, new URLSearchParams(await text(req)))
          : reportPage(req.headers),
      )
    else if (path === '/approve') sendPage(res, 200, approvedPage(req.headers))
    else if (path.startsWith('/tab/')) sendPage(res, 200, tabPage(req.headers, path))
    else if (path === '/admin' || path === '/admin/') sendPage(res, 200, adminPage(req.headers))
    else if (path.startsWith('/public/')) sendPage(res, 200, publicPage(req.headers))
    else sendPage(res, 404, notFoundPage(req.headers, path))
  }

  const listener = (req: IncomingMessage, res: ServerResponse): void => {
    record(req)
    answer(req, res).catch((error: unknown) => {
      // Such as a header that a query asked for and HTTP does not allow, or a body that was cut off.
      if (res.headersSent) res.destroy()
      else res.writeHead(400, { 'content-type': 'text/plain; charset=utf-8' }).end(`${String(error)}\n`)
    })
  }

  const server = options.tls === undefined ? createServer(listener) : createTlsServer(options.tls, listener)
  server.on('upgrade', (req: IncomingMessage, socket: Duplex, head: Buffer) => {
    record(req)
    const [path, query = ''] = (req.url ?? '').split(/\?(.*)/s)
    const asked = new URLSearchParams(path === '/ws' ? query : 'status=404')
    if (acceptWebSocket(req, socket, head, asked)) keep(socket)
  })
  if (options.socketPath === undefined) server.listen(options.port ?? 0, options.host ?? '127.0.0.1')
  else server.listen(options.socketPath)
  await once(server, 'listening')

  return {
    url: urlOf(options, () => boundPort(server)),
    requests,
    openStreams: () => streams.size,
    close: async () => {
      const closed = once(server, 'close')
      server.close()
      server.closeAllConnections()
      for (const stream of streams) stream.destroy()
      await closed
    },
  }
}
