import t from 'tap'
import { startIdp } from '../../../src/demo/idp.ts'
import { createBrowser } from '../../support/browser.ts'
import { startGateway } from '../../support/gateway.ts'
import { ask, header } from '../../support/raw-http.ts'

// One provider for all gateways here: what it does is not what these tests are about.
const idp = await startIdp()
t.teardown(() => idp.close())

const routes = [{ path: '/public/**', access: 'public' }, { path: '/**' }]

const always = [
  ['a raw backslash', '/public/..\\admin'],
  ['a raw backslash anywhere', '/public/\\'],
  ['a raw number sign', '/public/#/../admin'],
  ['a number sign in the query', '/public/x?a#b'],
  ['%00', '/public/a%00'],
  ['%00 encoded twice', '/public/a%2500'],
  ['half an encoding', '/public/%'],
  ['a broken encoding', '/public/%2g'],
  ['a cut encoding', '/public/%2'],
  ['an overlong dot', '/public/%c0%ae%c0%ae/admin'],
  ['an overlong slash', '/public/..%c0%afadmin'],
  ['an overlong dot of three bytes', '/public/%e0%80%ae'],
  ['an overlong dot, encoded twice', '/public/%25c0%25ae%25c0%25ae/admin'],
  ['raw overlong bytes', '/public/\u00c0\u00ae\u00c0\u00ae/admin'],
  ['an absolute target on another origin', 'http://evil.example/public/'],
  ['an absolute target with credentials', 'http://user@127.0.0.1/public/'],
  ['another scheme', 'ftp://127.0.0.1/public/'],
  ['an asterisk', '*'],
  ['no slash in front', 'public/x'],
] as const

const ambiguous = [
  '/public/../admin',
  '/public/./../admin',
  '/public/%2e%2e/admin',
  '/public/.%2e/admin',
  '/public/%2E%2E/admin',
  '/public/%252e%252e/admin',
  '/public/%252e%252e%252fadmin',
  '/public/..%2fadmin',
  '/public/..%2Fadmin',
  '/public/..%252fadmin',
  '/public%2f..%2fadmin',
  '/public/..%5cadmin',
  '/public/..%255cadmin',
  '/public/%5c../admin',
  '/public/..;/admin',
  '/public/..;a=b/admin',
  '/public/.;/..;/admin',
  '/public/..%3b/admin',
  '/public/..%253b/admin',
  '/public;/../admin',
  '/public//../admin',
  '/public/x//../../admin',
  '//public/../admin',
  '/x/../public/a',
  '/./public/a',
  '//public/a',
  '/PUBLIC/a',
  '/Public/../public/a',
  '/%70ublic/a',
  '/%2570ublic/a',
  '/public%2fa',
  '/public;x/a',
  '/public;x',
  '/public/a%2fb/%2e%2e/%2e%2e/admin',
  '/public/a%2fb/%252e%252e/%252e%252e/admin',
  '/public/%25zz/%252e%252e/%252e%252e/admin',
  '/public/a%2f..%2f..%2fadmin',
  '/public/..%2fadmin%3f',
  '/public%3f/../admin',
  '/public/%2e%09%2e/admin',
  '/public/..%20/../admin',
  '/public./a',
  '/public::$DATA',
  '//127.0.0.1/public/a',
  '/public/%EF%BC%8E%EF%BC%8E%EF%BC%8Fadmin',
  '/public/..%2f..%2f..%2f',
  '/public/..',
  '/public/../',
  '/public/%2e%2e',
  '/public/%2e%2e%3b',
  '/PUBLIC/%2e%2e;/ADMIN',
  '/public/x/..;/..;/%61dmin',
  '/public/x/%2e%2e%5C..%5cadmin',
  '/OAUTH2/session',
  '/oauth2%2fsession',
  '/%6fauth2/session',
  '//oauth2/session',
  '/public/../oauth2/session',
  '/oauth2/../admin',
  '/oauth2/..;/admin',
  '/oauth2/%2e%2e/public/a',
  '/oauth2/x/%252e%252e/%252e%252e/admin',
  '/oauth2;/session',
  '/oauth2\u002fsession/..%2f..%2fadmin',
]

const passing = [
  '/public/',
  '/public',
  '/public/a%2fb',
  '/public/a%2Fb',
  '/public/a;b=c',
  '/public//a',
  '/public/./a',
  '/public/a/../b',
  '/public/a/%2e%2e/b',
  '/public/A',
  '/public/%41',
  '/public/100%25',
  '/public/%25zz',
  '/public/a%20b',
  '/public/caf%C3%A9',
  '/public/caf%c3%a9',
  '/public/a?../../admin',
  '/public/a?b=/..;/%zz',
  '/public/a?%00\\',
  '/public/a%5cb',
  "/public/(x)!$&'*+,=:@~",
  '/public/...',
  '/public/..a/b',
  '/public/a?',
  '/public/a??b',
  '/public/|"<>^`{}',
  '/public/%7e',
]

