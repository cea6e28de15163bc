import { Ajv, type AnySchema } from 'ajv'
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { parse } from 'yaml'
import { variables } from '../../src/config/environment.ts'
import { loadConfig } from '../../src/config/load.ts'
import { schema } from '../../src/config/schema.ts'
import { key } from './configuration.ts'

const path = (name: string): string => fileURLToPath(new URL(`../../${name}`, import.meta.url))
const published: AnySchema = JSON.parse(readFileSync(path('config/gatehouse.schema.json'), 'utf8'))
const example = readFileSync(path('config/gatehouse.yaml'), 'utf8')
const accepts = new Ajv({ strict: true, allowUnionTypes: true }).compile(published)

await t.test('the generated files are up to date', async (t) => {
  const { status, stdout } = spawnSync(process.execPath, ['--import=tsx', path('scripts/generate.ts'), '--check'], {
    encoding: 'utf8',
  })
  t.equal(stdout, '')
  t.equal(status, 0)
})

await t.test('the example configuration loads', async (t) => {
  const { config, warnings } = loadConfig({
    file: path('config/gatehouse.yaml'),
    env: {
      OIDC_ISSUER: 'https://login.example.com',
      OIDC_CLIENT_ID: 'orders',
      OIDC_CLIENT_SECRET: 'hush',
      SESSION_KEY: key,
    },
  })
  t.same(warnings, [])
  t.same(
    config.routes.map((route) => route.path),
    ['/assets/**', '/**'],
  )
  t.ok(example.startsWith('# yaml-language-server: $schema=./gatehouse.schema.json\n'))
  t.ok(accepts(parse(example)), 'and its schema accepts it')
})

await t.test('the published schema accepts valid configurations and refuses invalid ones', async (t) => {
  const table: [unknown, boolean][] = [
    [{}, true],
    [{ admin: false }, true],
    [{ admin: null }, true],
    [{ admin: { listen: '127.0.0.1:1' } }, true],
    [{ admin: true }, false],
    [{ admin: { sessions: 'loopback' } }, true],
    [{ admin: { sessions: { token: 'abc' } } }, true],
    [{ admin: { sessions: false } }, true],
    [{ admin: { sessions: 'everybody' } }, false],
    [{ admin: { sessions: {}, hosts: ['a'] } }, true],
    [{ workers: '${N}' }, true],
    [{ session: { lifetime: '${HOURS}h', idleTimeout: false } }, true],
    [{ session: { lifetime: '10' } }, false],
    [{ session: { lifetime: 10 } }, false],
    [
      {
        routes: [
          { path: '/a', challenge: 401 },
          { path: '/b', challenge: '401' },
        ],
      },
      true,
    ],
    [{ routes: [{ challenge: 'auto' }] }, false],
    [{ routes: [{ path: '/a', token: { grant: 'other' } }] }, false],
    [{ routes: [{ path: '/a', timeot: '1s' }] }, false],
    [{ publicURL: 'https://a' }, false],
    [{ provider: { scopes: 'openid' } }, false],
    [{ rateLimit: { login: 'off', callback: false, session: '1/1m' } }, true],
    [{ log: { level: 'loud' } }, false],
  ]
  for (const [value, expected] of table) t.equal(accepts(value), expected, JSON.stringify(value))
})

await t.test('every variable is documented, and all names differ', async (t) => {
  const names = variables(schema).map(({ name }) => name)
  const reference = readFileSync(path('docs/configuration.md'), 'utf8')
  t.same(
    names.filter((name) => !reference.includes(`\`${name}\``) && name !== 'GATEHOUSE_ADMIN'),
    [],
  )
  t.equal(new Set(names).size, names.length)
  const withFile = names.filter((name) => names.includes(`${name}_FILE`))
  t.same(withFile, [], 'no name is another name with _FILE appended')
  for (const name of ['PROVIDER_CLIENT_ID', 'UPSTREAM', 'PUBLIC_URL', 'TLS_CERT_FILE', 'SESSION_END_WITH_ID_TOKEN']) {
    t.ok(names.includes(`GATEHOUSE_${name}`), name)
  }
})
