import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { least } from '../config/configuration.ts'
import { runProgram } from '../support/program.ts'

const file = join(t.testdir(), 'gatehouse.yaml')
writeFileSync(
  file,
  `${least}
routes:
  - path: /**
    headers: { set: { X-User: "{claims.email}", X-Groups: "{claims.groups}" } }
  - { path: /assets/**, access: public }
  - { path: /shop/**, access: optional }
  - { path: /admin/**, require: { claims: { groups: [admin] } } }
  - { path: /money/**, require: { acr: "urn:mfa", maxAge: 5m } }
  - { path: /api/**, methods: [GET], stripPrefix: /api, token: { grant: none } }
  - { path: /vault, headers: { set: { X-Api-Key: hunter2, X-User: "{claims.email}" } } }
`,
)

const html = ['-H', 'Accept: text/html']
const alice = ['--claims', '{"email":"alice@example.com","groups":["staff","a,b"]}']

const explain = async (t: Test, ...args: string[]): Promise<string> => {
  const { status, stdout, stderr } = await runProgram(t, ['explain', '--config', file, ...args])
  t.same([status, stderr], [0, ''], args.join(' '))
  return stdout.replaceAll(/^(\w+) +/gm, '$1: ')
}

void t.test('an anonymous request is explained by its kind, its route and its response', async (t) => {
  t.equal(
    await explain(t, 'GET', '/orders?page=2', ...html),
    `request: GET /orders?page=2 at https://orders.example.com
kind: navigation
session: none
route: /** (routes[0], required)
answer: 302 login_required
because: the route requires a session, and there is none
location: https://orders.example.com/oauth2/login?redirect=%2Forders%3Fpage%3D2
`,
  )
  t.match(
    await explain(t, 'GET', '/orders'),
    /^kind: script\n.*\nanswer: 401 login_required\n.*\nlogin_url: https:\/\/orders\.example\.com\/oauth2\/login\n$/ms,
  )
})

void t.test('a request with claims is explained by what goes upstream and to which upstream', async (t) => {
  const said = await explain(
    t,
    'GET',
    '/orders?page=2',
    ...alice,
    '-H',
    'X-User: mallory',
    '-H',
    'X_Groups: admin',
    '-H',
    'Accept-Language: de',
  )
  t.match(said, 'answer: passes: the session may use this route\nupstream: GET http://127.0.0.1:3000/orders?page=2\n')
  t.match(said, 'header: Accept-Language: de\n')
  t.match(
    said,
    'header: X-User: alice@example.com\nheader: X-Groups: staff,a%2Cb\nheader: Authorization: Bearer ACCESS-TOKEN\n',
  )
  t.notMatch(said, 'mallory')
  t.notMatch(said, 'header: X_Groups')
  t.match(said, 'changed: the client’s X-User\ndropped: the client’s X_Groups\n')
})

void t.test('public and optional routes are explained', async (t) => {
  const publicly = await explain(t, 'GET', '/assets/logo.svg', ...alice, '-H', 'Authorization: Basic eDp5')
  t.match(publicly, 'answer: passes: the route is public: no session is looked at\n')
  t.match(publicly, 'header: Authorization: Basic eDp5\n')
  t.notMatch(publicly, 'ACCESS-TOKEN')
  t.match(await explain(t, 'GET', '/shop'), 'the route’s session is optional, and there is none\n')
  t.match(await explain(t, 'GET', '/shop', ...alice), 'header: Authorization: Bearer ACCESS-TOKEN\n')
})

void t.test('a stripped prefix and a route without a token are explained', async (t) => {
  const said = await explain(t, 'GET', '/api/orders/7', ...alice)
  t.match(said, 'route: GET,HEAD /api/** (routes[5], required)\n')
  t.match(said, 'upstream: GET http://127.0.0.1:3000/orders/7\n')
  t.notMatch(said, 'ACCESS-TOKEN')
})

