import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer as createHttpServer } from 'node:http'
import { createServer, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { boundPort } from '../../../src/demo/bound-port.ts'
import { eventually } from '../../support/eventually.ts'
import { createBrowser } from '../../support/browser.ts'
import { moveClock } from '../../support/clock.ts'
import { freePort } from '../../support/free-port.ts'
import { loggedIn, type LoggedIn } from '../../support/logged-in.ts'
import { ask, open, parseAnswers, sendRaw } from '../../support/raw-http.ts'
import { openWebSocket, type WebSocketEnd } from '../../support/websocket.ts'

const cookieOf = ({ browser, url }: LoggedIn): string => `Cookie: ${browser.cookies.header(new URL(url))}`

/** A WebSocket of the page's own script to the sample application, which sends every message back. */
const connect = async (running: LoggedIn, query = '', headers: readonly string[] = []): Promise<WebSocketEnd> =>
  openWebSocket(`${running.url}/ws${query}`, { headers: [cookieOf(running), `Origin: ${running.url}`, ...headers] })

const echoes = async (socket: WebSocketEnd, text = 'hello'): Promise<boolean> => {
  socket.send(text)
  const event = await socket.next()
  return 'payload' in event && event.payload.toString() === text
}

/**
 * An application that speaks for itself, byte for byte; every connection is handed over once its request's head has
 * come.
 */
const startRaw = async (t: Test, answer: (socket: Socket, head: string) => void): Promise<string> => {
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    let head = ''
    const read = (chunk: Buffer): void => {
      head += chunk.toString('latin1')
      if (!head.includes('\r\n\r\n')) return
      socket.off('data', read)
      answer(socket, head)
    }
    socket.on('data', read)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return `http://127.0.0.1:${boundPort(server)}`
}

const switching = (head: string, more: readonly string[] = []): string => {
  const [, key = ''] = /sec-websocket-key: (\S+)/i.exec(head) ?? []
  const accept = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64')
  return [
    'HTTP/1.1 101 Switching Protocols',
    'Upgrade: websocket',
    'Connection: Upgrade',
    `Sec-WebSocket-Accept: ${accept}`,
    ...more,
    '',
    '',
  ].join('\r\n')
}

const serverFrame = (payload: Buffer): Buffer => {
  const header = Buffer.alloc(10)
  header[0] = 0x82
  header[1] = 127
  header.writeBigUInt64BE(BigInt(payload.length), 2)
  return Buffer.concat([header, payload])
}

void t.test(
  'a WebSocket with a session reaches the application, with the token and the identity headers',
  async (t) => {
    const running = await loggedIn(t, {
      config: { routes: [{ path: '/**', headers: { set: { 'X-User': '{claims.email}' } } }] },
    })
    const socket = await connect(running, '', ['X-User: mallory', 'Authorization: Bearer mine'])
    t.equal(socket.status, 101)
    t.ok(await echoes(socket))
    const sent = running.upstream.requests.find(({ url }) => url === '/ws')?.headers
    t.match(sent, {
      'x-user': 'alice@example.com',
      'authorization': /^Bearer (?!mine)/,
      'upgrade': 'websocket',
      'connection': 'upgrade',
      'host': new URL(running.url).host,
      'x-forwarded-for': '127.0.0.1',
    })
    t.notMatch(sent?.cookie, 'gatehouse', 'the gateway’s cookie stays here')
    socket.socket.destroy()
    await eventually(() => running.upstream.openStreams() === 0)
  },
)

void t.test('a WebSocket is logged and counted once, at its end', async (t) => {
  const running = await loggedIn(t)
  const lines = () => running.events('request').filter(({ path }) => path === '/ws')
  const socket = await connect(running)
  t.match(running.events('websocket_open'), [{ path: '/ws', client: '127.0.0.1' }])
  await sleep(300)
  t.same(lines(), [])
  socket.socket.destroy()
  await eventually(() => running.events('websocket_closed').length === 1 && lines().length === 1)
  t.match(lines(), [{ status: 101, verdict: 'forward', route: '/**', aborted: undefined }])
  t.ok(Number(lines()[0]?.['ms']) >= 300, 'with its duration')
})

void t.test('a WebSocket without a session is a 401 problem, and never reaches the application', async (t) => {
  const running = await loggedIn(t)
  const socket = await openWebSocket(`${running.url}/ws`, { headers: [`Origin: ${running.url}`] })
  t.equal(socket.status, 401)
  t.equal(socket.headers.get('gatehouse'), 'login_required')
  await socket.closed
  t.match(JSON.parse(socket.body()), { code: 'login_required' })
  t.notOk(running.upstream.requests.some(({ url }) => url === '/ws'))
})

void t.test(
  'a page of another site, or of another origin of the same site, can’t open a WebSocket with the user’s session',
  async (t) => {
    const running = await loggedIn(t)
    for (const headers of [
      ['Origin: https://evil.example'],
      ['Origin: null'],
      ['Sec-Fetch-Site: cross-site'],
      ['Sec-Fetch-Site: same-site', `Origin: ${running.url}`],
    ]) {
      const socket = await openWebSocket(`${running.url}/ws`, { headers: [cookieOf(running), ...headers] })
      t.equal(socket.status, 403, headers.join())
      t.equal(socket.headers.get('gatehouse'), 'cross_origin')
    }
    const native = await openWebSocket(`${running.url}/ws`, { headers: [cookieOf(running)] })
    t.equal(native.status, 101, 'a client that sends no Origin is no browser')
    native.socket.destroy()
  },
)

void t.test('csrf: off admits WebSockets from other origins', async (t) => {
  const running = await loggedIn(t, { config: { routes: [{ path: '/**', csrf: 'off' }] } })
  const socket = await openWebSocket(`${running.url}/ws`, {
    headers: [cookieOf(running), 'Origin: https://partner.example'],
  })
  t.equal(socket.status, 101)
  socket.socket.destroy()
})

void t.test('the application’s refusal of a WebSocket passes unchanged', async (t) => {
  const running = await loggedIn(t)
  for (const status of [400, 403, 404, 429, 500]) {
    const socket = await connect(running, `?status=${status}`)
    t.equal(socket.status, status)
    t.notOk(socket.headers.get('gatehouse'))
    await socket.closed
    t.match(socket.body(), String(status))
  }
})

void t.test('subprotocols and extensions are negotiated between client and application', async (t) => {
  const heads: string[] = []
  const upstream = await startRaw(t, (socket, head) => {
    heads.push(head)
    socket.write(
      switching(head, [
        'Sec-WebSocket-Protocol: graphql-ws',
        'Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover',
        'X-Own: yes',
        'Set-Cookie: app=1',
      ]),
    )
  })
  const running = await loggedIn(t, { config: { routes: [{ path: '/**' }, { path: '/ws', upstream }] } })
  const socket = await connect(running, '?a=%2F', [
    'Sec-WebSocket-Protocol: graphql-ws, graphql-transport-ws',
    'Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits',
  ])
  t.equal(socket.headers.get('sec-websocket-protocol'), 'graphql-ws')
  t.equal(socket.headers.get('sec-websocket-extensions'), 'permessage-deflate; server_no_context_takeover')
  t.equal(socket.headers.get('x-own'), 'yes')
  t.equal(socket.headers.get('set-cookie'), 'app=1')
  t.match(heads[0], /^GET \/ws\?a=%2F HTTP\/1\.1\r\n/)
  t.match(heads[0], 'Sec-WebSocket-Protocol: graphql-ws, graphql-transport-ws\r\n')
  t.match(heads[0], 'Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n')
  t.match(heads[0], 'Sec-WebSocket-Version: 13\r\n')
  socket.socket.destroy()
})

void t.test('data sent together with the handshake arrives, from either end', async (t) => {
  const upstream = await startRaw(t, (socket, head) => {
    socket.write(Buffer.concat([Buffer.from(switching(head)), Buffer.from([0x81, 2, 0x68, 0x69])]))
  })
  const running = await loggedIn(t, { config: { routes: [{ path: '/**' }, { path: '/early', upstream }] } })
  const greeted = await openWebSocket(`${running.url}/early`, { headers: [cookieOf(running)] })
  t.match(await greeted.next(), { payload: Buffer.from('hi') })
  const eager = await openWebSocket(`${running.url}/ws`, {
    headers: [cookieOf(running)],
    early: Buffer.from([0x81, 0x82, 0, 0, 0, 0, 0x79, 0x6f]),
  })
  t.match(await eager.next(), { payload: Buffer.from('yo') })
  for (const { socket } of [greeted, eager]) socket.destroy()
})

void t.test('frames of 10 MB, of any type and fragmented, arrive whole in both directions', async (t) => {
  const running = await loggedIn(t)
  const socket = await connect(running)
  const large = randomBytes(10_000_000)
  socket.send(large, { opcode: 2 })
  const event = await socket.next(20_000)
  t.ok('payload' in event && event.opcode === 2 && event.payload.equals(large))
  socket.send('in ', { fin: false })
  socket.send('ping', { opcode: 9 })
  socket.send('pieces', { opcode: 0 })
  t.match(await socket.next(), { opcode: 1, payload: Buffer.from('in ') })
  t.match(await socket.next(), { opcode: 10, payload: Buffer.from('ping') })
  t.match(await socket.next(), { opcode: 0, payload: Buffer.from('pieces') })
  socket.socket.destroy()
})

void t.test('an end that does not read applies back-pressure instead of filling the memory', async (t) => {
  let sent = 0
  let up: Socket | null = null
  const piece = serverFrame(Buffer.alloc(100_000))
  const upstream = await startRaw(t, (socket, head) => {
    up = socket
    socket.write(switching(head))
    const pump = (): void => {
      while (sent < 200_000_000 && !socket.destroyed) {
        sent += piece.length
        if (!socket.write(piece)) return
      }
    }
    socket.on('drain', pump)
    pump()
  })
  const running = await loggedIn(t, { config: { routes: [{ path: '/**' }, { path: '/ws', upstream }] } })
  const socket = open(running.url)
  socket.pause()
  socket.write(
    'GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: ' +
      `AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n${cookieOf(running)}\r\n\r\n`,
  )
  await eventually(() => up !== null && sent > 0)
  let before = -1
  await eventually(() => {
    const still = sent === before
    before = sent
    return still
  })
  await sleep(300)
  t.ok(sent < 60_000_000, `${sent} bytes in flight without a reader`)
  let got = 0
  socket
    .on('data', (chunk: Buffer) => {
      got += chunk.length
    })
    .resume()
  await eventually(() => got > 100_000_000, { timeoutMs: 20_000 })
  t.ok(got > 100_000_000, 'the write continues once it is read')
  socket.destroy()
})

void t.test('the last data of an end that disconnects reaches the other end', async (t) => {
  const last = serverFrame(Buffer.alloc(3_000_000, 7))
  const upstream = await startRaw(t, (socket, head) => {
    socket.end(Buffer.concat([Buffer.from(switching(head)), last, Buffer.from([0x88, 2, 0x03, 0xe8])]))
  })
  const running = await loggedIn(t, { config: { routes: [{ path: '/**' }, { path: '/ws', upstream }] } })
  const socket = open(running.url)
  const chunks: Buffer[] = []
  socket.write(
    'GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: ' +
      `AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n${cookieOf(running)}\r\n\r\n`,
  )
  await sleep(300)
  socket.on('data', (chunk: Buffer) => {
    chunks.push(chunk)
  })
  await once(socket, 'close')
  const all = Buffer.concat(chunks)
  t.ok(all.subarray(-4).equals(Buffer.from([0x88, 2, 0x03, 0xe8])), 'to the last byte')
  t.equal(all.length - all.indexOf('\r\n\r\n') - 4, last.length + 4)
})

void t.test('a close handshake passes with its code', async (t) => {
  const running = await loggedIn(t)
  const byServer = await connect(running, '?close=4005')
  byServer.send('x')
  t.match(await byServer.next(), { close: 4005 })
  byServer.send(Buffer.from([0x0f, 0xa5]), { opcode: 8 })
  t.equal(await byServer.closed, 4005)
  const byClient = await connect(running)
  byClient.send(Buffer.from([0x03, 0xe8]), { opcode: 8 })
  t.equal(await byClient.closed, 1000)
  await eventually(() => running.upstream.openStreams() === 0)
})

void t.test('a client that half-closes still receives the rest', async (t) => {
  const upstream = await startRaw(t, (socket, head) => {
    socket.write(switching(head))
    socket.resume().on('end', () => {
      setTimeout(() => {
        socket.end(Buffer.from([0x81, 3, 0x62, 0x79, 0x65]))
      }, 100)
    })
    socket.allowHalfOpen = true
  })
  const running = await loggedIn(t, { config: { routes: [{ path: '/**' }, { path: '/ws', upstream }] } })
  const socket = await connect(running)
  socket.socket.end()
  t.match(await socket.next(), { payload: Buffer.from('bye') })
  await socket.closed
})

void t.test('a WebSocket closes with 4401 when its session ends by logout', async (t) => {
  const running = await loggedIn(t)
  const sockets = await Promise.all([connect(running), connect(running)])
  const start = Date.now()
  await running.browser.post(`${running.url}/oauth2/logout/local`, undefined, { kind: 'script' })
  t.same(await Promise.all(sockets.map(({ closed }) => closed)), [4401, 4401])
  t.ok(Date.now() - start < 1000, `within ${Date.now() - start} ms`)
  await eventually(() => running.upstream.openStreams() === 0)
})

void t.test('a WebSocket closes with 4401 when its session expires', async (t) => {
  const running = await loggedIn(t, { config: { session: { lifetime: '10m' } } })
  const socket = await connect(running)
  moveClock(t, 600_000)
  t.equal(await socket.closed, 4401)
  t.match(running.events('session_ended'), [{ reason: 'lifetime' }])
})

void t.test('a WebSocket closes with 4401 when an administrator or the provider ends the session', async (t) => {
  const port = await freePort()
  const running = await loggedIn(t, { config: { admin: { listen: `127.0.0.1:${port}`, sessions: 'loopback' } } })
  const socket = await connect(running)
  t.equal((await ask(`http://127.0.0.1:${port}`, 'DELETE', '/sessions?sub=alice')).status, 204)
  t.equal(await socket.closed, 4401)
  await running.browser.login(`${running.url}/`, 'alice')
  const other = await connect(running)
  running.idp.revokeGrantsOf('alice')
  moveClock(t, 101_000)
  await running.call()
  t.equal(await other.closed, 4401, 'a refused refresh')
})

void t.test('a WebSocket closes after the frame that the application is sending', async (t) => {
  let up: Socket | null = null
  const upstream = await startRaw(t, (socket, head) => {
    up = socket
    socket.write(Buffer.concat([Buffer.from(switching(head)), Buffer.from([0x81, 4, 0x6f, 0x6e])]))
  })
  const running = await loggedIn(t, { config: { routes: [{ path: '/**' }, { path: '/ws', upstream }] } })
  const socket = await connect(running)
  await running.browser.post(`${running.url}/oauth2/logout/local`, undefined, { kind: 'script' })
  const half: Socket | null = up
  ;(half as Socket | null)?.write(Buffer.from([0x6c, 0x79, 0x81, 1, 0x78]))
  t.match(await socket.next(), { payload: Buffer.from('only') })
  t.match(await socket.next(), { payload: Buffer.from('x') })
  t.match(await socket.next(), { close: 4401 })
  await socket.closed
})

void t.test('the same user’s next login leaves a WebSocket open, and another user’s login closes it', async (t) => {
  const running = await loggedIn(t)
  const socket = await connect(running)
  await running.browser.login(`${running.url}/oauth2/login?prompt=login`, 'alice')
  t.ok(await echoes(socket))
  await running.browser.login(`${running.url}/oauth2/login?prompt=login`, 'bob')
  t.equal(await socket.closed, 4401)
})

void t.test(
  'messages on a WebSocket keep its session active, even after a refresh, and an idle WebSocket does not',
  async (t) => {
    const running = await loggedIn(t, { config: { session: { idleTimeout: '10m' } } })
    const [silent, busy] = [createBrowser(), running.browser]
    await silent.login(`${running.url}/`, 'bob')
    const silentSocket = await connect({ ...running, browser: silent })
    const busySocket = await connect(running)
    moveClock(t, 120_000)
    t.equal((await running.call()).status, 200, 'renews the tokens')
    t.equal(running.idp.grants['refresh_token'], 1)
    for (let i = 0; i < 3; i += 1) {
      moveClock(t, 240_000)
      t.ok(await echoes(busySocket))
    }
    t.equal(await silentSocket.closed, 4401)
    await sleep(1200)
    t.ok(await echoes(busySocket))
    t.equal((await busy.get(`${running.url}/oauth2/session`, { kind: 'script' })).status, 200)
    busySocket.socket.destroy()
  },
)

void t.test('pings and pongs do not count as activity', async (t) => {
  const running = await loggedIn(t, { config: { session: { idleTimeout: '10m' } } })
  const socket = await connect(running)
  moveClock(t, 300_000)
  socket.send('', { opcode: 9 })
  t.match(await socket.next(), { opcode: 10 })
  socket.send('', { opcode: 10 })
  moveClock(t, 301_000)
  t.equal(await socket.closed, 4401)
})

void t.test('a WebSocket is drained with 1001 when the gateway stops, even without a session', async (t) => {
  const running = await loggedIn(t, { config: { routes: [{ path: '/**' }, { path: '/ws', access: 'optional' }] } })
  const sockets = [await connect(running), await openWebSocket(`${running.url}/ws`)]
  t.same(
    sockets.map(({ status }) => status),
    [101, 101],
  )
  const start = Date.now()
  await running.gateway.close()
  t.same(await Promise.all(sockets.map(({ closed }) => closed)), [1001, 1001])
  t.ok(Date.now() - start < 3000)
})

void t.test('a WebSocket that opens while the gateway stops is drained', async (t) => {
  const { running, opening, accept } = await openPending(t)
  const closing = running.gateway.close()
  accept()
  t.equal(await (await opening).closed, 1001)
  await closing
})

void t.test('a WebSocket whose session ends during the handshake is closed as soon as it is open', async (t) => {
  const { running, opening, accept } = await openPending(t)
  await running.browser.post(`${running.url}/oauth2/logout/local`, undefined, { kind: 'script' })
  accept()
  const start = Date.now()
  t.equal(await (await opening).closed, 4401)
  t.ok(Date.now() - start < 2_500)
})

void t.test('an unreachable application is a 502 and a slow one a 504, before the WebSocket opens', async (t) => {
  const silent = await startRaw(t, () => {})
  const running = await loggedIn(t, {
    config: {
      routes: [
        { path: '/**' },
        { path: '/down', upstream: `http://127.0.0.1:${await freePort()}` },
        { path: '/slow', upstream: silent, timeout: '1s' },
      ],
    },
  })
  for (const [path, status, code] of [
    ['/down', 502, 'upstream_unreachable'],
    ['/slow', 504, 'upstream_timeout'],
  ] as const) {
    const socket = await openWebSocket(running.url + path, { headers: [cookieOf(running)] })
    t.same([socket.status, socket.headers.get('gatehouse')], [status, code])
    await socket.closed
    t.match(JSON.parse(socket.body()), { code })
  }
})

void t.test('an expired token is refreshed before the upgrade', async (t) => {
  const running = await loggedIn(t)
  moveClock(t, 101_000)
  const socket = await connect(running)
  t.equal(socket.status, 101)
  t.equal(running.idp.grants['refresh_token'], 1)
  socket.socket.destroy()
  moveClock(t, 101_000)
  running.idp.fail('token', { status: 503 })
  t.equal((await connect(running)).status, 503)
})

void t.test('an upgrade that the application refuses for its token is retried as an upgrade', async (t) => {
  const tokens: string[] = []
  const upstream = await startRaw(t, (socket, head) => {
    tokens.push(/authorization: (.*)\r/i.exec(head)?.[1] ?? '')
    if (tokens.length > 1) socket.write(switching(head))
    else
      socket.end(
        'HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer error="invalid_token"\r\nContent-Length: ' +
          '0\r\nConnection: close\r\n\r\n',
      )
  })
  const running = await loggedIn(t, { config: { routes: [{ path: '/**' }, { path: '/ws', upstream }] } })
  const socket = await connect(running)
  t.equal(socket.status, 101)
  t.equal(new Set(tokens).size, 2)
  socket.socket.destroy()
})

void t.test('a client disconnect before the response ends the upstream request', async (t) => {
  let gone = false
  let come = false
  const upstream = await startRaw(t, (socket) => {
    come = true
    socket.resume().on('close', () => {
      gone = true
    })
  })
  const running = await loggedIn(t, { config: { routes: [{ path: '/**' }, { path: '/ws', upstream }] } })
  for (const leave of ['end', 'destroy'] as const) {
    ;[gone, come] = [false, false]
    const socket = open(running.url)
    socket.write(
      `GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n${cookieOf(running)}\r\n\r\n`,
    )
    await eventually(() => come)
    socket[leave]()
    await eventually(() => gone)
    t.ok(gone, leave)
  }
})

const post = (upgrade: string, cookie: string, body: string): string =>
  [
    'POST /api/echo HTTP/1.1',
    'Host: a',
    `Connection: Upgrade, HTTP2-Settings`,
    `Upgrade: ${upgrade}`,
    'HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA',
    cookie,
    body,
    '',
  ].join('\r\n')

void t.test(
  'a request with Upgrade: h2c or similar is a plain request, with a body or without, and ends its connection',
  async (t) => {
    const running = await loggedIn(t)
    const plain = `GET /api/echo HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n${cookieOf(running)}\r\n\r\n`
    for (const upgrade of ['h2c', 'TLS/1.0', 'websocket', 'not-websocket', 'foo, h2c']) {
      const sized = post(upgrade, cookieOf(running), 'Content-Length: 4\r\n\r\nsize')
      const chunked = post(upgrade, cookieOf(running), 'Transfer-Encoding: chunked\r\n\r\n5\r\nchunk\r\n0\r\n')
      for (const [request, echoed] of [
        [sized, 'POST size'],
        [chunked, 'POST chunk'],
        [plain, 'GET '],
      ] as const) {
        const [answer] = parseAnswers(await sendUntilClosed(running.url, request), [echoed.split(' ')[0] ?? ''])
        t.equal(answer?.status, 200, upgrade)
        const { method, headers, body } = JSON.parse(answer?.body.toString() ?? '{}')
        t.equal(`${method} ${body.text}`, echoed, upgrade)
        t.same([headers['upgrade'], headers['http2-settings']], [undefined, undefined])
      }
    }
  },
)

/** Sends a request and waits until the gateway ends the connection. */
const sendUntilClosed = async (url: string, request: string): Promise<Buffer> => {
  const socket = open(url)
  const chunks: Buffer[] = []
  socket.on('data', (chunk: Buffer) => {
    chunks.push(chunk)
  })
  socket.write(request)
  await once(socket, 'end')
  socket.destroy()
  return Buffer.concat(chunks)
}

void t.test('a POST with WebSocket headers is decided on and forwarded as a POST', async (t) => {
  const running = await loggedIn(t, {
    config: { routes: [{ path: '/**' }, { path: '/ws', methods: ['POST'], access: 'public' }] },
  })
  const answer = await openWebSocket(`${running.url}/ws`, { method: 'POST', headers: ['Content-Length: 0'] })
  t.equal(answer.status, 404)
  t.match(
    running.upstream.requests.findLast(({ url }) => url === '/ws'),
    { method: 'POST' },
  )
})

void t.test('a WebSocket whose application never answers does not block the others', async (t) => {
  const silent = await startRaw(t, () => {})
  const running = await loggedIn(t, { config: { routes: [{ path: '/**' }, { path: '/silent', upstream: silent }] } })
  const waiting = Array.from({ length: 20 }, () => {
    const socket = open(running.url)
    socket.write(
      `GET /silent HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n${cookieOf(running)}\r\n\r\n`,
    )
    return socket
  })
  const socket = await connect(running)
  t.ok(await echoes(socket))
  for (const one of [...waiting, socket.socket]) one.destroy()
})

void t.test('a public route’s WebSocket passes without injected headers', async (t) => {
  const running = await loggedIn(t, { config: { routes: [{ path: '/**' }, { path: '/ws', access: 'public' }] } })
  const socket = await connect(running, '', ['Authorization: Bearer mine'])
  t.equal(socket.status, 101)
  t.equal(running.upstream.requests.findLast(({ url }) => url === '/ws')?.headers.authorization, 'Bearer mine')
  socket.socket.destroy()
})

void t.test('claims rules and step-up apply at the upgrade', async (t) => {
  const running = await loggedIn(t, {
    config: {
      routes: [
        { path: '/**' },
        { path: '/ws', require: { claims: { groups: ['nobody'] } } },
        { path: '/strong', require: { acr: 'urn:demo:mfa' } },
      ],
    },
  })
  const forbidden = await connect(running)
  t.same([forbidden.status, forbidden.headers.get('gatehouse')], [403, 'forbidden'])
  const strong = await openWebSocket(`${running.url}/strong`, {
    headers: [cookieOf(running), `Origin: ${running.url}`],
  })
  t.same([strong.status, strong.headers.get('gatehouse')], [401, 'step_up_required'])
})

void t.test('an upstream’s 101 with unusual headers passes', async (t) => {
  const server = createHttpServer()
    .on('upgrade', (request, socket) => {
      socket.write(
        switching(`sec-websocket-key: ${String(request.headers['sec-websocket-key'])}`).replace(
          'Upgrade: websocket',
          'upgrade: WebSocket',
        ),
      )
    })
    .listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.close()
    server.closeAllConnections()
  })
  const running = await loggedIn(t, {
    config: { routes: [{ path: '/**' }, { path: '/ws', upstream: `http://127.0.0.1:${boundPort(server)}` }] },
  })
  const socket = await connect(running)
  t.equal(socket.status, 101)
  socket.socket.destroy()
})

void t.test('garbage after a refused upgrade does no harm', async (t) => {
  const running = await loggedIn(t)
  const bytes = await sendRaw(
    running.url,
    'GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nGET /admin ' +
      'HTTP/1.1\r\nHost: a\r\n\r\n',
  )
  t.same(
    parseAnswers(bytes).map(({ status }) => status),
    [401],
    'one answer to one request',
  )
})

/** A WebSocket whose application answers the handshake when a test calls `accept`. */
async function openPending(t: Test) {
  const waiting: (() => void)[] = []
  const upstream = await startRaw(t, (socket, head) => {
    waiting.push(() => {
      socket.write(switching(head))
    })
  })
  const running = await loggedIn(t, { config: { routes: [{ path: '/**' }, { path: '/ws', upstream }] } })
  const opening = connect(running)
  await eventually(() => waiting.length === 1)
  return { running, opening, accept: () => waiting[0]?.() }
}
