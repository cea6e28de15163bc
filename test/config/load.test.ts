import { join } from 'node:path'
import t from 'tap'
import { loadConfig } from '../../src/config/load.ts'
import { ConfigurationError, formatProblems } from '../../src/config/problems.ts'
import { brief, key, least, loadText, problemsOf } from './configuration.ts'

const folder = t.testdir({})

await t.test('a minimal configuration gets every default', async (t) => {
  const { config, warnings } = loadText(folder, least)
  t.same(warnings, [])
  t.same(config, {
    listen: { host: '0.0.0.0', port: 8080 },
    listenMode: null,
    listenH2c: false,
    publicUrl: ['https://orders.example.com'],
    loginHost: null,
    basePath: '/oauth2',
    trustedProxies: [],
    listenProxyProtocol: false,
    upstream: { origin: 'http://127.0.0.1:3000', socketPath: null },
    tls: null,
    forwardAuth: null,
    admin: { listen: { host: '127.0.0.1', port: 9090 }, hosts: [], sessions: null },
    provider: {
      issuer: 'https://login.example.com',
      preset: 'auto',
      metadataUrl: null,
      endpoints: {
        authorization: null,
        token: null,
        jwks: null,
        userinfo: null,
        groups: null,
        endSession: null,
        revocation: null,
        introspection: null,
        pushedAuthorization: null,
        backchannelAuthentication: null,
      },
      browserIssuerUrl: null,
      metadataAge: 43_200_000,
      proxy: 'env',
      clockTolerance: 120_000,
      clientId: 'orders',
      clientSecret: 'hush',
      clientAuthentication: 'auto',
      privateKey: null,
      keyId: null,
      certificate: null,
      teamId: null,
      clientAssertionFile: null,
      clientCertificate: null,
      dpop: 'off',
      requestObjects: 'off',
      idTokenKeys: [],
      responseMode: 'query',
      logout: { url: null, revoke: 'true' },
      tolerate: [],
      groupsFrom: null,
      scopes: null,
      authorizationParameters: {},
      loginParameters: ['ui_locales', 'kc_idp_hint', 'organization'],
      pushedAuthorization: 'auto',
      caFile: null,
      allowHttp: false,
      timeout: 10_000,
      userinfo: false,
      sessionCheck: null,
    },
    providers: null,
    session: {
      keys: [Buffer.alloc(32, 7)],
      store: { kind: 'memory', max: 50_000 },
      cookie: {
        name: 'gatehouse',
        sameSite: 'lax',
        domain: null,
        path: '/',
        persistent: true,
        partitioned: false,
      },
      lifetime: 36_000_000,
      idleTimeout: 1_800_000,
      endWithIdToken: false,
      refreshBefore: { share: 0.5 },
      redis: { caFile: null, certFile: null, keyFile: null, username: null, password: null },
      outageGrace: 60_000,
      maxPerUser: null,
    },
    scripts: { headers: [], message: null },
    pages: {
      title: null,
      logo: null,
      texts: {},
      languages: {},
      accentColor: null,
      styleFile: null,
      favicon: null,
      contact: null,
    },
    assertion: null,
    log: { level: 'info', user: 'sub', fields: [], exclude: [] },
    workers: 1,
    shutdown: { wait: 0, drain: 30_000 },
    limits: {
      headers: 32_768,
      headerFields: 100,
      answerHeaders: 65_536,
      keepAlive: 75_000,
      headersTimeout: 60_000,
      idleRead: 60_000,
      connections: null,
    },
    rateLimit: {
      login: { max: 300, window: 60_000 },
      callback: { max: 300, window: 60_000 },
      session: { max: 600, window: 60_000 },
      requests: null,
    },
    routes: [
      {
        path: '/**',
        host: null,
        methods: null,
        access: 'required',
        provider: null,
        upstream: { origin: 'http://127.0.0.1:3000', socketPath: null },
        upstreamHost: 'preserve',
        upstreamProtocol: 'http1',
        upstreamParser: 'strict',
        upstreamConnectionAge: 300_000,
        stripPrefix: null,
        rewritePrefix: null,
        prefixHeaders: true,
        challenge: 'auto',
        require: { claims: {}, networks: null, any: null, not: null, acr: null, maxAge: null },
        token: { grant: 'session', audience: null, resource: null, scopes: null, header: 'Authorization' },
        authorization: 'token',
        headers: { set: {}, encoding: 'rfc8187', remove: [] },
        bearer: null,
        loginRedirects: [],
        preservePost: true,
        maxBody: null,
        csrf: 'origin',
        cors: null,
        timeout: 60_000,
        upstreamTls: { caFile: null, serverName: null, certFile: null, keyFile: null, insecureSkipVerify: false },
      },
    ],
  })
})

