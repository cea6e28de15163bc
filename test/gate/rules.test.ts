import t from 'tap'
import { admit, admitToken } from '../../src/gate/admit.ts'
import { claimAt } from '../../src/gate/claims.ts'
import { explainRule } from '../../src/gate/rule-explanation.ts'
import { ruleHolds, type AccessRule } from '../../src/gate/rules.ts'
import type { Claims } from '../../src/oidc/token-set.ts'
import { bearerOf, compiled, now, requirement, sessionOf } from './request.ts'

const CLIENT = '10.1.2.3'

/** Returns a rule with these keys. */
const ruleOf = (rule: Partial<AccessRule>): AccessRule => ({ claims: {}, networks: null, ...rule })

const byClaims = (claims: AccessRule['claims']): AccessRule => ruleOf({ claims })
const byNetworks = (...networks: string[]): AccessRule => ruleOf({ networks })

const holds = (rule: AccessRule, claims: Claims, address = CLIENT): boolean => ruleHolds(rule, claims, address)

void t.test('a star stands for any characters, and a whole value is compared', (t) => {
  const rows: [pattern: string, matching: string[], others: string[]][] = [
    ['*@example.com', ['alice@example.com', '@example.com'], ['alice@example.com.evil.test', 'alice@example.org', '']],
    ['team-*', ['team-', 'team-a', 'team-a\nb'], ['team', 'a-team-b', 'Team-a']],
    ['*', ['', 'a', '*', 'ä\u{1F600}'], []],
    ['a*b*c', ['abc', 'a1b2c', 'abbcbc'], ['ab', 'ac', 'acb', 'abcd']],
    ['a*a', ['aa', 'aba'], ['a', 'ab']],
    ['*ab*ab*', ['abab', 'xabyabz'], ['ab', 'aba', 'xab']],
    ['a**b', ['ab', 'axb'], ['a']],
    ['\\*', ['*'], ['a', '', '\\*']],
    ['a\\*b*', ['a*b', 'a*bc'], ['aXb', 'ab']],
    ['DOMAIN\\user', ['DOMAIN\\user'], ['DOMAINuser', 'DOMAIN\\\\user']],
    ['DOMAIN\\\\*', ['DOMAIN\\', 'DOMAIN\\alice'], ['DOMAIN*', 'DOMAINalice']],
    ['DOMAIN\\\\\\*', ['DOMAIN\\*'], ['DOMAIN\\alice']],
    ['\\\\server', ['\\\\server'], ['\\server']],
    ['a.c', ['a.c'], ['abc']],
    ['(a|b)+$', ['(a|b)+$'], ['a']],
  ]
  for (const [pattern, matching, others] of rows) {
    const rule = byClaims({ name: [pattern] })
    for (const value of matching) t.equal(holds(rule, { name: value }), true, `${pattern} matches ${value}`)
    for (const value of others) t.equal(holds(rule, { name: value }), false, `${pattern} does not match ${value}`)
    t.equal(holds(rule, { name: others }), false, pattern)
    t.equal(holds(rule, { name: [...others, ...matching] }), matching.length > 0, pattern)
  }
  t.end()
})

void t.test('a long value does not slow a pattern down', (t) => {
  const rule = byClaims({ name: [`${'a*'.repeat(50)}b`, `*${'ab'.repeat(50)}*c`] })
  const value = 'ab'.repeat(50_000)
  const start = performance.now()
  t.equal(holds(rule, { name: value.slice(1, -1) }), false)
  t.equal(holds(rule, { name: Array.from({ length: 100 }, (_, i) => value.slice(i, 1_000)) }), true)
  const ms = performance.now() - start
  t.ok(ms < 200, `${ms.toFixed(1)} ms`)
  t.end()
})

void t.test('email alone is compared without the case of the letters A to Z', (t) => {
  const wanted = ['Alice@Example.COM', '*@EXAMPLE.org']
  for (const [email, expected] of [
    ['alice@example.com', true],
    ['ALICE@EXAMPLE.COM', true],
    ['bob@Example.Org', true],
    ['bob@example.com', false],
    // The Kelvin sign: `toLowerCase` makes a `k` of it.
    ['ALICE@EXAMPLE.COM\u212A', false],
  ] as const)
    t.equal(holds(byClaims({ email: wanted }), { email }), expected, email)
  t.equal(holds(byClaims({ email: ['mike@example.com'] }), { email: 'mi\u212Ae@example.com' }), false)
  t.equal(holds(byClaims({ email: ['*k@example.com'] }), { email: '\u212A@example.com' }), false)
  t.equal(holds(byClaims({ upn: wanted }), { upn: 'alice@example.com' }), false)
  t.equal(holds(byClaims({ 'user.email': wanted }), { user: { email: 'alice@example.com' } }), false)
  t.end()
})

