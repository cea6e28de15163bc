import { randomBytes, randomInt } from 'node:crypto'
import { once } from 'node:events'
import { connect as connectHttp2, type ClientHttp2Session } from 'node:http2'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect as connectTls } from 'node:tls'
import t, { type Test } from 'tap'
import { startIdp } from '../../../src/demo/idp.ts'
import { startUpstream } from '../../../src/demo/upstream.ts'
import { readProxyHeader } from '../../../src/http/server/proxy-protocol.ts'
import { createAuthority } from '../../support/certificates.ts'
import { eventually } from '../../support/eventually.ts'
import { freePort } from '../../support/free-port.ts'
import { startGateway, type Running } from '../../support/gateway.ts'
import { startProxyProgram } from '../../support/proxy-program.ts'

const [idp, upstream] = await Promise.all([startIdp(), startUpstream()])
t.teardown(async () => Promise.all([idp.close(), upstream.close()]))

const SIGNATURE = Buffer.from('0d0a0d0a000d0a515549540a', 'hex')
const [LOCAL, PROXY] = [0x20, 0x21]

const header = (command: number, family: number, ...parts: readonly Buffer[]): Buffer => {
  const rest = Buffer.concat(parts)
  return Buffer.concat([SIGNATURE, Buffer.of(command, family, rest.length >> 8, rest.length & 0xff), rest])
}
/** From 203.0.113.7:56324 to 192.0.2.1:443. */
const ipv4 = Buffer.from('cb007107c0000201dc0401bb', 'hex')
/** From [2001:db8::7]:56324 to [2001:db8::1]:443. */
const ipv6 = Buffer.from('20010db800000000000000000000000720010db8000000000000000000000001dc0401bb', 'hex')
const tlv = (type: number, value: Buffer): Buffer =>
  Buffer.concat([Buffer.of(type, value.length >> 8, value.length & 0xff), value])
/** HAProxy's header for a connection from 127.0.0.1 with `proxy-v2-options crc32c`. */
const fromHaproxy = Buffer.from('0d0a0d0a000d0a515549540a211100137f0000017f000001e62e268f0300045fa0d5f9', 'hex')

const clientOf = (bytes: Buffer): string | null | undefined => readProxyHeader(bytes)?.client?.address ?? null

const accepted: [string, Buffer, string | null][] = [
  ['TCP over IPv4', header(PROXY, 0x11, ipv4), '203.0.113.7'],
  ['TCP over IPv6', header(PROXY, 0x21, ipv6), '2001:db8::7'],
  ['other fields', header(PROXY, 0x11, ipv4, tlv(0x01, Buffer.from('h2')), tlv(0xea, Buffer.alloc(3))), '203.0.113.7'],
  ['a Unix socket', header(PROXY, 0x31, Buffer.alloc(216)), ''],
  ['an unspecified family', header(PROXY, 0x00), ''],
  ['an unspecified family with other bytes', header(PROXY, 0x00, tlv(0x04, Buffer.alloc(9))), ''],
  ['an unspecified family with addresses', header(PROXY, 0x00, ipv4), ''],
  ['a local connection', header(LOCAL, 0x00), null],
  ['a local connection with addresses', header(LOCAL, 0x11, ipv4), null],
  ['version 1 over IPv4', Buffer.from('PROXY TCP4 203.0.113.7 192.0.2.1 56324 443\r\n'), '203.0.113.7'],
  ['version 1 over IPv6', Buffer.from('PROXY TCP6 2001:db8::7 2001:db8::1 56324 443\r\n'), '2001:db8::7'],
  ['version 1 with a long address', Buffer.from('PROXY TCP6 2001:0DB8:0:0::7 2001:db8::1 1 443\r\n'), '2001:db8::7'],
  ['version 1 of an unknown client', Buffer.from('PROXY UNKNOWN\r\n'), ''],
  ['version 1 of an unknown client with addresses', Buffer.from('PROXY UNKNOWN ffff:f::1 ffff:f::2 1 2\r\n'), ''],
]

