import t, { type Test } from 'tap'
import { parse } from 'yaml'
import { loadConfig } from '../../src/config/load.ts'
import { type AccessRule as Rule, ruleHolds } from '../../src/gate/rules.ts'
import { methodsOf, type Policy, policyOf } from '../../src/migrate/apache/require.ts'
import { type AccessRule, accessRuleOf } from '../../src/migrate/condition.ts'
import { migrateFiles } from '../../src/migrate/migrate.ts'
import { type Directive, readApache } from '../../src/migrate/readers/apache.ts'
import { writeReport, writeYaml } from '../../src/migrate/write.ts'
import { key } from '../config/configuration.ts'
import { asFile } from '../support/gateway.ts'

type Claims = Readonly<Record<string, unknown>>
interface Client {
  readonly claims: Claims
  readonly address: string
  readonly method: string
}

/** Returns whether Apache lets a logged-in client in, as mod_authz_core and mod_auth_openidc decide. */
function apacheLetsIn(directives: readonly Directive[], client: Client): boolean {
  return resultOfSection(directives, 'any', client) === 'granted'
}

type Result = 'granted' | 'denied' | 'neutral'

function resultOf({ name, args, inner }: Directive, client: Client): Result {
  if (inner !== null) {
    const section = name.toLowerCase()
    const result = resultOfSection(inner, section === 'requireall' ? 'all' : 'any', client)
    return section === 'requirenone' ? negated(result) : result
  }
  const [kind = '', ...rest] = args
  return kind === 'not' ? negated(resultOfLeaf(rest, client)) : resultOfLeaf(args, client)
}

function resultOfSection(directives: readonly Directive[], operator: 'all' | 'any', client: Client): Result {
  const decisive = operator === 'all' ? 'denied' : 'granted'
  let result: Result = 'neutral'
  for (const directive of directives) {
    const one = resultOf(directive, client)
    if (one === decisive) return one
    if (one !== 'neutral') result = one
  }
  return result
}

const negated = (result: Result): Result => (result === 'granted' ? 'denied' : 'neutral')

function resultOfLeaf([kind = '', ...rest]: readonly string[], { claims, address, method }: Client): Result {
  const grants =
    kind === 'valid-user' ||
    (kind === 'all' && rest[0] === 'granted') ||
    (kind === 'method' && rest.includes(method)) ||
    (kind === 'user' && rest.includes(String(claims['preferred_username']))) ||
    (kind === 'ip' && rest.some((range) => address.startsWith(range.replace(/(?:\.0)*\/.*$|$/, '.')))) ||
    (kind === 'claim' && rest.some((spec) => moduleMatches(spec, claims)))
  return grants ? 'granted' : 'denied'
}

/** Compares as the module's authz.c: each claim whose name the text begins with. */
function moduleMatches(spec: string, claims: Claims): boolean {
  return Object.entries(claims).some(([name, value]) => {
    if (!spec.startsWith(name)) return false
    const [separator = '', rest] = [spec[name.length], spec.slice(name.length + 1)]
    if (separator === '.') return isObject(value) && moduleMatches(rest, value)
    const items: unknown[] = Array.isArray(value) ? value : [value]
    if (separator === '~') return items.some((item) => typeof item === 'string' && new RegExp(rest).test(item))
    return separator === ':' && items.some((item) => !isObject(item) && !Array.isArray(item) && String(item) === rest)
  })
}

const isObject = (value: unknown): value is Claims =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const clients: readonly Client[] = [
  {},
  { groups: ['admin'] },
  { groups: ['staff', 'contractor'] },
  { groups: 'staff' },
  { groups: ['admin', 'suspended'], email: 'boss@example.com' },
  { email: 'ann@example.com', email_verified: true },
  { email: 'ann@example.com.evil.org', email_verified: false },
  { email: 'ann@exampleXcom', level: 5 },
  { email: '@example.com', level: '5' },
  { email: 'a@b@example.com', preferred_username: 'ann' },
  { realm_access: { roles: ['auditor', 'a*b'] } },
  { resource_access: { 'my.app': { roles: ['admin'] } }, preferred_username: 'bob' },
  { 'https://example.com/roles': ['admin'], 'level': 50 },
  { 'cognito:groups': ['admin'], 'groups': ['a.b', 'axb'] },
  { entitlement: ['urn:geant:example.org:staff'], groups: ['team-1', 'team-'] },
].flatMap((claims) =>
  ['10.1.2.3', '10.2.0.1', '192.0.2.7'].flatMap((address) =>
    ['GET', 'POST'].map((method) => ({ claims, address, method })),
  ),
)

