import t from 'tap'
import { providersOf, type ProviderSettings } from '../../src/config/schema.ts'
import { brief, key, loadText, problemsOf } from './configuration.ts'

const folder = t.testdir()

const text = (provider: string, more = ''): string =>
  [
    'publicUrl: https://orders.example.com',
    'upstream: http://127.0.0.1:3000',
    `provider: { clientId: orders, clientSecret: hush, ${provider} }`,
    `session: { keys: ["${key}"]${more.startsWith('session ') ? `, ${more.slice(8)}` : ''} }`,
    more.startsWith('session ') ? '' : more,
  ].join('\n')

const problems = (provider: string, more = ''): string[] =>
  problemsOf(() => loadText(folder, text(provider, more))).map((problem) => brief(problem).replace(/^\S+ /, ''))

const load = (provider: string, more = ''): { provider: ProviderSettings; warnings: string[] } => {
  const { config, warnings } = loadText(folder, text(provider, more))
  const [only] = providersOf(config)
  if (only === undefined) throw new Error('there is no provider')
  return { provider: only, warnings }
}

void t.test('a provider without OpenID Connect has its issuer, endpoints and scopes from the preset', async (t) => {
  for (const [written, issuer, authorization, token, userinfo, groups] of [
    [
      'preset: github',
      'https://github.com',
      'https://github.com/login/oauth/authorize',
      'https://github.com/login/oauth/access_token',
      'https://api.github.com/user',
      'https://api.github.com/user/teams',
    ],
    [
      'issuer: https://acme.ghe.com',
      'https://acme.ghe.com',
      'https://acme.ghe.com/login/oauth/authorize',
      'https://acme.ghe.com/login/oauth/access_token',
      'https://api.acme.ghe.com/user',
      'https://api.acme.ghe.com/user/teams',
    ],
    [
      'preset: github, issuer: "https://git.example.com/"',
      'https://git.example.com/',
      'https://git.example.com/login/oauth/authorize',
      'https://git.example.com/login/oauth/access_token',
      'https://git.example.com/api/v3/user',
      'https://git.example.com/api/v3/user/teams',
    ],
    [
      'preset: gitea, issuer: https://example.com/git',
      'https://example.com/git',
      'https://example.com/git/login/oauth/authorize',
      'https://example.com/git/login/oauth/access_token',
      'https://example.com/git/api/v1/user',
      'https://example.com/git/api/v1/user/teams',
    ],
    [
      'preset: bitbucket',
      'https://bitbucket.org',
      'https://bitbucket.org/site/oauth2/authorize',
      'https://bitbucket.org/site/oauth2/access_token',
      'https://api.bitbucket.org/2.0/user',
      'https://api.bitbucket.org/2.0/user/workspaces',
    ],
    [
      'preset: discord',
      'https://discord.com',
      'https://discord.com/oauth2/authorize',
      'https://discord.com/api/oauth2/token',
      'https://discord.com/api/v10/users/@me',
      'https://discord.com/api/v10/users/@me/guilds',
    ],
  ] as const) {
    const { provider, warnings } = load(written)
    t.equal(provider.issuer, issuer)
    t.match(provider.endpoints, { authorization, token, userinfo, groups }, written)
    t.ok(provider.scopes?.length)
    t.same(warnings, [])
  }
})

void t.test('what the operator writes wins, and the groups follow the user', async (t) => {
  const { provider } = load(
    'preset: github, scopes: [user:email], endpoints: { userinfo: "https://proxy.example.com/users/@me" }',
  )
  t.same(provider.scopes, ['user:email'])
  t.equal(provider.endpoints.userinfo, 'https://proxy.example.com/users/@me')
  t.equal(provider.endpoints.groups, 'https://proxy.example.com/users/@me/teams')
})

void t.test('gitea needs an issuer, and endpoints take no credentials', async (t) => {
  t.match(problems('preset: gitea'), ['provider.issuer: is required'])
  t.match(problems('preset: github, endpoints: { userinfo: "https://a:b@api.example.com/user" }'), [
    /without credentials or a fragment/,
  ])
})

const route = (line: string): string => `routes:\n  - { path: /**, ${line} }`
const refusal = (path: string, needs: string): string =>
  `${path}: needs ${needs}, which GitHub does not have | remove it`

