import http from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Contestant } from './contestants.ts'

interface Answer {
  readonly status: number
  readonly body: string
}

const START_LIMIT_MS = 20_000

/** Sends one request on a new connection, like a browser that navigates. */
async function get(port: number, path: string, cookie: string | null): Promise<Answer> {
  const headers = { accept: 'text/html', ...(cookie ? { cookie } : {}) }
  return new Promise((resolve, reject) => {
    const request = http.get({ host: '127.0.0.1', port, path, headers, agent: false, timeout: START_LIMIT_MS })
    request.on('timeout', () =>
      request.destroy(new Error(`port ${port} did not answer ${path} within ${START_LIMIT_MS / 1000} s`)),
    )
    request.on('error', reject)
    request.on('response', (response) => {
      let body = ''
      response.setEncoding('utf8')
      response.on('data', (text: string) => {
        body += text
      })
      response.on('error', reject)
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body }))
    })
  })
}

/** Returns the ms from `since` (a time of `performance.now`) to the first response that is not a 503. */
export async function firstAnswer(port: number, since: number): Promise<number> {
  while (performance.now() - since < START_LIMIT_MS) {
    const answer = await get(port, '/', null).catch(() => null)
    if (answer && answer.status !== 503) return performance.now() - since
    await sleep(1)
  }
  throw new Error(`no response on port ${port} within ${START_LIMIT_MS / 1000} s`)
}

/**
 * Throws unless a contestant returns the upstream's body. A contestant with logins must also refuse requests without its
 * cookie and send the access token to the upstream. Gatehouse must not send its cookie to the upstream.
 */
export async function checkResponses(contestant: Contestant, cookie: string | null, body: string): Promise<void> {
  const answer = await get(contestant.port, '/', cookie)
  if (answer.status !== 200 || answer.body !== body) {
    throw new Error(
      `${contestant.name} answered ${answer.status} with ${answer.body.length} characters instead of the upstream's 200`,
    )
  }
  if (!contestant.client) return
  const anonymous = await get(contestant.port, '/', null)
  if (anonymous.status !== 302 && anonymous.status !== 401) {
    throw new Error(`${contestant.name} answered ${anonymous.status} without a session instead of 302 or 401`)
  }
  const echo = await get(contestant.port, '/echo-auth', cookie)
  if (!/^authorization=Bearer \S+$/m.test(echo.body))
    throw new Error(`${contestant.name} sent no access token to the upstream`)
  const isGatehouse = contestant.name.startsWith('gatehouse')
  if (isGatehouse && !/^cookie=$/m.test(echo.body))
    throw new Error(`${contestant.name} sent its cookie to the upstream`)
}
