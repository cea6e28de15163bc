import t from 'tap'
import { brief, least, loadText, problemsOf } from './configuration.ts'

const folder = t.testdir({})

/** The problems with `require` of a route, or with its other keys, without their places. */
const problemsWith = (keys: string, more = ''): string[] =>
  problemsOf(() => loadText(folder, `${least}${more}routes: [{ path: /admin, ${keys} }]\n`)).map((problem) =>
    brief(problem).replace(/^\S+ routes\[0\]\./, ''),
  )

const warningsFor = (keys: string, more = ''): readonly string[] =>
  loadText(folder, `${least}${more}routes: [{ path: /admin, ${keys} }]\n`).warnings

void t.test('rules that can never hold are refused, with the key and the route', (t) => {
  const never = 'holds wherever the rest of the rule holds, so the rule never holds on /admin'
  const excludes = (not: string): RegExp =>
    new RegExp(`never holds on /admin: routes\\[0\\]\\.${not} excludes every request that it lets in`)
  const rows: [require: string, at: string, message: string | RegExp][] = [
    ['claims: { a: x }, not: { claims: { a: x } }', 'not', never],
    ['claims: { a: [x, y] }, not: { claims: { a: [z, y, x] } }', 'not', never],
    ['claims: { a: xyz, b: 1 }, not: { claims: { a: "x*" } }', 'not', never],
    ['claims: { a: "xy*z" }, not: { claims: { a: "x*" } }', 'not', never],
    ['claims: { a: true }, not: { claims: { a: true } }', 'not', never],
    ['claims: { email: A@b.c }, not: { claims: { email: "*@B.C" } }', 'not', never],
    ['claims: { a: x }, not: { any: [{ claims: { b: y } }, { claims: { a: x } }] }', 'not', never],
    ['claims: { a: x }, networks: [10.1.0.0/16], not: { claims: { a: x }, networks: [10.0.0.0/8] }', 'not', never],
    ['networks: [10.0.0.0/8], not: { networks: [10.0.0.0/9, 10.128.0.0/9] }', 'not', never],
    ['not: { networks: [0.0.0.0/0, "::/0"] }', 'not', never],
    ['networks: [10.0.0.0/8], not: { not: { networks: [192.168.0.0/16] } }', 'not', never],
    ['claims: { a: x }, any: [{ claims: { b: y } }, { not: { claims: { a: x } } }]', 'any[1].not', never],
    ['not: { claims: { a: x } }, any: [{ claims: { a: x } }, { claims: { b: y } }]', 'any[0]', excludes('require.not')],
    [
      'not: { claims: { a: x } }, any: [{ any: [{ claims: { a: x } }, { claims: { b: y } }] }]',
      'any[0].any[0]',
      excludes('require.not'),
    ],
    [
      'networks: [10.0.0.0/8], any: [{ networks: [192.168.0.0/16] }, { claims: { a: x } }]',
      'any[0].networks',
      /no address is also in/,
    ],
    [
      'networks: [10.0.0.0/8], any: [{ claims: { a: x }, any: [{ networks: ["::/0"] }] }]',
      'any[0].any[0].networks',
      /no address/,
    ],
    ['not: { claims: { a: x }, not: { claims: { a: x } } }', 'not.not', never],
    ['not: { networks: [10.0.0.0/8], any: [{ networks: [11.0.0.0/8] }] }', 'not.any[0].networks', /no address/],
    ['claims: { role: [a, b] }, not: { any: [{ claims: { role: a } }, { claims: { role: b } }] }', 'not', never],
    ['claims: { a: ["x*", y] }, not: { any: [{ claims: { a: y } }, { claims: { a: ["x*"] } }] }', 'not', never],
    ['not: { any: [{ networks: [0.0.0.0/0] }, { networks: ["::/0"] }] }', 'not', never],
    ['networks: [10.0.0.0/8], not: { any: [{ networks: [10.0.0.0/9] }, { networks: [10.128.0.0/9] }] }', 'not', never],
    [
      'not: { not: { claims: { a: x } } }, any: [{ claims: { b: y } }, { not: { claims: { a: x } } }]',
      'any[1].not',
      never,
    ],
    ['claims: { sub: alice }, any: [{ claims: { sub: bob } }]', 'any[0].claims.sub', /sub is a single value/],
    ['claims: { sub: [a, b] }, any: [{ claims: { sub: ["b*c", "d*"] } }]', 'any[0].claims.sub', /single value/],
    ['claims: { email: "*@a.com" }, any: [{ claims: { email: "*@b.com" } }]', 'any[0].claims.email', /single value/],
    ['claims: { email: "A*" }, any: [{ claims: { email: "b*" } }]', 'any[0].claims.email', /single value/],
    [
      'claims: { email_verified: true }, any: [{ claims: { email_verified: false } }]',
      'any[0].claims.email_verified',
      /single value/,
    ],
    ['acr: gold, claims: { acr: silver }', 'claims.acr', /acr is a single value/],
    ['acr: gold, not: { claims: { acr: gold } }', 'not', never],
    ['acr: [gold, silver], not: { any: [{ claims: { acr: g* } }, { claims: { acr: silver } }] }', 'not', never],
    ['claims: { realm_access.roles: x }, not: { claims: { \'realm_access."roles"\': x } }', 'not', never],
    ['claims: { email: A@b.c }, not: { claims: { \'"email"\': a@B.c } }', 'not', never],
    ['not: {}', 'not', 'is an empty rule, which always holds, so the rule around it never holds on /admin'],
    [
      'any: [{ claims: { a: x } }, {}]',
      'any[1]',
      'is an empty rule, which always holds, so any always holds on /admin',
    ],
    ['any: [{ not: { claims: {} } }]', 'any[0].not', /is an empty rule/],
    [
      'claims: { email: example.com }',
      'claims.email[0]',
      /"example\.com" is not an email address, so it never matches/,
    ],
  ]
  for (const [require, at, message] of rows) {
    for (const place of ['require', 'bearer.require']) {
      const keys = place === 'require' ? `require: { ${require} }` : `bearer: { audience: x, require: { ${require} } }`
      const [problem = '', ...others] = problemsWith(keys)
      t.same(others, [], require)
      t.ok(problem.startsWith(`${place}.${at}: `), `${require}: ${problem}`)
      const expected =
        typeof message === 'string' ? message : new RegExp(message.source.replace('\\.require', `\\.${place}`))
      t.match(problem, expected, require)
      t.match(problem, '/admin', require)
    }
  }
  t.end()
})