/** Sends a request on an HTTP/2 session, closes the session, and returns the status. */
const http2Status = async (session: ClientHttp2Session): Promise<unknown> => {
  const stream = session.request({ ':path': '/api/echo' })
  const [answer] = await once(stream, 'response')
  stream.resume()
  await once(stream, 'close')
  session.close()
  return answer[':status']
}

void t.test('headers are read, in one piece and byte by byte', async (t) => {
  for (const [what, bytes, client] of accepted) {
    const all = Buffer.concat([bytes, Buffer.from('GET / HTTP/1.1\r\n')])
    t.equal(readProxyHeader(all)?.length, bytes.length, what)
    t.equal(clientOf(all), client, what)
    for (let length = 1; length < bytes.length; length += 1)
      if (readProxyHeader(bytes.subarray(0, length)) !== null) t.fail(`${what}: ${length} bytes`)
  }
})

const rejected: [string, Buffer, RegExp][] = [
  ['HTTP', Buffer.from('GET / HTTP/1.1\r\n'), /does not begin with/],
  ['TLS', Buffer.from('1603010200', 'hex'), /does not begin with/],
  ['version 3', header(0x31, 0x11, ipv4), /version or command: 0x31/],
  ['an unknown command', header(0x22, 0x11, ipv4), /version or command: 0x22/],
  ['datagrams', header(PROXY, 0x12, ipv4), /address family: 0x12/],
  ['an unknown family', header(PROXY, 0x41, ipv4), /address family: 0x41/],
  ['short addresses', header(PROXY, 0x21, ipv4), /too short/],
  ['a field that is cut off', header(PROXY, 0x11, ipv4, Buffer.of(1, 0)), /within a field/],
  ['a value that is cut off', header(PROXY, 0x11, ipv4, Buffer.of(1, 0, 9, 1)), /within a field/],
  ['a wrong checksum', header(PROXY, 0x11, ipv4, tlv(3, Buffer.alloc(4, 1))), /wrong checksum/],
  ['a short checksum', header(PROXY, 0x11, ipv4, tlv(3, Buffer.alloc(3))), /another length/],
  ['a long header', header(PROXY, 0x11, ipv4, Buffer.alloc(4096)), /4124 bytes, more than 4096/],
  ['a long line', Buffer.from(`PROXY UNKNOWN ${'x'.repeat(100)}\r\n`), /more than 107/],
  ['a line without an end', Buffer.from(`PROXY TCP4 ${'1'.repeat(200)}`), /more than 107/],
  ['addresses of two families', Buffer.from('PROXY TCP4 2001:db8::7 192.0.2.1 1 2\r\n'), /malformed/],
  ['a name', Buffer.from('PROXY TCP4 client.example 192.0.2.1 1 2\r\n'), /malformed/],
  ['a large port', Buffer.from('PROXY TCP4 203.0.113.7 192.0.2.1 65536 2\r\n'), /malformed/],
  ['a missing port', Buffer.from('PROXY TCP4 203.0.113.7 192.0.2.1 1\r\n'), /malformed/],
  ['a lone line feed', Buffer.from(`PROXY TCP4 203.0.113.7 192.0.2.1 1 2\nGET / HTTP/1.1\r\n`), /malformed/],
]

void t.test('what is not a header is rejected', async (t) => {
  for (const [what, bytes, problem] of rejected) t.throws(() => readProxyHeader(bytes), problem, what)
})

void t.test('a checksum is verified over the whole header', async (t) => {
  t.equal(clientOf(fromHaproxy), '127.0.0.1')
  // Before the addresses are the command, the family and the length; behind them are the type and length of the field.
  for (const at of [16, 19, 20, 23, 24, 27, 31, 34]) {
    const changed = Buffer.from(fromHaproxy)
    changed[at] = (changed[at] ?? 0) ^ 0x04
    t.throws(() => readProxyHeader(changed), /wrong checksum/, `byte ${at}`)
  }
})

