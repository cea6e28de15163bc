import t from 'tap'
import { startApplication } from '../support/application.ts'
import { startGateway } from '../support/gateway.ts'
import { ask, open, parseAnswers } from '../support/raw-http.ts'

const rounds = 3000
const atOnce = 40

/** Mulberry32: the same requests in every run. */
const random = (seed: number) => {
  let state = seed
  return (): number => {
    state = (state + 0x6d2b79f5) | 0
    let x = Math.imul(state ^ (state >>> 15), 1 | state)
    x = (x + Math.imul(x ^ (x >>> 7), 61 | x)) ^ x
    return ((x ^ (x >>> 14)) >>> 0) / 4_294_967_296
  }
}

const next = random(20_301)
const below = (n: number): number => Math.floor(next() * n)
const pick = <T>(items: readonly [T, ...T[]]): T => items[below(items.length)] ?? items[0]
const some = (most: number, make: () => string, between = ''): string =>
  Array.from({ length: below(most + 1) }, make).join(between)

const bytes = (): string => String.fromCharCode(below(256))
const piece = (): string =>
  pick([
    '/',
    '/',
    '..',
    '.',
    'public',
    'PUBLIC',
    'private',
    'oauth2',
    'session',
    'a',
    '%2e',
    '%2E%2e',
    '%2f',
    '%5c',
    '\\',
    ';',
    ';x=y',
    '%3b',
    '%25',
    '%252e',
    '%252f',
    '%00',
    '%c0%ae',
    '%zz',
    '%',
    '//',
    '?',
    '#',
    '*',
    ' ',
    '@',
    ':',
    '%70',
    '%E9',
    '%A5',
    '%C0%2f',
    '\u00a5',
    '\u00e9',
    '|',
  ])
const target = (): string =>
  pick<() => string>([
    () => `/public/${some(10, piece)}`,
    () => `/public/${some(10, piece)}`,
    () => `/${some(10, piece)}`,
    () => some(6, piece),
    () => `http://${pick(['127.0.0.1', 'evil.example', 'a@b'])}/${some(6, piece)}`,
    () => `/public/${some(6, bytes)}`,
    () => `/${'a/../'.repeat(below(600))}private`,
  ])()
const name = (): string =>
  pick([
    'Host',
    'Connection',
    'Content-Length',
    'Transfer-Encoding',
    'Upgrade',
    'Expect',
    'Cookie',
    'Authorization',
    'X-User',
    'x_user',
    'X-Forwarded-For',
    'X-Forwarded-Uri',
    'X-Original-URL',
    'X-Rewrite-URL',
    'Accept',
    'Sec-Fetch-Mode',
    'Sec-Fetch-Dest',
    'Sec-Purpose',
    'Referer',
    'Origin',
    'Content-Type',
    'TE',
    'Trailer',
    'Keep-Alive',
    'X-HTTP-Method-Override',
    '',
    ' X',
    'X:',
    'HX-Request',
  ])
const value = (): string =>
  pick<() => string>([
    () =>
      pick<string>([
        'close',
        'keep-alive',
        'upgrade',
        'X-User',
        'chunked',
        'gzip, chunked',
        '0',
        '5',
        '-1',
        '99999999999999999999',
        'websocket',
        'h2c',
        '100-continue',
        'text/html',
        'navigate',
        'document',
        'prefetch',
        '/public/',
        'null',
        'gatehouse=x',
        'gatehouse=; gatehouse-login-0=y',
        `gatehouse=${'A'.repeat(22)}.${'B'.repeat(32)}`,
        'http://127.0.0.1/',
        'mallory',
      ]),
    () => some(20, bytes),
    () => 'x'.repeat(below(9000)),
    () => '',
  ])()
const body = (): string =>
  pick<() => string>([
    () => '',
    () => '',
    () => 'hello',
    () => '5\r\nhello\r\n0\r\n\r\n',
    () => some(30, bytes),
    () => `${below(99)}\r\n`,
  ])()

/** Lawful but for its path: the half of the requests that tries the routes more than the parser. */
const lawful = (): string => {
  const path = some(8, () =>
    pick([
      '/',
      '/',
      '/',
      '..',
      '.',
      'public',
      'PUBLIC',
      'a',
      'b',
      '%2e',
      '%2e%2e',
      '%2f',
      '%5c',
      ';',
      ';x',
      '%3b',
      '%25',
      '%252e',
      '%252f',
      '%70',
    ]),
  )
  const headers = some(
    3,
    () =>
      `${pick(['X-User', 'x_user', 'X-Forwarded-Uri', 'X-Original-URL', 'X.Rewrite.URL', 'Accept', 'Connection'])}: ${pick(['/public/', 'X-User', 'close', 'text/html', 'mallory'])}\r\n`,
  )
  return `${pick(['GET', 'HEAD', 'PUT'])} /public/${path} HTTP/1.1\r\nHost: a\r\n${headers}\r\n`
}

