import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { parse } from 'yaml'
import { loadConfig } from '../../src/config/load.ts'
import { type AccessRule, ruleHolds } from '../../src/gate/rules.ts'
import { migrateFiles } from '../../src/migrate/migrate.ts'
import { writeReport, writeYaml } from '../../src/migrate/write.ts'
import { key } from '../config/configuration.ts'
import { asFile } from '../support/gateway.ts'
import { runProgram } from '../support/program.ts'

interface Settings {
  readonly provider?: string
  readonly email_domains?: readonly string[]
  readonly authenticated_emails_file?: string
  readonly insecure_oidc_allow_unverified_email?: boolean
  readonly oidc_email_claim?: string
  readonly oidc_groups_claim?: string
  readonly allowed_groups?: readonly string[]
  readonly allowed_roles?: readonly string[]
  readonly keycloak_groups?: readonly string[]
  readonly gitlab_groups?: readonly string[]
  readonly github_org?: string
  readonly github_team?: string
  readonly github_users?: readonly string[]
  readonly http_address?: string
  readonly trusted_ips?: readonly string[]
  readonly reverse_proxy?: boolean
  readonly trusted_proxy_ips?: readonly string[]
}

interface User {
  readonly email?: string
  readonly mail?: string
  readonly email_verified?: boolean
  readonly groups?: readonly string[]
  readonly team?: string
  readonly realm_access?: { readonly roles: readonly string[] }
  readonly resource_access?: Readonly<Record<string, { readonly roles: readonly string[] }>>
  readonly preferred_username?: string
  readonly [claim: string]: unknown
}

const FILE = '# people\nBoss@Example.org\n"anna@example.net"\n\ncarl@example.net\n'
const listed = new Set(['boss@example.org', 'anna@example.net', 'carl@example.net'])

/** Returns whether oauth2-proxy lets a user in, as its validator.go and its providers decide. */
function oauth2ProxyLetsIn(settings: Settings, user: User, address: string): boolean {
  const { trusted_ips = [], reverse_proxy = false, trusted_proxy_ips = [], http_address = '' } = settings
  // Behind proxies, the address is that of a header, which this test gives to the gateway only with trusted proxies.
  const knowsAddress = reverse_proxy ? trusted_proxy_ips.length > 0 : !http_address.startsWith('unix:')
  if (knowsAddress && trusted_ips.some((range) => address.startsWith(range.replace(/(?:\.0)+\/.*$|\/32$/, ''))))
    return true
  return isVerified(settings, user) && hasAddress(settings, user) && isMember(settings, user)
}

function isVerified(settings: Settings, { email_verified: verified }: User): boolean {
  if (settings.insecure_oidc_allow_unverified_email === true) return true
  if (settings.provider === 'gitlab') return verified === true
  return settings.oidc_email_claim !== undefined || verified !== false
}

function hasAddress(
  { email_domains: domains = [], authenticated_emails_file: file, ...settings }: Settings,
  user: User,
) {
  const email = (settings.oidc_email_claim === undefined ? user.email : user.mail)?.toLowerCase() ?? ''
  if (domains.includes('*')) return true
  if (file !== undefined && listed.has(email)) return true
  const [, host = '', ...more] = email.split('@')
  if (!email.includes('@') || more.length > 0) return false
  return domains
    .map((domain) => domain.toLowerCase())
    .some(
      (domain) =>
        email.endsWith(`@${domain}`) ||
        (domain.startsWith('.') && host.endsWith(domain)) ||
        (domain.startsWith('*.') && host.endsWith(domain.slice(1))),
    )
}

function isMember(settings: Settings, user: User): boolean {
  const { provider, allowed_groups = [], allowed_roles = [], github_org = '', github_team, github_users } = settings
  if (provider === 'github') {
    if (github_users?.includes(user.preferred_username ?? '') === true) return true
    if (github_users !== undefined && github_org === '') return false
    const [teams, ofUser] = [github_team?.split(',') ?? [], user.groups ?? []]
    if (github_org !== '' && teams.length > 0) return teams.some((team) => ofUser.includes(`${github_org}/${team}`))
    if (github_org !== '') return ofUser.some((group) => group.startsWith(`${github_org}/`))
    return teams.length === 0 || teams.some((team) => ofUser.includes(team.replace(':', '/')))
  }
  const own = { keycloak: settings.keycloak_groups, gitlab: settings.gitlab_groups }[provider ?? '']
  const roles = provider === 'keycloak-oidc' ? allowed_roles.map((role) => `role:${role}`) : []
  const allowed = new Set([...(own ?? allowed_groups), ...roles])
  const ofUser = [
    ...(settings.oidc_groups_claim === undefined ? (user.groups ?? []) : [user.team ?? '']),
    ...(user.realm_access?.roles ?? []).map((role) => `role:${role}`),
    ...Object.entries(user.resource_access ?? {}).flatMap(([client, access]) =>
      access.roles.map((role) => `role:${client}:${role}`),
    ),
  ]
  return allowed.size === 0 || ofUser.some((group) => allowed.has(group))
}