void t.test('rules that may hold are accepted', (t) => {
  for (const require of [
    'claims: { groups: [staff, admin], email: "*@example.com" }, any: [{ claims: { role: admin } }, { networks: [10.0.0.0/8] }], not: { claims: { groups: suspended } }',
    'claims: { a: [x, y] }, not: { claims: { a: x } }',
    'claims: { a: "x*" }, not: { claims: { a: "xy*" } }',
    'claims: { a: "\\\\*" }, not: { claims: { a: "x" } }',
    'claims: { a: x }, not: { claims: { a: X } }',
    'claims: { a: "x" }, not: { claims: { a: "x", b: y } }',
    'claims: { a: [x, y] }, not: { any: [{ claims: { a: x } }, { claims: { a: z } }] }',
    'claims: { a: "*" }, not: { any: [{ claims: { a: "x*" } }, { claims: { a: "y*" } }] }',
    'claims: { a: x }, any: [{ claims: { a: y } }]',
    'claims: { sub: [alice, bob] }, any: [{ claims: { sub: bob } }]',
    'claims: { email: "*@A.com" }, any: [{ claims: { email: "alice@*" } }, { claims: { email: "a*@a.com" } }]',
    'claims: { email: "a*", email_verified: true }, not: { claims: { email_verified: false } }',
    'claims: { email: "a*m" }, any: [{ claims: { email: "*@b.com" } }]',
    'not: { any: [{ networks: [0.0.0.0/0] }, { claims: { a: x } }] }',
    'acr: [gold, silver], claims: { acr: silver }, not: { claims: { acr: gold } }',
    'acr: gold, not: { claims: { acr: gold, a: x } }',
    'claims: { resource_access.my.app.roles: x }, not: { claims: { \'resource_access."my.app".roles\': x } }',
    'claims: { a: x }, not: { claims: { a: x }, networks: [10.0.0.0/8] }',
    'claims: { a: x }, not: { claims: { a: x }, not: { claims: { b: y } } }',
    'networks: [10.0.0.0/8], not: { networks: [10.0.0.0/9] }',
    'not: { networks: [0.0.0.0/0] }',
    'networks: [10.1.0.0/16], any: [{ networks: [10.0.0.0/8] }, { networks: [10.1.2.3] }]',
    'not: { not: { claims: { a: x } } }',
    'any: [{ claims: { a: x }, any: [{ claims: { b: y } }], not: { networks: [10.0.0.0/8] } }]',
    'claims: { email: "*@*.example.com" }',
  ]) {
    t.same(problemsWith(`require: { ${require} }`), [], require)
    t.same(warningsFor(`require: { ${require} }`), [], require)
  }
  t.end()
})

