import { readFileSync } from 'node:fs'
import { buffer } from 'node:stream/consumers'
import type { IncomingMessage } from 'node:http'
import type { Test } from 'tap'
import { startApplication } from '../support/application.ts'

/** A request as the site received it. */
export type Received = {
  readonly method: string
  readonly path: string
  readonly body: string
  readonly headers: IncomingMessage['headers']
}

/** An application of a few pages, and all that it was asked for. */
export type Site = {
  readonly url: string
  readonly received: Received[]
  readonly at: (path: string) => Received[]
  /** Where these paths send who comes, once they are set (303). */
  readonly redirects: Map<string, string>
}

type Page = string | { readonly body: string; readonly headers: Readonly<Record<string, string>> }

const libraries: Readonly<Record<string, string>> = {
  '/jquery.js': 'jquery/dist/jquery.js',
  '/axios.js': 'axios/dist/axios.js',
  '/htmx.js': 'htmx.org/dist/htmx.js',
}

/** A whole HTML document that asks for nothing but what `head` and `body` name. */
export const html = (body: string, head = ''): string =>
  '<!doctype html><html lang="en"><head><title>A page</title><link rel="icon" ' +
  `href="data:,">${head}</head><body>${body}</body></html>`

/**
 * Starts an application: `pages` by path, the libraries that pages load, and at every other path JSON that repeats the
 * request's method, path and body.
 */
export const startSite = async (t: Test, pages: Readonly<Record<string, Page>>): Promise<Site> => {
  const received: Received[] = []
  const answer = async (
    req: IncomingMessage,
  ): Promise<{ headers: Readonly<Record<string, string>>; body: string | Buffer }> => {
    const { method = '', url: path = '', headers } = req
    const body = (await buffer(req)).toString('latin1')
    received.push({ method, path, body, headers })
    const library = libraries[path]
    if (library !== undefined) {
      return {
        headers: { 'content-type': 'text/javascript' },
        body: readFileSync(new URL(`../../node_modules/${library}`, import.meta.url)),
      }
    }
    const page = pages[path.split('?')[0] ?? '']
    if (page === undefined) {
      return {
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ method, path, body: Buffer.from(body, 'latin1').toString('utf8') }),
      }
    }
    return typeof page === 'string' ? { headers: { 'content-type': 'text/html; charset=utf-8' }, body: page } : page
  }
  const redirects = new Map<string, string>()
  const { url } = await startApplication(t, (req, res) => {
    const location = redirects.get(req.url ?? '')
    answer(req).then(
      ({ headers, body }) => {
        if (location === undefined) res.writeHead(200, headers).end(body)
        else res.writeHead(303, { location }).end()
      },
      () => {
        res.destroy()
      },
    )
  })
  return { url, received, redirects, at: (wanted) => received.filter(({ path }) => path === wanted) }
}
