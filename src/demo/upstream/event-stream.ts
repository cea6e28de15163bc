import type { ApiAnswer } from './api.ts'

/**
 * Server-sent events (HTML standard, section 9.2): a `tick` every `ms` (default 1000) milliseconds, the first at once,
 * `count` of them or without end. A client that is slow to read gets fewer.
 */
export const streamEvents: ApiAnswer = (_req, res, query) => {
  const every = Math.max(1, Number(query.get('ms') ?? 1000) || 1000)
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
  const timer = setInterval(tick, every)
  res.once('close', () => {
    clearInterval(timer)
  })
  tick()
}
