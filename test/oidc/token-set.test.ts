import t from 'tap'
import { sidOf, toTokenSet } from '../../src/oidc/token-set.ts'

const response = { access_token: 'new', token_type: 'bearer' as const }
const previous = {
  accessToken: 'old',
  expiresAt: 5_000,
  issuedAt: 1_000,
  refreshToken: 'old-refresh',
  scope: 'openid email',
}

void t.test('a full answer', async (t) => {
  t.same(toTokenSet({ ...response, expires_in: 300, refresh_token: 'r', scope: 'openid' }, 7_000), {
    accessToken: 'new',
    expiresAt: 307_000,
    issuedAt: 7_000,
    refreshToken: 'r',
    scope: 'openid',
  })
})

void t.test('what it leaves out is not known, or as it was before', async (t) => {
  t.same(toTokenSet(response, 7_000), {
    accessToken: 'new',
    expiresAt: null,
    issuedAt: 7_000,
    refreshToken: null,
    scope: null,
  })
  t.same(toTokenSet(response, 7_000, previous), {
    accessToken: 'new',
    expiresAt: null,
    issuedAt: 7_000,
    refreshToken: 'old-refresh',
    scope: 'openid email',
  })
  t.equal(toTokenSet({ ...response, refresh_token: 'rotated' }, 7_000, previous).refreshToken, 'rotated')
})

void t.test('sid is a text or nothing', async (t) => {
  const claims = { iss: 'i', sub: 's', aud: 'a', iat: 1, exp: 2 }
  t.equal(sidOf({ ...claims, sid: 'x' }), 'x')
  t.equal(sidOf(claims), null)
  t.equal(sidOf({ ...claims, sid: 5 }), null)
})