function policyFor(directives: readonly Directive[], method: string): Policy {
  const policy = policyOf(directives, {
    method: methodsOf(directives).includes(method) ? method : null,
    unknownAddress: null,
    userClaim: (value) => ({ claim: 'preferred_username', value }),
    reportUndecided() {},
  })
  if (policy === null) throw new Error('there is no Require')
  return policy
}

function gatehouseLetsIn(policy: Policy, { claims, address }: Client): boolean {
  if (policy.kind !== 'users') return policy.kind === 'public'
  const rule = accessRuleOf(policy.condition)
  return rule !== null && ruleHolds(asRule(rule), claims, address)
}

/** Returns a written rule with the default values of its other keys. */
const asRule = ({ claims = {}, networks = [], any, not }: AccessRule): Rule => ({
  claims,
  networks: networks.length === 0 ? null : networks,
  any: any?.map(asRule) ?? null,
  not: not === undefined ? null : asRule(not),
})

const ALL = (...lines: string[]): string => ['<RequireAll>', ...lines, '</RequireAll>'].join('\n')
const ANY = (...lines: string[]): string => ['<RequireAny>', ...lines, '</RequireAny>'].join('\n')
const NONE = (...lines: string[]): string => ['<RequireNone>', ...lines, '</RequireNone>'].join('\n')

/** Requirements that mean exactly the same as a rule. */
const exact: readonly string[] = [
  'Require valid-user',
  'Require claim groups:admin',
  'Require claim groups:admin groups:staff',
  'Require claim groups:staff\nRequire claim email:boss@example.com',
  'Require claim realm_access.roles:auditor',
  'Require claim realm_access.roles:a*b',
  'Require claim resource_access.my.app.roles:admin',
  'Require claim https://example.com/roles:admin',
  'Require claim cognito:groups:admin',
  'Require claim entitlement:urn:geant:example.org:staff',
  'Require claim level:5',
  'Require claim email_verified:true',
  'Require claim email~.*@example\\.com$',
  'Require claim email~@example\\.com$',
  'Require claim email~^.+@example\\.com$',
  'Require claim email~^[^@]+@example\\.com$',
  'Require claim groups~^(admin|staff)$',
  'Require claim groups~^adm',
  'Require claim groups~adm',
  'Require claim groups~^admins?$|^staff$',
  'Require claim groups~^a[.]b$',
  'Require claim groups~^a\\.b$',
  'Require user ann bob',
  'Require ip 10.1',
  'Require ip 10.1.0.0/16 192.0.2.0/24',
  'Require ip 10.0.0.0/255.0.0.0',
  'Require method GET\nRequire claim groups:admin',
  ALL('Require claim groups:admin', 'Require claim groups:suspended'),
  ALL('Require claim groups:admin', 'Require not claim groups:suspended'),
  ALL('Require valid-user', 'Require not claim email:boss@example.com', 'Require not claim groups:suspended'),
  ALL('Require valid-user', NONE('Require claim groups:suspended', 'Require ip 192.0.2.0/24')),
  ALL('Require claim groups:staff', ANY('Require ip 10.1', 'Require claim groups:contractor')),
  ALL(ANY('Require claim groups:admin', 'Require claim groups:staff'), ANY('Require ip 10.1', 'Require user ann')),
  ANY(ALL('Require claim groups:admin', 'Require not ip 192.0.2.0/24'), ALL('Require ip 10.1', 'Require user ann')),
  ANY(ALL('Require ip 10.1', ANY('Require claim groups:admin', ALL('Require user ann', 'Require claim level:5')))),
  ALL('Require valid-user', 'Require not claim groups~^adm'),
  ALL('Require valid-user', 'Require not claim cognito:groups:admin'),
  ALL('Require method GET', 'Require valid-user'),
  ALL('Require claim groups:admin', NONE(ALL('Require claim groups:suspended', 'Require ip 10.1'))),
]

const lines = (text: string): string => text.replaceAll('\n', ' ')

for (const text of exact) {
  void t.test(`${lines(text)}: a rule lets in the same users`, async (t) => {
    const directives = readApache(text, 'a.conf')
    const before = clients.filter((client) => apacheLetsIn(directives, client))
    t.same(
      clients.filter((client) => gatehouseLetsIn(policyFor(directives, client.method), client)),
      before,
    )
    t.ok(before.length > 0 && (before.length < clients.length || text === 'Require valid-user'))
  })
}