const request = (): string => {
  if (next() < 0.5) return lawful()
  const method = pick([
    'GET',
    'GET',
    'GET',
    'POST',
    'HEAD',
    'PUT',
    'DELETE',
    'OPTIONS',
    'PROPFIND',
    'TRACE',
    'CONNECT',
    'get',
    'FROB',
    '',
  ])
  const head = `${method} ${target()} ${pick(['HTTP/1.1', 'HTTP/1.1', 'HTTP/1.1', 'HTTP/1.0', 'HTTP/2.0', ''])}`
  const headers = some(6, () => `${name()}: ${value()}`, '\r\n')
  return `${head}\r\n${below(10) === 0 ? '' : 'Host: a\r\n'}${headers === '' ? '' : `${headers}\r\n`}\r\n${body()}`
}

const exchange = async (url: string, text: string): Promise<Buffer> => {
  const socket = open(url)
  const chunks: Buffer[] = []
  socket.on('data', (chunk) => {
    chunks.push(chunk)
  })
  socket.end(Buffer.from(text, 'latin1'))
  const closed = new Promise((resolve) => {
    socket.once('close', resolve)
  })
  const late = setTimeout(() => {
    socket.destroy(new Error('late'))
  }, 5000)
  await closed
  clearTimeout(late)
  return Buffer.concat(chunks)
}

/** Where a URL parser, and after it an application that decodes twice, would find the path. */
const readSo = (path: string): string => {
  let at = path
  for (let i = 0; i < 3; i += 1) {
    at = new URL(`http://a${at.startsWith('/') ? at : `/${at}`}`).pathname.replace(/\/{2,}/g, '/')
    try {
      at = decodeURIComponent(at)
    } catch {
      return at
    }
  }
  return at
}

void t.test(
  'any bytes on the wire get HTTP responses, the process survives, and protected paths stay protected',
  async (t) => {
    const application = await startApplication(t, (req, res) => {
      req
        .resume()
        .on('end', () => {
          res.end('fine')
        })
        .on('error', () => undefined)
    })
    const { url, log } = await startGateway(t, {
      config: {
        upstream: application.url,
        routes: [
          { path: '/**', headers: { set: { 'X-User': '{claims.sub}' } } },
          { path: '/public/**', access: 'public' },
        ],
        rateLimit: { session: false, login: false, callback: false },
      },
    })
    let answered = 0
    for (let round = 0; round < rounds; round += atOnce) {
      await Promise.all(
        Array.from({ length: atOnce }, async () => {
          const text = request()
          const raw = await exchange(url, text)
          // A refusal of the parser does not depend on the method: that response has a body, and closes the connection.
          const refused =
            /^HTTP\/1\.1 4\d\d [^\r]*\r\nContent-Type: application\/problem\+json\r\nContent-Length: \d+\r\nGatehouse: bad_request\r\n[^{]*Connection: close\r\n\r\n/
          try {
            const answers = parseAnswers(
              raw,
              text.startsWith('HEAD ') && !refused.test(raw.toString('latin1')) ? ['HEAD'] : [],
            )
            answered += answers.length
            for (const { status } of answers)
              if (status === 500) t.fail(`500 for ${JSON.stringify(text.slice(0, 300))}`)
          } catch (error) {
            t.fail(`${String(error)} for ${JSON.stringify(text.slice(0, 300))}`)
          }
        }),
      )
    }
    t.ok(answered > rounds / 2, `${answered} answers`)
    t.ok(application.requests.length > rounds / 10, `${application.requests.length} requests were let through`)
    for (const { url: seen = '', rawHeaders } of application.requests) {
      const [path = ''] = seen.split('?')
      if (!/^\/public(?:\/|$)/.test(path) || !/^\/public(?:\/|$)/i.test(readSo(path)))
        t.fail(`the application has seen ${JSON.stringify(seen)}`)
      if (rawHeaders.some((text, i) => i % 2 === 0 && /^x[-_.](?:user|original|rewrite)/i.test(text)))
        t.fail(`the application has seen ${JSON.stringify(rawHeaders)}`)
    }
    t.notMatch(log.join(), /internal_error/)
    t.equal((await ask(url, 'GET', '/public/x')).status, 200)
    t.equal((await ask(url, 'GET', '/private')).status, 401)
  },
)
