import http from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Contestant } from './contestants.ts'

type Answer = { status: number; body: string }

const START_LIMIT_MS = 20_000

// Asks once, on a connection of its own, as a browser that navigates.
async function ask(port: number, path: string, cookie: string | null): Promise<Answer> {
  const headers = { accept: 'text/html', ...(cookie ? { cookie } : {}) }
  return new Promise((resolve, reject) => {
    const request = http.get({ host: '127.0.0.1', port, path, headers, agent: false, timeout: START_LIMIT_MS })
    request.on('timeout', () => request.destroy(new Error(`port ${port} did not answer ${path} in time`)))
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

/** Resolves with the ms from `since` (`performance.now()`) to the first answer that is not a 503. */
export async function firstAnswer(port: number, since: number): Promise<number> {
  while (performance.now() - since < START_LIMIT_MS) {
    const answer = await ask(port, '/', null).catch(() => null)
    if (answer && answer.status !== 503) return performance.now() - since
    await sleep(1)
  }
  throw new Error(`Nothing answered on port ${port} within ${START_LIMIT_MS / 1000} s`)
}

/**
 * Throws an Error unless a contestant does its work: the upstream's body comes through. A contestant that logs in must
 * refuse requests without its cookie and send the upstream the access token, and Gatehouse must keep its cookie back.
 */
export async function expectRightAnswers(it: Contestant, cookie: string | null, body: string): Promise<void> {
  const answer = await ask(it.port, '/', cookie)
  if (answer.status !== 200 || answer.body !== body) {
    throw new Error(`${it.name} answers ${answer.status}, ${answer.body.length} characters: not the upstream's 200`)
  }
  if (!it.client) return
  const anonymous = await ask(it.port, '/', null)
  if (anonymous.status !== 302 && anonymous.status !== 401) {
    throw new Error(`${it.name} answers ${anonymous.status} without a session: 302 or 401 was expected`)
  }
  const echo = await ask(it.port, '/echo-auth', cookie)
  if (!/^authorization=Bearer \S+$/m.test(echo.body)) throw new Error(`${it.name} sends the upstream no access token`)
  const keepsCookie = it.name.startsWith('gatehouse')
  if (keepsCookie && !/^cookie=$/m.test(echo.body)) throw new Error(`${it.name} sends the upstream its cookie`)
}
