import { createHash } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { signedInUser } from './identity.ts'
import { orders } from './orders.ts'

/** One of the application's API answers; `query` is the URL's. */
export type ApiAnswer = (req: IncomingMessage, res: ServerResponse, query: URLSearchParams) => void | Promise<void>

const sendJson = (res: ServerResponse, status: number, body: unknown): void => {
  res.writeHead(status, { 'content-type': 'application/json', 'cache-control': 'no-store' }).end(JSON.stringify(body))
}

const sendText = (res: ServerResponse, status: number, text: string): void => {
  res.writeHead(status, { 'content-type': 'text/plain; charset=utf-8' }).end(text)
}

const numberIn = (query: URLSearchParams, name: string, otherwise: number): number => {
  const value = Number(query.get(name) ?? otherwise)
  return Number.isSafeInteger(value) && value >= 0 ? value : otherwise
}

const smallBody = 65_536

const listOrders: ApiAnswer = (req, res) => {
  sendJson(res, 200, { user: signedInUser(req.headers), orders })
}

const echo: ApiAnswer = async (req, res) => {
  const hash = createHash('sha256')
  const kept: Buffer[] = []
  let length = 0
  for await (const chunk of req) {
    const bytes = Buffer.from(chunk)
    hash.update(bytes)
    length += bytes.length
    if (length <= smallBody) kept.push(bytes)
  }
  sendJson(res, 200, {
    method: req.method,
    url: req.url,
    headers: req.headers,
    rawHeaders: req.rawHeaders,
    trailers: req.trailers,
    body: { length, sha256: hash.digest('hex'), text: length <= smallBody ? Buffer.concat(kept).toString() : null },
  })
}

const report: ApiAnswer = async (req, res) => {
  let characters = 0
  for await (const chunk of req.setEncoding('utf8')) characters += String(chunk).length
  sendJson(res, 200, { characters })
}

const slow: ApiAnswer = async (_req, res, query) => {
  const ms = numberIn(query, 'ms', 1000)
  await sleep(ms, undefined, { ref: false })
  sendText(res, 200, `waited ${ms} ms\n`)
}

const patternLength = 251

// A whole number of patterns, so that every chunk is the same.
const patternChunk = Buffer.from(Array.from({ length: patternLength * 260 }, (_, index) => index % patternLength))

function* patternBytes(total: number): Generator<Buffer> {
  for (let sent = 0; sent < total; sent += patternChunk.length) yield patternChunk.subarray(0, total - sent)
}

const bytes: ApiAnswer = async (req, res, query) => {
  const total = numberIn(query, 'n', 1_000_000)
  res.writeHead(200, { 'content-type': 'application/octet-stream', 'content-length': String(total) })
  if (req.method === 'HEAD') res.end()
  // A client that goes away in the middle is what some tests are about.
  else await pipeline(Readable.from(patternBytes(total)), res).catch(() => undefined)
}

const redirect: ApiAnswer = (_req, res, query) => {
  res.writeHead(numberIn(query, 'status', 302), { location: query.get('to') ?? '/' }).end()
}

const setCookie: ApiAnswer = (_req, res, query) => {
  const lines = [...query].map(([name, value]) => (name === 'cookie' ? value : `${name}=${value}`))
  res.setHeader('set-cookie', lines)
  sendJson(res, 200, { set: lines })
}

/** The answers of the API under `/api/`, by the path's next segment. */
export const apiAnswers: Readonly<Record<string, ApiAnswer>> = {
  'orders': listOrders,
  echo,
  report,
  slow,
  bytes,
  redirect,
  'set-cookie': setCookie,
}