await t.test('the environment alone is a configuration', async (t) => {
  const { config, warnings } = loadConfig({
    env: {
      GATEHOUSE_PUBLIC_URL: 'https://a.example.com, https://b.example.com/',
      GATEHOUSE_UPSTREAM: 'unix:/run/app.sock',
      GATEHOUSE_PROVIDER_ISSUER: 'https://login.example.com/v2.0',
      GATEHOUSE_PROVIDER_CLIENT_ID: '00123',
      GATEHOUSE_PROVIDER_CLIENT_SECRET: 'not ${FILLED} in',
      GATEHOUSE_PROVIDER_SCOPES: 'openid,email',
      GATEHOUSE_PROVIDER_USERINFO: 'true',
      GATEHOUSE_PROVIDER_AUTHORIZATION_PARAMETERS: '{ domain_hint: "${HINT}", max_age: 300 }',
      GATEHOUSE_SESSION_KEYS: key,
      GATEHOUSE_SESSION_IDLE_TIMEOUT: 'off',
      GATEHOUSE_WORKERS: '1',
      GATEHOUSE_ADMIN: 'false',
      GATEHOUSE_RATE_LIMIT_LOGIN: '',
      GATEHOUSE_RATE_LIMIT_SESSION: 'false',
      GATEHOUSE_ROUTES: '[{ path: /assets/**, access: public }, { path: /**, timeout: "${SLOW:-5m}" }]',
      HINT: 'example.com',
      OTHER_THING: 'x',
    },
  })
  t.same(warnings, [])
  t.same(config.publicUrl, ['https://a.example.com', 'https://b.example.com'])
  t.same(config.upstream, { origin: 'http://localhost', socketPath: '/run/app.sock' })
  t.equal(config.provider?.clientId, '00123')
  t.equal(config.provider?.clientSecret, 'not ${FILLED} in')
  t.same(config.provider?.scopes, ['openid', 'email'])
  t.equal(config.provider?.userinfo, true)
  t.same(config.provider?.authorizationParameters, { domain_hint: 'example.com', max_age: '300' })
  t.equal(config.session.idleTimeout, null)
  t.equal(config.admin, null)
  t.same(config.rateLimit.login, { max: 300, window: 60_000 }, 'an empty variable counts as not set')
  t.equal(config.rateLimit.session, null)
  t.same(
    config.routes.map(({ path, access, timeout, token }) => [path, access, timeout, token.grant]),
    [
      ['/assets/**', 'public', 60_000, 'none'],
      ['/**', 'required', 300_000, 'session'],
    ],
  )
})

await t.test('the environment takes precedence over an invalid value of the file', async (t) => {
  const { config } = loadText(folder, `${least}log: { level: "\${NOWHERE}" }\nworkers: 1\nadmin: false\n`, {
    GATEHOUSE_LOG_LEVEL: 'debug',
    GATEHOUSE_ADMIN_LISTEN: '[::1]:0',
    GATEHOUSE_FORWARD_AUTH_LISTEN: 'unix:/run/verdicts.sock',
    GATEHOUSE_PUBLIC_URL: 'https://other.example.com',
  })
  t.equal(config.log.level, 'debug')
  t.same(config.forwardAuth, { listen: { path: '/run/verdicts.sock' } })
  t.match(config.admin, { listen: { host: '::1', port: 0 } })
  t.same(config.publicUrl, ['https://other.example.com'])
})

await t.test('the environment sets who administers sessions', async (t) => {
  const sessions = (env: Record<string, string>, yaml = ''): unknown =>
    loadText(folder, `${least}${yaml}`, env).config.admin?.sessions
  t.equal(sessions({ GATEHOUSE_ADMIN_SESSIONS: 'loopback' }), 'loopback')
  t.same(sessions({ GATEHOUSE_ADMIN_SESSIONS_TOKEN: 'hush' }), { token: 'hush' })
  t.same(sessions({ GATEHOUSE_ADMIN_SESSIONS_TOKEN: 'hush' }, 'admin: { sessions: loopback }\n'), { token: 'hush' })
  t.same(sessions({ T: 'hush' }, 'admin: { sessions: { token: "${T}" } }\n'), { token: 'hush' })
  t.equal(sessions({}, 'admin: { sessions: off }\n'), null)
})