/** Requirements of which a rule expresses a part, or nothing. */
const narrower: readonly [text: string, letsIn: number][] = [
  ['Require host example.com', 0],
  ['Require claims_expr \'.groups | index("admin")\'', 0],
  ['Require all denied', 0],
  ['Require claim groups~^team-\\d$', 0],
  ['Require claim email~(?i)^ann@', 18],
  ['Require claim name~(?i)^ann', 0],
  ['Require claim groups:%{ENV:TEAM}', 0],
  ['Require claim email:ann', 0],
  ['Require claim groups:admin\nRequire host example.com', 12],
  ['Require claim email~^ann@example.com$', 6],
  ['Require claim groups~^team-.+$', 0],
  [ALL('Require claim groups:admin', 'Require host example.com'), 0],
  [ALL('Require claim groups:admin', 'Require not host example.com'), 0],
  [ALL('Require valid-user', 'Require not claim email~^ann@example.com$'), 0],
  [ALL('Require valid-user', 'Require not claim level:5x'), 0],
  [ALL('Require not claim groups:suspended'), 0],
  [ANY('Require claim groups:admin', 'Require not claim groups:suspended'), 12],
  ['Require claim email~^.+@.+\\.com$', 0],
  ['Require ip 10.1.0.0/255.0.255.0', 0],
]

for (const [text, letsIn] of narrower) {
  void t.test(`${lines(text)}: a rule lets in some of the same users, or none`, async (t) => {
    const directives = readApache(text, 'a.conf')
    const after = clients.filter((client) => gatehouseLetsIn(policyFor(directives, client.method), client))
    t.equal(after.length, letsIn)
    if (!/host|expr|\(\?i\)/.test(text)) t.ok(after.every((client) => apacheLetsIn(directives, client)))
  })
}

void t.test('requirements that nest at random: no rule lets in a user whom Apache refused', async (t) => {
  const leaves = [
    ...exact
      .filter((text) => /^Require (?:claim|user|ip) \S+$/.test(text))
      .map((text) => text.slice('Require '.length)),
    'claim level:5x',
    'claim groups~^a.b$',
    'claim email~^[^@]+@example\\.com$',
    'claim groups~^team-.+$',
  ]
  let state = 1
  const random = (below: number): number => {
    state = (state * 48271) % 0x7fffffff
    return state % below
  }
  const requirement = (depth: number): string => {
    if (depth === 0 || random(3) === 0) return `Require ${leaves[random(leaves.length)] ?? ''}`
    const inner = Array.from({ length: 1 + random(3) }, () => requirement(depth - 1))
    if (random(2) === 0) return ANY(...inner)
    const excluded =
      random(2) === 0 ? `Require not ${leaves[random(leaves.length)] ?? ''}` : NONE(requirement(depth - 1))
    return random(2) === 0 ? ALL(...inner) : ALL(...inner, excluded)
  }
  const counts = { same: 0, fewer: 0, tooDeep: 0 }
  for (let i = 0; i < 400; i += 1) {
    const text = requirement(1 + (i % 3))
    const directives = readApache(text, 'a.conf')
    const policy = policyFor(directives, 'GET')
    const before = clients.filter((client) => apacheLetsIn(directives, client))
    const after = clients.filter((client) => gatehouseLetsIn(policy, client))
    const opened = after.filter((client) => !before.includes(client))
    if (opened.length > 0) t.same([text, opened], [text, []])
    const isTooDeep = policy.kind === 'users' && accessRuleOf(policy.condition) === null
    counts[isTooDeep ? 'tooDeep' : after.length === before.length ? 'same' : 'fewer'] += 1
  }
  t.ok(counts.same > 250, JSON.stringify(counts))
})

/** Migrates a site, and returns what the gateway loads for each route, and the report. */
function migratedSite(t: Test, ...lines: string[]): { rules: Map<string, object>; trusted: string[]; report: string } {
  const text = [
    'OIDCClientID x',
    'OIDCClientSecret y',
    'OIDCProviderMetadataURL https://login.example.com/.well-known/openid-configuration',
    'OIDCRedirectURI https://app.example.com/redirect_uri',
    'ProxyPass / http://127.0.0.1:3000/',
    ...lines,
  ].join('\n')
  const migration = migrateFiles([{ name: 'a.conf', text }])
  const yaml = writeYaml(migration)
  const env = { SESSION_KEY: key, OIDC_CLIENT_SECRET: 'hush' }
  const { config } = loadConfig({ file: asFile(t, parse(yaml)), env })
  const written: { routes: { path: string; methods?: string[]; access?: string; require?: object }[] } = parse(yaml)
  t.equal(config.routes.length, written.routes.length)
  return {
    rules: new Map(
      written.routes.map(({ path, methods = [], access, require = {} }) => [
        [...methods, path].join(' '),
        access === undefined ? require : { access },
      ]),
    ),
    trusted: config.trustedProxies,
    report: writeReport(migration),
  }
}

const location = (path: string, ...lines: string[]): string =>
  [`<Location ${path}>`, 'AuthType openid-connect', ...lines, '</Location>'].join('\n')