void t.test('true and false match their text too, numbers match only numbers, and text only text', (t) => {
  const rows: [wanted: string | number | boolean, value: unknown, expected: boolean][] = [
    [true, true, true],
    [true, 'true', true],
    [true, 'True', false],
    [true, 1, false],
    [false, 'false', true],
    [false, false, true],
    [false, '', false],
    [3, 3, true],
    [3, '3', false],
    [3, '3.0', false],
    [0, false, false],
    ['true', true, false],
    ['3', 3, false],
    ['*', 3, false],
    ['*', true, false],
    [true, ['false', 'true'], true],
    ['null', null, false],
    ['undefined', undefined, false],
  ]
  for (const [wanted, value, expected] of rows)
    t.equal(holds(byClaims({ x: [wanted] }), { x: value }), expected, `${String(wanted)}: ${JSON.stringify(value)}`)
  t.end()
})

void t.test('a path has quoted segments, goes through lists, and ends at keys', (t) => {
  const claims = {
    'resource_access': { 'my.app': { roles: ['editor'] }, 'app': { roles: [] } },
    'orgs': [{ name: 'a', roles: ['x', 'y'] }, { name: 'b', roles: 'z' }, 'text', null, [{ name: 'deep' }]],
    'urn:zitadel:iam:org:project:roles': { admin: { 1234: 'example.com' }, reader: { 1234: 'example.com' } },
    'flags': { beta: true, alpha: false, gamma: null },
    'sizes': { s: 1, m: [] },
    'address': { street: 'admin', number: 3 },
    'groups': [{ admin: {} }, { name: 'text' }],
    'a': { 'b.c': { d: 'one' }, 'b': { 'c.d': 'two' } },
    'x': { y: 'no mapping' },
    'x.y': { z: 'outright' },
    'q"r"': { s: 1 },
  }
  const rows: [name: string, values: (string | number)[], expected: boolean][] = [
    ['resource_access."my.app".roles', ['editor'], true],
    ['resource_access.my.app.roles', ['editor'], true],
    ['"resource_access"."my.app"."roles"', ['editor'], true],
    ['resource_access."my".app.roles', ['editor'], false],
    ['resource_access.app.roles', ['editor'], false],
    ['orgs.name', ['b'], true],
    ['orgs.name', ['deep'], false],
    ['orgs.roles', ['y'], true],
    ['orgs.roles', ['z'], true],
    ['orgs.roles', ['a'], false],
    ['urn:zitadel:iam:org:project:roles', ['reader'], true],
    ['urn:zitadel:iam:org:project:roles', ['re*'], true],
    ['urn:zitadel:iam:org:project:roles', ['1234'], false],
    ['urn:zitadel:iam:org:project:roles.admin', ['example.com'], false],
    ['urn:zitadel:iam:org:project:roles.admin.1234', ['example.com'], true],
    ['flags', ['beta'], true],
    ['flags', ['alpha'], false],
    ['flags', ['gamma'], false],
    ['sizes', ['m'], true],
    ['address', ['street'], false],
    ['address', ['admin'], false],
    ['groups', ['admin'], true],
    ['groups', ['name'], false],
    ['a.b.c.d', ['two'], true],
    ['a."b.c".d', ['one'], true],
    ['x.y.z', ['outright'], true],
    ['x."y".z', ['outright'], false],
    ['q"r".s', [1], true],
    ['', ['x'], false],
  ]
  for (const [name, values, expected] of rows)
    t.equal(holds(byClaims({ [name]: values }), claims), expected, `${name}: ${values.join(' ')}`)
  t.same(claimAt(claims, 'orgs.roles'), ['x', 'y', 'z'], 'templates read the same way')
  t.same(claimAt(claims, 'urn:zitadel:iam:org:project:roles'), ['admin', 'reader'])
  t.equal(claimAt(claims, 'resource_access."my.app".roles.0'), undefined)
  t.same(claimAt(claims, 'flags'), ['beta'])
  t.same(claimAt(claims, 'sizes'), ['s', 'm'])
  t.same(claimAt(claims, 'groups'), ['admin', { name: 'text' }])
  t.same(claimAt(claims, 'address'), claims.address, 'other mappings stay')
  t.end()
})

