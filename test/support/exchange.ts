import { request as httpRequest, type IncomingHttpHeaders, type IncomingMessage } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { isIP } from 'node:net'
import { buffer } from 'node:stream/consumers'

/** A request. Its target is sent exactly as written. */
export type Exchange = {
  method: string
  /** The URL that the Host header names; its path and query are the request target. */
  url: URL
  /** The address to connect to instead, as behind a proxy that terminates TLS. */
  connectTo?: URL
  /** The request target as sent; by default the path and query of the URL. */
  target?: string
  headers: Readonly<Record<string, string | readonly string[]>>
  body?: string | Buffer
  ca?: string
  /** The timeout of the whole exchange in ms; default 10,000. */
  timeout?: number
}

export type Answer = {
  url: string
  method: string
  status: number
  headers: IncomingHttpHeaders
  rawHeaders: string[]
  body: string
  bytes: Buffer
  /** The body as a JSON object; throws if it is not one. */
  json: () => Record<string, unknown>
}

const asObject = (text: string): Record<string, unknown> => {
  const value: unknown = JSON.parse(text)
  if (typeof value !== 'object' || value === null) throw new TypeError('the answer is not a JSON object')
  return { ...value }
}

/** Sends one request on a new connection and reads the response; rejects after `timeout`. */
export const exchange = async ({ method, url, connectTo = url, headers, ca, ...rest }: Exchange): Promise<Answer> => {
  const message = await new Promise<IncomingMessage>((resolve, reject) => {
    const send = connectTo.protocol === 'https:' ? httpsRequest : httpRequest
    const req = send({
      method,
      host: connectTo.hostname.replace(/^\[|\]$/g, ''),
      port: connectTo.port,
      path: rest.target ?? url.pathname + url.search,
      headers: { host: url.host, ...headers },
      agent: false,
      signal: AbortSignal.timeout(rest.timeout ?? 10_000),
      ...(ca === undefined ? {} : { ca }),
      ...(isIP(url.hostname.replace(/^\[|\]$/g, '')) === 0 ? { servername: url.hostname } : {}),
    })
    req.once('response', resolve).once('error', reject)
    // An upgraded connection has no response body that ends.
    req.once('upgrade', () => {
      reject(new Error(`${method} ${url.href} was upgraded: use openWebSocket`))
    })
    req.end(rest.body)
  })
  const bytes = await buffer(message)
  const body = bytes.toString()
  return {
    url: url.href,
    method,
    status: message.statusCode ?? 0,
    headers: message.headers,
    rawHeaders: message.rawHeaders,
    body,
    bytes,
    json: () => asObject(body),
  }
}