const emails = [
  'ann@example.com',
  'ANN@EXAMPLE.COM',
  'ann@sub.example.com',
  'ann@notexample.com',
  'ann@example.com.evil.org',
  'boss@example.org',
  'Boss@Example.org',
  'ann@exampleXcom',
]
const memberships: readonly User[] = [
  {},
  { groups: ['staff'] },
  { groups: ['/staff/*'] },
  { groups: ['/staff/x'], team: 'ops' },
  { groups: ['acme/ops', 'globex/sales'], preferred_username: 'octocat' },
  { groups: ['acme/dev'], preferred_username: 'zoe' },
  { realm_access: { roles: ['auditor'] } },
  { resource_access: { 'my.app': { roles: ['admin'] } } },
]
const users: readonly User[] = [
  ...emails.flatMap((email) =>
    [{}, { email_verified: true }, { email_verified: false }].map((more) => ({ email, mail: email, ...more })),
  ),
  ...memberships.map((more) => ({ email: 'ann@example.com', mail: 'ann@example.com', email_verified: true, ...more })),
]
const addresses = ['10.1.2.3', '192.0.2.7', '203.0.113.9']

const configurations: readonly Settings[] = [
  { email_domains: ['example.com'] },
  { email_domains: ['Example.com', '.example.org'] },
  { email_domains: ['.example.com'] },
  { email_domains: ['*.example.com', 'example.org'] },
  { email_domains: ['*'] },
  { email_domains: ['*'], insecure_oidc_allow_unverified_email: true },
  { authenticated_emails_file: 'emails' },
  { email_domains: ['sub.example.com'], authenticated_emails_file: '/etc/oauth2-proxy/emails' },
  { email_domains: ['*'], authenticated_emails_file: 'emails', allowed_groups: ['staff'] },
  { email_domains: ['*'], allowed_groups: ['/staff/*'] },
  { email_domains: ['*'], allowed_groups: ['staff', 'ops'], oidc_groups_claim: 'team' },
  { email_domains: ['example.com'], allowed_groups: ['staff'] },
  { email_domains: ['*'], provider: 'keycloak-oidc', allowed_groups: ['staff'], allowed_roles: ['auditor'] },
  { email_domains: ['*'], provider: 'keycloak-oidc', allowed_roles: ['my.app:admin'] },
  { email_domains: ['*'], provider: 'keycloak-oidc', allowed_groups: ['role:auditor'] },
  { email_domains: ['*'], provider: 'keycloak', allowed_groups: ['staff'], keycloak_groups: ['/staff/x'] },
  { email_domains: ['*'], provider: 'gitlab', allowed_groups: ['staff'], gitlab_groups: ['acme/ops'] },
  { email_domains: ['*'], provider: 'github', github_org: 'acme', github_team: 'ops' },
  { email_domains: ['*'], provider: 'github', github_org: 'acme' },
  { email_domains: ['*'], provider: 'github', github_team: 'globex:sales' },
  { email_domains: ['*'], provider: 'github', github_org: 'acme', github_team: 'ops', github_users: ['zoe'] },
  { email_domains: ['*'], provider: 'github', github_team: 'acme:ops', github_users: ['zoe'] },
  { email_domains: ['example.com'], trusted_ips: ['10.0.0.0/8', '192.0.2.7/32'] },
  { email_domains: ['*'], allowed_groups: ['staff'], trusted_ips: ['10.0.0.0/8'], reverse_proxy: true },
  { email_domains: ['*'], allowed_groups: ['staff'], trusted_ips: ['10.0.0.0/8'], http_address: 'unix:///run/a.sock' },
  {
    email_domains: ['*'],
    allowed_groups: ['staff'],
    trusted_ips: ['10.0.0.0/8'],
    reverse_proxy: true,
    trusted_proxy_ips: ['172.16.0.0/12'],
  },
]

const written = (settings: Settings): string =>
  [
    'client_id = "x"',
    'oidc_issuer_url = "https://login.example.com"',
    'redirect_url = "https://app.example.com/oauth2/callback"',
    'upstreams = ["http://127.0.0.1:3000"]',
    ...Object.entries({ provider: 'oidc', ...settings }).map(([name, value]) => `${name} = ${JSON.stringify(value)}`),
  ].join('\n')

const readEmails = (path: string, besideFile: string): string | null =>
  besideFile === 'one.cfg' && path.endsWith('emails') ? FILE : null