void t.test('all parts of a rule must hold, one rule of any, and not the rule of not', (t) => {
  const rule = ruleOf({
    claims: { groups: ['staff', 'admin'], email: ['*@example.com'] },
    any: [byClaims({ role: ['admin'] }), byNetworks('10.0.0.0/8')],
    not: byClaims({ groups: ['suspended'] }),
  })
  const alice = { groups: ['staff'], email: 'alice@example.com' }
  t.equal(holds(rule, alice), true)
  t.equal(holds(rule, { ...alice, role: 'admin' }, '192.0.2.7'), true)
  t.equal(holds(rule, alice, '192.0.2.7'), false)
  t.equal(holds(rule, { ...alice, groups: ['staff', 'suspended'] }), false)
  t.equal(holds(rule, { ...alice, groups: 'other' }), false)
  t.equal(holds(rule, { ...alice, email: undefined }), false)
  t.equal(holds(ruleOf({}), {}, ''), true, 'an empty rule holds')

  const nested = ruleOf({
    any: [
      ruleOf({ any: [byClaims({ a: ['1'] }), byClaims({ b: ['1'] })], not: byNetworks('10.1.0.0/16') }),
      ruleOf({ not: ruleOf({ claims: { c: ['1'] }, networks: ['10.0.0.0/8'] }), claims: { d: ['1'] } }),
    ],
  })
  t.equal(holds(nested, { a: '1' }, '10.2.0.1'), true)
  t.equal(holds(nested, { a: '1' }), false)
  t.equal(holds(nested, { a: '1', d: '1' }), true)
  t.equal(holds(nested, { a: '1', d: '1', c: '1' }), false)
  t.equal(holds(nested, { d: '1', c: '1' }, '192.0.2.7'), true)
  t.end()
})

void t.test('networks compare the client’s address, and a client without an address is in no network', (t) => {
  const rule = byNetworks('10.0.0.0/8', '2001:db8::/32')
  for (const [address, expected] of [
    ['10.200.1.1', true],
    ['::ffff:10.1.1.1', true],
    ['2001:db8::7', true],
    ['192.0.2.7', false],
    ['::1', false],
    ['', false],
  ] as const)
    t.equal(holds(rule, {}, address), expected, address)
  t.equal(holds(ruleOf({ not: rule }), {}, '192.0.2.7'), true)
  t.equal(holds(ruleOf({ not: rule }), {}, '10.1.1.1'), false)
  t.equal(holds(ruleOf({ not: rule }), {}, ''), false, 'whether it is in a network is not known')
  t.end()
})

