import { IncomingMessage } from 'node:http'
import { Socket } from 'node:net'
import t from 'tap'
import { publicOriginsOf } from '../../src/gate/public-origins.ts'
import { readTarget, rewriteTarget, targetOf } from '../../src/http/target.ts'

const requestFor = (url: string): IncomingMessage => Object.assign(new IncomingMessage(new Socket()), { url })

const origins = publicOriginsOf({
  publicUrl: ['https://orders.example.com', 'http://127.0.0.1:8080', 'https://*.apps.example.com'],
  loginHost: null,
})

void t.test('a path and its query are kept as they were sent', (t) => {
  const rows: [raw: string, path: string, query: string][] = [
    ['/', '/', ''],
    ['/a?b', '/a', '?b'],
    ['/a?', '/a', '?'],
    ['/a?b?c=/../d', '/a', '?b?c=/../d'],
    ['/%41//b;c/..?%zz', '/%41//b;c/..', '?%zz'],
    ['//x', '//x', ''],
    ['/?\\', '/', '?\\'],
  ]
  for (const [raw, path, query] of rows) t.same(readTarget(raw, origins), { ok: true, path, query, origin: null }, raw)
  t.end()
})

void t.test('an absolute target on this origin becomes its path', (t) => {
  const rows: [raw: string, path: string, query: string, origin: string][] = [
    ['https://orders.example.com/a?b', '/a', '?b', 'https://orders.example.com'],
    ['https://orders.example.com', '/', '', 'https://orders.example.com'],
    ['HTTPS://ORDERS.example.com:443/a', '/a', '', 'https://orders.example.com'],
    ['https://orders.example.com?x', '/', '?x', 'https://orders.example.com'],
    ['http://orders.example.com/a', '/a', '', 'https://orders.example.com'],
    ['http://127.0.0.1:8080/a/../b', '/a/../b', '', 'http://127.0.0.1:8080'],
    ['https://one.apps.example.com/a', '/a', '', 'https://one.apps.example.com'],
  ]
  for (const [raw, path, query, origin] of rows)
    t.same(readTarget(raw, origins), { ok: true, path, query, origin }, raw)
  t.end()
})

void t.test('any other target is refused', (t) => {
  const refused = [
    '',
    '*',
    'a',
    '?a',
    '#',
    'https://evil.example/',
    'https://orders.example.com:8443/',
    'https://orders.example.com.evil.example/',
    'ftp://orders.example.com/',
    'https://user@orders.example.com/',
    'https://apps.example.com/',
    'https://one.two.apps.example.com/',
    'https://*.apps.example.com/',
    'https://orders.example.com@evil.example/',
    'https://orders.example.com\\a',
    'https:/orders.example.com/',
    'https:orders.example.com',
    'http://127.0.0.1/',
    'https://',
    'orders.example.com:443',
    '\\',
    '/\\',
    '/a#b',
    '/a?b#c',
    'https://orders.example.com#a',
    '/%',
    '/%00',
    '/%c0%af',
    'https://[/',
  ]
  for (const raw of refused) t.match(readTarget(raw, origins), { ok: false }, raw)
  t.end()
})

void t.test('a refused target is not routed, and its problem is stored with the request', (t) => {
  const request = requestFor('/a\\b')
  t.equal(rewriteTarget(request, origins), '/')
  t.match(targetOf(request), { ok: false, problem: /backslash/ })
  const fine = requestFor('/a?b')
  t.equal(rewriteTarget(fine, origins), '/a?b')
  t.match(targetOf(fine), { ok: true, path: '/a' })
  t.match(targetOf(requestFor('/')), { ok: false }, 'a request that was not parsed has no target')
  t.end()
})