await t.test('values are read from files', async (t) => {
  const folder = t.testdir({ secret: 'from a file\r\n', keys: `${key}\n${key}\n`, nested: { deep: 'deeper\n' } })
  const env = {
    GATEHOUSE_PROVIDER_CLIENT_SECRET_FILE: join(folder, 'secret'),
    GATEHOUSE_SESSION_KEYS_FILE: join(folder, 'keys'),
  }
  const { config } = loadText(folder, `${least}pages: { title: "\${file:nested/deep}" }\n`, env)
  t.equal(config.provider?.clientSecret, 'from a file')
  t.equal(config.session.keys.length, 2)
  t.equal(config.pages.title, 'deeper', 'a relative path starts at the file')

  t.same(
    problemsOf(() =>
      loadText(folder, least, {
        GATEHOUSE_PROVIDER_CLIENT_ID_FILE: join(folder, 'missing'),
        GATEHOUSE_LOG_LEVEL: 'loud',
        GATEHOUSE_WORKERS: '1',
        GATEHOUSE_WORKERS_FILE: join(folder, 'secret'),
        GATEHOUSE_ROUTES: '[{ path: /x',
      }),
    ).map(({ file, line, column, path, message }) => [file, line, column, path, message]),
    [
      ['GATEHOUSE_WORKERS_FILE', null, null, 'workers', 'is given twice'],
      [
        'GATEHOUSE_ROUTES',
        null,
        null,
        'routes',
        'is not valid YAML: Flow map in block collection must be sufficiently indented and end with a }',
      ],
      [
        'GATEHOUSE_PROVIDER_CLIENT_ID_FILE',
        null,
        null,
        'provider.clientId',
        'names a file that cannot be read: no such file',
      ],
      [
        'GATEHOUSE_LOG_LEVEL',
        null,
        null,
        'log.level',
        'must be one of trace, debug, info, warn, error, fatal, silent, not "loud"',
      ],
    ],
  )
})

await t.test('values from the environment lose newlines at their end, as those from files do', async (t) => {
  const { config, warnings } = loadText(folder, least.replace('hush', '"${SECRET}"'), {
    SECRET: 'hush\n',
    GATEHOUSE_SESSION_KEYS: `${key}\r\n`,
    GATEHOUSE_PROVIDER_CLIENT_ID: 'orders\n\n',
    GATEHOUSE_SESSION_STORE: '\n',
    GATEHOUSE_PAGES_TITLE: ' two\nlines ',
  })
  t.same(warnings, [])
  t.match(config.provider, { clientId: 'orders', clientSecret: 'hush' })
  t.same(config.session.keys, [Buffer.from(key, 'base64')])
  t.same(
    config.session.store,
    loadText(folder, least).config.session.store,
    'a variable with nothing but newlines is empty',
  )
  t.equal(config.pages.title, ' two\nlines ', 'nothing but the end changes')
  t.equal(
    loadConfig({ env: { GATEHOUSE_CONFIG: `${join(folder, 'gatehouse.yaml')}\n`, SECRET: 'x' } }).config.workers,
    1,
  )
})

await t.test('a misspelled variable is named along with the mistakes that it causes', async (t) => {
  const problems = problemsOf(() =>
    loadText(folder, least.replace('clientId: orders, ', ''), {
      GATEHOUSE_PROVIDER_CLIENTID: 'orders',
      GATEHOUSE_XYZ: '1',
    }),
  )
  t.same(
    problems.map(({ file, path, instead }) => [file, path, instead]),
    [
      [join(folder, 'gatehouse.yaml'), 'provider.clientId', 'set it here, or set GATEHOUSE_PROVIDER_CLIENT_ID'],
      ['GATEHOUSE_PROVIDER_CLIENTID', '', 'did you mean GATEHOUSE_PROVIDER_CLIENT_ID?'],
    ],
  )
  for (const name of ['GATEHOUSE_CONFG', 'GATEHOUSE_CONFIG_FILE'])
    t.match(problemsOf(() => loadConfig({ env: { [name]: 'gatehouse.yaml' } })).map(brief), [
      /no configuration is given/,
      /did you mean GATEHOUSE_CONFIG\?/,
    ])
})