void t.test('a rule that depends on an omitted claim lets in nothing, neither alone nor in not', (t) => {
  const omitted = { _claim_names: { groups: 'src1' }, role: 'reader' }
  const [wanted, other] = [byClaims({ groups: ['staff'] }), byClaims({ role: ['admin'] })]
  const reader = byClaims({ role: ['reader'] })
  const missing = byClaims({ missing: ['x'] })
  const rows: [rule: AccessRule, expected: boolean, name: string][] = [
    [wanted, false, 'unknown'],
    [ruleOf({ not: wanted }), false, 'not unknown'],
    [ruleOf({ not: ruleOf({ not: wanted }) }), false, 'not not unknown'],
    [ruleOf({ not: missing }), true, 'not missing'],
    [ruleOf({ any: [wanted, reader] }), true, 'unknown or true'],
    [ruleOf({ any: [wanted, other] }), false, 'unknown or false'],
    [ruleOf({ not: ruleOf({ any: [wanted, reader] }) }), false, 'not (unknown or true)'],
    [ruleOf({ not: ruleOf({ any: [wanted, other] }) }), false, 'not (unknown or false)'],
    [ruleOf({ not: byClaims({ groups: ['staff'], role: ['admin'] }) }), true, 'not (unknown and false)'],
    [ruleOf({ not: byClaims({ groups: ['staff'], role: ['reader'] }) }), false, 'not (unknown and true)'],
    [ruleOf({ any: [ruleOf({ not: wanted }), reader] }), true, 'not unknown or true'],
    [ruleOf({ any: [ruleOf({ not: wanted }), other] }), false, 'not unknown or false'],
    [ruleOf({ claims: { role: ['reader'] }, not: wanted }), false, 'true and not unknown'],
    [ruleOf({ not: ruleOf({ claims: { role: ['reader'] }, not: wanted }) }), false, 'not (true and not unknown)'],
    [ruleOf({ not: ruleOf({ claims: { role: ['admin'] }, not: wanted }) }), true, 'not (false and not unknown)'],
  ]
  for (const claims of [omitted, { hasgroups: true, role: 'reader' }]) {
    for (const [rule, expected, name] of rows) {
      t.equal(holds(rule, claims), expected, name)
      t.equal(explainRule(rule, { claims, address: CLIENT }, 'require').holds, expected, `${name}, explained`)
    }
  }
  t.equal(holds(ruleOf({ not: byClaims({ groups: ['staff'] }) }), { groups: ['other'], hasgroups: true }), true)
  const quoted = ruleOf({ not: byClaims({ '"groups"': ['staff'] }) })
  t.equal(holds(quoted, { hasgroups: true }), false, 'a quoted name is the same claim')
  t.equal(holds(quoted, { groups: ['other'] }), true)
  for (const marker of [{ hasgroups: true }, { _claim_names: { groups: 'src1' } }])
    t.equal(holds(ruleOf({ not: byClaims({ groups: ['staff'] }) }), { groups: [], ...marker }), false, 'an empty list')
  t.equal(holds(ruleOf({ not: byClaims({ groups: ['staff'] }) }), { groups: [] }), true, 'no groups')
  for (const [name, source] of [
    ['realm_access.roles', 'realm_access'],
    ['a.b.c', 'a.b'],
    ['"a.b".c', 'a.b'],
  ] as const)
    t.equal(holds(ruleOf({ not: byClaims({ [name]: ['x'] }) }), { _claim_names: { [source]: 's' } }), false, name)
  t.equal(holds(ruleOf({ not: wanted }), { _claim_names: ['groups'] }), true, 'a list names no claims')
  t.end()
})

/** Returns the reasons for the decision on a session's rule. */
const reasons = (rule: AccessRule, claims: Claims, address = CLIENT): readonly string[] =>
  explainRule(rule, { claims, address }, 'require').reasons

void t.test('the decisive parts are named with their paths, and the user’s values are not quoted', (t) => {
  const rule = ruleOf({
    any: [byClaims({ role: ['admin', 'owner'] }), byNetworks('192.168.0.0/16', '10.0.0.0/8')],
    not: byClaims({ email: ['*@evil.example'] }),
  })
  t.same(reasons(rule, {}), [
    'require.any[1].networks: 10.1.2.3 is in 10.0.0.0/8',
    'require.not.claims: the claim email is missing',
  ])
  t.same(reasons(rule, { role: ['x', 'owner'], email: 'a@b' }), [
    'require.any[0].claims: the claim role has "owner"',
    'require.not.claims: the claim email has none of "*@evil.example"',
  ])
  t.same(reasons(rule, { role: 'secret role' }, '192.0.2.7'), [
    'require.any[0].claims: the claim role has none of "admin", "owner"',
    'require.any[1].networks: 192.0.2.7 is in none of 192.168.0.0/16, 10.0.0.0/8',
  ])
  t.same(reasons(rule, { email: 'Mallory@Evil.example' }), [
    'require.not.claims: the claim email matches "*@evil.example"',
  ])
  t.same(reasons(byNetworks('10.0.0.0/8'), {}, ''), ['require.networks: the client has no address'])
  t.same(
    reasons(byClaims({ 'roles': ['admin'], 'org."a.b"': [true] }), { roles: { admin: {} }, org: { 'a.b': 'true' } }),
    ['the claim roles has "admin"', 'the claim org."a.b" has "true"'],
  )
  t.same(reasons(byClaims({ n: [1, 2, 3, 4, 5, 6] }), { n: 7 }), [
    'the claim n has none of the values that this route requires',
  ])
  t.same(reasons(ruleOf({ not: byClaims({ n: [1, 2, 3, 4, 5, 6] }) }), { n: 7 }), [
    'require.not.claims: the claim n has none of 1, 2, 3, 4, 5, …',
  ])
  t.same(reasons(ruleOf({ not: byClaims({ groups: ['x'], role: ['y'] }) }), { hasgroups: true }), [
    'require.not.claims: the claim role is missing',
  ])
  t.end()
})

