import type { Test } from 'tap'
import type { Answer } from '../support/exchange.ts'
import type { Running } from '../support/gateway.ts'

/** Checks that a response is a page with this status and no session, and that the log has its cause without secrets. */
export const isReadableFailure = (t: Test, running: Running, answer: Answer, status: number, name: string): void => {
  const { log, idp } = running
  const code = status === 503 ? 'provider_unavailable' : 'login_failed'
  t.equal(answer.status, status, name)
  t.equal(answer.headers.gatehouse, code)
  t.match(answer.headers['content-type'], /^text\/html/)
  t.match(answer.body, /sign-in service/i)
  t.notMatch(answer.body, /OAUTH_|openid|TypeError|undefined/)
  t.equal(answer.headers['retry-after'] === undefined, status !== 503)
  t.notOk(answer.headers['set-cookie']?.some((line) => line.startsWith('gatehouse=')))
  const line = log.findLast((one) => one.includes(`"event":"${code}"`)) ?? ''
  t.match(JSON.parse(line), { cause: / ← .{5}/ }, `${name}: ${line}`)
  const all = log.join('')
  for (const secret of idp.secretsIssued) if (all.includes(secret)) t.fail(`${name}: a secret is in the log`)
}
