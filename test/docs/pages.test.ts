import { existsSync, readFileSync, readdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { parse } from 'yaml'
import { loadConfig } from '../../src/config/load.ts'
import { createAuthority } from '../support/certificates.ts'
import { documented } from '../support/documented.ts'
import { asFile } from '../support/gateway.ts'

const root = fileURLToPath(new URL('../../', import.meta.url))
const read = (file: string): string => readFileSync(join(root, file), 'utf8')
const pages = [
  'README.md',
  'CONTRIBUTING.md',
  'SECURITY.md',
  'examples/mcp/README.md',
  ...readdirSync(join(root, 'docs')).map((n) => `docs/${n}`),
]
  .filter((name) => name.endsWith('.md'))
  .map((name) => ({ name, text: read(name) }))

const minimal = {
  upstream: 'http://127.0.0.1:3000',
  provider: { issuer: 'https://login.example.com', clientId: 'orders', clientSecret: 'hush' },
  session: { keys: [Buffer.alloc(32, 7).toString('base64')] },
}

/** The anchors that GitHub gives to the headings of a page. */
const anchorsOf = (text: string): string[] =>
  [...text.matchAll(/^#+ (.*)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  )

void t.test('the example with cors in docs/requests.md loads without warnings', (t) => {
  const [example = ''] = documented('requests.md', 'yaml')
  const { config, warnings } = loadConfig({
    file: asFile(t, parse(example)),
    env: { OIDC_CLIENT_SECRET: 'hush', SESSION_KEY: Buffer.alloc(32, 7).toString('base64') },
  })
  t.same(warnings, [])
  t.same(config.routes[0]?.cors, { origins: ['https://app.example.org'] })
  t.end()
})

void t.test('the examples of the pages in docs/browser.md load without warnings', (t) => {
  const examples = documented('browser.md', 'yaml')
  t.equal(examples.length, 2)
  for (const example of examples) {
    const settings = { publicUrl: 'https://orders.example.com', ...minimal, ...parse(example) }
    const folder = t.testdir({
      'gatehouse.yaml': JSON.stringify(settings),
      'gatehouse.css': 'h1 { color: red }',
      'favicon.png': Buffer.from('iVBORw0KGgo=', 'base64'),
    })
    t.same(loadConfig({ file: join(folder, 'gatehouse.yaml'), env: {} }).warnings, [])
  }
  t.end()
})

void t.test('the example with an MCP server in docs/access.md loads without warnings', (t) => {
  const example = documented('access.md', 'yaml').find((block) => block.includes('upstreamHost')) ?? ''
  const { config, warnings } = loadConfig({
    file: asFile(t, { publicUrl: 'https://orders.example.com', ...minimal, ...parse(example) }),
    env: {},
  })
  t.same(warnings, [])
  t.match(config.routes[0], { upstreamHost: 'upstream', bearer: { metadata: true, scopes: ['orders.read'] } })
  t.end()
})

void t.test('the example of an old application in docs/requests.md loads without warnings', (t) => {
  const example = documented('requests.md', 'yaml').find((block) => block.includes('upstreamParser')) ?? ''
  const authority = createAuthority()
  const gateway = authority.issue(['gateway.internal'])
  const folder = t.testdir({
    'erp-ca.pem': authority.ca,
    'gateway.pem': gateway.cert,
    'gateway-key.pem': gateway.key,
    'gatehouse.yaml': example,
  })
  const { config, warnings } = loadConfig({
    file: join(folder, 'gatehouse.yaml'),
    env: { OIDC_CLIENT_SECRET: 'hush', SESSION_KEY: Buffer.alloc(32, 7).toString('base64') },
  })
  t.same(warnings, [])
  t.match(config.routes[1], { stripPrefix: '/legacy', upstreamHost: 'upstream', authorization: 'client' })
  t.end()
})

void t.test('the configuration in README.md loads without warnings', async (t) => {
  const [example = ''] = documented('../README.md', 'yaml')
  const { config, warnings } = loadConfig({
    file: asFile(t, parse(example)),
    env: { OIDC_CLIENT_SECRET: 'hush', SESSION_KEY: Buffer.alloc(32, 7).toString('base64') },
  })
  t.same(warnings, [])
  t.same(
    config.routes.map(({ path }) => path),
    ['/assets/**', '/**', '/admin/**', '/api/stock/**'],
  )
})

void t.test('links between the pages lead to files and headings that exist', async (t) => {
  for (const { name, text } of pages) {
    for (const [, link = ''] of text.matchAll(/\]\((?!https?:)([^)\s]+)\)/g)) {
      const [path = '', anchor] = link.split('#')
      const target = path === '' ? name : join(dirname(name), path)
      t.ok(existsSync(join(root, target)), `${name}: ${link}`)
      if (anchor !== undefined) t.ok(anchorsOf(read(target)).includes(anchor), `${name}: ${link}`)
    }
  }
})

void t.test('every endpoint and every code is described', async (t) => {
  const endpoints = read('docs/endpoints.md')
  const paths = [...read('src/http/endpoints/index.ts').matchAll(/\{ path: '([^']+)'/g)].map(([, path = '']) => path)
  t.ok(paths.length > 10)
  for (const path of paths) t.ok(endpoints.includes(`\`${path}\``), `docs/endpoints.md: ${path}`)

  const [union = ''] = /^export type Code =[^]*?\n\n/m.exec(read('src/errors.ts')) ?? []
  const codes = [...union.matchAll(/'(\w+)'/g)].map(([, code = '']) => code)
  t.ok(codes.length > 10)
  for (const code of codes) t.ok(`${read('docs/requests.md')}${endpoints}`.includes(`\`${code}\``), code)
})

void t.test('files of the source and of the tests that the pages and pictures name exist', async (t) => {
  const texts = [
    ...pages,
    ...readdirSync(join(root, 'docs')).map((n) => ({ name: `docs/${n}`, text: read(`docs/${n}`) })),
  ]
  for (const { name, text } of texts) {
    for (const [path] of text.matchAll(/\b(?:src|test|scripts|bench)\/[\w/.-]*\.(?:ts|js|sh)\b/g))
      t.ok(existsSync(join(root, path)), `${name}: ${path}`)
  }
  const named = [
    ...read('docs/architecture.md').matchAll(/`((?:http|gate|token|session|oidc|store|config)\/[\w/-]+)`/g),
  ]
  t.ok(named.length > 30)
  for (const [, path = ''] of named) t.ok(existsSync(join(root, 'src', `${path}.ts`)), `docs/architecture.md: ${path}`)
  for (const [, path = ''] of read('docs/walks.svg').matchAll(/class="file"[^>]*>([^<]+)</g))
    t.ok(existsSync(join(root, 'src', path)), `docs/walks.svg: ${path}`)
})
