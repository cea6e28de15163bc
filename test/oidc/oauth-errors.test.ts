import { ClientError, ResponseBodyError, WWWAuthenticateChallengeError } from 'openid-client'
import t from 'tap'
import { Fault } from '../../src/errors.ts'
import { refusalOf, retryAfterOf, toLoginFault } from '../../src/oidc/oauth-errors.ts'

const answer = (status: number, headers: Record<string, string> = {}): Response =>
  new Response(null, { status, headers })

const oauthError = (status: number, error: string, headers: Record<string, string> = {}): ResponseBodyError =>
  new ResponseBodyError('refused', { cause: { error }, response: answer(status, headers) })

const noOauth = (status: number, type: string): ClientError =>
  new ClientError('unexpected', { cause: answer(status, { 'content-type': type }) })

const challenged = (status: number): WWWAuthenticateChallengeError =>
  new WWWAuthenticateChallengeError('challenged', { cause: [], response: answer(status) })

void t.test('a refused refresh tells whether the grant is over', async (t) => {
  const cases = [
    [oauthError(400, 'invalid_grant'), 'invalid-grant'],
    [oauthError(401, 'invalid_grant'), 'invalid-grant'],
    [oauthError(400, 'invalid_request'), 'rejected'],
    [oauthError(400, 'unauthorized_client'), 'rejected'],
    [oauthError(400, 'invalid_grant_type'), 'rejected'],
    [oauthError(400, 'invalid_client'), 'unclear'],
    [oauthError(401, 'invalid_client'), 'unclear'],
    [oauthError(429, 'slow_down'), 'unclear'],
    [oauthError(403, 'access_denied'), 'rejected'],
    [oauthError(401, 'invalid_token'), 'rejected'],
    [oauthError(401, 'token_inactive'), 'rejected'],
    [oauthError(200, 'invalid_grant'), 'invalid-grant'],
    [oauthError(429, 'invalid_grant'), 'invalid-grant'],
    [oauthError(500, 'invalid_grant'), 'invalid-grant'],
    [oauthError(500, 'invalid_request'), 'rejected'],
    [oauthError(500, 'consent_required'), 'rejected'],
    [oauthError(500, 'server_error'), 'unclear'],
    [oauthError(503, 'temporarily_unavailable'), 'unclear'],
    [oauthError(429, 'invalid_request'), 'unclear'],
    [challenged(400), 'rejected'],
    [challenged(401), 'unclear'],
    [noOauth(400, 'text/plain'), 'rejected'],
    [noOauth(400, ''), 'rejected'],
    [noOauth(400, 'text/html'), 'unclear'],
    [noOauth(400, 'application/xhtml+xml'), 'unclear'],
    [noOauth(500, 'text/plain'), 'unclear'],
    [noOauth(200, 'text/html'), 'unclear'],
    [noOauth(404, 'text/plain'), 'unclear'],
    [new TypeError('fetch failed'), 'unclear'],
    [new Error('invalid_grant'), 'unclear'],
    [new Fault('provider_unavailable'), 'unclear'],
    ['invalid_grant', 'unclear'],
    [null, 'unclear'],
  ] as const
  for (const [error, refusal] of cases) t.equal(refusalOf(error), refusal, String(error))
})

void t.test('the time that the provider asks to wait is read', async (t) => {
  const now = Date.parse('2026-10-21T07:28:00Z')
  const cases = [
    ['17', 17],
    ['0', 0],
    ['99999999999999999999', 1e20],
    ['999999999999999999999', null],
    ['1e3', null],
    ['', null],
    ['Wed, 21 Oct 2026 07:28:30 GMT', 30],
    ['Wed, 21 Oct 2026 07:28:00 GMT', 0],
    ['-1', null],
    ['soon', null],
    ['Wed, 21 Oct 2015 07:28:00 GMT', null],
  ] as const
  for (const [header, seconds] of cases)
    t.equal(retryAfterOf(oauthError(429, 'slow_down', { 'retry-after': header }), now), seconds, header)
  t.equal(retryAfterOf(oauthError(429, 'slow_down')), null)
  t.equal(retryAfterOf(new ClientError('unexpected', { cause: answer(503, { 'retry-after': '3' }) })), 3)
  t.equal(retryAfterOf(new Error('no answer')), null)
})

void t.test('a failed login has the status and code of its cause', async (t) => {
  const timeout = new DOMException('late', 'TimeoutError')
  const cases = [
    [oauthError(400, 'invalid_grant'), 400, 'login_failed'],
    [oauthError(400, 'invalid_request'), 502, 'login_failed'],
    [oauthError(401, 'invalid_client'), 502, 'login_failed'],
    [oauthError(500, 'server_error'), 503, 'provider_unavailable'],
    [oauthError(429, 'slow_down'), 503, 'provider_unavailable'],
    [oauthError(500, 'invalid_grant'), 400, 'login_failed'],
    [oauthError(500, 'invalid_request'), 502, 'login_failed'],
    [challenged(401), 502, 'login_failed'],
    [challenged(503), 503, 'provider_unavailable'],
    [new TypeError('terminated'), 503, 'provider_unavailable'],
    [noOauth(200, 'text/html'), 502, 'login_failed'],
    [noOauth(502, 'text/html'), 503, 'provider_unavailable'],
    [timeout, 503, 'provider_unavailable'],
    [
      Object.assign(new ClientError('late', { cause: timeout }), { code: 'OAUTH_TIMEOUT' }),
      503,
      'provider_unavailable',
    ],
    [new TypeError('fetch failed'), 503, 'provider_unavailable'],
    [new TypeError('x is not a function'), 502, 'login_failed'],
    [new Error('what?'), 502, 'login_failed'],
  ] as const
  for (const [error, status, code] of cases) {
    const fault = toLoginFault(error)
    t.same([fault.status, fault.code], [status, code], String(error))
    t.equal(fault.cause, error)
    t.match(fault.words.detail, /^[A-Z].*\.$/)
  }
  const own = new Fault('bad_request')
  t.equal(toLoginFault(own), own)
})
