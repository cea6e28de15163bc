import { setTimeout } from 'node:timers/promises'
import t from 'tap'
import { explainRequest } from '../../../src/cli/explanation.ts'
import { startIdp } from '../../../src/demo/idp.ts'
import { createBrowser } from '../../support/browser.ts'
import { createAuthority } from '../../support/certificates.ts'
import { eventually } from '../../support/eventually.ts'
import { freePort } from '../../support/free-port.ts'
import { startGateway } from '../../support/gateway.ts'
import { ask, header, openAndRead, parseAnswers } from '../../support/raw-http.ts'
import { startSockets } from '../../support/sockets.ts'

const idp = await startIdp()
t.teardown(() => idp.close())

const routes = [
  { path: '/public/**', access: 'public' },
  { path: '/admin/**' },
  { path: '/caf%C3%A9/**' },
  { path: '/**', access: 'public' },
]

/** Starts a gateway in front of a server that records the target of each request, one character for each byte. */
const start = async (t: Parameters<typeof startSockets>[0], config: object = {}, options: object = {}) => {
  const targets: string[] = []
  const upstream = await startSockets(t, (socket) => {
    let text = ''
    socket.on('data', (bytes) => {
      text += bytes.toString('latin1')
      const [head = '', target = ''] = /^[A-Z]+ ([^ ]+) [^]*?\r\n\r\n/.exec(text) ?? []
      const [, length = '0'] = /\r\ncontent-length: (\d+)/i.exec(head) ?? []
      if (head === '' || text.length < head.length + Number(length)) return
      text = text.slice(head.length + Number(length))
      targets.push(target)
      socket.write('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n')
    })
  })
  return { targets, ...(await startGateway(t, { idp, ...options, config: { upstream, routes, ...config } })) }
}

void t.test('bytes that are not ASCII or not UTF-8 reach the application unchanged', async (t) => {
  const { url, targets, log } = await start(t)
  const sent = [
    '/public/caf\u00c3\u00a9',
    '/public/caf\u00e9',
    '/public/caf%E9',
    '/public/\u00e9?q=\u00e9&r=%E9&s=\u00c3\u00a9',
    '/public/x?\u00ff',
    '/public/%FF%80',
    '/public/\u00c3%A9',
    '/public/%ED%A0%80',
    '/public/%F4%90%80%80',
    '/public/%C0',
    '/public/\u0080\u0085\u00a0\u00ff',
  ]
  for (const target of sent) t.equal((await ask(url, 'GET', target)).status, 200, JSON.stringify(target))
  t.same(targets, sent)
  t.match(log.join(''), /"path":"\/public\/caf%C3%A9"/, 'the log has no raw bytes')
  t.notMatch(log.join(''), /[\u0080-\uffff]/)
})

void t.test('a path is refused if one reading of its bytes selects another route', async (t) => {
  const { url, targets } = await start(t)
  const ambiguous = [
    // Latin-1, in which the yen sign is a best fit for a backslash, and `ª` for `a`
    '/public/%A5..%A5admin',
    '/public\u00a5..\u00a5admin',
    '/\u00aadmin/x',
    // windows-1252, in which 85 is an ellipsis
    '/public/..%5c\u0085/../../admin',
    // the same letter in another spelling or charset
    '/caf%E9/menu',
    '/caf\u00e9/menu',
    '/caf\u00c3\u00a9/menu',
    '/caf%c3%a9/menu',
    '/caf%25E9/menu',
    // decoders that drop invalid bytes
    '/ad%FFmin/x',
    '/public/%FF..%FF/admin',
    '/public/.\u0080./admin',
    // carelessly decoded pairs, and surrogates of letters that normalization makes ASCII
    '/public/..%C0%2Fadmin',
    '/%ED%A0%B5%ED%B0%9Admin/x',
    '/oauth2\u00ff/../oauth2/session',
  ]
  for (const target of ambiguous) {
    const answer = await ask(url, 'GET', target)
    t.equal(answer.status, 400, JSON.stringify(target))
    t.equal(header(answer, 'gatehouse'), 'ambiguous_path', JSON.stringify(target))
  }
  const refused = [
    '/public/%C0%AE%C0%AE/admin',
    '/public/\u00c0\u00ae',
    '/public/\u00c0%AF',
    '/public/%c1\u009c',
    '/public/%E0%80%AF',
    '/public/\u00e0\u0080\u00af',
    '/public/%F0%80%80%AF',
    '/public/%F8%80%80%80%AF',
    '/public/%FC%80%80%80%80%AF',
    '/public/%25C0%25AF',
    '/public/%\u00e9',
    '/public/\u00e9%00',
    '/public/\u00e9\\',
    '/public/\u00e9#x',
    '/public/\u00e9%zz',
    'http://\u00e9.example/public/',
  ]
  for (const target of refused) {
    const answer = await ask(url, 'GET', target)
    t.equal(answer.status, 400, JSON.stringify(target))
    t.equal(header(answer, 'gatehouse'), 'bad_request', JSON.stringify(target))
  }
  t.same(targets, [])
})

