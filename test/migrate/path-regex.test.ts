import t from 'tap'
import { pathsOf } from '../../src/migrate/path-regex.ts'
import { compileRoutes } from '../../src/gate/match.ts'
import { loadText, least } from '../config/configuration.ts'

const folder = t.testdir()

/** Paths that tell one expression from another. */
const paths = ['x', 'xy', 'y', 'health', 'healthz', 'readyz', 'api', 'v1', 'a.b', 'aXb', 'a-b']
  .flatMap((one) => [
    `/${one}`,
    `/${one}/`,
    `/${one}/x`,
    `/${one}/xy`,
    `/${one}/x/`,
    `/${one}/x/y`,
    `/x/${one}`,
    `/x/${one}/y`,
    `/x/y/${one}`,
    `/v1/${one}/y`,
  ])
  .concat('/')

/** The paths that routes made of the expression let in. */
function opened(regex: string): string[] | null {
  const found = pathsOf(regex)
  if (found === null) return null
  const routes = [
    ...found.patterns.map((path) => `  - { path: "${path}", access: public }`),
    ...found.but.map((path) => `  - { path: "${path}" }`),
  ]
  const rest = found.patterns.includes('/**') ? [] : ['  - { path: /** }']
  const { config } = loadText(folder, `${least}routes:\n${[...routes, ...rest].join('\n')}\n`)
  const table = compileRoutes(config.routes, '/oauth2')
  return paths.filter((path) => {
    const route = table.match('orders.example.com', 'GET', path)
    return typeof route === 'object' && route?.access === 'public'
  })
}

for (const regex of [
  '^/x$',
  '^/x/$',
  '^/x/',
  '^/x/.*',
  '^/x/.*$',
  '^/x(/|$)',
  '^/x($|/)',
  '^/x(/.*)?$',
  '^/x/?$',
  '^\\/x\\/',
  '^/(health|healthz|readyz)$',
  '^/(x|y)/',
  '^/(?:x|y)(/|$)',
  '^/a\\.b$',
  '^/a\\-b$',
  '^/x/[^/]+$',
  '^/v1/[^/]+/y$',
  '^/x/y/',
  '^/$',
  '^/',
  '^/.*$',
]) {
  void t.test(`${regex} becomes routes for exactly the paths that it matches`, async (t) => {
    t.same(
      opened(regex),
      paths.filter((path) => new RegExp(regex).test(path)),
    )
  })
}

void t.test('an expression that routes can’t say exactly becomes none', async (t) => {
  for (const regex of [
    '/x',
    'x',
    '^/x',
    '^/x.*',
    '^/a.b$',
    '^/x/[0-9]+$',
    '^/x/[^/]*$',
    '^/x|^/y',
    '^/(x|y',
    '^/x/(a|b)*$',
    '(?i)^/x$',
    '^/x\\d$',
    '\\.png$',
    '^/x/.+$',
    '^/x/y.*/z$',
    '^/x/../y$',
    '^/x?$',
    '^/(x|y)?/',
    '^(/x|/y)$',
    '^/x/%2e$',
    '^/x;y$',
    '^.*$',
    '.*',
    '',
    '^/x$|/y',
    '^/((x|y)|z)$$',
    '^/x\\/(?=y)',
    '^/[xy]$',
    '^/x/$/y',
  ])
    t.equal(pathsOf(regex), null, regex)
})

void t.test('an expression made to be expanded for ever is given up', async (t) => {
  const began = Date.now()
  t.equal(pathsOf(`^/${'(a|b)'.repeat(30)}$`), null)
  t.equal(pathsOf(`^/${'a'.repeat(50_000)}(`), null)
  t.ok(Date.now() - began < 2000)
})
