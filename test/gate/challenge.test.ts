import t from 'tap'
import { challenge, loginUrlFor } from '../../src/gate/challenge.ts'
import type { Denial, RequestKind } from '../../src/gate/verdict.ts'
import { bearerOf, compiled, factsOf, origin } from './request.ts'

const settings = { basePath: '/oauth2', scripts: { message: null } }
const kinds: RequestKind[] = ['navigation', 'frame', 'form', 'script', 'websocket']
const page = `${origin}/page?tab=2`
const facts = factsOf({ path: '/orders', query: '?q=a b', headers: { referer: page } })

const toTarget = `${origin}/oauth2/login?redirect=%2Forders%3Fq%3Da%2520b`
const toPage = `${origin}/oauth2/login?redirect=%2Fpage%3Ftab%3D2`

type Told = {
  status: number
  code: string
  location?: string
  loginUrl?: string
  clearSession?: boolean
  authenticate?: string
  retryAfter?: number
  allow?: string
}

const told = (denial: Denial, kind: RequestKind, route = compiled()): Told => {
  const { title: _title, detail: _detail, ...rest } = challenge(denial, kind, facts, route, settings)
  return rest
}

void t.test('with a login host, the login URL is there and leads back to the host of the request', (t) => {
  const central = { ...settings, loginHost: 'https://auth.example.com' }
  const login = (target: string): string =>
    `https://auth.example.com/oauth2/login?redirect=${encodeURIComponent(origin + target)}`
  const at = (kind: RequestKind, made = facts) =>
    challenge({ reason: 'login-required' }, kind, made, compiled(), central)
  t.equal(at('navigation').location, login('/orders?q=a%20b'))
  t.equal(at('script').loginUrl, login('/page?tab=2'))
  t.equal(at('script', factsOf({})).loginUrl, login('/'), 'a script without a page')
  t.equal(challenge({ reason: 'upstream-login' }, 'script', facts, null, central).loginUrl, login('/page?tab=2'))
  const own = challenge({ reason: 'login-required' }, 'navigation', facts, null, { ...settings, loginHost: origin })
  t.equal(own.location, toTarget, 'at the login host itself, the target is a path')
  t.end()
})

void t.test('login-required: a navigation is redirected, other kinds get the login URL', (t) => {
  const denial: Denial = { reason: 'login-required' }
  t.same(told(denial, 'navigation'), { status: 302, code: 'login_required', location: toTarget, clearSession: false })
  for (const kind of kinds.slice(1)) {
    t.same(
      told(denial, kind),
      { status: 401, code: 'login_required', loginUrl: toPage, clearSession: false, authenticate: 'Bearer' },
      kind,
    )
  }
  t.end()
})

void t.test(
  'session-expired: like login-required, and the cookie is cleared if the session has ended for every route',
  (t) => {
    for (const clearCookie of [true, false]) {
      const denial: Denial = { reason: 'session-expired', clearCookie }
      t.same(told(denial, 'navigation'), {
        status: 302,
        code: 'session_expired',
        location: toTarget,
        clearSession: clearCookie,
      })
      for (const kind of kinds.slice(1)) {
        t.same(
          told(denial, kind),
          { status: 401, code: 'session_expired', loginUrl: toPage, clearSession: clearCookie, authenticate: 'Bearer' },
          kind,
        )
      }
    }
    t.end()
  },
)

void t.test('step-up: like login-required, with the parameters of the step-up in the login URL', (t) => {
  const denial: Denial = { reason: 'step-up', stepUp: { acrValues: ['gold', 'silver'], maxAge: 300 } }
  t.same(told(denial, 'navigation'), {
    status: 302,
    code: 'step_up_required',
    location: `${toTarget}&acr_values=gold+silver&max_age=300`,
    clearSession: false,
  })
  for (const kind of kinds.slice(1)) {
    t.same(
      told(denial, kind),
      {
        status: 401,
        code: 'step_up_required',
        loginUrl: `${toPage}&acr_values=gold+silver&max_age=300`,
        clearSession: false,
        authenticate: 'Bearer',
      },
      kind,
    )
  }
  t.end()
})

