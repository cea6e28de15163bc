import { readFileSync } from 'node:fs'
import { createHash } from 'node:crypto'
import { contextOf } from '../context.ts'
import type { Endpoint } from './endpoint.ts'

function serve(name: string, contentType: string): Endpoint {
  return ({ answers, log }) => {
    const body = read(name)
    if (body === null) log.warn({ event: 'script_missing', name }, `${name} has not been built: run npm run build`)
    const etag = `"${createHash('sha256')
      .update(body ?? '')
      .digest('base64url')
      .slice(0, 22)}"`
    return (request, reply) => {
      if (body === null) return answers.deny(request, reply, { reason: 'no-route' })
      contextOf(request).verdict = 'script'
      reply.header('content-type', contentType).header('cache-control', 'no-cache').header('etag', etag)
      return request.headers['if-none-match'] === etag ? reply.code(304).send() : reply.send(body)
    }
  }
}

function read(name: string): string | null {
  try {
    return readFileSync(new URL(import.meta.resolve(`#built/browser/${name}`)), 'utf8')
  } catch {
    return null
  }
}

/** `GET client.js`: the module that applications import. */
export const clientScript = serve('client.js', 'text/javascript; charset=utf-8')

export const clientTypes = serve('client.d.ts', 'text/plain; charset=utf-8')

/** `GET auto.js`: the classic script for the `<head>` of a page. */
export const autoScript = serve('auto.js', 'text/javascript; charset=utf-8')
