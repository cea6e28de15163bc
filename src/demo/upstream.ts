import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { Duplex } from 'node:stream'
import { text } from 'node:stream/consumers'
import { boundPort } from './bound-port.ts'
import { sendPage } from './html.ts'
import { apiAnswers, createStatusAnswer, streamEvents, type ApiAnswer } from './upstream/api.ts'
import { adminPage, homePage, notFoundPage, orderedPage, publicPage } from './upstream/pages.ts'
import { approvedPage, reportPage, reportedPage, tabPage } from './upstream/report-page.ts'
import { acceptWebSocket } from './upstream/web-socket.ts'

export interface UpstreamOptions {
  /** Default 127.0.0.1. */
  readonly host?: string
  /** Default 0: a free port. */
  readonly port?: number
  readonly socketPath?: string
  /** PEM; the application uses TLS. */
  readonly tls?: { readonly cert: string; readonly key: string }
}

export interface ReceivedRequest {
  readonly method: string
  readonly url: string
  readonly headers: IncomingHttpHeaders
  readonly rawHeaders: string[]
}

export interface Upstream {
  /** An origin or `unix:/path`, as in the gateway's configuration. */
  readonly url: string
  /** The latest requests, including upgrades, oldest first. */
  readonly requests: ReceivedRequest[]
  readonly openStreams: () => number
  readonly close: () => Promise<void>
}

const MAX_REQUESTS = 10_000

async function answerOrder(req: IncomingMessage, res: ServerResponse): Promise<void> {
  const form = new URLSearchParams(await text(req))
  sendPage(res, 200, orderedPage(req.headers, form.get('note') ?? ''))
}

function urlOf(options: UpstreamOptions, port: () => number): string {
  if (options.socketPath !== undefined) return `unix:${options.socketPath}`
  const host = options.host ?? '127.0.0.1'
  return `${options.tls === undefined ? 'http' : 'https'}://${host.includes(':') ? `[${host}]` : host}:${port()}`
}

/** Starts the sample application of the demo and the tests, which trusts every header. */
export async function startUpstream(options: UpstreamOptions = {}): Promise<Upstream> {
  const requests: ReceivedRequest[] = []
  const streams = new Set<ServerResponse | Duplex>()

  const track = (stream: ServerResponse | Duplex): void => {
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
        track(res)
        return streamEvents(req, res, query)
      },
    ],
  ])

  const record = ({ method = '', url = '', headers, rawHeaders }: IncomingMessage): void => {
    requests.push({ method, url, headers, rawHeaders })
    if (requests.length > MAX_REQUESTS) requests.shift()
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
      // For example, the query asks for an invalid response header, or the request body is incomplete.
      if (res.headersSent) res.destroy()
      else res.writeHead(400, { 'content-type': 'text/plain; charset=utf-8' }).end(`${String(error)}\n`)
    })
  }

  const server = options.tls === undefined ? createServer(listener) : createTlsServer(options.tls, listener)
  server.on('upgrade', (req: IncomingMessage, socket: Duplex, head: Buffer) => {
    // An error without a listener would end the process.
    socket.on('error', () => socket.destroy())
    record(req)
    const [path, query = ''] = (req.url ?? '').split(/\?(.*)/s)
    const parameters = new URLSearchParams(path === '/ws' ? query : 'status=404')
    if (acceptWebSocket(req, socket, head, parameters)) track(socket)
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
