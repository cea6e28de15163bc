import t from 'tap'
import { returnTarget, startPageOf, targetAtLogin } from '../../src/gate/return-target.ts'
import { openRedirects } from '../support/open-redirects.ts'
import { origin } from './request.ts'

const safelyDecoded = (text: string): string => {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

void t.test('a return URL on another allowed origin keeps its origin', (t) => {
  const isAllowed = (other: string): boolean => other === 'https://app1.example.com'
  const rows: [target: string, kept: string | null][] = [
    ['https://app1.example.com/a?b#c', 'https://app1.example.com/a?b#c'],
    ['HTTPS://APP1.example.com:443', 'https://app1.example.com/'],
    ['//app1.example.com/a', 'https://app1.example.com/a'],
    [`${origin}/a`, '/a'],
    ['/a', '/a'],
    ['http://app1.example.com/', null],
    ['https://app1.example.com:8443/', null],
    ['https://app1.example.com//evil.example', null],
    ['https://user@app1.example.com/', null],
    ['https://app1.example.com\\@evil.example/', null],
    ['https://app2.example.com/', null],
    ['blob:https://app1.example.com/x', null],
    ['javascript://app1.example.com/%0aalert(1)', null],
  ]
  for (const [target, kept] of rows) t.equal(returnTarget(target, origin, isAllowed), kept, target)
  t.end()
})

void t.test('a target reads at the origin of the login as a URL, and on that origin as a path', (t) => {
  t.equal(targetAtLogin('/a', 'https://app1.example.com', origin), 'https://app1.example.com/a')
  t.equal(targetAtLogin('/a', origin, origin), '/a')
  t.equal(targetAtLogin('https://app2.example.com/a', 'https://app1.example.com', origin), 'https://app2.example.com/a')
  t.equal(startPageOf({ session: { cookie: { path: '/' } } }), '/')
  t.equal(startPageOf({ session: { cookie: { path: '/app1' } } }), '/app1/')
  t.end()
})

void t.test('a return URL on this origin keeps its query and fragment', (t) => {
  const rows: [target: string, kept: string][] = [
    ['/', '/'],
    ['/orders?page=2&q=a%20b#top', '/orders?page=2&q=a%20b#top'],
    [`${origin}/orders`, '/orders'],
    [origin, '/'],
    ['orders', '/orders'],
    ['?page=2', '/?page=2'],
    ['#top', '/#top'],
    ['/a/../b', '/b'],
    ['/a//b', '/a//b'],
    ['/x?u=https://example.com/', '/x?u=https://example.com/'],
    ['/caf\u00e9', '/caf%C3%A9'],
    ['HTTPS://ORDERS.EXAMPLE.COM:443/x', '/x'],
    ['/app#/orders/7', '/app#/orders/7'],
    ['/%2f%2fevil.example', '/%2f%2fevil.example'],
  ]
  for (const [target, kept] of rows) t.equal(returnTarget(target, origin), kept, target)
  t.end()
})

void t.test('a target that leads to another origin, or may be parsed that way, is ignored', (t) => {
  const ignored = [
    '',
    'https://evil.example/',
    '//evil.example',
    '///evil.example',
    '/\\evil.example',
    '\\\\evil.example',
    '/\t/evil.example',
    '/\n/evil.example',
    '\t//evil.example',
    ' //evil.example',
    '/\r\nX: y',
    'javascript:alert(1)',
    'data:text/html,x',
    'http://orders.example.com/',
    `${origin}:8443/`,
    `${origin}@evil.example/`,
    'https://user@orders.example.com/',
    'https://user:password@orders.example.com/',
    `${origin}.evil.example/`,
    '/.//evil.example',
    '/x/..//evil.example',
    '/%2e//evil.example',
    '/\u0000',
    '/\u007f',
    'https://',
    'https://[',
    `/${'x'.repeat(8192)}`,
    `/?${'é'.repeat(1366)}`,
    'blob:https://orders.example.com/x',
  ]
  for (const target of ignored) t.equal(returnTarget(target, origin), null, JSON.stringify(target.slice(0, 40)))
  t.equal(returnTarget(null, origin), null)
  t.equal(returnTarget(undefined, origin), null)
  t.end()
})

void t.test('no line of the corpus of open redirects leaves this origin, over https or http', (t) => {
  for (const here of [origin, 'http://127.0.0.1:8080']) {
    for (const line of openRedirects()) {
      for (const attempt of [line, safelyDecoded(line)]) {
        const target = returnTarget(attempt, here)
        if (target === null) continue
        t.ok(target.startsWith('/') && !target.startsWith('//'), `${line} becomes ${target}`)
        t.equal(new URL(target, here).origin, here, line)
        t.equal(new URL(target, `${here}/oauth2/callback`).origin, here, line)
      }
    }
  }
  t.end()
})