await t.test('a key that ends in File has its own variable', async (t) => {
  const problems = problemsOf(() => loadText(folder, least, { GATEHOUSE_PROVIDER_CA_FILE: '/nowhere/ca.pem' }))
  t.same(
    problems.map((problem) => [problem.file, brief(problem)]),
    [
      [
        'GATEHOUSE_PROVIDER_CA_FILE',
        'provider.caFile: cannot be read: /nowhere/ca.pem: no such file | give the path of a readable PEM file',
      ],
    ],
  )
})

await t.test('unknown GATEHOUSE_ variables are refused', async (t) => {
  const { warnings } = loadText(folder, least, {
    GATEHOUSE_SESION_LIFETIME: '3h',
    GATEHOUSE_PORT: 'tcp://10.0.0.1:8080',
    GATEHOUSE_PORT_8080_TCP_ADDR: '10.0.0.1',
    GATEHOUSE_SERVICE_HOST: '10.0.0.1',
    GATEHOUSE_SERVICE_PORT_HTTP: '8080',
    GATEHOUSE_ADMIN_SERVICE_HOST: '10.0.0.2',
    GATEHOUSE_CONFIG: '/elsewhere',
    GATEHOUSE_XYZ: '1',
  })
  t.same(warnings, [
    'GATEHOUSE_SESION_LIFETIME: is not a variable of Gatehouse; did you mean GATEHOUSE_SESSION_LIFETIME?',
    'GATEHOUSE_XYZ: is not a variable of Gatehouse',
  ])
})

await t.test('GATEHOUSE_CONFIG names the file if no option does', async (t) => {
  loadText(folder, least)
  t.equal(loadConfig({ env: { GATEHOUSE_CONFIG: join(folder, 'gatehouse.yaml') } }).config.provider?.clientId, 'orders')
  t.same(problemsOf(() => loadConfig({ file: join(folder, 'none.yaml'), env: {} })).map(brief), [
    ': cannot be read: no such file | give the path of a YAML file with --config',
  ])
  t.same(problemsOf(() => loadConfig({ file: folder, env: {} })).map(brief), [
    ': cannot be read: it is a directory | give the path of a YAML file with --config',
  ])
})

await t.test('a missing configuration is refused', async (t) => {
  const [problem, ...more] = problemsOf(() => loadConfig({ env: { HOME: '/root' } }))
  t.same(more, [])
  t.match(problem, {
    file: 'environment',
    line: null,
    message: 'no configuration is given',
    instead: /GATEHOUSE_PUBLIC_URL/,
  })
  t.same(problemsOf(() => loadConfig({ env: { GATEHOUSE_LOG_LEVEL: 'info' } })).map(brief), [
    'publicUrl: is required | set it here, or set GATEHOUSE_PUBLIC_URL',
    'provider.clientId: is required | set it here, or set GATEHOUSE_PROVIDER_CLIENT_ID',
    'provider.issuer: is required | set it here, or set GATEHOUSE_PROVIDER_ISSUER',
    'provider.clientSecret: is required: the gateway cannot authenticate to the provider without it | ' +
      'set it, for example to ${OIDC_CLIENT_SECRET}; for a public client set clientAuthentication: none',
    'upstream: is required, because routes[0] has no upstream of its own' +
      ' | set it to an origin such as http://127.0.0.1:3000, or set GATEHOUSE_UPSTREAM',
  ])
})

