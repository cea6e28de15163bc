import type { IncomingHttpHeaders } from 'node:http'
import t from 'tap'
import { classify, isPrefetch } from '../../src/gate/classify.ts'

const html = 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8'
const form = 'application/x-www-form-urlencoded'
const document = { 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document', 'accept': html }
const none = { headers: [], message: null }

type Row = [method: string, headers: IncomingHttpHeaders, kind: string, what: string]

const rows: Row[] = [
  ['GET', document, 'navigation', 'a link or the address bar'],
  ['HEAD', document, 'navigation', 'the same by HEAD'],
  ['GET', { accept: html }, 'navigation', 'a browser without Sec-Fetch'],
  ['GET', { accept: 'application/xhtml+xml' }, 'navigation', 'XHTML alone'],
  ['GET', { accept: 'TEXT/HTML;q=0.9' }, 'navigation', 'media types in any case, with parameters'],
  ['GET', { accept: '*/*' }, 'script', 'curl'],
  ['GET', {}, 'script', 'no Accept at all'],
  ['GET', { accept: 'application/json' }, 'script', 'an API client'],
  ['GET', { accept: 'text/html;q=0, */*' }, 'script', 'a page that is not acceptable (RFC 9110, section 12.4.2)'],
  ['GET', { accept: 'text/html;level=1; Q=0.000, application/json' }, 'script', 'the same in another spelling'],
  ['GET', { accept: 'text/html;q=0.001' }, 'navigation', 'a page with a very low weight is acceptable'],
  ['GET', { accept: 'text/html;q=0, application/xhtml+xml' }, 'navigation', 'XHTML is acceptable'],
  ['GET', { accept: 'text/html, text/event-stream;q=0' }, 'navigation', 'an event stream that is not acceptable'],
  ['GET', { ...document, 'sec-fetch-dest': 'empty', 'accept': 'text/html;q=0,*/*' }, 'script', 'a worker’s own call'],
  ['GET', { ...document, 'sec-fetch-mode': 'nested-navigate' }, 'script', 'a mode that browsers have dropped'],
  ['GET', { accept: 'text/html-like' }, 'script', 'a media type that only begins like HTML'],
  ['GET', { ...document, 'sec-fetch-mode': 'cors', 'sec-fetch-dest': 'empty' }, 'script', 'fetch with any Accept'],
  ['GET', { 'sec-fetch-mode': 'no-cors', 'sec-fetch-dest': 'image' }, 'script', 'an image'],
  [
    'GET',
    { 'sec-fetch-mode': 'same-origin', 'sec-fetch-dest': 'empty', 'accept': html },
    'script',
    'fetch in mode same-origin',
  ],
  [
    'GET',
    { 'sec-fetch-mode': 'websocket', 'sec-fetch-dest': 'websocket' },
    'script',
    'a WebSocket’s headers without an upgrade',
  ],
  ['GET', { ...document, 'sec-fetch-dest': 'empty' }, 'navigation', 'a navigation that a service worker forwards'],
  [
    'POST',
    { ...document, 'sec-fetch-dest': 'empty', 'content-type': form },
    'form',
    'a form that a service worker forwards',
  ],
  ...['iframe', 'frame', 'embed', 'object'].map((destination): Row => [
    'GET',
    { ...document, 'sec-fetch-dest': destination },
    'frame',
    `a navigation inside ${destination}`,
  ]),
  ['POST', { ...document, 'content-type': form }, 'form', 'a form'],
  ['POST', { ...document, 'content-type': 'application/json' }, 'form', 'a navigating POST of any media type'],
  ['POST', { ...document, 'sec-fetch-dest': 'iframe', 'content-type': form }, 'frame', 'a form posted inside a frame'],
  ['PUT', document, 'script', 'no form can PUT'],
  ['POST', { 'accept': html, 'content-type': form }, 'form', 'a form of a browser without Sec-Fetch'],
  ['POST', { 'accept': html, 'content-type': 'multipart/form-data; boundary=x' }, 'form', 'the same with files'],
  ['POST', { 'accept': html, 'content-type': 'text/plain' }, 'form', 'the same in plain text'],
  ['POST', { 'accept': html, 'content-type': 'application/json' }, 'script', 'JSON without Sec-Fetch'],
  ['POST', { 'accept': '*/*', 'content-type': form }, 'script', 'a form’s media type that accepts anything'],
  ['POST', { 'accept': html, 'content-type': `${form}x` }, 'script', 'a media type that only begins like a form’s'],
  ['GET', { ...document, 'x-requested-with': 'xmlHTTPrequest' }, 'script', 'XMLHttpRequest, in any case'],
  [
    'GET',
    { ...document, 'x-requested-with': 'com.example.app' },
    'navigation',
    'another X-Requested-With, as Android’s WebView sends it',
  ],
  ['GET', { ...document, 'hx-request': 'true' }, 'script', 'htmx'],
  ['GET', { ...document, accept: 'text/event-stream' }, 'script', 'EventSource'],
  ['GET', { ...document, 'sec-purpose': 'prefetch' }, 'script', 'a prefetch'],
  ['GET', { ...document, 'sec-purpose': 'prefetch;prerender' }, 'script', 'a prerender'],
  ['GET', { ...document, upgrade: 'h2c', connection: 'Upgrade' }, 'script', 'an upgrade to another protocol'],
  ['GET', { upgrade: 'websocket', connection: 'keep-alive, Upgrade' }, 'websocket', 'Firefox’s WebSocket'],
  ['GET', { upgrade: 'WebSocket', connection: 'upgrade' }, 'websocket', 'a WebSocket in any case'],
  ['GET', { ...document, upgrade: 'websocket' }, 'script', 'an Upgrade that Connection does not name'],
]

void t.test('the kind of a request depends on its method and headers', (t) => {
  for (const [method, headers, kind, what] of rows) t.equal(classify(method, headers, none), kind, `${method}: ${what}`)
  t.end()
})

void t.test('a configured header marks any request as a script', (t) => {
  const exact = { headers: [{ name: 'X-Ajax', value: '1' }], message: null }
  const any = { headers: [{ name: 'X-Ajax', value: null }], message: null }
  t.equal(classify('GET', { ...document, 'x-ajax': '1' }, exact), 'script')
  t.equal(classify('GET', { ...document, 'x-ajax': '0' }, exact), 'navigation', 'another value is ignored')
  t.equal(classify('GET', { ...document, 'x-ajax': 'anything' }, any), 'script', 'any value matches if none is given')
  t.equal(classify('GET', document, any), 'navigation')
  t.end()
})

void t.test('a prefetch is recognized by each header that browsers use', (t) => {
  t.ok(isPrefetch({ 'sec-purpose': 'prefetch' }))
  t.ok(isPrefetch({ 'sec-purpose': 'prefetch;prerender' }))
  t.ok(isPrefetch({ purpose: 'prefetch' }))
  t.ok(isPrefetch({ 'x-moz': 'prefetch' }))
  t.notOk(isPrefetch({}))
  t.end()
})