void t.test('other denials have the same response for every kind of request', (t) => {
  const rows: [Denial, Told][] = [
    [{ reason: 'no-route' }, { status: 404, code: 'not_found' }],
    [
      { reason: 'ambiguous-path', variant: '/x' },
      { status: 400, code: 'ambiguous_path' },
    ],
    [
      { reason: 'forbidden', why: 'secret' },
      { status: 403, code: 'forbidden' },
    ],
    [{ reason: 'cross-origin' }, { status: 403, code: 'cross_origin' }],
    [
      { reason: 'token-unavailable', retryAfter: 7 },
      { status: 503, code: 'token_unavailable', retryAfter: 7 },
    ],
    [{ reason: 'token-refused' }, { status: 502, code: 'token_unavailable' }],
    [
      { reason: 'insufficient-authentication', stepUp: { acrValues: ['gold'], maxAge: 300 } },
      {
        status: 401,
        code: 'step_up_required',
        authenticate: 'Bearer error="insufficient_user_authentication", acr_values="gold", max_age="300"',
      },
    ],
    [
      { reason: 'malformed', cause: 'the request has no Host' },
      { status: 400, code: 'bad_request' },
    ],
    [
      { reason: 'transfer-coding', unframed: false, cause: 'gzip, chunked' },
      { status: 501, code: 'bad_request' },
    ],
    [
      { reason: 'transfer-coding', unframed: true, cause: 'gzip' },
      { status: 400, code: 'bad_request' },
    ],
    [
      { reason: 'method-not-allowed', allow: ['GET', 'POST'] },
      { status: 405, code: 'method_not_allowed', allow: 'GET, POST' },
    ],
    [
      { reason: 'method-not-allowed', allow: null },
      { status: 405, code: 'method_not_allowed' },
    ],
    [{ reason: 'loop' }, { status: 508, code: 'upstream_unreachable' }],
    [{ reason: 'two-sessions' }, { status: 400, code: 'login_failed' }],
    [{ reason: 'misdirected' }, { status: 421, code: 'bad_request' }],
    [
      { reason: 'not-admin', problem: 'wrong-token' },
      { status: 401, code: 'invalid_token', authenticate: 'Bearer error="invalid_token"' },
    ],
  ]
  for (const [denial, expected] of rows)
    for (const kind of kinds) t.match(told(denial, kind), expected, `${denial.reason} to a ${kind}`)
  t.notMatch(
    JSON.stringify(challenge({ reason: 'forbidden', why: 'the claim groups' }, 'script', facts, compiled(), settings)),
    /groups/,
    'the reason is for the log only',
  )
  t.end()
})

void t.test('challenge: redirect redirects every kind of request except a WebSocket', (t) => {
  const route = compiled({ challenge: 'redirect' })
  for (const kind of kinds.slice(0, 4)) t.equal(told({ reason: 'login-required' }, kind, route).status, 302, kind)
  t.equal(told({ reason: 'login-required' }, 'websocket', route).status, 401)
  t.equal(told({ reason: 'login-required' }, 'script', route).location, toPage, 'a script returns to its page')
  const alone = challenge({ reason: 'login-required' }, 'script', { ...facts, headers: {} }, route, settings)
  t.match(alone.location, /\?redirect=/, 'a script without a page returns to its own URL')
  t.end()
})

void t.test('challenge: 401 redirects no kind of request', (t) => {
  const route = compiled({ challenge: '401' })
  for (const kind of kinds) t.equal(told({ reason: 'login-required' }, kind, route).status, 401, kind)
  t.equal(told({ reason: 'login-required' }, 'navigation', route).loginUrl, toTarget)
  t.end()
})

const detail = (kind: RequestKind): string =>
  challenge({ reason: 'login-required' }, kind, facts, compiled(), { ...settings, scripts: { message: 'Reload.' } })
    .detail

void t.test('scripts.message is for scripts only', (t) => {
  t.equal(detail('script'), 'Reload.')
  t.not(detail('frame'), 'Reload.')
  t.end()
})

const loginUrl = (headers: Record<string, string>): string =>
  loginUrlFor(factsOf({ path: '/api/orders', headers }), 'script', '/oauth2')

void t.test('a script returns to its page, never to the URL of the API', (t) => {
  const bare = `${origin}/oauth2/login`
  t.equal(loginUrl({}), bare, 'without a Referer there is no redirect')
  t.equal(loginUrl({ referer: `${origin}/` }), `${bare}?redirect=%2F`)
  t.equal(loginUrl({ referer: origin }), `${bare}?redirect=%2F`)
  t.equal(loginUrl({ referer: 'https://evil.example/page' }), bare)
  t.equal(loginUrl({ referer: `${origin}.evil.example/page` }), bare)
  t.equal(loginUrl({ referer: `${origin}@evil.example/page` }), bare)
  t.equal(loginUrl({ referer: '/page' }), bare, 'a relative Referer is ignored')
  t.equal(loginUrl({ 'hx-current-url': `${origin}/htmx`, 'referer': `${origin}/other` }), `${bare}?redirect=%2Fhtmx`)
  t.equal(
    loginUrl({ 'hx-current-url': 'https://evil.example/', 'referer': `${origin}/other` }),
    `${bare}?redirect=%2Fother`,
  )
  t.end()
})

