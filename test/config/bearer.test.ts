import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { brief, least, loadText, problemsOf } from './configuration.ts'

const folder = mkdtempSync(join(tmpdir(), 'gatehouse-'))
t.teardown(() => {
  rmSync(folder, { recursive: true })
})

const problems = (route: string, more = ''): string[] =>
  problemsOf(() => loadText(folder, `${least}${more}routes:\n  - { path: /**, ${route} }\n`)).map(brief)

void t.test('bearer needs an audience, clients or metadata', (t) => {
  for (const bearer of [
    '{}',
    '{ scopes: [orders.read] }',
    '{ issuers: [{ issuer: "https://a.example", audience: b }] }',
  ])
    t.match(problems(`bearer: ${bearer}`), [
      /routes\[0\]\.bearer: does not say which tokens it accepts.* \| add the audience of the tokens/,
    ])
  for (const bearer of ['{ audience: a }', '{ clientIds: a }', '{ metadata: true }'])
    t.equal(loadText(folder, `${least}routes:\n  - { path: /**, bearer: ${bearer} }\n`).config.routes.length, 1)
  t.end()
})

void t.test('keys of another issuer are not read over plain http', (t) => {
  const bearer = (issuer: string): string => `bearer: { audience: a, issuers: [${issuer}] }`
  t.match(problems(bearer('{ issuer: "http://a.example" }')), [/bearer\.issuers\[0\]\.issuer: is plain http/])
  t.match(problems(bearer('{ issuer: "https://a.example", jwksUri: "http://a.example/keys" }')), [
    /bearer\.issuers\[0\]\.jwksUri: is plain http/,
  ])
  t.match(problems(bearer('{ issuer: "https://a.example/.well-known/openid-configuration" }')), [
    /bearer\.issuers\[0\]\.issuer: must be the issuer, not its discovery document/,
  ])
  for (const issuer of ['{ issuer: "http://127.0.0.1:9000" }', '{ issuer: "https://a.example" }'])
    t.ok(loadText(folder, `${least}routes:\n  - { path: /**, ${bearer(issuer)} }\n`))
  t.end()
})

void t.test('a token is exchanged only with a grant that exchanges tokens', (t) => {
  for (const grant of ['session', 'none', 'client-credentials'])
    t.match(problems(`bearer: { audience: a, token: exchange }, token: { grant: ${grant} }`), [
      new RegExp(
        `bearer\\.token: exchange is not possible with token\\.grant: ${grant} \\| set token: \\{ grant: token-ex`,
      ),
    ])
  t.end()
})
