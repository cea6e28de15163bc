import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { parse } from 'yaml'
import { explainRequest } from '../../src/cli/explanation.ts'
import { loadConfig } from '../../src/config/load.ts'
import { toMaskedYaml } from '../../src/config/masked-yaml.ts'
import { keysRequiringRestart } from '../../src/config/restart-required.ts'
import { providersOf, type Config } from '../../src/config/schema.ts'
import { brief, key, loadText, problemsOf } from './configuration.ts'

const folder = t.testdir({})
const staff = 'staff: { title: Our staff, issuer: "https://a.example.com", clientId: a, clientSecret: hush }'
const partners = 'partners: { issuer: "https://b.example.com", clientId: b, clientSecret: hush, scopes: [openid] }'

const configuration = (entries: readonly string[], more = ''): string =>
  [
    'publicUrl: https://orders.example.com',
    'upstream: http://127.0.0.1:3000',
    `session: { keys: ["${key}"] }`,
    'providers:',
    ...entries.map((entry) => `  ${entry}`),
    more,
    '',
  ].join('\n')

const load = (entries: readonly string[], more?: string): Config =>
  loadText(folder, configuration(entries, more)).config

void t.test('the providers have names, in the order of the file', (t) => {
  const { config, warnings } = loadText(folder, configuration([staff, partners]))
  t.same(warnings, [])
  t.same(
    providersOf(config).map(({ name, title, clientId }) => [name, title, clientId]),
    [
      ['staff', 'Our staff', 'a'],
      ['partners', null, 'b'],
    ],
  )
  t.equal(config.provider, null)
  t.end()
})

void t.test('one variable sets the whole map, and fills in placeholders', (t) => {
  writeFileSync(join(folder, 'least.yaml'), 'publicUrl: https://a.example.com\nupstream: http://127.0.0.1:3000\n')
  const { config } = loadConfig({
    file: join(folder, 'least.yaml'),
    env: { GATEHOUSE_PROVIDERS: `{ ${staff.replace('hush', '"${SECRET}"')}, ${partners} }`, SECRET: 'filled-in' },
  })
  t.same(
    providersOf(config).map(({ name, clientSecret }) => [name, clientSecret]),
    [
      ['staff', 'filled-in'],
      ['partners', 'hush'],
    ],
  )
  t.end()
})

void t.test('mistakes name the provider and what to write instead', (t) => {
  const rows: [string, readonly string[], string, string[]][] = [
    [
      'provider beside providers',
      [staff],
      'provider: { issuer: "https://c.example.com", clientId: c, clientSecret: x }',
      ['providers: cannot be combined with provider | move the keys of provider to an entry of providers'],
    ],
    ['a name', [staff.replace('staff', 'Our_staff')], '', ['providers.Our_staff: is not a name | use lower-case']],
    ['no map', ['- x'], '', ['providers: must be a map from names to maps | write providers.NAME']],
    ['no section', ['staff: x'], '', ['providers.staff: must be a map']],
    [
      'keys of one of them',
      [staff, 'partners: { issuer: "http://b.example.com", clientSecrt: x, scopes: [email] }'],
      '',
      [
        'providers.partners.clientId: is required',
        'providers.partners.clientSecret: is required: the gateway cannot authenticate',
        'providers.partners.issuer: is plain http: tokens and the client secret would be sent unencrypted | use https, or ' +
          'set providers.partners.allowHttp: true',
        'providers.partners.clientSecrt: is not a key of the configuration | did you mean clientSecret?',
        'providers.partners.scopes: must contain openid',
      ],
    ],
    [
      'a provider of a route that does not exist',
      [staff, partners],
      'routes: [{ path: /**, provider: [staff, partner] }]',
      ['routes[0].provider[1]: "partner" is not one of the providers | did you mean partners?'],
    ],
    [
      'a provider of a public route',
      [staff, partners],
      'routes: [{ path: /**, provider: staff, access: public }]',
      ['routes[0].provider: has no effect: the route is public | leave it out'],
    ],
  ]
  for (const [what, entries, more, expected] of rows) {
    const found = problemsOf(() => load(entries, more)).map(brief)
    t.equal(found.length, expected.length, what, { found })
    for (const [index, text] of expected.entries()) t.ok(found[index]?.includes(` ${text}`), `${what}: ${found[index]}`)
  }
  const single = 'publicUrl: https://a.example.com\nupstream: http://127.0.0.1:3000\n'
  const provider = 'provider: { issuer: "https://a.example.com", clientId: a, clientSecret: b }\n'
  t.same(
    problemsOf(() => loadText(folder, `${single}${provider}routes: [{ path: /**, provider: staff }]`)).map(brief),
    [
      '4:23 routes[0].provider: names providers, but there is only one provider | leave it out, or use providers in place of ' +
        'provider',
    ],
  )
  t.match(problemsOf(() => loadText(folder, single)).map(brief), [
    'provider.clientId: is required | set it here, or set GATEHOUSE_PROVIDER_CLIENT_ID',
  ])
  t.end()
})