for (const [name, provider, more, expected] of [
  ['endWithIdToken', '', 'session endWithIdToken: true', refusal('session.endWithIdToken', 'ID tokens')],
  ['sessionCheck', ', sessionCheck: 5m', '', refusal('provider.sessionCheck', 'OpenID Connect (prompt=none)')],
  ['form_post', ', responseMode: form_post', '', refusal('provider.responseMode', 'response modes')],
  ['pushed', ', pushedAuthorization: on', '', refusal('provider.pushedAuthorization', 'pushed authorization requests')],
  ['acr', '', route('require: { acr: gold }'), refusal('routes[0].require.acr', 'ID tokens with acr')],
  ['maxAge', '', route('require: { maxAge: 5m }'), refusal('routes[0].require.maxAge', 'ID tokens with auth_time')],
  ['bearer', '', route('bearer: { audience: a }'), refusal('routes[0].bearer', 'access tokens in JWT form')],
  [
    'groupsFrom',
    ', groupsFrom: graph',
    '',
    'provider.groupsFrom: does not apply to GitHub, whose groups the gateway reads anyway | remove it',
  ],
] as const) {
  void t.test(`a provider without OpenID Connect refuses ${name}`, async (t) => {
    t.same(problems(`preset: github${provider}`, more), [expected])
  })
}

void t.test('at a provider without OpenID Connect, clients may have tokens of other issuers', async (t) => {
  t.same(problems('preset: github', route('bearer: { audience: a, issuers: [{ issuer: "https://ci.example" }] }')), [])
})

void t.test('scopes that hide the groups from a route that requires them cause a warning', async (t) => {
  const groups = route('require: { claims: { groups: [acme/ops] } }')
  t.match(load('preset: github, scopes: [user:email]', groups).warnings, [/provider\.scopes: .*add read:org/])
  t.same(load('preset: github, scopes: [user:email]').warnings, [])
  t.same(load('preset: github', groups).warnings, [])
})

void t.test('groupsFrom: graph asks the Graph of the issuer’s cloud', async (t) => {
  for (const [issuer, origin] of [
    ['https://login.microsoftonline.com/8d2f/v2.0', 'https://graph.microsoft.com'],
    ['https://login.microsoftonline.us/8d2f/v2.0', 'https://graph.microsoft.us'],
    ['https://login.partner.microsoftonline.cn/8d2f/v2.0', 'https://microsoftgraph.chinacloudapi.cn'],
    ['https://acme.ciamlogin.com/8d2f/v2.0', 'https://graph.microsoft.com'],
  ] as const) {
    const { provider } = load(`issuer: "${issuer}", groupsFrom: graph`)
    t.equal(provider.endpoints.groups, `${origin}/v1.0/me/transitiveMemberOf/microsoft.graph.group`)
  }
})

void t.test('groupsFrom: graph needs a refresh token if the scopes are for another API', async (t) => {
  const entra = 'issuer: https://login.microsoftonline.com/8d2f/v2.0, groupsFrom: graph'
  t.match(problems(`${entra}, scopes: [openid, "api://orders/read"]`), [
    /provider\.scopes: are for another API than Microsoft Graph.*https:\/\/graph\.microsoft\.com\/User\.Read \| add offline_access/,
  ])
  t.same(problems(`${entra}, scopes: [openid, "api://orders/read", offline_access]`), [])
  t.same(problems(`${entra}, scopes: [openid, "https://graph.microsoft.com/User.Read"]`), [])
  t.same(problems(`${entra}, scopes: [openid, User.Read]`), [])
})

void t.test(
  'groupsFrom: google adds its scope to the default ones, and warns if the written ones lack it',
  async (t) => {
    const scope = 'https://www.googleapis.com/auth/cloud-identity.groups.readonly'
    t.same(load('preset: google, groupsFrom: google').provider.scopes, ['openid', 'profile', 'email', scope])
    t.match(load('preset: google, groupsFrom: google, scopes: [openid, email]').warnings, [
      /provider\.scopes: lack the scope with which Cloud Identity shows the groups: every login will fail; add https/,
    ])
    t.same(load(`preset: google, groupsFrom: google, scopes: [openid, email, "${scope}"]`).warnings, [])
    t.match(problems('preset: google, groupsFrom: google, dpop: on'), [/provider\.dpop: cannot be on with groupsFrom/])
  },
)
