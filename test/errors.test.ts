import t from 'tap'
import { causes, Fault } from '../src/errors.ts'

void t.test('causes() returns the whole chain of errors in one line, with their codes', async (t) => {
  const refused = Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' })
  t.equal(
    causes(new Fault('provider_unavailable', { cause: new Error('discovery', { cause: refused }) })),
    'provider_unavailable ← discovery ← ECONNREFUSED: connect ECONNREFUSED',
  )
  t.equal(causes('just words'), 'just words')
})

void t.test('causes() includes what the provider says about an OAuth error, and nothing more', async (t) => {
  const error = Object.assign(new Error('refused'), { error: 'invalid_grant', error_description: 'expired' })
  t.equal(causes(error), 'refused (invalid_grant: expired)')
  const endless = Object.assign(new Error('refused'), {
    error: 'invalid_grant',
    error_description: 'so '.repeat(10_000),
  })
  t.ok(causes(endless).length < 400)
})

void t.test('secrets repeated by a provider, Redis or a library are removed, and ids stay searchable', async (t) => {
  const trace = '0b3a1c2d-1111-2222-3333-444455556666'
  const said = (error: string, description: string): string =>
    causes(Object.assign(new Error('refused'), { error, error_description: description }))
  t.equal(
    said('invalid_request', `no refresh token ${'r'.repeat(43)}`),
    'refused (invalid_request: no refresh token …)',
  )
  t.equal(said('invalid_client', 'wrong: the-client-secret-in-words'), 'refused (invalid_client: wrong: …)')
  t.equal(
    said('invalid_grant', `AADSTS70008: expired. Trace ID: ${trace} Correlation ID: ${trace}.`),
    `refused (invalid_grant: AADSTS70008: expired. Trace ID: ${trace} Correlation ID: ${trace}.)`,
  )
  t.equal(
    said('temporarily_unavailable', 'authentication_expired invalidRequestMessage'),
    'refused (temporarily_unavailable: authentication_expired invalidRequestMessage)',
  )
  t.equal(said('a', 'correcthorsebatterystaple'), 'refused (a: …)')
  t.equal(said('eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2ln', ''), 'refused (…: )')
  t.equal(
    causes(new Error("ERR unknown command 'AUTH', with args beginning with: 'hunter2' ")),
    "ERR unknown command 'AUTH'",
  )
  const token = 'a-token-with\nin-it'
  try {
    t.fail(`that can be sent: ${String(new Headers({ authorization: `Bearer ${token}` }))}`)
  } catch (error) {
    t.equal(causes(error), 'invalid header value')
  }
})

void t.test('long words are kept, and long texts that are not words are removed', async (t) => {
  const said = (description: string): string =>
    causes(Object.assign(new Error('refused'), { error: 'x', error_description: description }))
  for (const word of [
    'authentication_expired',
    'temporarily_unavailable',
    'invalidRequestMessage',
    'insufficient_user_authentication.',
    'INVALID_REFRESH_TOKEN_USED',
    'InvalidTokenExceptionRaised',
  ])
    t.equal(said(word), `refused (x: ${word})`)
  for (const secret of [
    'correcthorsebatterystaple',
    'r'.repeat(43),
    'QWERTYUIOPASDFGHJKLZXCVBNM',
    'aQsWdEfRgThYjUkIlOpZxCvBnM',
    'the-client-secret-in-words',
    'authentication_expired1',
    'eyJhbGciOiJSUzI_NiJ9eyJzdWIiOiJ4In',
  ])
    t.equal(said(secret), 'refused (x: …)')
})

void t.test('a failed response is described by its status and URL, without the query', async (t) => {
  const answer = new Response('secret', { status: 401, headers: { 'www-authenticate': 'Basic realm="t"' } })
  Object.defineProperty(answer, 'url', { value: 'https://idp.example/token?key=secret' })
  t.equal(
    causes(Object.assign(new Error('refused'), { response: answer })),
    'refused ← 401 from https://idp.example/token, text/plain;charset=UTF-8, WWW-Authenticate: Basic realm="t"',
  )
  t.equal(causes(new Error('unexpected', { cause: new Response(null, { status: 404 }) })), 'unexpected ← 404')
})

void t.test('control characters and line breaks become one plain line', async (t) => {
  const evil = new Error('a\r\n{"event":"login"}\u001b[2J\u009b31m\u2028\u202e')
  t.equal(causes(evil), 'a  {"event":"login"} [2J 31m  ')
  t.ok(causes(new Error('long '.repeat(1000))).length <= 1000)
})

void t.test('malformed JSON is not quoted, because it may be part of a token', async (t) => {
  for (const text of ['{"access_token":"a-secret-token"', 'a-secret-token', '{"access_token":"a-secret-token"x}']) {
    try {
      JSON.parse(text)
      t.fail('that was JSON')
    } catch (error) {
      t.equal(causes(new Error('parsing', { cause: error })), 'parsing ← malformed JSON')
    }
  }
})

void t.test(
  'a fault has the status and texts of its code unless it overrides them, and a 503 has Retry-After',
  async (t) => {
    t.match(new Fault('login_failed'), {
      status: 400,
      words: { detail: 'The sign-in could not be completed.' },
      retryAfter: null,
    })
    t.match(new Fault('login_failed', { status: 502, detail: 'Own words.' }), {
      status: 502,
      words: { detail: 'Own words.' },
      retryAfter: null,
    })
    t.match(new Fault('store_unavailable'), { status: 503, retryAfter: 5 })
    t.match(new Fault('store_unavailable', { retryAfter: 9 }), { retryAfter: 9 })
  },
)