void t.test('the presets and warnings of each provider are its own', (t) => {
  const entra = 'all: { issuer: "https://login.microsoftonline.com/common/v2.0", clientId: a, clientSecret: b }'
  const warnings = (more: string): string[] => loadText(folder, configuration([staff, entra], more)).warnings
  t.match(warnings(''), [/providers\.all\.issuer: covers all tenants/])
  const tid = 'require: { claims: { tid: x } }'
  t.same(warnings(`routes: [{ path: /**, provider: staff }, { path: /all/**, provider: all, ${tid} }]`), [])
  t.match(warnings(`routes: [{ path: /**, provider: all }, { path: /staff/**, provider: staff, ${tid} }]`), [/tenants/])
  t.end()
})

void t.test('a route that sends bound tokens behind forward-auth is refused for the providers that it allows', (t) => {
  const bound = staff.replace('clientId', 'dpop: on, clientId')
  const found = (more: string): string[] =>
    problemsOf(() => load([bound, partners], `forwardAuth: { listen: 127.0.0.1:8081 }\n${more}`)).map(brief)
  const [one, ...others] = found('routes: [{ path: /**, provider: partners }, { path: /staff/** }]')
  t.match(one, 'routes[1].token.grant: cannot be combined with providers.staff.dpop and forwardAuth')
  t.same(others, [])
  t.same(found('routes: [{ path: /**, provider: partners }]'), [])
  t.end()
})

void t.test('what a provider without OpenID Connect lacks is refused where all users of a route need it', (t) => {
  const github = 'github: { preset: github, clientId: c, clientSecret: d }'
  const bitbucket = 'bitbucket: { preset: bitbucket, clientId: e, clientSecret: f }'
  const found = (entries: readonly string[], more: string): string[] =>
    problemsOf(() => load(entries, more)).map((problem) => brief(problem).replace(/^\S+ /, ''))
  const all = [staff, github, bitbucket]
  const bearer = 'bearer: { audience: api }'
  t.same(found(all, `routes: [{ path: /**, ${bearer} }]`), [], 'one provider suffices')
  t.same(found(all, `routes: [{ path: /**, provider: [github, bitbucket], ${bearer} }]`), [
    'routes[0].bearer: needs access tokens in JWT form, which GitHub does not have | remove it',
  ])
  t.same(found(all, 'routes: [{ path: /**, require: { acr: gold } }]'), [
    'routes[0].require.acr: needs ID tokens with acr, which GitHub does not have | set provider: [staff] on this route',
  ])
  t.same(found(all, 'routes: [{ path: /**, require: { maxAge: 5m } }]'), [
    'routes[0].require.maxAge: needs ID tokens with auth_time, which GitHub does not have | set provider: [staff] on this ' +
      'route',
  ])
  t.same(found(all, 'routes: [{ path: /**, provider: staff, require: { acr: gold } }]'), [])

  const ends = (entries: readonly string[]) =>
    loadText(folder, configuration(entries).replace('session: {', 'session: { endWithIdToken: true,'))
  t.match(ends(all).warnings, [/session\.endWithIdToken: has no effect on sessions of GitHub/])
  t.match(problemsOf(() => ends([github, bitbucket])).map(brief), [/session\.endWithIdToken: needs ID tokens/])
  t.end()
})

