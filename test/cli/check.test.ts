import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { parse } from 'yaml'
import { key, least } from '../config/configuration.ts'
import { runProgram } from '../support/program.ts'

const folder = t.testdir()
const write = (name: string, text: string): string => {
  const file = join(folder, name)
  writeFileSync(file, text)
  return file
}

void t.test('check prints the effective configuration with masked secrets, and the route table', async (t) => {
  const file = write(
    'good.yaml',
    `${least}
routes:
  - path: /**
  - { path: /assets/**, access: public }
  - { path: /api/**, methods: [GET], stripPrefix: /api, require: { claims: { groups: [staff, admin] }, maxAge: 5m } }
`,
  )
  const { status, stdout, stderr } = await runProgram(t, ['check', '--config', file], {
    GATEHOUSE_SESSION_LIFETIME: '9h',
  })
  t.same([status, stderr], [0, ''])
  const printed: { session: { lifetime: string }; provider: { clientSecret: string }; routes: { path: string }[] } =
    parse(stdout)
  t.equal(printed.session.lifetime, '9h', 'the environment wins')
  t.equal(printed.provider.clientSecret, '********')
  t.same(
    printed.routes.map(({ path }) => path),
    ['/**', '/assets/**', '/api/**'],
  )
  t.notMatch(stdout, key)
  t.notMatch(stdout, 'hush')
  const table = stdout.slice(stdout.indexOf('# ROUTE')).trimEnd().split('\n')
  t.same(
    table.map((row) => row.slice(2).split(/ {2,}/)),
    [
      ['ROUTE', 'ACCESS', 'TOKEN', 'UPSTREAM', 'REQUIRES'],
      ['/oauth2/**', '-', '-', 'the gateway itself'],
      ['/**', 'required', 'token: session', 'http://127.0.0.1:3000'],
      ['/assets/**', 'public', 'no token', 'http://127.0.0.1:3000'],
      [
        'GET,HEAD /api/**',
        'required',
        'token: session',
        'http://127.0.0.1:3000 (without /api)',
        'groups: staff | admin; login not older than 300 s',
      ],
    ],
  )
})