/** Returns what the migrated configuration requires on its only route, once the gateway has loaded the configuration. */
function migratedRule(t: Test, settings: Settings): AccessRule {
  const yaml = writeYaml(migrateFiles([{ name: 'one.cfg', text: written(settings) }], readEmails))
  const env = { SESSION_KEY: key, OIDC_CLIENT_SECRET: 'hush' }
  const [route] = loadConfig({ file: asFile(t, parse(yaml)), env }).config.routes
  if (route === undefined) throw new Error('there is no route')
  return route.require
}

/** The gateway reads the addresses of GitHub users itself, and takes only verified ones. */
const asClaims = (settings: Settings, user: User): User =>
  settings.provider === 'github' ? { ...user, email_verified: true } : user

for (const settings of configurations) {
  void t.test(`${JSON.stringify(settings)}: the rule lets in the same users`, async (t) => {
    const rule = migratedRule(t, settings)
    const cases = users.flatMap((user) => addresses.map((address) => ({ user: asClaims(settings, user), address })))
    const before = cases.filter(({ user, address }) => oauth2ProxyLetsIn(settings, user, address))
    t.same(
      cases.filter(({ user, address }) => ruleHolds(rule, user, address)),
      before,
    )
    t.ok(before.length > 0 && (before.length < cases.length || settings.insecure_oidc_allow_unverified_email === true))
  })
}

const report = (settings: Settings, file: string | null = FILE): string =>
  writeReport(migrateFiles([{ name: 'one.cfg', text: written(settings) }], () => file))

void t.test('what oauth2-proxy lets in and a rule does not is listed under SECURITY', async (t) => {
  t.match(
    report({ email_domains: ['example.com'], trusted_ips: ['10.0.0.0/8'] }),
    /SECURITY[^]*trusted_ips: clients with these addresses needed no login, and need one now; every user of the provider/,
  )
  t.match(
    report({ email_domains: ['example.com'], trusted_ips: ['10.0.0.0/8'], reverse_proxy: true }),
    /trusted_ips: clients with these addresses needed no login, and need one now: .*once trustedProxies lists the proxies/,
  )
  t.notMatch(report({ email_domains: ['*'], trusted_ips: ['10.0.0.0/8'] }), 'HAS NO EQUAL')
  t.match(report({ email_domains: ['@example.com'] }), /email_domains: "@example\.com" is not a domain/)
  t.match(report({ authenticated_emails_file: 'emails' }), /authenticated_emails_file: its 3 addresses are in require/)
  t.match(
    report({ authenticated_emails_file: 'emails' }, null),
    /authenticated_emails_file: the file cannot be read here/,
  )
  t.match(
    report({ authenticated_emails_file: 'emails' }, 'a@example.com\nb@example.com,x\n'),
    /is not a list of addresses/,
  )
})

void t.test('Google users need a verified address, also with insecure_oidc_allow_unverified_email', async (t) => {
  const rule = migratedRule(t, {
    provider: 'google',
    email_domains: ['example.com'],
    insecure_oidc_allow_unverified_email: true,
  })
  t.same(rule.claims, { hd: ['example.com'], email_verified: [true] })
})

void t.test('lists that oauth2-proxy ignores open nothing', async (t) => {
  const rule = migratedRule(t, { email_domains: ['*'], allowed_groups: ['staff'], gitlab_groups: ['acme/ops'] })
  t.same(rule.claims, { groups: ['staff'] })
  const alone = migratedRule(t, { email_domains: ['*'], gitlab_groups: ['acme/ops'] })
  t.same(alone.claims, { groups: ['acme/ops'] })
  const unreadable = migrateFiles([{ name: 'one.cfg', text: written({ authenticated_emails_file: 'emails' }) }])
  t.match(writeYaml(unreadable), /list-the-addresses@change-me\.invalid/)
})

void t.test('the command reads the file of addresses beside the configuration, and the chart’s own list', async (t) => {
  const folder = t.testdir({
    'one.cfg': written({ authenticated_emails_file: '/etc/oauth2-proxy/emails' }),
    'emails': FILE,
  })
  const { stdout } = await runProgram(t, ['migrate', join(folder, 'one.cfg')])
  const { routes }: { routes: { require: object }[] } = parse(stdout)
  t.match(routes[0]?.require, { claims: { email: [...listed] } })
  writeFileSync(
    join(folder, 'values.yaml'),
    [
      'config:',
      '  configFile: |-',
      '    provider = "oidc"',
      '    oidc_issuer_url = "https://login.example.com"',
      'authenticatedEmailsFile:',
      '  enabled: true',
      '  restricted_access: |-',
      '    ann@example.com',
      '    bob@example.com',
    ].join('\n'),
  )
  const chart = await runProgram(t, ['migrate', join(folder, 'values.yaml')])
  const migrated: { routes: { require: object }[] } = parse(chart.stdout)
  t.match(migrated.routes[0]?.require, { claims: { email: ['ann@example.com', 'bob@example.com'] } })
})