await t.test('invalid YAML is refused with its place', async (t) => {
  const bomb = [
    'a: &a [x, x, x, x, x, x, x, x, x, x]',
    ...'bcdefgh'.split('').map((name, index) => {
      const before = `*${'abcdefg'[index]}`
      return `${name}: &${name} [${Array.from({ length: 10 }, () => before).join(', ')}]`
    }),
  ].join('\n')
  const table: [string, string, string][] = [
    ['twice', 'upstream: a\nupstream: b\n', '2:1 : this key is given twice | keep one of them'],
    [
      'two documents',
      'a: 1\n---\nb: 2\n',
      '2:1 : a second YAML document begins here | put everything into one document, without ---',
    ],
    [
      'a tag',
      'listen: !!js/function x\n',
      '1:9 : YAML tags such as !name are not supported | put text that begins with ! in quotes',
    ],
    [
      'a colon',
      'x: a: b\n',
      '1:4 : a colon at the end or before a space starts a map, which is not allowed here | put the value in quotes',
    ],
    ['no map', '- a\n- b\n', '1:1 : must be a map of keys | begin with "publicUrl: "'],
    [
      'an unclosed map',
      'provider: { issuer: x\n',
      '2:1 : is not valid YAML: Flow map in block collection must be sufficiently indented and end with a }',
    ],
    [
      'a bare ${',
      'log: { level: ${X} }\nlisten: x\n',
      '1:16 : is not valid YAML: Unexpected flow-map-start at node end | inside { } and [ ] put values with ${…} in quotes',
    ],
    [
      'an unknown alias',
      'listen: *hunter2\n',
      '1:9 : this alias has no anchor | put text that begins with * in quotes',
    ],
    ['a flood of aliases', bomb, '1:1 : has too many aliases | repeat the values'],
    ['a text that is left over', 'listen: "a" hunter2\n', '1:13 : is not valid YAML: Unexpected scalar at node end'],
  ]
  for (const [name, text, expected] of table) {
    t.same(problemsOf(() => loadText(folder, text)).map(brief), [expected], name)
  }
})

await t.test('memory: can be written without quotes', async (t) => {
  const text = least.replace(/session: .*/, `session:\n  store: memory:   # in this process\n  keys: ["${key}"]`)
  t.same(loadText(folder, text).config.session.store, { kind: 'memory', max: 50_000 })
  t.same(problemsOf(() => loadText(folder, `${text}workers: no\n`)).map(brief), [
    '7:10 workers: must be auto or a whole number of at least 1, not "no"',
  ])
})

await t.test('aliases and empty sections are accepted', async (t) => {
  const { config } = loadText(
    folder,
    `${least}scripts:\npages:\n  texts:\nroutes:
  - path: /a
    headers: &headers { set: { X-User: "{claims.sub}" } }
  - path: /b
    headers: *headers
`,
  )
  t.same(config.routes[1]?.headers.set, { 'X-User': '{claims.sub}' })
  t.same(config.pages.texts, {})
  t.same(problemsOf(() => loadText(folder, `${least}pages: &p { title: 3 }\nscripts: *p\n`)).map(brief), [
    '5:13 scripts.title: is not a key of the configuration | it belongs to pages',
    '5:20 pages.title: must be text, not 3 | put the value in quotes',
  ])
})

await t.test('missing session keys are replaced by a random one, with a warning', async (t) => {
  const text = least.replace(/session: .*\n/, '')
  const first = loadText(folder, text)
  const second = loadText(folder, text)
  t.equal(first.config.session.keys.length, 1)
  t.equal(first.config.session.keys[0]?.length, 32)
  t.notSame(first.config.session.keys, second.config.session.keys)
  t.match(first.warnings, [/gatehouse\.yaml:1:1: session\.keys: .*random key.*gatehouse keygen/])
  t.equal(first.warnings.length, 1)
})

await t.test('an empty key is a problem, not a random key', async (t) => {
  const text = least.replace(key, '${SESSION_KEY}')
  t.same(problemsOf(() => loadText(folder, text, { SESSION_KEY: '' })).map(brief), [
    '4:19 session.keys[0]: must be 32 bytes in base64, not 0 | generate one with: gatehouse keygen',
  ])
})