void t.test('rules with very many combinations are read quickly', (t) => {
  const pairs = Array.from({ length: 40 }, (_item, i) => `{ claims: { a${i}: x, b${i}: x } }`)
  const begun = performance.now()
  t.same(problemsWith(`require: { claims: { a0: x, b0: x }, not: { any: [${pairs.join(', ')}] } }`), [
    'require.not: holds wherever the rest of the rule holds, so the rule never holds on /admin' +
      ' | exclude less than the rule requires, or leave not out',
  ])
  const some = pairs.slice(0, 20).join(', ')
  problemsWith(
    `require: { any: [${some}], not: { any: [${some}, { networks: [0.0.0.0/0] }, { networks: ["::/0"] }] } }`,
  )
  t.ok(performance.now() - begun < 2_000)
  t.end()
})

void t.test(
  'a text that looks like true, false or a number causes a warning, except for claims that are texts',
  (t) => {
    for (const [value, claim] of Object.entries({ '"true"': 'true', '"false"': 'false', '"42"': '42', "'-7'": '-7' })) {
      const warnings = warningsFor(`require: { not: { any: [{ claims: { blocked: [x, ${value}] } }] } }`)
      t.equal(warnings.length, 1, value)
      t.match(
        warnings[0],
        `require.not.any[0].claims.blocked[1]: "${claim}" is a text, as are all values from \${…}, and does not match ` +
          `the claim ${claim}; write ${claim} without quotes`,
      )
    }
    const filled = loadText(folder, `${least}routes: [{ path: /, require: { claims: { a: "\${A}" } } }]\n`, {
      A: 'true',
    })
    t.match(filled.warnings, [/claims\.a\[0\]: "true" is a text/])
    for (const values of ['a: [true, 42, "007", "1.0", "x", "9007199254740993"]', 'sub: "42"', 'acr: "1"', 'tid: "5"'])
      t.same(warningsFor(`require: { claims: { ${values} } }`), [], values)
    t.end()
  },
)

