import t from 'tap'
import { causes, Fault, faults } from '../src/errors.ts'

void t.test('causes tells the whole chain in one line, with the errors’ codes', async (t) => {
  const refused = Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' })
  t.equal(causes(new Fault('provider_unavailable', { cause: new Error('discovery', { cause: refused }) })),
    'provider_unavailable ← discovery ← ECONNREFUSED: connect ECONNREFUSED')
  t.equal(causes('just words'), 'just words')
})

void t.test('what a provider says about an OAuth error is in it, and not more than that', async (t) => {
  const error = Object.assign(new Error('refused'), { error: 'invalid_grant', error_description: 'expired' })
  t.equal(causes(error), 'refused (invalid_grant: expired)')
  const endless = Object.assign(new Error('refused'), { error: 'invalid_grant', error_description: 'x'.repeat(10_000) })
  t.ok(causes(endless).length < 400)
})

void t.test('malformed JSON is not quoted: it may be a piece of a token', async (t) => {
  for (const text of ['{"access_token":"a-secret-token"', 'a-secret-token', '{"access_token":"a-secret-token"x}']) {
    try {
      JSON.parse(text)
      t.fail('that was JSON')
    } catch (error) {
      t.equal(causes(new Error('parsing', { cause: error })), 'parsing ← malformed JSON')
    }
  }
})

void t.test('a fault has its code’s status and words unless it brings its own; 503 asks to come again', async (t) => {
  t.match(new Fault('login_failed'), { status: 400, detail: faults.login_failed.detail, retryAfter: null })
  t.match(new Fault('login_failed', { status: 502, detail: 'Own words.' }), { status: 502, detail: 'Own words.', retryAfter: null })
  t.match(new Fault('token_unavailable'), { status: 503, retryAfter: 5 })
  t.match(new Fault('token_unavailable', { retryAfter: 9 }), { retryAfter: 9 })
})