void t.test(
  'a path that has no single meaning is refused, with a session or without, and never reaches the application',
  async (t) => {
    const { url, upstream } = await startGateway(t, { idp, config: { routes } })
    const browser = createBrowser()
    await browser.login(`${url}/`, 'alice')
    const cookie = [`Cookie: ${browser.cookies.header(new URL(url))}`]
    const before = upstream.requests.length
    for (const headers of [[], cookie]) {
      for (const [what, target] of always) {
        const answer = await ask(url, 'GET', target, headers)
        t.equal(answer.status, 400, what)
        t.equal(header(answer, 'content-type'), 'application/problem+json', what)
        t.equal(header(answer, 'gatehouse'), 'bad_request', what)
      }
      for (const target of ambiguous) {
        const answer = await ask(url, 'GET', target, headers)
        t.equal(answer.status, 400, target)
        t.match(JSON.parse(answer.body.toString()), { status: 400, code: 'ambiguous_path' }, target)
        t.equal(header(answer, 'gatehouse'), 'ambiguous_path', target)
      }
    }
    t.equal(upstream.requests.length, before)
  },
)

void t.test('a path that is not refused is forwarded byte for byte', async (t) => {
  const { url, upstream } = await startGateway(t, { idp, config: { routes } })
  for (const target of passing) {
    const { status } = await ask(url, 'GET', target)
    t.not(status, 400, target)
    t.equal(upstream.requests.at(-1)?.url, target)
  }
})

void t.test('a navigation gets a page', async (t) => {
  const { url } = await startGateway(t, { idp, config: { routes } })
  const answer = await createBrowser().get(`${url}/`, { target: '/public/..%2fadmin' })
  t.equal(answer.status, 400)
  t.match(answer.headers['content-type'], /^text\/html/)
  t.match(answer.body, /read in more than one way/)
})

void t.test('an absolute target on this origin becomes its path', async (t) => {
  const { url, upstream } = await startGateway(t, { idp, config: { routes } })
  t.equal((await ask(url, 'GET', `${url}/public/a?b`)).status, 200)
  t.equal(upstream.requests.at(-1)?.url, '/public/a?b')
  t.equal((await ask(url, 'GET', `${url}/public/../admin`)).status, 400)
  t.equal((await ask(url, 'GET', `${url}/admin`)).status, 401)
  t.equal((await ask(url, 'GET', `${url}/oauth2/session`)).status, 401)
})

void t.test('an odd path that leads to the same route passes', async (t) => {
  const { url, upstream } = await startGateway(t, { idp, config: { routes: [{ path: '/**', access: 'public' }] } })
  for (const target of ['/a/../b', '/a/..;/b', '/a%2f..%2fb', '//a', '/A', '/%252e%252e/a', '/a%5c..%5cb']) {
    await ask(url, 'GET', target)
    t.equal(upstream.requests.at(-1)?.url, target)
  }
})

void t.test('a route with percent-encodings in its path matches the same encodings', async (t) => {
  const { url, upstream } = await startGateway(t, {
    idp,
    config: { routes: [{ path: '/caf%C3%A9/**', access: 'public' }, { path: '/**' }] },
  })
  await ask(url, 'GET', '/caf%C3%A9/menu')
  t.equal(upstream.requests.at(-1)?.url, '/caf%C3%A9/menu')
  t.equal(
    (await ask(url, 'GET', '/caf%c3%a9/menu')).status,
    400,
    'another spelling of it leads elsewhere here, and there not',
  )
})

void t.test('the gateway’s own paths never reach the application, in any spelling', async (t) => {
  const { url, upstream } = await startGateway(t, { idp, config: { routes: [{ path: '/**', access: 'public' }] } })
  for (const target of [
    '/oauth2',
    '/oauth2/',
    '/oauth2/no/such',
    '/oauth2/%6cogi',
    '/oauth2/login/',
    '/oauth2//session',
  ])
    t.equal((await ask(url, 'GET', target)).status, 404, target)
  t.equal(upstream.requests.length, 0)
  t.equal((await ask(url, 'GET', '/oauth2/%73ession')).status, 401, 'an encoded letter is still that letter')
})

void t.test('a malicious path of 16 kB is answered at once', async (t) => {
  const { url } = await startGateway(t, {
    idp,
    config: { routes: [...routes, { path: '/a/*/*/**' }, { path: '/API/**' }] },
  })
  const longest = 15_000
  await ask(url, 'GET', '/public/warm')
  for (const piece of [
    '%252e%252e;a%255c//',
    '/..;x%5c%2f',
    '//;%25',
    '/%2e%2e%3b',
    '/A;b%2f..',
    '%25zz%2f',
    '/a/b',
    ';/..%2f%5c',
    '%2525',
  ]) {
    const target = `/public/${piece.repeat(Math.floor(longest / piece.length))}`
    // The best of three, because the machine may be busy.
    let ms = Number.POSITIVE_INFINITY
    for (let i = 0; i < 3; i += 1) {
      const start = performance.now()
      await ask(url, 'GET', target)
      ms = Math.min(ms, performance.now() - start)
    }
    t.ok(ms < 100, `${piece} took ${ms.toFixed(1)} ms`)
  }
})
