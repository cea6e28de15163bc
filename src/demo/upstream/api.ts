import { createHash } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { signedInUser } from './identity.ts'

export const ORDERS = [
  { id: 'A-1001', item: 'Espresso beans, 1 kg', quantity: 3, state: 'packed' },
  { id: 'A-1002', item: 'Oat milk', quantity: 12, state: 'shipped' },
  { id: 'A-1003', item: 'Paper filters', quantity: 200, state: 'waiting' },
] as const

export type ApiAnswer = (req: IncomingMessage, res: ServerResponse, query: URLSearchParams) => void | Promise<void>

function sendJson(res: ServerResponse, status: number, body: unknown): void {
  res.writeHead(status, { 'content-type': 'application/json', 'cache-control': 'no-store' }).end(JSON.stringify(body))
}

function sendText(res: ServerResponse, status: number, text: string): void {
  res.writeHead(status, { 'content-type': 'text/plain; charset=utf-8' }).end(text)
}

function numberIn(query: URLSearchParams, name: string, defaultValue: number): number {
  const value = Number(query.get(name) ?? defaultValue)
  return Number.isSafeInteger(value) && value >= 0 ? value : defaultValue
}

const MAX_ECHOED_BYTES = 65_536

function listOrders(req: IncomingMessage, res: ServerResponse): void {
  sendJson(res, 200, { user: signedInUser(req.headers), orders: ORDERS })
}

async function echo(req: IncomingMessage, res: ServerResponse): Promise<void> {
  const hash = createHash('sha256')
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of req) {
    const bytes = Buffer.from(chunk)
    hash.update(bytes)
    length += bytes.length
    if (length <= MAX_ECHOED_BYTES) chunks.push(bytes)
  }
  sendJson(res, 200, {
    method: req.method,
    url: req.url,
    headers: req.headers,
    rawHeaders: req.rawHeaders,
    trailers: req.trailers,
    body: {
      length,
      sha256: hash.digest('hex'),
      text: length <= MAX_ECHOED_BYTES ? Buffer.concat(chunks).toString() : null,
    },
  })
}

async function report(req: IncomingMessage, res: ServerResponse): Promise<void> {
  let characters = 0
  for await (const chunk of req.setEncoding('utf8')) characters += String(chunk).length
  sendJson(res, 200, { characters })
}

async function slow(_req: IncomingMessage, res: ServerResponse, query: URLSearchParams): Promise<void> {
  const ms = numberIn(query, 'ms', 1000)
  await sleep(ms, undefined, { ref: false })
  sendText(res, 200, `waited ${ms} ms\n`)
}

const PATTERN_BYTES = 251

// Holds a whole number of patterns, so that all chunks are equal.
const PATTERN_CHUNK = Buffer.from(Array.from({ length: PATTERN_BYTES * 260 }, (_, index) => index % PATTERN_BYTES))

function* patternBytes(total: number): Generator<Buffer> {
  for (let sent = 0; sent < total; sent += PATTERN_CHUNK.length) yield PATTERN_CHUNK.subarray(0, total - sent)
}

async function bytes(req: IncomingMessage, res: ServerResponse, query: URLSearchParams): Promise<void> {
  const total = numberIn(query, 'n', 1_000_000)
  res.writeHead(200, { 'content-type': 'application/octet-stream', 'content-length': String(total) })
  if (req.method === 'HEAD') res.end()
  // Tests disconnect in the middle of the body.
  else await pipeline(Readable.from(patternBytes(total)), res).catch(() => undefined)
}

function redirect(_req: IncomingMessage, res: ServerResponse, query: URLSearchParams): void {
  res.writeHead(numberIn(query, 'status', 302), { location: query.get('to') ?? '/' }).end()
}

function setCookie(_req: IncomingMessage, res: ServerResponse, query: URLSearchParams): void {
  const lines = [...query].map(([name, value]) => (name === 'cookie' ? value : `${name}=${value}`))
  res.setHeader('set-cookie', lines)
  sendJson(res, 200, { set: lines })
}

/** The responses of the API, by the path segment after `/api/`. */
export const apiAnswers: Readonly<Record<string, ApiAnswer>> = {
  'orders': listOrders,
  echo,
  report,
  slow,
  bytes,
  redirect,
  'set-cookie': setCookie,
}

/**
 * Sends server-sent events: a `tick` at once and then every `ms` milliseconds (default 1000), `count` in total or without
 * end. A client that reads slowly misses events.
 *
 * @see https://html.spec.whatwg.org/multipage/server-sent-events.html
 */
export function streamEvents(_req: IncomingMessage, res: ServerResponse, query: URLSearchParams): void {
  const intervalMs = Math.max(1, Number(query.get('ms') ?? 1000) || 1000)
  const count = Number(query.get('count') ?? Infinity)
  let sent = 0
  const tick = (): void => {
    if (sent >= count) {
      res.end()
      return
    }
    sent += 1
    if (!res.writableNeedDrain) res.write(`id: ${sent}\nevent: tick\ndata: {"tick":${sent}}\n\n`)
  }
  res.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' })
  const timer = setInterval(tick, intervalMs)
  res.once('close', () => {
    clearInterval(timer)
  })
  tick()
}

function hasBody(status: number): boolean {
  return status >= 200 && status !== 204 && status !== 304
}

/**
 * Creates the response to `/api/status/NNN`: that status. Query: `header` (`Name: value`, repeatable), `body`, `type`
 * (the media type) and `times`, after which requests for the same target get 200.
 */
export function createStatusAnswer(): ApiAnswer {
  const seen = new Map<string, number>()
  return (req, res, query) => {
    const target = req.url ?? ''
    const count = (seen.get(target) ?? 0) + 1
    seen.set(target, count)
    const requested = Number(/\/api\/status\/(\d{3})(?:$|\?)/.exec(target)?.[1] ?? 400)
    const times = query.get('times')
    const status = times !== null && count > Number(times) ? 200 : requested
    if (status === requested) {
      for (const line of query.getAll('header')) {
        const at = line.indexOf(':')
        res.appendHeader(line.slice(0, at), line.slice(at + 1).trim())
      }
    }
    if (!hasBody(status)) {
      res.writeHead(status).end()
      return
    }
    const type = query.get('type') ?? 'text/plain; charset=utf-8'
    res.writeHead(status, { 'content-type': type }).end(query.get('body') ?? `status ${status}, request ${count}\n`)
  }
}