const routes = [{ path: '/**', access: 'public' }]

const files = (): { certFile: string; keyFile: string } => {
  const { cert, key } = createAuthority().issue(['127.0.0.1'])
  const folder = t.testdir({ 'cert.pem': cert, 'key.pem': key })
  return { certFile: join(folder, 'cert.pem'), keyFile: join(folder, 'key.pem') }
}
const tls = files()

const start = async (t: Test, config: Record<string, unknown> = {}): Promise<Running & { readonly port: number }> => {
  const running = await startGateway(t, {
    idp,
    upstream,
    config: { listenProxyProtocol: true, trustedProxies: ['127.0.0.1/32', '198.51.100.0/24'], routes, ...config },
  })
  return { ...running, port: Number(new URL(running.url).port) }
}

/** Opens a connection whose errors the test sees by its end. */
const open = (port: number, localAddress = '127.0.0.1'): Socket =>
  connect({ port, host: '127.0.0.1', localAddress }).on('error', () => {})

const REQUEST = 'GET /api/echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\n'

/** What the application sees of a client for which a proxy at 127.0.0.1 opens this connection. */
const seenBy = async (
  { port }: { readonly port: number },
  bytes: string | Buffer,
  more = '',
): Promise<string | undefined> => {
  const socket = open(port)
  socket.write(Buffer.concat([Buffer.from(bytes), Buffer.from(`${REQUEST}${more}\r\n`)]))
  const answer = await text(socket)
  return answer.startsWith('HTTP/1.1 200') ? upstream.requests.at(-1)?.headers['x-forwarded-for']?.toString() : answer
}

const lastClient = async ({ events }: Running, count: number): Promise<unknown> => {
  await eventually(() => events('request').length === count, { what: 'the access line' })
  return events('request').at(-1)?.['client']
}

void t.test('the address in the header is that of the client', async (t) => {
  const gateway = await start(t)
  t.equal(await seenBy(gateway, header(PROXY, 0x11, ipv4)), '203.0.113.7')
  t.equal(await lastClient(gateway, 1), '203.0.113.7')
  t.equal(await seenBy(gateway, header(PROXY, 0x21, ipv6)), '2001:db8::7')
  t.equal(await lastClient(gateway, 2), '2001:db8::7')
  t.equal(await seenBy(gateway, 'PROXY TCP4 203.0.113.9 192.0.2.1 1 2\r\n'), '203.0.113.9')
  t.equal(await lastClient(gateway, 3), '203.0.113.9')
})

void t.test('X-Forwarded-For counts for the address in the header, not for the proxy that has sent it', async (t) => {
  const gateway = await start(t)
  const forged = 'X-Forwarded-For: 10.9.9.9\r\nX-Forwarded-Host: evil.example\r\n'
  t.equal(await seenBy(gateway, header(PROXY, 0x11, ipv4), forged), '203.0.113.7')
  t.equal(await lastClient(gateway, 1), '203.0.113.7')
  const trusted = Buffer.from('c6336407c0000201dc0401bb', 'hex')
  t.equal(await seenBy(gateway, header(PROXY, 0x11, trusted), forged), '10.9.9.9, 198.51.100.7')
  t.equal(await lastClient(gateway, 2), '10.9.9.9', 'another trusted proxy before this one')
  await seenBy(gateway, header(PROXY, 0x00), forged)
  t.equal(await lastClient(gateway, 3), '', 'a client without an address')
  t.equal(await seenBy(gateway, header(LOCAL, 0x00)), '127.0.0.1', 'the proxy itself')
})

void t.test('rules about networks and rate limits count the address in the header', async (t) => {
  const gateway = await start(t, {
    routes: [
      { path: '/api/**', access: 'public' },
      { path: '/**', access: 'public' },
    ],
    rateLimit: { requests: '2/1m' },
  })
  const status = async (bytes: Buffer): Promise<string> => {
    const socket = open(gateway.port)
    socket.write(Buffer.concat([bytes, Buffer.from(`${REQUEST}\r\n`)]))
    return (await text(socket)).slice(9, 12)
  }
  const statuses = []
  for (let i = 0; i < 3; i += 1) statuses.push(await status(header(PROXY, 0x11, ipv4)))
  t.same(statuses, ['200', '200', '429'])
  t.equal(await status(header(PROXY, 0x21, ipv6)), '200')
})