void t.test('raw bytes keep their place on a connection', async (t) => {
  const { cert, key } = createAuthority().issue(['127.0.0.1'])
  const folder = t.testdir({ cert, key })
  const port = await freePort()
  const publicUrl = `https://127.0.0.1:${port}`
  const tls = { certFile: `${folder}/cert`, keyFile: `${folder}/key` }
  const gateways = [await start(t), await start(t, { tls }, { port, publicUrl })]
  for (const { url, targets } of gateways) {
    const { host } = new URL(url)
    const request = (target: string, rest = ''): string => `GET ${target} HTTP/1.1\r\nHost: ${host}\r\n${rest}\r\n`
    const body = 'POST /public/\u00fc HTTP/1.1\r\nContent-Length: 4\r\n'
    // pipelined, with a body behind it, and one after the other
    const client = openAndRead(url)
    const answered = (): number => client.text().split('HTTP/1.1 200').length - 1
    client.socket.write(request('/public/\u00e9') + request('/public/b') + request('/public/\u00e8'), 'latin1')
    await eventually(() => answered() === 3)
    client.socket.write(`${body}Host: ${host}\r\n\r\n`, 'latin1')
    client.socket.write('G\u00e9\n\r', 'latin1')
    await eventually(() => answered() === 4)
    // blank lines in front, and a head in several packets
    for (const part of [`\r\n\r\nGET /public/\u00e9/\u00e8?\u00ff HTTP/1.1\r\n`, `Host: ${host}\r\n`, '\r\n']) {
      client.socket.write(part, 'latin1')
      await setTimeout(30)
    }
    await eventually(() => answered() === 5)
    client.socket.write(request('/public/end', 'Connection: close\r\n'))
    await eventually(() => answered() === 6)
    t.same(
      targets,
      [
        '/public/\u00e9',
        '/public/b',
        '/public/\u00e8',
        '/public/\u00fc',
        '/public/\u00e9/\u00e8?\u00ff',
        '/public/end',
      ],
      url,
    )
  }
})