await t.test('all problems are reported at once, each with its place', async (t) => {
  const text = `# A comment first
publicUrl: https://orders.example.com/app
sesion: {}
clientId: orders
provider:
  issuer: https://login.example.com
  client_id: orders
  clientSecret: \${NOWHERE}
session:
  lifetime: 30
  keys: [abc]
  cookie: { name: "a b", sameSite: sideways }
routes:
  - path: /a**
  - path: /api/**
    timout: 5s
    methods: [GET, TRACE]
    headers:
      set:
        X-User: "{claim.email}"
        X User: x
  - { access: public }
  - nothing
admin: 9090
tls:
  certFile: none.pem
`
  const problems = problemsOf(() => loadText(folder, text))
  t.same(problems.map(brief), [
    '1:1 upstream: is required, because routes[0] has no upstream of its own' +
      ' | set it to an origin such as http://127.0.0.1:3000, or set GATEHOUSE_UPSTREAM',
    '2:12 publicUrl: must be an origin without a path, not "https://orders.example.com/app"' +
      ' | https://orders.example.com',
    '3:1 sesion: is not a key of the configuration | did you mean session?',
    '4:1 clientId: is not a key of the configuration | it belongs to provider',
    '5:1 provider.clientId: is required | set it here, or set GATEHOUSE_PROVIDER_CLIENT_ID',
    '7:3 provider.client_id: is not a key of the configuration | did you mean clientId?',
    '8:17 provider.clientSecret: needs the environment variable NOWHERE, which is not set' +
      ' | set it, or write ${NOWHERE:-default}',
    '10:13 session.lifetime: must be a duration such as 30s or 15m, not 30 | add the unit, such as 30s',
    '11:10 session.keys[0]: must be 32 bytes in base64, not 2 | generate one with: gatehouse keygen',
    '12:19 session.cookie.name: must be a cookie name of letters, digits, _ and -, not "a b"',
    '12:36 session.cookie.sameSite: must be one of lax, strict, none, not "sideways"',
    '14:11 routes[0].path: a * must be a whole segment, in "/a**"',
    '16:5 routes[1].timout: is not a key of the configuration | did you mean timeout?',
    '17:20 routes[1].methods[1]: must be another method: TRACE is never served',
    '20:17 routes[1].headers.set.X-User: must not contain "{claim.email}"' +
      ' | only {claims.NAME}, {sub}, {provider}, {session.id}, {request.id}, {idToken}, {accessToken}, {assertion} are ' +
      'filled in',
    '21:17 routes[1].headers.set.X User: must be a header name such as X-User, not "X User"',
    '22:5 routes[2].path: is required',
    '23:5 routes[3]: must be a map',
    '24:8 admin: must be a map, or false | keys: listen, hosts, sessions',
    '25:1 tls.keyFile: is required | set it here, or set GATEHOUSE_TLS_KEY_FILE',
    `26:13 tls.certFile: cannot be read: ${join(folder, 'none.pem')}: no such file | give the path of a readable PEM file`,
  ])
  t.equal(new ConfigurationError(problems.slice(2, 3)).message, formatProblems(problems.slice(2, 3)))
  t.equal(
    formatProblems(problems.slice(2, 3)),
    `${join(folder, 'gatehouse.yaml')}:3:1: sesion: is not a key of the configuration\n    did you mean session?`,
  )
})

await t.test('a problem within a value from the environment names the variable', async (t) => {
  const problems = problemsOf(() =>
    loadText(folder, least, {
      GATEHOUSE_ROUTES: '[{ path: /x, timeout: 5 }, { path: /x }]',
      GATEHOUSE_PUBLIC_URL: 'https://a.example.com,ftp://b.example.com',
    }),
  )
  t.same(
    problems.map((problem) => `${problem.file} ${brief(problem)}`),
    [
      'GATEHOUSE_PUBLIC_URL publicUrl[1]: must be an origin such as https://orders.example.com, not' +
        ' "ftp://b.example.com"',
      'GATEHOUSE_ROUTES routes[0].timeout: must be a duration such as 30s or 15m, not 5 | add the unit, such as 5s',
      'GATEHOUSE_ROUTES routes[1].path: matches the same requests as routes[0]' +
        ' | merge the two routes, or give them different paths, hosts or methods',
    ],
  )
})

await t.test('interpolated text is converted to the type of its key, and never becomes YAML structure', async (t) => {
  const { config } = loadText(
    folder,
    `${least}workers: "\${N}"
log: { level: "\${LEVEL:-warn}" }
admin: \${ADMIN}
routes:
  - path: /**
    challenge: "\${CHALLENGE}"
    preservePost: "\${NO}"
    maxBody: "\${NO}"
    timeout: \${T}s
    require: { claims: { groups: "\${LIST}" } }
`,
    { N: '1', ADMIN: 'off', CHALLENGE: '401', NO: 'false', T: '90', LIST: '[staff, admin]' },
  )
  const [route] = config.routes
  t.equal(config.workers, 1)
  t.equal(config.log.level, 'warn')
  t.equal(config.admin, null)
  t.match(route, { challenge: '401', preservePost: false, maxBody: null, timeout: 90_000 })
  t.same(route?.require.claims, { groups: ['[staff, admin]'] })
})
