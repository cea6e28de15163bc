import type { IncomingHttpHeaders } from 'node:http'
import type { Config } from '../config/schema.ts'
import type { RequestKind } from './verdict.ts'

const FRAMES = new Set(['iframe', 'frame', 'embed', 'object', 'fencedframe'])
const FORM_TYPES = /^(?:application\/x-www-form-urlencoded|multipart\/form-data|text\/plain)\s*(?:;|$)/i
const HTML = /(?:^|[\s,])(?:text\/html|application\/xhtml\+xml)\s*(?:[,;]|$)/i
const EVENT_STREAM = /(?:^|[\s,])text\/event-stream\s*(?:[,;]|$)/i
const WEIGHT_OF_ZERO = /;\s*q\s*=\s*0(?:\.0{0,3})?\s*(?:[,;]|$)/i
const PREFETCH = /prefetch|prerender/i
const WEBSOCKET = /(?:^|[\s,])websocket\s*(?:[/,]|$)/i
const UPGRADE = /(?:^|[\s,])upgrade\s*(?:,|$)/i

/**
 * Returns the kind of a request.
 * @see https://www.w3.org/TR/fetch-metadata/
 */
export function classify(method: string, headers: IncomingHttpHeaders, scripts: Config['scripts']): RequestKind {
  if (wantsWebSocket(method, headers)) return 'websocket'
  if (isMarkedAsScript(headers, scripts)) return 'script'
  const read = method === 'GET' || method === 'HEAD'
  const mode = headers['sec-fetch-mode']
  const destination = headers['sec-fetch-dest']
  if (mode !== undefined || destination !== undefined) {
    if (mode !== 'navigate') return 'script'
    if (typeof destination === 'string' && FRAMES.has(destination)) return 'frame'
    if (!read) return method === 'POST' ? 'form' : 'script'
    // A service worker that forwards a navigation sends `empty` as the destination. No script can send `navigate`.
    return destination === 'document' || (destination === 'empty' && accepts(headers, HTML)) ? 'navigation' : 'script'
  }
  if (!accepts(headers, HTML)) return 'script'
  if (read) return 'navigation'
  return method === 'POST' && FORM_TYPES.test(headers['content-type'] ?? '') ? 'form' : 'script'
}

/** Returns whether Accept lists one of these media types with a weight above 0. */
function accepts({ accept = '' }: IncomingHttpHeaders, types: RegExp): boolean {
  if (!types.test(accept)) return false
  // Few clients send a weight of 0, so almost no request has its list split.
  return (
    !WEIGHT_OF_ZERO.test(accept) || accept.split(',').some((item) => types.test(item) && !WEIGHT_OF_ZERO.test(item))
  )
}

export function isPrefetch(headers: IncomingHttpHeaders): boolean {
  return namesPrefetch(headers['sec-purpose']) || namesPrefetch(headers['purpose']) || namesPrefetch(headers['x-moz'])
}

function namesPrefetch(purpose: string | string[] | undefined): boolean {
  return purpose !== undefined && PREFETCH.test(String(purpose))
}

/**
 * Returns whether a request is the opening handshake of a WebSocket: a GET without a body.
 * @see https://www.rfc-editor.org/rfc/rfc6455#section-4.1
 */
export function wantsWebSocket(method: string, headers: IncomingHttpHeaders): boolean {
  return (
    headers.upgrade !== undefined &&
    method === 'GET' &&
    WEBSOCKET.test(headers.upgrade) &&
    UPGRADE.test(headers.connection ?? '') &&
    headers['transfer-encoding'] === undefined &&
    Number(headers['content-length'] ?? 0) === 0
  )
}

function isMarkedAsScript(headers: IncomingHttpHeaders, scripts: Config['scripts']): boolean {
  return (
    header(headers, 'x-requested-with').toLowerCase() === 'xmlhttprequest' ||
    headers['hx-request'] !== undefined ||
    headers['sec-purpose'] !== undefined ||
    isPrefetch(headers) ||
    headers.upgrade !== undefined ||
    accepts(headers, EVENT_STREAM) ||
    scripts.headers.some(({ name, value }) => {
      const sent = headers[name.toLowerCase()]
      return sent !== undefined && (value === null || String(sent) === value)
    })
  )
}

function header(headers: IncomingHttpHeaders, name: string): string {
  return String(headers[name] ?? '')
}