void t.test('methods of Require method become routes of their own', async (t) => {
  const { rules, report } = migratedSite(
    t,
    location('/', 'Require valid-user'),
    location('/docs/', 'Require method GET OPTIONS', 'Require claim groups:editor'),
    location('/queue', ALL('Require valid-user', 'Require not method DELETE')),
    location('/hooks', ALL('Require method POST', 'Require claim azp:batch')),
  )
  t.same(Object.fromEntries(rules), {
    '/**': {},
    '/docs': {},
    '/docs/**': { claims: { groups: ['editor'] } },
    'GET OPTIONS /docs/**': { access: 'public' },
    '/queue/**': {},
    'DELETE /queue/**': { claims: { not_migrated: ['Require'] } },
    '/hooks/**': { claims: { not_migrated: ['Require'] } },
    'POST /hooks/**': { claims: { azp: ['batch'] } },
  })
  t.match(report, /SECURITY[^]*Require: needs no session, as before: GET, OPTIONS \/docs\/\*\* \(access: public\)/)
})

void t.test('networks are carried over if the gateway knows the client’s address', async (t) => {
  const site = [
    location('/', 'Require valid-user'),
    location('/admin', 'Require ip 10.1', 'Require claim groups:admin'),
  ]
  const expected = { any: [{ networks: ['10.1.0.0/16'] }, { claims: { groups: ['admin'] } }] }
  const plain = migratedSite(t, ...site)
  t.same(plain.rules.get('/admin/**'), expected)
  t.match(plain.report, /SECURITY[^]*Require: the gateway compares the address of the connection.*needed no login/)
  const proxied = migratedSite(
    t,
    'RemoteIPHeader X-Forwarded-For',
    'RemoteIPInternalProxy 172.16.0.0/12',
    'RemoteIPTrustedProxy 192.0.2.1',
    'OIDCXForwardedHeaders X-Forwarded-Proto',
    ...site,
  )
  t.same(proxied.rules.get('/admin/**'), expected)
  t.same(proxied.trusted, ['172.16.0.0/12', '192.0.2.1/32'])
  for (const header of ['X-Forwarded-For', 'CF-Connecting-IP\nRemoteIPTrustedProxy 192.0.2.1']) {
    const { rules, report } = migratedSite(t, `RemoteIPHeader ${header}`, ...site)
    t.same(rules.get('/admin/**'), {
      any: [{ claims: { not_migrated: ['Require'] } }, { claims: { groups: ['admin'] } }],
    })
    t.match(
      report,
      /RemoteIPHeader: the client's address came from \S+: list the proxies in front under trustedProxies/,
    )
  }
})

void t.test('Require user compares the claim of OIDCRemoteUserClaim, by default sub with the issuer', async (t) => {
  const ruleFor = (...lines: string[]): object | undefined =>
    migratedSite(t, ...lines.slice(1), location('/', `Require user ${lines[0] ?? ''}`)).rules.get('/**')
  t.same(ruleFor('ann bob', 'OIDCRemoteUserClaim preferred_username'), {
    claims: { preferred_username: ['ann', 'bob'] },
  })
  t.same(ruleFor('ann@login.example.com'), { claims: { sub: ['ann'] } })
  t.same(ruleFor('ann@x.org@login.example.com', 'OIDCRemoteUserClaim email@'), { claims: { email: ['ann@x.org'] } })
  t.same(ruleFor('ann'), { claims: { not_migrated: ['Require'] } }, 'no user has this name')
  t.same(ruleFor('ann', 'OIDCRemoteUserClaim email ^(.*)@'), { claims: { not_migrated: ['Require'] } })
})

void t.test('what a rule cannot express stays closed, and the rest of the rule is carried over', async (t) => {
  const { rules, report } = migratedSite(
    t,
    location('/', 'Require valid-user'),
    location('/a', ALL('Require claim groups:admin', 'Require host example.com')),
    location('/b', "Require claims_expr '.level > 3'"),
    location('/c', 'Require all denied'),
    '<Location /d>\nAuthType Basic\nRequire valid-user\n</Location>',
    location('/e', ALL('Require claim a:1', 'Require not claim b:1', 'Require not claim c:1'), 'Require claim a:2'),
  )
  const closed = { claims: { not_migrated: ['Require'] } }
  t.same(rules.get('/e/**'), { claims: { not_migrated: ['nesting'] } })
  t.match(report, /any and not nest at most two deep, and the old rules nest deeper: no user is let in/)
  t.same(rules.get('/a/**'), { claims: { groups: ['admin'], not_migrated: ['Require'] } })
  for (const path of ['/b/**', '/c/**', '/d/**']) t.same(rules.get(path), closed, path)
  t.match(report, /SECURITY[^]*Require: "Require host" has no equivalent: users who met it are not let in/)
  t.match(report, /Require: "Require claims_expr" has no equivalent/)
  t.match(report, /Require: it let no user in/)
  t.match(report, /Require: AuthType basic is another way to log in/)
})
