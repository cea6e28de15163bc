import { readFileSync } from 'node:fs'
import { isDeepStrictEqual } from 'node:util'
import t from 'tap'
import { key, loadText, problemsOf } from './configuration.ts'

const folder = t.testdir({})
const env = {
  OIDC_ISSUER: 'https://login.example.com',
  OIDC_CLIENT_ID: 'orders',
  OIDC_CLIENT_SECRET: 'hush',
  SESSION_KEY: key,
}

const lists = `publicUrl:
  - https://orders.example.com
  - https://shop.example.com
  - https://other.example.com
upstream: http://127.0.0.1:3000
provider:
  issuer: https://login.example.com
  clientId: orders
  clientSecret: hush
  scopes: [openid,
    email]
  endpoints:
    token: https://login.example.com/token
session:
  keys: ["${key}"]
  lifetime: 1h
scripts:
  headers:
    - name: X-Ajax
      value: "1"
    - { name: X-Other, value: "2" }
routes:
- path: /assets/**
  access: public
- path: /**
  require:
    claims:
      groups:
        - staff
        - admin
`
const texts = {
  example: readFileSync(new URL('../../config/gatehouse.yaml', import.meta.url), 'utf8'),
  lists,
}

/** The text with another indentation of one line. */
const indented = (text: string, line: number, indentation: string): string =>
  text
    .split('\n')
    .map((one, index) => (index + 1 === line ? indentation + one.trimStart() : one))
    .join('\n')

/** The lines with a key or a list item, with their indentation. */
const linesOf = (text: string): [line: number, indent: number][] =>
  text
    .split('\n')
    .flatMap((one, index): [number, number][] =>
      /^ *[^ #]/.test(one) ? [[index + 1, one.length - one.trimStart().length]] : [],
    )

const brief = (text: string): [line: number | null, message: string, instead: string | null][] =>
  problemsOf(() => loadText(folder, text)).map(({ line, message, instead }) => [line, message, instead])

for (const [name, text] of Object.entries(texts))
  await t.test(
    `a space more or less in front of any line of the ${name} is harmless or reported with that line`,
    async (t) => {
      const good = loadText(folder, text, env).config
      let reported = 0
      for (const [line, indent] of linesOf(text))
        for (const wrong of [indent - 1, indent + 1].filter((one) => one >= 0)) {
          const changed = indented(text, line, ' '.repeat(wrong))
          const [problem] = problemsOf(() => loadText(folder, changed, env))
          if (problem === undefined)
            t.ok(isDeepStrictEqual(loadText(folder, changed, env).config, good), `line ${line}`)
          else {
            t.match(problem, {
              line,
              column: wrong + 1,
              message: `line ${line} is indented by ${wrong}, its neighbours by ${indent}`,
              instead: `indent it by ${indent}`,
            })
            reported += 1
          }
        }
      t.ok(reported > 15)
    },
  )

await t.test('the first line of a section or of the file is reported if the others agree', async (t) => {
  for (const [line, wrong, right] of [
    [1, 2, 0],
    [1, 4, 0],
    [7, 6, 2],
    [7, 0, 2],
    [19, 8, 4],
  ] as const)
    t.same(brief(indented(lists, line, ' '.repeat(wrong))), [
      [line, `line ${line} is indented by ${wrong}, its neighbours by ${right}`, `indent it by ${right}`],
    ])
})

await t.test('of two lines that disagree, the one with more spaces is reported', async (t) => {
  const text = (issuer: number, clientId: number): string =>
    `provider:\n${' '.repeat(issuer)}issuer: https://login.example.com\n${' '.repeat(clientId)}clientId: orders\n`
  t.same(brief(text(2, 4))[0], [3, 'line 3 is indented by 4, its neighbours by 2', 'indent it by 2'])
  t.same(brief(text(4, 2))[0], [2, 'line 2 is indented by 4, its neighbours by 2', 'indent it by 2'])
})

await t.test('a tab in front of any line is reported with advice', async (t) => {
  for (const [line] of linesOf(lists).filter(([, indent]) => indent > 0))
    t.match(
      problemsOf(() => loadText(folder, indented(lists, line, '\t'))),
      [
        {
          line,
          message: 'this line is indented with a tab, which YAML does not allow',
          instead: /^indent it with spaces/,
        },
      ],
      `line ${line}`,
    )
})

await t.test('all lines with a wrong indentation are reported', async (t) => {
  t.same(brief(indented(indented(lists, 8, '   '), 20, '       ')), [
    [8, 'line 8 is indented by 3, its neighbours by 2', 'indent it by 2'],
    [20, 'line 20 is indented by 7, its neighbours by 6', 'indent it by 6'],
  ])
})

await t.test('a block that was moved as a whole is reported with its first line', async (t) => {
  const moved = lists.replace('- path: /**\n  require:\n    claims:', ' - path: /**\n   require:\n     claims:')
  t.same(brief(moved), [[25, 'line 25 is indented by 1, its neighbours by 0', 'indent it by 0']])
})

await t.test('a line that fits at two places is reported with both', async (t) => {
  const text = 'routes:\n  - path: /**\n    headers:\n      set:\n        X-User: a\n       remove: []\n'
  t.match(brief(text)[0], [6, /^line 6 is indented by 7, its neighbours by /, / 6 below headers.* 8 below set/])
})

await t.test('other mistakes are not taken for a wrong indentation', async (t) => {
  const table: [string, RegExp][] = [
    [
      'provider:\n  issuer: https://login.example.com\n  clientId:orders\n  clientSecret: hush\n',
      /neither a key with a colon/,
    ],
    ['provider:\n  issuer https://login.example.com\n  clientId: orders\n', /neither a key with a colon/],
    ['provider:\n  issuer: "https://login.example.com\n  clientId: orders\n', /not valid YAML: Missing closing "quote/],
    ['provider:\n  clientId: orders: shop\n  issuer: x\n', /a colon at the end or before a space/],
    ['provider: { clientId: orders\nupstream: x\n', /not valid YAML/],
  ]
  for (const [text, message] of table) t.match(brief(text)[0]?.[1], message, text)
})
