import t from 'tap'
import { createBrowser } from '../support/browser.ts'
import { startGateway } from '../support/gateway.ts'
import { sendRaw } from '../support/raw-http.ts'
import { startSockets } from '../support/sockets.ts'

/** The most that one request may cost, ms. */
const MOST = 10

/** A string of this length that repeats another. */
const fill = (unit: string, length: number): string => unit.repeat(Math.ceil(length / unit.length)).slice(0, length)

/** An application whose response a test chooses by the first segment of the path. */
const answers: Record<string, string> = {
  challenge: `HTTP/1.1 401 No\r\nWWW-Authenticate: Bearer ${fill('a', 15_000)}\r\n`,
  blanks: `HTTP/1.1 401 No\r\nWWW-Authenticate: Bearer ${fill('a \t', 15_000)}=\r\n`,
  quotes: `HTTP/1.1 401 No\r\nWWW-Authenticate: Bearer ${fill('a="\\', 15_000)}\r\n`,
  connection: `HTTP/1.1 200 OK\r\n${Array.from({ length: 1_000 }, (_, i) => `Connection: x${i}\r\n`).join('')}`,
  cookies: `HTTP/1.1 200 OK\r\nSet-Cookie: ${fill(' =', 15_000)}\r\n`,
  redirect: `HTTP/1.1 302 Found\r\nLocation: https://sso.example.com/${fill('a/b', 15_000)}\r\n`,
  segments: `HTTP/1.1 302 Found\r\nLocation: https://sso.example.com/${fill('-a', 15_000)}\r\n`,
}
const application = await startSockets(t, (socket) => {
  socket.once('data', (chunk) => {
    const [, name = ''] = /^\S+ \/(\w*)/.exec(chunk.toString('latin1')) ?? []
    socket.end(`${answers[name] ?? 'HTTP/1.1 200 OK\r\n'}Content-Length: 2\r\nConnection: close\r\n\r\nok`)
  })
})

const { url } = await startGateway(t, {
  config: {
    upstream: application,
    trustedProxies: ['127.0.0.0/8', '::1/128'],
    routes: [
      { path: '/**', loginRedirects: ['https://sso.example.com/*/*/*/x', 'https://sso.example.com/a/**'] },
      { path: '/public/**', access: 'public' },
    ],
  },
})
const [first, second] = [createBrowser(), createBrowser()]
for (const browser of [first, second]) await browser.login(`${url}/`, 'alice')
const [one, two] = [first, second].map((browser) => browser.cookies.header(new URL(url)))

/** The CPU time of this process for such a request, in ms, which the load of the machine hardly affects. */
const costOf = async (line: string, headers: readonly string[], body: string): Promise<number> => {
  const request = [`${line} HTTP/1.1`, 'Host: a', ...headers, 'Connection: close', '', body].join('\r\n')
  let least = Number.POSITIVE_INFINITY
  for (let round = 0; round < 6; round += 1) {
    const before = process.cpuUsage()
    for (let i = 0; i < 4; i += 1) await sendRaw(url, request)
    const { user, system } = process.cpuUsage(before)
    least = Math.min(least, (user + system) / 1_000 / 4)
  }
  return least
}

const navigation = ['Sec-Fetch-Mode: navigate', 'Sec-Fetch-Dest: document', 'Accept: text/html']
const form = (type: string, body: string): [string, string[], string] => [
  'POST /orders',
  [
    `Content-Type: ${type}`,
    `Content-Length: ${body.length}`,
    'Sec-Fetch-Mode: navigate',
    'Sec-Fetch-Site: same-origin',
  ],
  body,
]

const requests: Record<string, readonly [line: string, headers?: readonly string[], body?: string]> = {
  ...Object.fromEntries(
    [
      '%61',
      '%2561',
      '%2f',
      '%5C',
      '%25',
      '/..',
      '/.',
      ';a/',
      '//',
      '%2e%2e/',
      '%252e%252e%252f',
      ';/%2f..',
      'a/.;x//%2f%5c',
      '%252e/%252e/',
      '/%25a/.;x//%2f%5c',
      '%E9a',
      'é/%2f;',
    ].flatMap((unit) => [
      [`a path of ${unit}`, [`GET /public/${fill(unit, 13_000)}${'/'.repeat(3)}`]],
      [`a path of ${unit}, then %2541/`, [`GET /public/${fill(unit, 6_500)}${fill('%2541/', 6_498)}`]],
    ]),
  ),
  ...Object.fromEntries(
    ['a&', '=a&', '&', 'a=%41&', '%e9', '%e9&', '+'].map((unit) => [
      `a form of ${unit}`,
      form('application/x-www-form-urlencoded', fill(unit, 256 * 1024)),
    ]),
  ),
  'a form of many parts': form(
    'multipart/form-data; boundary=x',
    `${fill('--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n\r\n', 250_000)}--x--`,
  ),
  'a query of many parameters': [`GET /oauth2/login?${fill('a&', 15_000)}`, navigation],
  'many claims': [`GET /oauth2/login?claims=${fill('%5B', 15_000)}&acr_values=${'a'.repeat(300)}`, navigation],
  'a long chain of proxies': ['GET /public/', [`X-Forwarded-For: ${fill('::1,', 15_000)}`]],
  'many names in Connection': ['GET /public/', [`Connection: ${fill('a,', 15_000)}`]],
  'many cookies': ['GET /orders', [`Cookie: ${fill('gatehouse=a;', 15_000)}`]],
  'many sealed cookies': ['GET /orders', [`Cookie: ${fill(`gatehouse=${'A'.repeat(24)}.${'B'.repeat(32)};`, 15_000)}`]],
  'two sessions and a deep path': [`GET /${fill('a/', 13_000)}`, [...navigation, `Cookie: ${one}; ${two}`]],
  'a challenge of one long word': ['GET /challenge', [`Cookie: ${one}`]],
  'a challenge with blanks': ['GET /blanks', [`Cookie: ${one}`]],
  'a challenge with quotes': ['GET /quotes', [`Cookie: ${one}`]],
  'an answer with many Connection headers': ['GET /connection', [`Cookie: ${one}`]],
  'an answer with an odd cookie': ['GET /cookies', [`Cookie: ${one}`]],
  'a long redirect': ['GET /redirect', [`Cookie: ${one}`]],
  'a redirect of one long segment': ['GET /segments', [`Cookie: ${one}`]],
}

for (const [name, [line, headers = [], body = '']] of Object.entries(requests)) {
  void t.test(`${name} does not delay other requests`, async (t) => {
    const ms = await costOf(line, headers, body)
    t.ok(ms < MOST, `${ms.toFixed(1)} ms`)
  })
}