void t.test(
  'any and not can be nested two levels deep, and keys of other programs are recognized in each rule',
  (t) => {
    const unknown = 'is not a key of the configuration'
    for (const [keys, expected] of [
      [
        'require: { any: [{ not: { any: [{ claims: { a: x } }] } }] }',
        `require.any[0].not.any: ${unknown} | use a rule with fewer levels: any and not can be nested two levels deep`,
      ],
      [
        'bearer: { audience: x, require: { not: { any: [{ not: { claims: { a: x } } }] } } }',
        `bearer.require.not.any[0].not: ${unknown} | use a rule with fewer levels: any and not can be nested two levels deep`,
      ],
      ['require: { any: [{ groups: x }] }', `require.any[0].groups: ${unknown} | use claims: { groups: [ … ] }`],
      ['require: { not: { ip: 10.0.0.1 } }', `require.not.ip: ${unknown} | use networks: [ … ]`],
      ['require: { anyOf: [] }', `require.anyOf: ${unknown} | use any: [ … ]`],
      ['require: { any: [] }', 'require.any: must not be an empty list | give an item, or leave the key out'],
      ['require: { networks: [] }', 'require.networks: must not be an empty list | give a value, or leave the key out'],
      ['require: { networks: [10.0.0.0/33] }', /^require\.networks\[0\]: must have a prefix of at most 32 bits/],
      ['require: { any: [{ claims: { a: x }, acr: gold }] }', /^require\.any\[0\]\.acr: is not a key/],
      ['require: { claims: { "a.\\"b": x } }', /^require\.claims\.a\."b: must have its quotes around whole segments/],
      [
        'require: { claims: { id: 9007199254740993 } }',
        /^require\.claims\.id: must be at most .* \| put the value in quotes/,
      ],
    ] as const) {
      const problems = problemsWith(keys)
      t.equal(problems.length, 1, keys)
      t.match(problems[0], expected, keys)
    }
    t.end()
  },
)

void t.test('a rule has no effect on a route without access: required, except that of clients with tokens', (t) => {
  for (const require of ['networks: [10.0.0.0/8]', 'any: [{ claims: { a: x } }]', 'not: { claims: { a: x } }']) {
    t.match(problemsWith(`access: optional, require: { ${require} }`), [
      /^require: has no effect with access: optional/,
    ])
    t.match(problemsWith(`access: public, require: { ${require} }`), [/^require: has no effect with access: public/])
    t.same(problemsWith(`access: optional, bearer: { audience: x, require: { ${require} } }`), [])
  }
  t.end()
})

void t.test('networks need an address to compare', (t) => {
  const rule = 'require: { any: [{ networks: [10.0.0.0/8] }, { claims: { a: x } }] }'
  const socket = 'listen: unix:/run/gatehouse.sock\n'
  t.match(problemsWith(rule, socket), [
    /^require\.any\[0\]\.networks: can never be compared on \/admin: the clients of a Unix socket have no address \| set trustedProxies/,
  ])
  t.same(problemsWith(rule, `${socket}trustedProxies: [127.0.0.1]\n`), [])
  t.same(problemsWith(rule, `${socket}forwardAuth: { listen: 127.0.0.1:8081 }\n`), [])
  const byProxy = 'forwardAuth: { listen: 127.0.0.1:8081 }\n'
  t.match(warningsFor(rule, byProxy), [/any\[0\]\.networks: compare the address of the proxy/])
  t.same(warningsFor(rule, `${byProxy}trustedProxies: [127.0.0.1]\n`), [])
  t.same(warningsFor('', byProxy), [])
  t.end()
})

void t.test('a pattern for email addresses that also matches other domains causes a warning', (t) => {
  for (const pattern of ['*example.com', '*-example.com'])
    t.match(warningsFor(`require: { claims: { email: ["${pattern}"] } }`), [/also matches other domains that end in/])
  for (const pattern of ['*@example.com', '*.example.com', '*', 'a*@example.com', '*x@example.com'])
    t.same(warningsFor(`require: { claims: { email: ["${pattern}"] } }`), [], pattern)
  t.end()
})

void t.test('a tenant or the groups may be required inside of any', (t) => {
  const tenants = `provider: { issuer: "https://login.microsoftonline.com/common/v2.0", clientId: orders, clientSecret: hush }\n`
  const warnings = (require: string): readonly string[] =>
    loadText(folder, `${least.replace(/^provider: .*\n/m, tenants)}routes: [{ path: /, require: { ${require} } }]\n`)
      .warnings
  t.same(warnings('any: [{ claims: { tid: a } }, { claims: { tid: b }, networks: [10.0.0.0/8] }]'), [])
  t.match(warnings('any: [{ claims: { tid: a } }, { networks: [10.0.0.0/8] }]'), [/covers all tenants/])
  t.match(warnings('not: { claims: { tid: a } }'), [/covers all tenants/])
  t.end()
})
