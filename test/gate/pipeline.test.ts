import t from 'tap'
import type { Route } from '../../src/config/schema.ts'
import { compileRoutes, hostOf } from '../../src/gate/match.ts'
import { buildGate } from '../../src/gate/pipeline.ts'
import type { Facts, Verdict } from '../../src/gate/verdict.ts'
import type { VerifiedToken } from '../../src/oidc/token-rules.ts'
import type { Session } from '../../src/session/session.ts'
import type { Acquired } from '../../src/token/acquire.ts'
import { bearerOf, factsOf, now, routeOf, sessionOf } from './request.ts'

const ticket = { id: 'AAAAAAAAAAAAAAAAAAAAAA', key: 'A'.repeat(43) }

type World = {
  readonly routes?: Partial<Route>[]
  readonly session?: Session | null | Promise<Session>
  readonly acquired?: Acquired
  readonly token?: VerifiedToken
}

/** Creates a gate with these routes, and records what it asks for. */
const gateOf = ({ routes = [{}], session = sessionOf(), acquired, token }: World = {}) => {
  const asked: string[] = []
  const gate = buildGate({
    config: { scripts: { headers: [], message: null } },
    routes: compileRoutes(routes.map(routeOf), '/oauth2'),
    bearers: { verify: () => token ?? { why: 'it is not accepted' } },
    proofs: { nonce: () => '', read: () => ({ jwt: '', jwk: {}, jti: '', nonce: '' }), verify: async () => null },
    sessions: {
      load() {
        asked.push('session')
        return session
      },
      hasSuccessor: () => false,
    },
    tokens: {
      acquire(found) {
        asked.push('token')
        return acquired ?? { ok: true, accessToken: 'access-token', proofKey: null, session: found }
      },
      exchange: () => ({ ok: true, accessToken: 'exchanged', proofKey: null }),
    },
  })
  return { asked, gate, decide: async (facts: Facts): Promise<Verdict> => gate(facts, now) }
}

const reason = (verdict: Verdict): string => (verdict.type === 'deny' ? verdict.denial.reason : verdict.type)

void t.test('a request with a session is forwarded with its route, session and token', async (t) => {
  const { decide, asked } = gateOf()
  t.match(await decide(factsOf({ ticket })), {
    type: 'forward',
    accessToken: 'access-token',
    session: { subject: 'alice' },
    route: { path: '/**' },
  })
  t.same(asked, ['session', 'token'])
})

void t.test('a public route loads no session and acquires no token', async (t) => {
  const { decide, asked } = gateOf({ routes: [{ access: 'public' }] })
  t.match(await decide(factsOf({ ticket })), { type: 'forward', session: null, accessToken: null })
  t.same(asked, [])
})

void t.test('an ambiguous path, or one without a route, is refused before the session is loaded', async (t) => {
  const { decide, asked } = gateOf({ routes: [{ path: '/public/**', access: 'public' }, { path: '/app/**' }] })
  t.equal(reason(await decide(factsOf({ ticket, path: '/public/../app' }))), 'ambiguous-path')
  t.equal(reason(await decide(factsOf({ ticket, path: '/nowhere' }))), 'no-route')
  t.equal(reason(await decide(factsOf({ ticket, path: '/oauth2' }))), 'no-route')
  t.same(asked, [])
})

void t.test('an optional route uses a session if there is one', async (t) => {
  const routes: Partial<Route>[] = [{ access: 'optional' }]
  t.match(await gateOf({ routes }).decide(factsOf()), { type: 'forward', session: null, accessToken: null })
  t.match(await gateOf({ routes, session: null }).decide(factsOf({ ticket })), {
    type: 'forward',
    session: null,
    accessToken: null,
  })
  t.match(await gateOf({ routes }).decide(factsOf({ ticket })), { type: 'forward', accessToken: 'access-token' })
})

void t.test('a missing ticket and an ended session have different denials, and a session is forwarded', async (t) => {
  t.equal(reason(await gateOf().decide(factsOf())), 'login-required')
  t.equal(reason(await gateOf({ session: null }).decide(factsOf({ ticket }))), 'session-expired')
  t.equal(
    reason(await gateOf({ session: Promise.resolve(sessionOf()) }).decide(factsOf({ ticket }))),
    'forward',
    'also when the session comes from the store',
  )
})

void t.test('a request from another site is refused before a token is acquired', async (t) => {
  const { decide, asked } = gateOf()
  t.equal(
    reason(await decide(factsOf({ ticket, method: 'POST', headers: { origin: 'https://evil.example' } }))),
    'cross-origin',
  )
  t.same(asked, ['session'])
})

void t.test('a denial from token/ denies the request', async (t) => {
  const rows: [Acquired, object][] = [
    [
      { ok: false, denial: { reason: 'session-expired', clearCookie: false } },
      { reason: 'session-expired', clearCookie: false },
    ],
    [
      { ok: false, denial: { reason: 'session-expired', clearCookie: true } },
      { reason: 'session-expired', clearCookie: true },
    ],
    [
      { ok: false, denial: { reason: 'token-unavailable', retryAfter: 7 } },
      { reason: 'token-unavailable', retryAfter: 7 },
    ],
  ]
  for (const [acquired, denial] of rows)
    t.match(await gateOf({ acquired }).decide(factsOf({ ticket })), { type: 'deny', denial })
})

void t.test('a denial includes the kind of the request', async (t) => {
  t.match(await gateOf().decide(factsOf({ headers: { accept: 'text/html' } })), { kind: 'navigation' })
  t.match(await gateOf().decide(factsOf()), { kind: 'script' })
})

void t.test('the verdict rejects if the store is unavailable', async (t) => {
  await t.rejects(gateOf({ session: Promise.reject(new Error('down')) }).decide(factsOf({ ticket })), {
    message: 'down',
  })
})

void t.test('hostOf returns the host of an origin with its port', (t) => {
  t.equal(hostOf('https://orders.example.com'), 'orders.example.com')
  t.equal(hostOf('http://127.0.0.1:8080'), '127.0.0.1:8080')
  t.end()
})

void t.test('a token that was verified before is decided on without a promise', (t) => {
  const token = { claims: { sub: 'alice' }, bearer: true as const, digest: 'x', owner: 'x' }
  const { gate } = gateOf({ routes: [{ bearer: bearerOf({ audience: ['api://orders'] }) }], token })
  t.match(gate(factsOf({ headers: { authorization: 'Bearer x' } }), now), {
    type: 'forward',
    who: { claims: token.claims },
  })
  t.end()
})
