import type { TokenEndpointResponse } from 'openid-client'
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

void t.test('a full token response is read', async (t) => {
  t.same(toTokenSet({ ...response, expires_in: 300, refresh_token: 'r', scope: 'openid' }, 7_000), {
    accessToken: 'new',
    expiresAt: 307_000,
    issuedAt: 7_000,
    refreshToken: 'r',
    scope: 'openid',
  })
})

void t.test('omitted values are unknown or keep their previous value', async (t) => {
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

void t.test('an invalid or unrepresentable lifetime is unknown', async (t) => {
  const of = (expiresIn: unknown): number | null => {
    const answer: TokenEndpointResponse = JSON.parse(JSON.stringify({ ...response, expires_in: expiresIn }))
    return toTokenSet(answer, 7_000).expiresAt
  }
  for (const value of [
    0,
    -1,
    0.2,
    1e300,
    Number('9223372036854775'),
    9e12,
    Number.NaN,
    null,
    'soon',
    '',
    '0',
    true,
    [60],
    {},
  ])
    t.equal(of(value), null, JSON.stringify(value))
  t.equal(of('3600'), 3_607_000)
  t.equal(of(3600.5), 3_607_500)
})

void t.test('an empty string counts as missing', async (t) => {
  const set = toTokenSet({ ...response, refresh_token: '', scope: '' }, 7_000, previous)
  t.match(set, { refreshToken: 'old-refresh', scope: 'openid email' })
})

void t.test('sid is a string or missing', async (t) => {
  const claims = { iss: 'i', sub: 's', aud: 'a', iat: 1, exp: 2 }
  t.equal(sidOf({ ...claims, sid: 'x' }), 'x')
  t.equal(sidOf(claims), null)
  t.equal(sidOf({ ...claims, sid: 5 }), null)
})