void t.test('a denial says which part was decisive, and that the provider omitted the claim', (t) => {
  const not = { ...requirement({ claims: { groups: ['suspended'] } }), any: null, not: null }
  const route = compiled({ require: requirement({ networks: ['10.0.0.0/8'], not }) })
  const session = (claims: Claims) => sessionOf({ claims })
  t.equal(admit(route, session({}), true, now, CLIENT), null)
  t.same(admit(route, session({ groups: ['suspended'] }), true, now, CLIENT), {
    reason: 'forbidden',
    why: 'require.not.claims: the claim groups has "suspended"',
  })
  t.match(admit(route, session({}), true, now, '192.0.2.7'), { why: /^require\.networks: 192\.0\.2\.7 is in none of/ })
  t.match(admit(route, session({ hasgroups: true }), true, now, CLIENT), {
    reason: 'forbidden',
    overage: true,
    why: /^require\.not\.claims: the provider left the claim groups out/,
  })
  t.match(admit(route, null, false, now, '192.0.2.7'), { reason: 'login-required' }, 'a login comes first')
  t.end()
})

void t.test('for clients with tokens, bearer.require takes the place of require', (t) => {
  const require = requirement({ claims: { groups: ['admin'] }, acr: ['gold'] })
  const both = compiled({
    require,
    bearer: bearerOf({
      require: requirement({ claims: { scope: ['*orders*'] }, networks: ['10.0.0.0/8'], maxAge: 60_000 }),
    }),
  })
  const fresh = { auth_time: now / 1000 }
  t.equal(admitToken(both, { ...fresh, scope: 'orders.read' }, now, CLIENT), null)
  t.same(admitToken(both, { ...fresh, scope: 'x' }, now, CLIENT), {
    reason: 'forbidden',
    why: 'bearer.require.claims: the claim scope has none of "*orders*"',
  })
  t.match(admitToken(both, { ...fresh, scope: 'orders' }, now, '192.0.2.7'), { why: /^bearer\.require\.networks: / })
  t.same(admitToken(both, { scope: 'orders' }, now, CLIENT), {
    reason: 'insufficient-authentication',
    stepUp: { acrValues: null, maxAge: 60 },
  })
  const route = compiled({ require, bearer: bearerOf() })
  t.match(admitToken(route, { groups: ['admin'] }, now, CLIENT), { stepUp: { acrValues: ['gold'], maxAge: null } })
  t.match(admitToken(route, { acr: 'gold' }, now, CLIENT), { why: 'the claim groups is missing' })
  t.equal(admitToken(route, { acr: 'gold', groups: 'admin' }, now, CLIENT), null)
  const optional = compiled({ access: 'optional', bearer: both.bearer })
  t.match(
    admitToken(optional, { ...fresh, scope: 'x' }, now, CLIENT),
    { reason: 'forbidden' },
    'also with access: optional',
  )
  t.end()
})

void t.test('ten claims and three networks take at most 2 µs', (t) => {
  const names = Array.from({ length: 8 }, (_, i) => `claim${i}`)
  const rule = ruleOf({
    claims: {
      ...Object.fromEntries(names.map((name) => [name, ['a', 'b', 'staff']])),
      'email': ['*@example.org', '*@example.com'],
      'realm_access.roles': ['editor', 'admin'],
    },
    networks: ['192.168.0.0/16', '2001:db8::/32', '10.0.0.0/8'],
  })
  const claims = {
    ...Object.fromEntries(names.map((name) => [name, ['x', 'y', 'staff']])),
    email: 'alice@example.com',
    realm_access: { roles: ['user', 'editor'] },
  }
  const ROUNDS = 2_000
  let least = Number.POSITIVE_INFINITY
  // The least of many rounds is the cost without the other processes of the machine.
  for (let round = 0; round < 40; round += 1) {
    const start = process.hrtime.bigint()
    for (let i = 0; i < ROUNDS; i += 1) if (!holds(rule, claims)) throw new Error('the rule must hold')
    least = Math.min(least, Number(process.hrtime.bigint() - start) / ROUNDS)
  }
  t.ok(least < 2_000, `${least.toFixed(0)} ns`)
  t.comment(`a rule of ten claims and three networks takes ${least.toFixed(0)} ns`)
  t.end()
})
