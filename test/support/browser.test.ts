import type { Test } from 'tap'
import t from 'tap'
import { startUpstream } from '../../src/demo/upstream.ts'
import { createBrowser, type RequestOptions } from './browser.ts'
import { createCookieJar } from './cookie-jar.ts'
import { htmlForms, htmlLink, unescapeHtml } from './html-form.ts'

const setUp = async (test: Test) => {
  const upstream = await startUpstream()
  test.teardown(upstream.close)
  const browser = createBrowser({ origins: { 'https://app.example': upstream.url } })
  const sent = async (method: string, options: RequestOptions) => {
    await browser.request(method, 'https://app.example/api/echo', options)
    return upstream.requests.at(-1)?.headers ?? {}
  }
  return { upstream, browser, sent }
}

void t.test('a request carries the headers of a browser’s request of its kind', async (t) => {
  const { sent } = await setUp(t)
  const typed = await sent('GET', {})
  t.match(typed, {
    'host': 'app.example',
    'sec-fetch-mode': 'navigate',
    'sec-fetch-dest': 'document',
    'sec-fetch-site': 'none',
    'accept': /^text\/html/,
  })
  t.equal(typed.referer, undefined)

  t.match(await sent('GET', { from: 'https://other.example/a?b' }), {
    'sec-fetch-site': 'cross-site',
    'referer': 'https://other.example/',
    'origin': undefined,
  })
  t.match(await sent('POST', { from: 'https://app.example/a?b#c', body: 'x' }), {
    'sec-fetch-site': 'same-origin',
    'referer': 'https://app.example/a?b',
    'origin': 'https://app.example',
    'content-length': '1',
  })
  t.match(await sent('POST', { from: 'https://app.example:8443/', kind: 'script' }), {
    'sec-fetch-site': 'same-site',
    'sec-fetch-mode': 'cors',
    'sec-fetch-dest': 'empty',
    'origin': 'https://app.example:8443',
    'accept': '*/*',
  })
  t.match(await sent('GET', { kind: 'frame', from: 'https://app.example/' }), { 'sec-fetch-dest': 'iframe' })

  const bare = await sent('GET', { kind: 'none' })
  t.same(Object.keys(bare).toSorted(), ['connection', 'host'])
})

void t.test('cookies are sent where a browser sends them', (t) => {
  const jar = createCookieJar()
  const from = (url: string, ...lines: string[]): void => {
    jar.store(new URL(url), lines)
  }
  const at = (url: string): string => jar.header(new URL(url))

  from('http://127.0.0.1:1000/a/b', 'one=1', 'two=2; Path=/; HttpOnly', 'three=3; Path=/; Secure')
  t.equal(at('http://127.0.0.1:2000/a/c'), 'one=1; two=2; three=3', 'ports are ignored, and loopback may be secure')
  t.equal(at('http://127.0.0.1:1000/ab'), 'two=2; three=3', 'a path is not a prefix of a name')
  t.equal(at('http://127.0.0.2:1000/a/'), '')

  from('http://127.0.0.1/', 'two=; Path=/; Max-Age=0', 'three=x; Path=/; Secure; Expires=Thu, 01 Jan 1970 00:00:00 GMT')
  t.equal(at('http://127.0.0.1/'), '')
  from('http://127.0.0.1/a/x', 'one=changed')
  t.equal(at('http://127.0.0.1/a/'), 'one=changed')

  from('http://app.example/', 'plain=1; Secure', '__Host-a=1; Path=/')
  from(
    'https://app.example/',
    '__Host-b=1; Secure',
    '__Host-c=1; Secure; Path=/; Domain=app.example',
    '__Secure-d=1; Path=/',
    'e=1; Domain=other.example',
    `f=${'x'.repeat(5000)}`,
  )
  t.equal(at('https://app.example/'), '', 'all of them are refused')
  from('https://app.example/', '__Host-g=1; Secure; Path=/', 'h=2; Domain=.app.example; Path=/; Secure')
  t.equal(at('https://app.example/x'), '__Host-g=1; h=2')
  t.equal(at('https://www.app.example/x'), 'h=2')
  t.equal(at('http://app.example/x'), '')
  t.equal(jar.get('https://app.example/', '__Host-g'), '1')
  t.match(
    jar.all().map(({ name }) => name),
    ['one', '__Host-g', 'h'],
  )
  jar.clear()
  t.same(jar.all(), [])
  t.end()
})

void t.test('SameSite withholds cookies', async (t) => {
  const { browser, sent } = await setUp(t)
  const lines = ['s=1; SameSite=Strict', 'l=1; SameSite=Lax', 'd=1', 'n=1; SameSite=None; Secure', 'x=1; SameSite=None']
  const query = lines.map((line) => `cookie=${encodeURIComponent(`${line}; Path=/`)}`).join('&')
  await browser.get(`https://app.example/api/set-cookie?${query}`)

  const cookies = async (method: string, options: RequestOptions) => (await sent(method, options)).cookie
  t.equal(await cookies('GET', {}), 's=1; l=1; d=1; n=1; x=1')
  t.equal(await cookies('GET', { from: 'https://other.example/' }), 'l=1; d=1; n=1; x=1')
  t.equal(await cookies('POST', { from: 'https://other.example/' }), 'n=1')
  t.equal(await cookies('GET', { from: 'https://other.example/', kind: 'script' }), 'n=1')
  t.equal(await cookies('GET', { from: 'https://other.example/', kind: 'frame' }), 'n=1')
  t.equal(await cookies('POST', { kind: 'script' }), 's=1; l=1; d=1; n=1; x=1')
})

void t.test('forms, links and entities are parsed', (t) => {
  const html = `<a class="x" id="continue" href="/next?a=1&amp;b=2">on</a>
    <form id="f" method="post" action="/go"><input type="hidden" name="a" value="&lt;1&gt;"><button>Go</button></form>
    <input form="f" name="b" value='2'><button form="f" name="c" value="3">Other</button>`
  t.equal(htmlLink(html, 'continue'), '/next?a=1&b=2')
  t.equal(htmlLink(html, 'absent'), null)
  t.same(htmlForms(html), [
    {
      method: 'POST',
      action: '/go',
      fields: [
        ['a', '<1>'],
        ['b', '2'],
      ],
      buttons: [
        { name: '', value: '', text: 'Go' },
        { name: 'c', value: '3', text: 'Other' },
      ],
    },
  ])
  t.equal(unescapeHtml('&#39;&#x2F;&unknown;'), "'/&unknown;")
  t.end()
})

void t.test('a chain of redirects is followed up to a limit', async (t) => {
  const { browser } = await setUp(t)
  const base = 'https://app.example/api/redirect?to='
  const { answer, hops } = await browser.follow(await browser.get(`${base}${encodeURIComponent(`${base}/public/`)}`))
  t.equal(answer.url, 'https://app.example/public/')
  t.same(
    hops.map(({ status }) => status),
    [302, 302, 200],
  )

  const loop = 'https://app.example/api/status/302?header=Location:'
  await t.rejects(browser.follow(await browser.get(loop)), { message: `no end after 30 hops, the last one at ${loop}` })
})
