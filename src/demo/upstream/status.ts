import type { ApiAnswer } from './api.ts'

const withBody = (status: number): boolean => status >= 200 && status !== 204 && status !== 304

/**
 * Answers `/api/status/NNN` with that status. Query: `header` (`Name: value`, any number), `body`, `type` (its media
 * type) and `times`: so many requests for the same target get it, later ones 200.
 */
export const createStatusAnswer = (): ApiAnswer => {
  const seen = new Map<string, number>()
  return (req, res, query) => {
    const target = req.url ?? ''
    const count = (seen.get(target) ?? 0) + 1
    seen.set(target, count)
    const asked = Number(/\/api\/status\/(\d{3})(?:$|\?)/.exec(target)?.[1] ?? 400)
    const times = query.get('times')
    const status = times !== null && count > Number(times) ? 200 : asked
    if (status === asked) {
      for (const line of query.getAll('header')) {
        const at = line.indexOf(':')
        res.appendHeader(line.slice(0, at), line.slice(at + 1).trim())
      }
    }
    if (!withBody(status)) {
      res.writeHead(status).end()
      return
    }
    const type = query.get('type') ?? 'text/plain; charset=utf-8'
    res.writeHead(status, { 'content-type': type }).end(query.get('body') ?? `status ${status}, request ${count}\n`)
  }
}