void t.test('a request line with raw bytes is refused unless it is certain where it begins and ends', async (t) => {
  const { url, targets, events } = await start(t, { listenH2c: true })
  const plain = await start(t)
  const { host } = new URL(url)
  const rest = ` HTTP/1.1\r\nHost: ${host}\r\n\r\n`
  const post = (length: number): string => `POST /1 HTTP/1.1\r\nHost: ${host}\r\nContent-Length: ${length}\r\n\r\n`
  const several = /several packets/
  const behindBody = /arrived with the body of another request/
  const malformed = /request line is malformed/
  const cases: readonly (readonly [what: string, parts: readonly string[], cause: RegExp, before?: string])[] = [
    ['a target in two packets', ['GET /a\u00e9', `xyz${rest}`], several],
    ['a raw byte in the second packet only', ['GET /a', `\u00e9${rest}`], several],
    ['a line in three packets', ['GET /public/\u00e9/', 'x/../../admin?', `\u00e9${rest}`], several],
    ['a method in two packets', ['PROP', `PATCH /\u00e9${rest}`], several],
    ['a method in two packets, behind another request', [`GET /1${rest}PROP`, `PATCH /\u00e9${rest}`], several, '/1'],
    ['a line that ends in another packet', ['GET /\u00e9 HTTP/1.1\r', `\nHost: ${host}\r\n\r\n`], several],
    ['a line behind half of a body', [`${post(6)}AA`, `AAAAGET /\u00e9${rest}`], behindBody, '/1'],
    ['a body whose end looks like a method', [`${post(4)}PROPPATCH /\u00e9${rest}`], behindBody, '/1'],
    ['a body whose end looks like a line', [`${post(9)}\r\nGET /x?GET /\u00e9${rest}`], behindBody, '/1'],
    ['a body', [`${post(4)}AAAAGET /\u00e9${rest}`], behindBody, '/1'],
    [
      'a body of a request with raw bytes',
      [`${post(4).replace('/1', '/\u00e8')}UNLI`, `${post(2)}UNLINK /\u00e9${rest}`],
      behindBody,
      '/\u00e8 /1',
    ],
    ['two spaces', [`GET  /\u00e9${rest}`], malformed],
    ['a space behind the target', [`GET /\u00e9 ${rest}`], malformed],
    ['a tab', [`GET /x\u00e9\t${rest}`], malformed],
    ['no version', ['GET /\u00e9\r\n\r\n'], malformed],
    ['another version', [`GET /\u00e9${rest.replace('1.1', '1.2')}`], malformed],
    ['a bare LF', [`GET /\u00e9${rest.replace('\r', '')}`], malformed],
  ]
  for (const one of [{ url, targets, events }, plain])
    for (const [what, parts, cause, before = ''] of cases) {
      const already = one.targets.length
      const client = openAndRead(one.url)
      client.socket.setNoDelay()
      for (const part of parts) {
        client.socket.write(part, 'latin1')
        await setTimeout(20)
      }
      await eventually(() => / 400 Bad Request/.test(client.text()), { what })
      client.socket.write(`GET /behind${rest}`)
      await setTimeout(10)
      client.socket.destroy()
      t.equal(one.targets.slice(already).join(' '), before, what)
      const line = one.events('bad_request').at(-1)
      t.match(line?.['cause'], cause, what)
    }
})

void t.test('a thousand pipelined requests with raw bytes are answered in their order', async (t) => {
  const { url, targets } = await start(t)
  const { host } = new URL(url)
  const wanted = Array.from({ length: 1_000 }, (_, i) => `/public/\u00e9/${i}`)
  const client = openAndRead(url)
  client.socket.write(wanted.map((target) => `GET ${target} HTTP/1.1\r\nHost: ${host}\r\n\r\n`).join(''), 'latin1')
  await eventually(() => client.text().split('HTTP/1.1 200').length - 1 === wanted.length)
  client.socket.destroy()
  t.same(new Set(targets), new Set(wanted))
})

void t.test('raw bytes arrive while the client does not read an earlier response', async (t) => {
  const size = 30_000_000
  const asked: string[] = []
  const upstream = await startSockets(t, (socket) => {
    socket.on('data', (bytes) => {
      const [, target = ''] = bytes.toString('latin1').split(' ')
      asked.push(target)
      const body = target === '/large' ? Buffer.alloc(size, 'x') : Buffer.from(target, 'latin1')
      socket.write(Buffer.concat([Buffer.from(`HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n`), body]))
    })
  })
  const { url } = await startGateway(t, { idp, config: { upstream, routes: [{ path: '/**', access: 'public' }] } })
  const get = (target: string): string => `GET ${target} HTTP/1.1\r\nHost: a\r\n\r\n`
  const client = openAndRead(url)
  client.socket.pause()
  client.socket.write(get('/large'))
  await setTimeout(300)
  const targets = ['/1', '/\u00e9', '/2', '/\u00e8', '/\u00ff']
  client.socket.write(targets.map(get).join(''), 'latin1')
  await setTimeout(100)
  client.socket.resume()
  await eventually(() => client.text().endsWith('/\u00ff'))
  t.same(
    parseAnswers(client.bytes())
      .slice(1)
      .map(({ body }) => body.toString('latin1')),
    targets,
  )
  t.same(new Set(asked), new Set(['/large', ...targets]))
  client.socket.destroy()
})

