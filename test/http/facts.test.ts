import { IncomingMessage } from 'node:http'
import { Socket } from 'node:net'
import t from 'tap'
import { originsByHost } from '../../src/gate/match.ts'
import { publicOriginsOf } from '../../src/gate/public-origins.ts'
import { createFactReader } from '../../src/http/facts.ts'
import { rewriteTarget } from '../../src/http/target.ts'
import type { Facts, FinalDenial } from '../../src/gate/verdict.ts'

const publicUrls = ['https://orders.example.com', 'https://shop.example.com', 'http://127.0.0.1:8080']

type Asked = {
  readonly url?: string
  readonly peer?: string
  readonly headers?: [name: string, value: string][]
  readonly version?: string
  readonly trustedProxies?: string[]
}

const readOrDeny = ({
  url = '/',
  peer = '192.0.2.7',
  headers = [['Host', 'orders.example.com']],
  version = '1.1',
  trustedProxies = ['10.0.0.0/8', 'fd00::/8'],
}: Asked): Facts | FinalDenial => {
  const merged: Record<string, string> = {}
  for (const [name, value] of headers) {
    const known = merged[name.toLowerCase()]
    merged[name.toLowerCase()] = known === undefined ? value : `${known}, ${value}`
  }
  const socket = new Socket()
  Object.defineProperty(socket, 'remoteAddress', { value: peer })
  const request = Object.assign(new IncomingMessage(socket), {
    method: 'GET',
    url,
    httpVersion: version,
    headers: merged,
    rawHeaders: headers.flat(),
  })
  const origins = publicOriginsOf({ publicUrl: publicUrls, loginHost: null })
  rewriteTarget(request, origins)
  return createFactReader({
    headerFields: 100,
    overSocket: false,
    origins,
    trustedProxies,
    readTicket: () => null,
    onUntrusted: null,
  }).read(request)
}

const read = (asked: Asked): Facts => {
  const facts = readOrDeny(asked)
  if ('reason' in facts) throw new Error(facts.reason)
  return facts
}

const host = (value: string): [string, string] => ['Host', value]

void t.test('a request belongs to the public URL that its Host names, or to the first', (t) => {
  const rows: [string, string][] = [
    ['orders.example.com', 'https://orders.example.com'],
    ['shop.example.com', 'https://shop.example.com'],
    ['SHOP.Example.com:443', 'https://shop.example.com'],
    ['127.0.0.1:8080', 'http://127.0.0.1:8080'],
    ['127.0.0.1', 'http://127.0.0.1:8080'],
    ['127.0.0.1:80', 'https://orders.example.com'],
    ['127.0.0.1:9090', 'https://orders.example.com'],
    ['shop.example.com:80', 'https://orders.example.com'],
    ['shop.example.com:8443', 'https://orders.example.com'],
    ['evil.example', 'https://orders.example.com'],
    ['shop.example.com.evil.example', 'https://orders.example.com'],
    ['', 'https://orders.example.com'],
  ]
  for (const [name, origin] of rows) t.equal(read({ headers: [host(name)] }).origin, origin, name)
  t.end()
})

void t.test('public URLs of one host name differ by their ports', (t) => {
  const publicUrls = [
    'https://first.example',
    'https://a.example:8443',
    'https://a.example:9443',
    'https://b.example:8443',
    'https://b.example',
    'http://[::1]:8080',
  ]
  const originOf = originsByHost(publicUrls)
  const rows: [string, string | null][] = [
    ['a.example:8443', 'https://a.example:8443'],
    ['a.example:9443', 'https://a.example:9443'],
    ['a.example', null],
    ['b.example', 'https://b.example'],
    ['b.example:443', 'https://b.example'],
    ['B.example:8443', 'https://b.example:8443'],
    ['b.example:80', null],
    ['[::1]:8080', 'http://[::1]:8080'],
    ['[::1]', 'http://[::1]:8080'],
    ['first.example:', null],
    ['', null],
  ]
  for (const [name, origin] of rows) t.equal(originOf(name), origin, name)
  t.end()
})

void t.test('a wildcard is any one label, and an exact public URL wins over it', (t) => {
  const origins = publicOriginsOf({
    publicUrl: [
      'https://auth.example.com:8443',
      'https://*.example.com',
      'https://*.apps.example.com:9443',
      'https://shop.example.com',
    ],
    loginHost: 'https://auth.example.com:8443',
  })
  const rows: [string, string | null][] = [
    ['a.example.com', 'https://a.example.com'],
    ['A.Example.COM:443', 'https://a.example.com'],
    ['xn--bcher-kva.example.com', 'https://xn--bcher-kva.example.com'],
    ['a_b.example.com', 'https://a_b.example.com'],
    ['shop.example.com', 'https://shop.example.com'],
    ['auth.example.com:8443', 'https://auth.example.com:8443'],
    ['auth.example.com', 'https://auth.example.com'],
    ['x.apps.example.com:9443', 'https://x.apps.example.com:9443'],
    ['x.apps.example.com', 'https://x.apps.example.com:9443'],
    ['a.example.com:80', null],
    ['a.example.com:8443', null],
    ['example.com', null],
    ['.example.com', null],
    ['*.example.com', null],
    ['a.b.example.com', null],
    ['-.example.com', null],
    ['a-.example.com', null],
    ['a/.example.com', null],
    ['a@b.example.com', null],
    ['a b.example.com', null],
    ['$&.example.com', null],
    ['a.example.com.', null],
    ['a.example.com.evil.example', null],
    ['a.evilexample.com', null],
    [`${'a'.repeat(64)}.example.com`, null],
  ]
  for (const [name, origin] of rows) t.equal(origins.find(name), origin, name)
  t.ok(origins.has('https://a.example.com'))
  for (const origin of ['http://a.example.com', 'https://x.apps.example.com', 'https://*.example.com', 'https://', ''])
    t.notOk(origins.has(origin), origin)
  t.equal(origins.fallback, 'https://auth.example.com:8443')
  t.equal(publicOriginsOf({ publicUrl: ['https://*.a.b'], loginHost: 'https://x.a.b' }).fallback, 'https://x.a.b')
  t.end()
})