/** Returns the names and the URLs of what to register, for each provider. */
const registrations = (stdout: string): string[][] =>
  stdout
    .split(/^# Register at the provider /m)
    .slice(1)
    .map((text) => [...text.matchAll(/^# {3}(\S.*)$/gm)].map(([, row = '']) => row.replaceAll(/ {2,}/g, ' | ')))

void t.test('check prints what to register at the provider, as comments of the YAML', async (t) => {
  const { stdout } = await runProgram(t, ['check', '--config', write('register.yaml', least)])
  t.match(stdout, '# Register at the provider (https://login.example.com):\n')
  const base = 'https://orders.example.com/oauth2'
  t.same(registrations(stdout), [
    [
      `redirect URI | ${base}/callback`,
      `post-logout redirect URI | ${base}/logout/callback`,
      `back-channel logout URL | ${base}/logout/backchannel | (if the provider has it)`,
      `front-channel logout URL | ${base}/logout/frontchannel | (otherwise, with frontchannel_logout_session_required)`,
      `initiate login URI | ${base}/login | (for logins that begin at the provider)`,
    ],
  ])
  t.match(parse(stdout), { publicUrl: ['https://orders.example.com'] })
})

void t.test(
  'check names what to register for each public URL or loginHost, in the words of each provider',
  async (t) => {
    const client = 'clientId: orders, clientSecret: hush'
    const several = `publicUrl: [https://orders.example.com, https://stock.example.com]
basePath: /auth
upstream: http://127.0.0.1:3000
providers:
  staff: { issuer: "https://login.microsoftonline.com/72f988bf-86f1-41af-91ab-2d7cd011db47/v2.0", ${client} }
  guests: { issuer: "https://example.okta.com", ${client} }
  developers: { preset: github, ${client} }
session: { keys: ["${key}"] }
`
    const { stdout } = await runProgram(t, ['check', '--config', write('several.yaml', several)])
    t.match(
      stdout,
      '# Register at the provider (providers.staff, Microsoft Entra ID, https://login.microsoftonline.com/',
    )
    const [orders, stock] = ['https://orders.example.com/auth', 'https://stock.example.com/auth']
    const platform = '"Redirect URI (platform Web)"'
    t.same(registrations(stdout), [
      [
        `redirect URI: ${platform} | ${orders}/callback/staff`,
        `redirect URI: ${platform} | ${stock}/callback/staff`,
        `post-logout redirect URI: ${platform} | ${orders}/logout/callback`,
        `post-logout redirect URI: ${platform} | ${stock}/logout/callback`,
        `front-channel logout URL | ${orders}/logout/frontchannel`,
        `front-channel logout URL | ${stock}/logout/frontchannel`,
      ],
      [
        `redirect URI: "Sign-in redirect URIs" | ${orders}/callback/guests`,
        `redirect URI: "Sign-in redirect URIs" | ${stock}/callback/guests`,
        `post-logout redirect URI: "Sign-out redirect URIs" | ${orders}/logout/callback`,
        `post-logout redirect URI: "Sign-out redirect URIs" | ${stock}/logout/callback`,
        `initiate login URI | ${orders}/login`,
        `initiate login URI | ${stock}/login`,
      ],
      [
        `redirect URI: "Callback URL" | ${orders}/callback/developers`,
        `redirect URI: "Callback URL" | ${stock}/callback/developers`,
      ],
    ])
    const hosts = `publicUrl: "https://*.example.com"\nloginHost: https://login.example.com`
    const single = least.replace(/publicUrl: .*/, hosts).replace('hush }', 'hush, preset: keycloak }')
    const cookie = single.replace('session: { ', 'session: { cookie: { domain: example.com }, ')
    const atLoginHost = await runProgram(t, ['check', '--config', write('login-host.yaml', cookie)])
    const base = 'https://login.example.com/oauth2'
    t.same(registrations(atLoginHost.stdout), [
      [
        `redirect URI: "Valid redirect URIs" | ${base}/callback`,
        `post-logout redirect URI: "Valid post logout redirect URIs" | ${base}/logout/callback`,
        `back-channel logout URL | ${base}/logout/backchannel`,
      ],
    ])
  },
)

void t.test('the route table has the keys that change how the gateway talks to an application', async (t) => {
  const file = write(
    'other.yaml',
    `${least}
routes:
  - path: /**
  - { path: /rpc/**, upstreamProtocol: h2c, cors: { origins: [https://app.example.org] } }
  - path: /old/**
    upstreamHost: upstream
    upstreamParser: lenient
    authorization: client
    token: { grant: none }
    require: { acr: "urn:mfa" }
`,
  )
  const { stdout } = await runProgram(t, ['check', '--config', file])
  const table = stdout.slice(stdout.indexOf('# ROUTE')).trimEnd().split('\n')
  t.match(table[0], /REQUIRES +OTHER KEYS$/)
  t.match(table[2], /127\.0\.0\.1:3000$/)
  t.match(table[3], / {2}upstreamProtocol: h2c; cors: https:\/\/app\.example\.org$/)
  t.match(table[4], /acr: urn:mfa {2}upstreamParser: lenient; upstreamHost: upstream; authorization: client$/)
})

void t.test('the route table has each rule in short', async (t) => {
  const file = write(
    'rules.yaml',
    `${least}
routes:
  - path: /admin/**
    require:
      claims: { groups: [a, b, c, d, e] }
      networks: [10.0.0.0/8, "2001:db8::/32"]
      any: [{ claims: { role: admin } }, { networks: 10.1.0.0/16 }]
      not: { claims: { groups: suspended } }
      acr: mfa
  - path: /api/**
    bearer: { audience: api, require: { claims: { scope: read }, not: { any: [{ claims: { azp: old } }] } } }
`,
  )
  const { stdout } = await runProgram(t, ['check', '--config', file])
  const table = stdout.slice(stdout.indexOf('# ROUTE')).trimEnd().split('\n')
  t.match(
    table[2],
    / {2}groups: a \| b \| c \| d \| … \(5\); networks: 10\.0\.0\.0\/8 \| 2001:db8::\/32; any of 2; not groups: suspended; acr: mfa$/,
  )
  t.match(table[3], / {2}with a token: scope: read, not any of 1$/)
})

void t.test('check prints the preset that the issuer identifies, and the values of the preset', async (t) => {
  const withIssuer = least.replace('https://login.example.com', 'https://accounts.google.com')
  const { status, stdout } = await runProgram(t, ['check', '--config', write('preset.yaml', withIssuer)])
  t.equal(status, 0)
  const { provider }: { provider: object } = parse(stdout)
  t.match(provider, {
    preset: 'google',
    scopes: ['openid', 'profile', 'email'],
    authorizationParameters: { access_type: 'offline', prompt: 'consent' },
  })
  const misspelled = least.replace('clientId', 'preset: gogle, clientId')
  const refused = await runProgram(t, ['check', '--config', write('misspelled.yaml', misspelled)])
  t.equal(refused.status, 2)
  t.match(refused.stderr, /provider\.preset[^]*did you mean google\?/)
})

void t.test('the output of check is a valid configuration once the secrets are filled in', async (t) => {
  const { stdout } = await runProgram(t, ['check', '--config', write('first.yaml', least)])
  const filled = stdout.replace('clientSecret: "********"', 'clientSecret: hush').replace('- "********"', `- ${key}`)
  const again = await runProgram(t, ['check', '--config', write('second.yaml', filled)])
  t.same([again.status, again.stderr], [0, ''])
  t.equal(again.stdout, stdout)
})

void t.test(
  'an invalid configuration reports every problem with its place and what to write, and exits with status 2',
  async (t) => {
    const file = write(
      'bad.yaml',
      `publicUrl: https://orders.example.com/shop
upstream: http://127.0.0.1:3000
provider: { issuer: "https://login.example.com", clientId: orders, clientSecret: "\${NOT_SET}" }
session: { keys: ["short"], lifetme: 3h }
routes:
  - path: /a/**
  - path: /a/**
`,
    )
    const { status, stdout, stderr } = await runProgram(t, ['check', '--config', file])
    t.same([status, stdout], [2, ''])
    for (const [place, message, instead] of [
      ['1:12: publicUrl', 'must be an origin without a path', 'https://orders.example.com'],
      ['3:82: provider.clientSecret', 'needs the environment variable NOT_SET', 'write ${NOT_SET:-default}'],
      ['4:19: session.keys[0]', 'must be 32 bytes in base64', 'gatehouse keygen'],
      ['4:29: session.lifetme', 'is not a key of the configuration', 'did you mean lifetime?'],
      ['7:11: routes[1].path', 'matches the same requests as routes[0]', 'merge the two routes'],
    ] as const) {
      const lines = stderr.split('\n')
      const at = lines.findIndex((line) => line.startsWith(`${file}:${place}: `))
      t.not(at, -1, place)
      t.ok(lines[at]?.includes(message), message)
      t.ok(lines[at + 1]?.includes(instead), instead)
    }
    t.ok(stderr.endsWith('\n'))
    t.not(stderr.at(-2), '\n')
  },
)

void t.test('start refuses the same configuration with the same words before it listens', async (t) => {
  const file = write('worse.yaml', 'publicUrl: [\n')
  const [checked, started] = await Promise.all([
    runProgram(t, ['check', '--config', file]),
    runProgram(t, ['--config', file]),
  ])
  t.same([checked.status, started.status], [2, 2])
  t.match(started.stderr, new RegExp(`^${file}:\\d+:\\d+: `))
  t.equal(started.stderr, checked.stderr)
  t.equal(started.stdout, '')
})

void t.test('the messages for a missing file and a missing configuration say what to provide', async (t) => {
  const [missing, named, none] = await Promise.all([
    runProgram(t, ['check', '--config', join(folder, 'nowhere.yaml')]),
    runProgram(t, ['check'], { GATEHOUSE_CONFIG: join(folder, 'elsewhere.yaml') }),
    runProgram(t, ['check']),
  ])
  t.same([missing.status, named.status, none.status], [2, 2, 2])
  t.match(missing.stderr, 'nowhere.yaml: cannot be read: no such file')
  t.match(named.stderr, 'elsewhere.yaml: cannot be read: no such file')
  t.match(
    none.stderr,
    /give a YAML file with --config FILE, or set at least GATEHOUSE_PUBLIC_URL, .*GATEHOUSE_PROVIDER_ISSUER/,
  )
})

void t.test('a random session key is a warning, not a problem', async (t) => {
  const { status, stderr } = await runProgram(t, [
    'check',
    '--config',
    write('keyless.yaml', least.replace(/^session.*\n/m, '')),
  ])
  t.equal(status, 0)
  t.match(stderr, /^warning: .*session\.keys.*random key.*gatehouse keygen\n$/)
})
