import t from 'tap'
import { stepUpKey } from '../../src/gate/admit.ts'
import { intercept } from '../../src/http/proxy/intercept.ts'
import { compiled, now, sessionOf } from '../gate/request.ts'

const route = compiled()
const session = sessionOf()
const toLogin = { matches: () => true }
const elsewhere = { matches: () => false }
const redirect = { status: 302, location: 'https://login.example.com/', authenticate: [] }

function challenged(status: number, challenge: string): { status: number; location: null; authenticate: string[] } {
  return { status, location: null, authenticate: [`Bearer ${challenge}`] }
}

void t.test(
  'a script that the application redirects to a login is denied, and a navigation follows the redirect',
  (t) => {
    t.same(intercept(redirect, { kind: 'script', route, session }, toLogin, now), {
      type: 'deny',
      denial: { reason: 'upstream-login' },
    })
    t.same(intercept(redirect, { kind: 'navigation', route, session }, toLogin, now), { type: 'pass' })
    t.same(intercept(redirect, { kind: 'script', route, session }, elsewhere, now), { type: 'pass' })
    t.end()
  },
)

void t.test('a rejected access token is refreshed only if it belongs to a session', (t) => {
  const answer = challenged(401, 'error="invalid_token"')
  t.same(intercept(answer, { kind: 'script', route, session }, elsewhere, now), { type: 'renew', session })
  t.same(intercept(answer, { kind: 'script', route, session: null }, elsewhere, now), { type: 'pass' })
  t.end()
})

void t.test('a stronger login is requested once', (t) => {
  const answer = challenged(401, 'error="insufficient_user_authentication", acr_values="gold"')
  const first = intercept(answer, { kind: 'navigation', route, session }, elsewhere, now)
  t.match(first, { type: 'deny', denial: { reason: 'step-up', stepUp: { acrValues: ['gold'] } } })
  if (first.type !== 'deny' || first.denial.reason !== 'step-up') throw new Error('no step-up')
  const asked = sessionOf({ requestedStepUp: stepUpKey(first.denial.stepUp), createdAt: now })
  t.same(intercept(answer, { kind: 'navigation', route, session: asked }, elsewhere, now), {
    type: 'deny',
    denial: { reason: 'step-up-refused' },
  })
  t.end()
})
