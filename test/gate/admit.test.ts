import t from 'tap'
import { admit as admitFrom } from '../../src/gate/admit.ts'
import { claimAt } from '../../src/gate/claims.ts'
import type { Session } from '../../src/session/session.ts'
import { compiled, now, requirement, sessionOf } from './request.ts'

type Arguments = Parameters<typeof admitFrom>

/** Decides on a request from the address 192.0.2.7. */
const admit = (...[route, session, hadTicket, at]: [Arguments[0], Arguments[1], Arguments[2], number]) =>
  admitFrom(route, session, hadTicket, at, '192.0.2.7')

const minutes = (n: number): number => n * 60_000

void t.test('public and optional routes admit requests without a session', (t) => {
  for (const access of ['public', 'optional'] as const) {
    t.equal(admit(compiled({ access }), null, false, now), null)
    t.equal(admit(compiled({ access }), null, true, now), null)
    t.equal(admit(compiled({ access }), sessionOf(), true, now), null)
  }
  t.end()
})

void t.test('a required route distinguishes an ended session from no session', (t) => {
  t.same(admit(compiled(), null, false, now), { reason: 'login-required' })
  t.same(admit(compiled(), null, true, now), { reason: 'session-expired', clearCookie: true })
  t.equal(admit(compiled(), sessionOf(), true, now), null)
  t.end()
})

void t.test('require.claims requires every named claim, each with one of the listed values', (t) => {
  const claims = {
    'groups': ['staff', 'admin'],
    'department': 'sales',
    'level': 3,
    'active': true,
    'realm_access': { roles: ['editor'] },
    'https://example.com/role': 'boss',
    'a.b': 'outright',
    'a': { b: 'nested' },
    'list': [{ c: 1 }],
    'nothing': null,
    'resource_access': { 'com.example.app': { roles: ['user'] }, 'com': { example: {} } },
  }
  const rows: [wanted: Record<string, (string | number | boolean)[]>, allowed: boolean][] = [
    [{ groups: ['admin'] }, true],
    [{ groups: ['other', 'staff'] }, true],
    [{ groups: ['other'] }, false],
    [{ groups: ['sta'] }, false],
    [{ department: ['sales'] }, true],
    [{ department: ['Sales'] }, false],
    [{ level: [3] }, true],
    [{ level: ['3'] }, false],
    [{ level: [4] }, false],
    [{ active: [true] }, true],
    [{ active: ['true'] }, false],
    [{ 'realm_access.roles': ['editor'] }, true],
    [{ 'realm_access.roles': ['admin'] }, false],
    [{ 'https://example.com/role': ['boss'] }, true],
    [{ 'a.b': ['outright'] }, true],
    [{ 'a.b': ['nested'] }, false],
    [{ groups: ['admin'], department: ['sales'] }, true],
    [{ groups: ['admin'], department: ['finance'] }, false],
    [{ missing: ['x'] }, false],
    [{ nothing: ['null'] }, false],
    [{ 'list.0': ['x'] }, false],
    [{ 'resource_access.com.example.app.roles': ['user'] }, true],
    [{ 'resource_access.com.example.app.roles': ['admin'] }, false],
    [{ 'resource_access.com.example.roles': ['user'] }, false],
    [{ realm_access: ['[object Object]'] }, false],
  ]
  for (const [wanted, allowed] of rows) {
    const denial = admit(compiled({ require: requirement({ claims: wanted }) }), sessionOf({ claims }), true, now)
    t.equal(denial?.reason ?? null, allowed ? null : 'forbidden', JSON.stringify(wanted))
  }
  t.end()
})

void t.test('an inherited property is not a claim', (t) => {
  for (const name of ['constructor', '__proto__', 'toString.name', 'a.constructor'])
    t.equal(claimAt({ a: {} }, name), undefined, name)
  t.end()
})

void t.test('the reason names the missing claim, even after an overage', (t) => {
  const route = compiled({ require: requirement({ claims: { groups: ['admin'] } }) })
  t.match(admit(route, sessionOf({ claims: { groups: ['staff'] } }), true, now), {
    why: /groups has none of the values/,
  })
  t.match(admit(route, sessionOf({ claims: {} }), true, now), { why: /groups is missing/ })
  for (const claims of [{ _claim_names: { groups: 'src1' } }, { hasgroups: true }])
    t.match(admit(route, sessionOf({ claims }), true, now), { why: /left the claim groups out/, overage: true })
  const nested = compiled({ require: requirement({ claims: { 'realm_access.roles': ['admin'] } }) })
  t.match(admit(nested, sessionOf({ claims: { _claim_names: { realm_access: 'src1' } } }), true, now), {
    overage: true,
  })
  t.end()
})

void t.test('acr: any of the required values suffices, and a step-up asks for all of them', (t) => {
  const route = compiled({ require: requirement({ acr: ['gold', 'silver'] }) })
  t.equal(admit(route, sessionOf({ claims: { acr: 'silver' } }), true, now), null)
  for (const acr of ['bronze', undefined, ['gold'], 1]) {
    t.same(
      admit(route, sessionOf({ claims: { acr } }), true, now),
      { reason: 'step-up', stepUp: { acrValues: ['gold', 'silver'], maxAge: null } },
      String(acr),
    )
  }
  t.end()
})

const loggedIn = (ms: number) => sessionOf({ claims: { auth_time: (now - ms) / 1000 }, createdAt: now })

void t.test('maxAge counts from auth_time, or without one from a login with prompt=login', (t) => {
  const route = compiled({ require: requirement({ maxAge: minutes(5) }) })
  t.equal(admit(route, loggedIn(minutes(4)), true, now), null)
  t.equal(admit(route, loggedIn(minutes(5)), true, now), null)
  t.same(admit(route, loggedIn(minutes(6)), true, now), { reason: 'step-up', stepUp: { acrValues: null, maxAge: 300 } })
  const without = (session: Partial<Session>) => admit(route, sessionOf({ claims: {}, ...session }), true, now)
  t.equal(without({ createdAt: now - minutes(4), reauthenticated: true }), null)
  t.match(without({ createdAt: now - minutes(6), reauthenticated: true }), { reason: 'step-up' })
  t.match(without({ createdAt: now }), { reason: 'step-up' }, 'any other login proves nothing')
  t.end()
})

void t.test('an auth_time may be a string of digits; an invalid date counts as missing', (t) => {
  const route = compiled({ require: requirement({ maxAge: minutes(10) }) })
  const of = (authTime: unknown, createdAt: number) =>
    admit(route, sessionOf({ claims: { auth_time: authTime }, createdAt, reauthenticated: true }), true, now)?.reason ??
    null
  t.equal(of(String((now - minutes(11)) / 1000), now), 'step-up')
  t.equal(of(String((now - minutes(9)) / 1000), now - minutes(60)), null)
  for (const value of [1e300, 9e12, -1, 'soon', null, {}]) {
    t.equal(of(value, now - minutes(11)), 'step-up', JSON.stringify(value))
    t.equal(of(value, now), null, JSON.stringify(value))
  }
  t.end()
})

void t.test('a step-up combines acr and max_age, and comes before a missing claim', (t) => {
  const route = compiled({ require: requirement({ claims: { groups: ['admin'] }, acr: ['gold'], maxAge: minutes(1) }) })
  const denial = admit(route, sessionOf({ claims: { auth_time: 0 } }), true, now)
  t.same(denial, { reason: 'step-up', stepUp: { acrValues: ['gold'], maxAge: 60 } })
  t.end()
})