void t.test('a form and a frame return to the page that contains them', (t) => {
  t.equal(
    loginUrlFor(factsOf({ path: '/framed' }), 'frame', '/oauth2'),
    `${origin}/oauth2/login?redirect=%2Fframed`,
    'a frame without a Referer returns to its own URL',
  )
  t.equal(
    loginUrlFor(factsOf({ path: '/submit', method: 'POST' }), 'form', '/oauth2'),
    `${origin}/oauth2/login`,
    'the target of a form can’t be opened by a link',
  )
  t.end()
})

void t.test('a navigation to a path that looks like a host has no return target', (t) => {
  t.equal(loginUrlFor(factsOf({ path: '//evil.example/x' }), 'navigation', '/oauth2'), `${origin}/oauth2/login`)
  t.end()
})

void t.test('on a route with bearer, every 401 has the same challenges, in one field', (t) => {
  const bearer = bearerOf({ metadata: true, scopes: ['orders.read', 'orders.write'], dpop: 'required' })
  const route = compiled({ path: '/api/**', bearer })
  const start = 'Bearer realm="orders.example.com", scope="orders.read orders.write"'
  const metadata = `resource_metadata="${origin}/.well-known/oauth-protected-resource/api"`
  const dpop = 'DPoP algs="ES256 ES384 ES512 EdDSA Ed25519 PS256 PS384 PS512 RS256 RS384 RS512"'
  const scope = 'scope="orders.read orders.write"'
  const why = ''
  const acrValues = ['g"old', 'sil\\ver']
  const stepUp = { acrValues, maxAge: 300 }
  const required = 'error="insufficient_user_authentication", acr_values="g\\"old sil\\\\ver", max_age="300"'
  const rows: [Denial, string][] = [
    [{ reason: 'login-required' }, `${start}, ${metadata}, ${dpop}`],
    [{ reason: 'session-expired', clearCookie: true }, `${start}, ${metadata}, ${dpop}`],
    [{ reason: 'step-up', stepUp }, `${start}, ${metadata}, ${dpop}`],
    [{ reason: 'upstream-login' }, `${start}, ${metadata}, ${dpop}`],
    [{ reason: 'invalid-token', why }, `${start}, error="invalid_token", ${metadata}, ${dpop}`],
    [
      { reason: 'invalid-token', scheme: 'DPoP', error: 'use_dpop_nonce', why },
      `${start}, ${metadata}, ${dpop}, error="use_dpop_nonce", ${scope}`,
    ],
    [{ reason: 'insufficient-scope', why }, `${start}, error="insufficient_scope", ${metadata}, ${dpop}`],
    [{ reason: 'insufficient-authentication', stepUp }, `${start}, ${required}, ${metadata}, ${dpop}`],
    [
      { reason: 'insufficient-authentication', scheme: 'DPoP', stepUp },
      `${start}, ${metadata}, ${dpop}, ${required}, ${scope}`,
    ],
  ]
  for (const [denial, expected] of rows) t.equal(told(denial, 'script', route).authenticate, expected, denial.reason)
  t.equal(told({ reason: 'forbidden', why }, 'script', route).authenticate, undefined, 'no scope would help')
  t.equal(
    told({ reason: 'login-required' }, 'script', compiled({ bearer: bearerOf() })).authenticate,
    'Bearer realm="orders.example.com"',
  )
  t.end()
})

void t.test('what an application asks for reaches the login URL and the challenge as printable ASCII', (t) => {
  const stepUp = { acrValues: ['g"old', 'größer', 'a\u0001\r\nx', '金'], maxAge: null, scope: 'ä"', claims: '{"ü":1}' }
  const denial: Denial = { reason: 'step-up', stepUp }
  for (const kind of kinds) {
    const { location, loginUrl } = told(denial, kind)
    t.match(location ?? loginUrl, /^https:[!#-~]+acr_values=g%22old[!#-~]+$/, kind)
  }
  const { authenticate } = told({ reason: 'insufficient-authentication', stepUp }, 'script')
  t.match(authenticate, /^[ -~]+$/)
  t.match(authenticate, 'acr_values="g\\"old gr%C3%B6%C3%9Fer a%01%0D%0Ax %E9%87%91"')
  t.end()
})