void t.test('a connection without a valid header is closed without a response', async (t) => {
  const gateway = await start(t)
  const send = async (bytes: Buffer, from?: string): Promise<string> => {
    const socket = open(gateway.port, from)
    socket.write(bytes)
    return text(socket).catch(() => 'reset')
  }
  t.notMatch(await send(Buffer.from(`${REQUEST}\r\n`)), /HTTP/, 'a trusted proxy without a header')
  const [first] = gateway.events('proxy_protocol_refused')
  t.match(first, { client: '127.0.0.1', cause: /does not begin with a PROXY protocol header/ })
  t.notMatch(
    await send(Buffer.concat([header(PROXY, 0x11, ipv4), Buffer.from(`${REQUEST}\r\n`)]), '127.0.0.2'),
    /HTTP/,
    'a peer that is not trusted',
  )
  t.equal(gateway.events('proxy_protocol_refused').length, 1, 'the log has one line in 10 s')
  for (const [what, bytes] of rejected) {
    const socket = open(gateway.port)
    socket.end(bytes)
    t.notMatch(await text(socket).catch(() => ''), /HTTP/, what)
  }
  t.equal(await seenBy(gateway, header(PROXY, 0x11, ipv4)), '203.0.113.7', 'the listener goes on')
})

void t.test('a header may arrive byte by byte, but not slowly', async (t) => {
  const gateway = await start(t, { limits: { headersTimeout: '1s' } })
  const socket = open(gateway.port).setNoDelay(true)
  for (const byte of Buffer.concat([header(PROXY, 0x11, ipv4), Buffer.from(`${REQUEST}\r\n`)])) {
    socket.write(Buffer.of(byte))
    await sleep(1)
  }
  t.match(await text(socket), /^HTTP\/1.1 200/)
  const begun = Date.now()
  const slow = open(gateway.port)
  slow.write(SIGNATURE.subarray(0, 5))
  await text(slow).catch(() => '')
  t.ok(Date.now() - begun < 3_000)
  t.match(gateway.events('proxy_protocol_refused'), [{ cause: /did not arrive in time/ }])
})

void t.test('no bytes crash the gateway, and none is read as a header by mistake', async (t) => {
  const gateway = await start(t)
  const valid = accepted.map(([, bytes]) => bytes)
  const sent = Array.from({ length: 300 }, async (_, i) => {
    const original = valid[i % valid.length] ?? SIGNATURE
    const bytes = i % 5 === 0 ? Buffer.concat([SIGNATURE, randomBytes(randomInt(300))]) : Buffer.from(original)
    for (let n = randomInt(4); n > 0; n -= 1) bytes[randomInt(bytes.length)] = randomInt(256)
    try {
      const found = readProxyHeader(bytes)
      t.ok(found === null || (found.length <= bytes.length && found.length > 0), bytes.toString('hex'))
    } catch (error) {
      t.match(error, { message: /PROXY protocol header/ }, bytes.toString('hex'))
    }
    const socket = open(gateway.port)
    socket.end(Buffer.concat([bytes, Buffer.from(`${REQUEST}\r\n`)]))
    await text(socket).catch(() => '')
  })
  await Promise.all(sent)
  t.equal(await seenBy(gateway, header(PROXY, 0x11, ipv4)), '203.0.113.7')
})

/** Sends the header on a new connection and begins TLS on it. */
const beginTls = (port: number, ALPNProtocols: string[]): ReturnType<typeof connectTls> => {
  const socket = open(port)
  socket.write(header(PROXY, 0x11, ipv4))
  return connectTls({ socket, rejectUnauthorized: false, ALPNProtocols }).on('error', () => {})
}