void t.test('a head with raw bytes has the same limits as any other', async (t) => {
  const { url, targets } = await start(t, { limits: { headers: '16kb', headersTimeout: '1s' } })
  t.equal((await ask(url, 'GET', `/public/${'\u00e9'.repeat(17_000)}`)).status, 431)
  const slow = openAndRead(url)
  slow.socket.write('GET /public/\u00e9 HTTP/1.1\r\nHost: a\r\n', 'latin1')
  await eventually(() => slow.text().startsWith('HTTP/1.1 408'), { timeoutMs: 10_000 })
  t.same(targets, [])
})

void t.test('a WebSocket and an absolute target may have raw bytes', async (t) => {
  const { url, targets } = await start(t)
  const upgrade = [
    'Connection: Upgrade',
    'Upgrade: websocket',
    'Sec-WebSocket-Version: 13',
    `Sec-WebSocket-Key: ${'a'.repeat(22)}==`,
  ]
  const { host } = new URL(url)
  const client = openAndRead(url)
  client.socket.write(
    ['GET /public/\u00e9?\u00e8 HTTP/1.1', `Host: ${host}`, ...upgrade, '', ''].join('\r\n'),
    'latin1',
  )
  await eventually(() => client.text().startsWith('HTTP/1.1 200'))
  client.socket.destroy()
  t.equal((await ask(url, 'GET', `${url}/public/\u00e9`)).status, 200)
  t.same(targets, ['/public/\u00e9?\u00e8', '/public/\u00e9'])
})

void t.test('a login returns to the bytes that the browser requested', async (t) => {
  const { url } = await start(t)
  for (const [target, encoded] of [
    ['/admin/\u00e9?q=\u00ff', '/admin/%E9?q=%FF'],
    ['/admin/caf\u00c3\u00a9', '/admin/caf%C3%A9'],
    ['/admin/%E9?q=%e9', '/admin/%E9?q=%e9'],
  ] as const) {
    const location = header(await ask(url, 'GET', target, ['Accept: text/html']), 'location') ?? ''
    t.equal(new URL(location, url).searchParams.get('redirect'), encoded)
    const browser = createBrowser()
    const { hops } = await browser.login(`${url}/oauth2/login?redirect=${encodeURIComponent(encoded)}`, 'alice')
    t.equal(hops.at(-1)?.url, url + encoded)
  }
})

void t.test('forward-auth and explain read raw bytes in the same way', async (t) => {
  const { verdicts, url, config } = await start(t, { forwardAuth: { listen: '127.0.0.1:0' } })
  const asked = async (target: string): Promise<number> =>
    (await ask(verdicts, 'GET', '/auth', ['X-Original-Method: GET', `X-Original-URL: ${url}${target}`])).status
  const explained = async (target: string): Promise<string> => {
    const lines = await explainRequest(config, {
      method: 'GET',
      url: target,
      headers: [],
      claims: null,
      now: Date.now(),
    })
    return lines.map(([name, text]) => `${name}: ${text}`).join('\n')
  }
  for (const target of ['/public/caf\u00e9', '/public/caf\u00c3\u00a9', '/public/%E9'])
    t.equal(await asked(target), 200, target)
  for (const target of ['/public/\u00c0\u00af', '/caf\u00e9/menu']) t.equal((await asked(target)) >= 400, true, target)
  t.match(await explained('/public/café'), /upstream: GET .*\/public\/café$/m)
  t.match(await explained('/public/%E9'), /upstream: GET .*\/public\/%E9$/m)
  t.match(await explained('/caf%E9/menu'), /400 ambiguous_path/)
  t.match(await explained('/café/menu'), /400 ambiguous_path/)
  t.match(await explained('/public/%c0%af'), /400 bad_request: the path has an overlong UTF-8 encoding/)
})