void t.test('the printed configuration has no secrets, and loads again', (t) => {
  const config = load([staff, partners])
  const printed = toMaskedYaml(config)
  t.notMatch(printed, 'hush')
  const again: { provider: unknown; providers: Record<string, { clientSecret: string; title: string | null }> } =
    parse(printed)
  t.equal(again.provider, null)
  t.same(
    Object.entries(again.providers).map(([name, { clientSecret, title }]) => [name, clientSecret, title]),
    [
      ['staff', '********', 'Our staff'],
      ['partners', '********', null],
    ],
  )
  t.same(providersOf(loadText(folder, printed.replace('- "********"', `- ${key}`)).config).length, 2)
  t.end()
})

void t.test('names, issuers and client IDs need a restart, and other keys do not', (t) => {
  const before = load([staff, partners])
  const changed = (...entries: string[]): string[] => keysRequiringRestart(before, load(entries))
  t.same(changed(staff.replace('hush', 'new'), partners.replace('openid', 'openid, email')), [])
  t.same(changed(partners, staff), [], 'another order')
  t.same(changed(staff), ['providers'])
  t.same(changed(staff, partners.replace('partners', 'others')), ['providers'])
  t.same(changed(staff.replace('clientId: a', 'clientId: c'), partners), ['providers.staff.clientId'])
  t.same(changed(staff, partners.replace('b.example', 'c.example')), ['providers.partners.issuer'])
  t.end()
})

void t.test('explain says what a session of each provider may do', async (t) => {
  const config = load(
    [staff, partners],
    'routes: [{ path: /**, headers: { set: { X-Provider: "{provider}" } } }, { path: /partners/**, provider: partners }]',
  )
  const explain = async (path: string, claims: object, provider: string | null = null): Promise<string> => {
    const request = { method: 'GET', url: path, headers: [], claims: { ...claims }, provider, now: Date.now() }
    return (await explainRequest(config, request)).map(([name, text]) => `${name}: ${text}\n`).join('')
  }
  t.match(await explain('/', {}, 'partners'), 'header: X-Provider: partners\n')
  t.match(await explain('/', { iss: 'https://b.example.com' }), 'header: X-Provider: partners\n')
  t.match(await explain('/partners/x', {}), 'answer: passes')
  const tenants = load(
    ['all: { issuer: "https://login.microsoftonline.com/organizations/v2.0", clientId: a, clientSecret: x }', partners],
    'routes: [{ path: /**, headers: { set: { X-Provider: "{provider}" } }, bearer: { audience: api } }]',
  )
  const ofTenant = async (iss: string, tid: string | undefined, headers: [string, string][] = []): Promise<string> => {
    const claims = { iss, sub: 'alice', aud: 'api', ...(tid === undefined ? {} : { tid }) }
    const request = { method: 'GET', url: '/', headers, claims, now: Date.now() }
    return (await explainRequest(tenants, request)).map(([name, text]) => `${name}: ${text}\n`).join('')
  }
  const bearer: [string, string][] = [['Authorization', 'Bearer eyJ.eyJ.x']]
  const entra = 'https://login.microsoftonline.com/t-1/v2.0'
  t.match(await ofTenant(entra, 't-1'), 'a user of all with')
  t.match(await ofTenant('https://b.example.com', 't-1'), 'a user of partners with')
  t.match(await ofTenant(entra, 't-1', bearer), 'answer: passes: the client’s own token')
  t.match(
    await ofTenant('https://sts.windows.net/t-1/', 't-1', bearer),
    'answer: passes',
    'an access token of version 1',
  )
  t.match(await ofTenant(entra, 't-2', bearer), 'answer: 401 invalid_token', 'the tid of another tenant')
  t.match(await ofTenant('https://evil.example/t-1/v2.0', 't-1', bearer), 'because: the token’s iss is "https://evil')
  const foreign = await explain('/partners/x', {}, 'staff')
  t.match(foreign, 'answer: 401 login_required\n')
  t.match(foreign, 'because: the route requires a session, and the one that there is belongs to staff\n')
})
