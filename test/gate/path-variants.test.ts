import t from 'tap'
import { fold, isPlain, pathVariants, pathProblem } from '../../src/gate/path-variants.ts'

void t.test('an ordinary path has no variants', (t) => {
  for (const path of ['/', '/orders', '/orders/', '/a/b-c_d~e/f.g', '/a=b,c:d@e', '/v1.2/x']) {
    t.ok(isPlain(path), path)
    t.equal(pathProblem(path), null, path)
  }
  for (const path of [
    '/a.',
    '/a./b',
    '/a/b..',
    '/a::$data',
    '//',
    '/a//b',
    '/.',
    '/.env',
    '/a/../b',
    '/a;b',
    '/A',
    '/%61',
    '/a\\b',
    'a',
  ])
    t.notOk(isPlain(path), path)
  t.end()
})

void t.test('an unreadable path is refused with its reason', (t) => {
  const refused = [
    ['/a\\b', /backslash/],
    ['/a#b', /number sign/],
    ['/a%', /malformed/],
    ['/a%2', /malformed/],
    ['/a%zz', /malformed/],
    ['/a%2-0', /malformed/],
    ['/a%00', /NUL/],
    ['/a%2500', /NUL/],
    ['/%c0%ae%c0%ae/a', /UTF-8/],
    ['/%e0%80%ae', /UTF-8/],
    ['/%f0%80%80%ae', /UTF-8/],
    ['/%25c0%25ae', /UTF-8/],
    ['/%25e0%2580%25ae', /UTF-8/],
    ['/\u00c0\u00ae', /UTF-8/],
    ['/\u00c0%ae', /UTF-8/],
    ['/%f8%80%80%80%af', /UTF-8/],
    ['/%fc%80%80%80%80%af', /UTF-8/],
    ['/\u20ac', /must be/],
    ['/a b', /must be/],
    ['/a\0', /must be/],
    ['/a\tb', /must be/],
    ['a', /slash/],
  ] as const
  for (const [path, reason] of refused) t.match(pathProblem(path), reason, JSON.stringify(path))
  t.end()
})

void t.test('an unusual but readable path passes', (t) => {
  for (const path of [
    '/100%25',
    '/a%20b',
    '/caf%C3%A9',
    '/caf\u00e9',
    '/caf\u00c3\u00a9',
    '/%ff',
    '/%c3',
    '/%c0.',
    '/%ed%a0%80',
    '/a%2Fb',
    '/a;b=c',
    '/..',
    '/.well-known/x',
    '/%25zz',
    '/a%5Cb',
    "/(a)'*",
  ]) {
    t.equal(pathProblem(path), null, path)
  }
  t.end()
})

void t.test('the variants include every normalization that some server makes', (t) => {
  const rows: [path: string, reading: string][] = [
    ['/a%2fb', '/a/b'],
    ['/a%252fb', '/a/b'],
    ['/%61', '/a'],
    ['/%2561', '/a'],
    ['/a/../b', '/b'],
    ['/a/./b', '/a/b'],
    ['/a/..', '/'],
    ['/../../a', '/a'],
    ['/a/%2e%2e/b', '/b'],
    ['/a/.%2e/b', '/b'],
    ['/a/%252e%252e/b', '/b'],
    ['/a//b', '/a/b'],
    ['///a', '/a'],
    ['/a/;x/b', '/a/b'],
    ['/a;x/b', '/a/b'],
    ['/a;x/b', '/a'],
    ['/a/..;x/b', '/b'],
    ['/a/%2e%2e%3bx/b', '/b'],
    ['/a%5cb', '/a/b'],
    ['/a%5c..%5cb', '/b'],
    ['/a%255c..%255cb', '/b'],
    ['/a//../b', '/b'],
    ['/a//../b', '/a/b'],
    ['/a/b%2fc/%2e%2e/%2e%2e/d', '/d'],
    ['/a/b%2fc/%2e%2e/%2e%2e/d', '/a/d'],
    ['/a/%25zz/%252e%252e/%252e%252e/d', '/d'],
    ['/caf%C3%A9', '/café'],
    ['/%25C3%25A9', '/é'],
    ['/a%3fb', '/a'],
    ['/a%253fb', '/a'],
    ['/a%09b', '/ab'],
    ['/a%0d%0Ab', '/ab'],
    ['/%09/%2e%0a./b', '/b'],
    ['//x/b', '/b'],
    ['/%2fx/b', '/b'],
    ['/%5cx/b', '/b'],
    ['//x', '/'],
    ['/a.', '/a'],
    ['/a./b', '/a/b'],
    ['/a%20', '/a'],
    ['/a.%20./b', '/a/b'],
    ['/a/..%20/b', '/b'],
    ['/a::$DATA', '/a'],
    ['/a:x:$data/b', '/a/b'],
    ['/a:$I30:$INDEX_ALLOCATION/b', '/a/b'],
    ['/%EF%BD%81', '/a'],
    ['/a%EF%BC%8Fb', '/a/b'],
    ['/a/%EF%BC%8E%EF%BC%8E/b', '/b'],
    ['/a%EF%BC%BCb', '/a/b'],
    ['/a%E2%88%95b', '/a/b'],
    ['/a%C2%A5..%C2%A5b', '/b'],
    ['/caf%E9', '/café'],
    ['/caf%E9', '/caf\ufffd'],
    ['/caf%E9', '/caf'],
    ['/caf\u00e9', '/café'],
    ['/caf\u00c3\u00a9', '/café'],
    ['/caf\u00c3%A9', '/café'],
    ['/%25E9', '/é'],
    ['/%8A', '/Š'],
    ['/a%A5..%A5b', '/b'],
    ['/\u00aa%2e', '/a%2e'],
    ['/a%c0%2fb', '/a/b'],
    ['/%ED%A0%B5%ED%B0%9A', '/a'],
  ]
  for (const [path, reading] of rows) t.ok(pathVariants(path)?.asIs.includes(reading), `${path} as ${reading}`)
  t.ok(pathVariants('/A%2f..%2fB')?.folded.includes('/b'))
  t.end()
})

void t.test('a path is decoded twice at most', (t) => {
  t.notOk(pathVariants('/%25252e%25252e/a')?.asIs.includes('/a'))
  t.end()
})

void t.test('case is folded as the most lenient server does', (t) => {
  t.equal(fold('/ADMIN'), '/admin')
  t.equal(fold('/\u212Aey\u017F'), '/keys', 'the Kelvin sign and the long s')
  t.end()
})

void t.test('a path with too many variants is given up quickly', (t) => {
  const pieces = [
    '%252e%252e;a%255c//',
    '/..;x%5c%2f',
    '//;%25',
    '/%2e%2e%3b',
    '/a;b%2f..',
    '%25',
    '/%2f/..;',
    '%C3%A9/%255c',
    '%25zz%2f;/',
    '/.;/..',
    'a.%20.',
    '%20',
    '%20.',
    '%20x',
    '%EF%BC%8F%EF%BC%8E',
    '%253f%2523',
    '::$data.',
    '%2509//x;',
    '.',
    ':',
  ]
  for (const piece of pieces) {
    const path = `/public/${piece.repeat(Math.floor(16_000 / piece.length))}`
    const ms = Math.min(
      ...[1, 2, 3].map(() => {
        const start = performance.now()
        pathProblem(path)
        pathVariants(path)
        return performance.now() - start
      }),
    )
    t.ok(ms < 50, `${piece} in ${ms.toFixed(1)} ms`)
  }
  t.end()
})