void t.test('two Host headers, or none in HTTP/1.1, are a bad request', (t) => {
  t.match(readOrDeny({ headers: [host('orders.example.com'), host('orders.example.com')] }), { reason: 'malformed' })
  t.match(readOrDeny({ headers: [host('orders.example.com'), ['hOST', 'evil.example']] }), { reason: 'malformed' })
  t.match(readOrDeny({ headers: [] }), { reason: 'malformed' })
  t.equal(read({ headers: [], version: '1.0' }).origin, 'https://orders.example.com')
  t.end()
})

void t.test('the host of an absolute target takes precedence over Host', (t) => {
  t.equal(
    read({ url: 'https://shop.example.com/a', headers: [host('orders.example.com')] }).origin,
    'https://shop.example.com',
  )
  t.match(readOrDeny({ url: 'https://evil.example/a' }), { reason: 'malformed' })
  t.end()
})

void t.test('X-Forwarded-Host is used only from a trusted proxy', (t) => {
  const headers: [string, string][] = [host('127.0.0.1:8080'), ['X-Forwarded-Host', 'shop.example.com']]
  t.equal(read({ headers, peer: '10.1.2.3' }).origin, 'https://shop.example.com')
  t.equal(read({ headers }).origin, 'http://127.0.0.1:8080')
  t.end()
})

const address = (peer: string, forwardedFor?: string): string => {
  const headers: [string, string][] = forwardedFor === undefined ? [] : [['X-Forwarded-For', forwardedFor]]
  return read({ peer, headers: [host('orders.example.com'), ...headers] }).client.address
}

void t.test('the client is the nearest address that a trusted proxy vouches for', (t) => {
  t.equal(address('192.0.2.7', '6.6.6.6'), '192.0.2.7', 'an untrusted address is not used')
  t.equal(address('10.0.0.1', '192.0.2.7'), '192.0.2.7')
  t.equal(address('10.0.0.1', '6.6.6.6, 192.0.2.7'), '192.0.2.7', 'an entry from the client is further left')
  t.equal(address('10.0.0.1', '6.6.6.6, 192.0.2.7, 10.0.0.2'), '192.0.2.7', 'trusted proxies are skipped')
  t.equal(address('10.0.0.1', '10.0.0.3, 10.0.0.2'), '10.0.0.3', 'the leftmost, if all are trusted')
  t.equal(address('10.0.0.1'), '10.0.0.1')
  for (const unreadable of [
    'unknown',
    '_hidden',
    'garbage',
    'fe80::1%eth0',
    '::ffff:1.2.3',
    '1.2.3',
    'a'.repeat(5_000),
  ]) {
    t.equal(address('10.0.0.1', unreadable), '', `${unreadable.slice(0, 20)} is not the address of the proxy`)
    t.equal(address('10.0.0.1', `6.6.6.6, ${unreadable}`), '', 'entries left of an unreadable one are ignored')
    t.equal(address('10.0.0.1', `${unreadable}, 6.6.6.6`), '6.6.6.6', 'an unreadable entry of the client is ignored')
  }
  for (const mapped of ['::ffff:cb00:7105', '::FFFF:203.0.113.5', '0:0:0:0:0:ffff:cb00:7105', '[::ffff:cb00:7105]:443'])
    t.equal(address('10.0.0.1', mapped), '203.0.113.5', mapped)
  t.equal(address('10.0.0.1', '6.6.6.6, ::ffff:a00:2'), '6.6.6.6', 'a trusted proxy in another form')
  t.equal(address('::ffff:10.0.0.1', '::ffff:192.0.2.7'), '192.0.2.7', 'IPv4 over an IPv6 socket')
  t.equal(address('fd00::1', '2001:db8::7'), '2001:db8::7')
  t.end()
})

void t.test('without trusted proxies every forwarded header is ignored', (t) => {
  const { client } = read({
    peer: '127.0.0.1',
    trustedProxies: [],
    headers: [host('orders.example.com'), ['X-Forwarded-For', '6.6.6.6']],
  })
  t.same(client, { address: '127.0.0.1', peer: '127.0.0.1', trusted: false, scheme: 'https' })
  t.end()
})