void t.test('the header comes before TLS, for HTTP/1.1, HTTP/2 and failed handshakes', async (t) => {
  const port = await freePort()
  const gateway = await start(t, { tls, publicUrl: `https://127.0.0.1:${port}` })
  const one = beginTls(gateway.port, ['http/1.1'])
  one.write(`${REQUEST}\r\n`)
  t.match(await text(one), /^HTTP\/1.1 200/)
  t.equal(await lastClient(gateway, 1), '203.0.113.7')
  const session = connectHttp2(`https://127.0.0.1:${gateway.port}`, {
    createConnection: () => beginTls(gateway.port, ['h2']),
  })
  t.equal(await http2Status(session), 200)
  t.equal(await lastClient(gateway, 2), '203.0.113.7')
  const plain = open(gateway.port)
  plain.end(Buffer.concat([header(PROXY, 0x21, ipv6), Buffer.from(`${REQUEST}\r\n`)]))
  t.match(await text(plain).catch(() => ''), /^HTTP\/1.1 400|^$/)
  t.equal(await lastClient(gateway, 3), '2001:db8::7', 'a client that does not speak TLS')
  const begun = open(gateway.port)
  await once(begun, 'connect')
  const closed = gateway.gateway.close()
  const ended = text(begun).catch(() => '')
  t.equal(await ended, '', 'a stop closes a connection that has sent no header')
  await closed
})

void t.test('HTTP/2 without TLS and a request in the same packet as the header', async (t) => {
  const gateway = await start(t, { listenH2c: true })
  const session = connectHttp2(`http://127.0.0.1:${gateway.port}`, {
    createConnection() {
      const socket = open(gateway.port)
      socket.write(header(PROXY, 0x11, ipv4))
      return socket
    },
  })
  t.equal(await http2Status(session), 200)
  t.equal(await lastClient(gateway, 1), '203.0.113.7')
  t.equal(await seenBy(gateway, header(PROXY, 0x21, ipv6)), '2001:db8::7', 'HTTP/1.1 on the same port')
})

void t.test('HAProxy sends both versions, with a checksum, in front of HTTP and of TLS', async (t) => {
  const port = await freePort()
  const [plain, secure] = await Promise.all([
    start(t, { trustedProxies: ['127.0.0.1'] }),
    start(t, { trustedProxies: ['127.0.0.1'], tls, publicUrl: `https://127.0.0.1:${port}` }),
  ])
  const fronts = [
    { front: await freePort(), to: plain, options: 'send-proxy' },
    { front: await freePort(), to: plain, options: 'send-proxy-v2 proxy-v2-options crc32c,unique-id' },
    { front: port, to: secure, options: 'send-proxy-v2' },
  ]
  await startProxyProgram(t, port, {
    name: 'haproxy',
    files: {
      'haproxy.cfg': `
defaults
  mode tcp
  timeout connect 5s
  timeout client 30s
  timeout server 30s
${fronts
  .map(
    ({ front, to, options }) => `listen front-${front}
  bind 127.0.0.1:${front}
  server gatehouse 127.0.0.1:${to.port} check check-send-proxy inter 200ms ${options}
`,
  )
  .join('')}`,
    },
    args: (folder) => ['-db', '-f', `${folder}/haproxy.cfg`],
  })
  for (const [place, { front, to }] of fronts.entries()) {
    const before = to.events('request').length
    const socket = open(front, `127.0.0.${place + 5}`)
    const client =
      to === secure ? connectTls({ socket, rejectUnauthorized: false, ALPNProtocols: ['http/1.1'] }) : socket
    client.write(`${REQUEST}X-Forwarded-For: 10.9.9.9\r\n\r\n`)
    t.match(await text(client), /^HTTP\/1.1 200/)
    t.equal(await lastClient(to, before + 1), `127.0.0.${place + 5}`)
  }
  await sleep(500)
  t.same([...plain.events('proxy_protocol_refused'), ...secure.events('proxy_protocol_refused')], [], 'its checks pass')
})