void t.test('every denial is explained by its code and the reason', async (t) => {
  const stronger = '{"acr":"urn:mfa","auth_time":1000}'
  const table: [string[], string, string][] = [
    [
      ['GET', '/admin', ...alice],
      '403 forbidden',
      'because: the claim groups has none of the values that this route requires',
    ],
    [['GET', '/admin', '--claims', '{}'], '403 forbidden', 'because: the claim groups is missing'],
    [
      ['GET', '/money', '--claims', '{"acr":"urn:password"}', ...html],
      '302 step_up_required',
      'because: acr must be one of urn:mfa; the login must not be older than 300 s\nbecause: auth_time is missing, so ' +
        'maxAge accepts only a session from a recent login with prompt=login\nlocation: ' +
        'https://orders.example.com/oauth2/login?redirect=%2Fmoney&acr_values=urn%3Amfa&max_age=300',
    ],
    [
      ['GET', '/money', '--claims', stronger],
      '401 step_up_required',
      'because: the login must not be older than 300 s\nlogin_url: https://orders.example.com/oauth2/login?max_age=300',
    ],
    [
      ['POST', '/orders', ...alice, '-H', 'Origin: https://evil.example'],
      '403 cross_origin',
      'because: an unsafe method with a session, sent by another origin',
    ],
    [
      ['GET', '/assets/..%2fadmin'],
      '400 ambiguous_path',
      'because: some server reads this path as /admin, which belongs to another route',
    ],
    [
      ['GET', '/oauth2/..;/admin'],
      '400 ambiguous_path',
      'because: some server reads this path as /, which belongs to another route',
    ],
    [['GET', '/a\\b'], '400 bad_request: the path has a raw backslash', ''],
    [['GET', '/a%zz'], '400 bad_request: the path has a malformed percent-encoding', ''],
    [['TRACE', '/'], '405 method_not_allowed: this method is never forwarded', ''],
    [['get', '/'], '400 bad_request: get is not an HTTP method; methods are written in capitals', ''],
  ]
  await Promise.all(
    table.map(async ([args, answer, why]) => {
      const said = await explain(t, ...args)
      t.match(said, `answer: ${answer}\n`)
      t.match(said, `${why}\n`)
      t.notMatch(said, 'upstream: ')
    }),
  )
})

void t.test('a request that matches no route is explained', async (t) => {
  const narrow = join(t.testdir(), 'narrow.yaml')
  writeFileSync(narrow, `${least}routes: [{ path: /internal/** }]\n`)
  const { status, stdout } = await runProgram(t, ['explain', '--config', narrow, 'GET', '/orders', ...html])
  t.equal(status, 0)
  t.match(stdout, /^route +none\nanswer +404 not_found\nbecause +no route matches host, method and path\n$/m)
})

void t.test('the gateway’s own endpoints are named as such', async (t) => {
  t.match(await explain(t, 'GET', '/oauth2/session'), 'answer: the gateway itself serves everything under /oauth2\n')
})

void t.test('headers decide the kind of the request', async (t) => {
  const table: [string, string[]][] = [
    ['navigation', ['GET', '/', '-H', 'Sec-Fetch-Mode: navigate', '-H', 'Sec-Fetch-Dest: document']],
    ['frame', ['GET', '/', '-H', 'Sec-Fetch-Mode: navigate', '-H', 'Sec-Fetch-Dest: iframe']],
    ['form', ['POST', '/', ...html, '-H', 'Content-Type: multipart/form-data; boundary=x']],
    ['script', ['GET', '/', ...html, '-H', 'X-Requested-With: XMLHttpRequest']],
    ['websocket', ['GET', '/', '-H', 'Connection: Upgrade', '-H', 'Upgrade: websocket']],
  ]
  await Promise.all(
    table.map(async ([kind, args]) => {
      t.match(await explain(t, ...args), `\nkind: ${kind}\n`)
    }),
  )
})

void t.test('an absolute URL must name the public origin, and its path is used as written', async (t) => {
  t.match(
    await explain(t, 'GET', 'https://orders.example.com/a//b/../c'),
    'request: GET /a//b/../c at https://orders.example.com\n',
  )
  t.match(await explain(t, 'GET', 'https://orders.example.com'), 'request: GET / at https://orders.example.com\n')
})

void t.test('a header with a fixed value is named without its value, which may be a key', async (t) => {
  const said = await explain(t, 'GET', '/vault', ...alice)
  t.match(said, 'header: X-Api-Key: ********\nheader: X-User: alice@example.com\n')
  t.notMatch(said, 'hunter2')
})

void t.test('unreadable claims and headers are one line on stderr, with status 1', async (t) => {
  for (const [args, message] of [
    [['--claims', 'groups=admin'], /--claims must be a JSON object, e\.g\. /],
    [['--claims', '["admin"]'], /--claims must be a JSON object\n/],
    [['-H', 'Accept'], /-H must be 'Name: value', not "Accept"/],
  ] as const) {
    const { status, stdout, stderr } = await runProgram(t, ['explain', '--config', file, 'GET', '/', ...args])
    t.same([status, stdout], [1, ''])
    t.match(stderr, message)
  }
})
