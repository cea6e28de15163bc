import { randomBytes } from 'node:crypto'
import t, { type Test } from 'tap'
import { createBrowser, type RequestOptions } from '../../support/browser.ts'
import type { Answer } from '../../support/exchange.ts'
import { startGateway } from '../../support/gateway.ts'

const setUp = async (t: Test, config: Readonly<Record<string, unknown>> = {}) => {
  const running = await startGateway(t, { config })
  const browser = createBrowser()
  const post = async (
    body: string | Buffer,
    type = 'application/x-www-form-urlencoded',
    options: RequestOptions = {},
  ): Promise<Answer> =>
    browser.post(`${running.url}/orders?a=1`, body, {
      from: `${running.url}/new`,
      ...options,
      headers: { 'content-type': type, ...options.headers },
    })
  return { ...running, browser, post }
}

type Kept = { action: string; type: string; charset: string; fields: [string, string | null][] }

/** What the page's script puts into the storage. */
const keptIn = ({ body }: Answer): Kept | null => {
  const [, literal] = /\bvar kept=(\{.*?\}),link=.*setItem\("gatehouse:form:[\w-]{12}"/s.exec(body) ?? []
  return literal === undefined ? null : (JSON.parse(literal) as Kept)
}

const multipart = (parts: readonly string[]): string =>
  `${parts.map((part) => `--b\r\nContent-Disposition: form-data; ${part}\r\n`).join('')}--b--\r\n`

void t.test(
  'the response is a 401 page with the fields in their order and the URL that they were posted to',
  async (t) => {
    const { url, post, log } = await setUp(t)
    const answer = await post('b=2&a=first%0D%0Asecond&b=3&empty=&bare&%C3%A4=%E2%82%AC+%2B')
    t.equal(answer.status, 401)
    t.match(answer.headers, {
      'gatehouse': 'login_required',
      'www-authenticate': 'Bearer',
      'cache-control': 'no-store',
      'content-type': /^text\/html/,
    })
    t.notOk(answer.headers['set-cookie'])
    t.same(keptIn(answer), {
      action: `${url}/orders?a=1`,
      type: 'application/x-www-form-urlencoded',
      charset: 'utf-8',
      fields: [
        ['b', '2'],
        ['a', 'first\r\nsecond'],
        ['b', '3'],
        ['empty', ''],
        ['bare', ''],
        ['ä', '€ +'],
      ],
    })
    t.match(answer.body, /redirect=%2Foauth2%2Fform%3Fid%3D[\w-]{12}/)
    t.notMatch(log.join(''), 'second')
  },
)

void t.test('a path that begins with two slashes stays on this host', async (t) => {
  const { url, browser } = await setUp(t)
  const answer = await browser.post(`${url}/`, 'a=1', {
    from: `${url}/new`,
    target: '//other.example/x',
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
  })
  t.equal(keptIn(answer)?.action, `${url}//other.example/x`)
})

void t.test('multipart fields are kept, including empty file fields', async (t) => {
  const { post } = await setUp(t)
  const answer = await post(
    multipart([
      'name="note"\r\n\r\nZoë',
      'name="file"; filename=""\r\nContent-Type: application/octet-stream\r\n\r\n',
      'name="note"\r\n\r\nagain',
    ]),
    'multipart/form-data; boundary=b',
  )
  t.equal(answer.status, 401)
  t.match(keptIn(answer), { type: 'multipart/form-data', charset: 'utf-8' })
  t.same(keptIn(answer)?.fields, [
    ['note', 'Zoë'],
    ['file', null],
    ['note', 'again'],
  ])
})

void t.test('bytes that are not UTF-8 are kept unchanged', async (t) => {
  const { post } = await setUp(t)
  const kept = keptIn(await post('a=%E4%80&b=ok'))
  t.same(
    [kept?.charset, kept?.fields],
    [
      'windows-1252',
      [
        ['a', 'ä€'],
        ['b', 'ok'],
      ],
    ],
  )
  const parts = Buffer.from(multipart(['name="a"\r\n\r\n\xe4\x80']), 'latin1')
  const second = keptIn(await post(parts, 'multipart/form-data; boundary=b'))
  t.same([second?.charset, second?.fields], ['windows-1252', [['a', 'ä€']]])
})

void t.test('a form of 256 kB is kept, and one byte more is a 413 page with a way to sign in elsewhere', async (t) => {
  const { url, post } = await setUp(t)
  t.equal((await post(`a=${'x'.repeat(256 * 1024 - 2)}`)).status, 401)
  for (const options of [{}, { headers: { 'transfer-encoding': 'chunked', 'content-length': [] } }]) {
    const answer = await post(`a=${'x'.repeat(256 * 1024 - 1)}`, 'application/x-www-form-urlencoded', options)
    t.same([answer.status, answer.headers.gatehouse], [413, 'payload_too_large'])
    t.match(answer.body, `href="${url}/oauth2/login?redirect=%2Fnew" target="_blank"`)
    t.equal(keptIn(answer), null)
  }
})

void t.test(
  'a form with a file is a 413, even if the file is small or empty, and a large upload gets its response',
  async (t) => {
    const { post } = await setUp(t)
    for (const contents of ['x', '']) {
      const answer = await post(
        multipart([`name="file"; filename="a.txt"\r\nContent-Type: text/plain\r\n\r\n${contents}`]),
        'multipart/form-data; boundary=b',
      )
      t.equal(answer.status, 413)
    }
    t.equal((await post(randomBytes(20 * 1024 * 1024), 'multipart/form-data; boundary=b')).status, 413)
  },
)

void t.test('a boundary may be short, and text that merely contains it is not a delimiter', async (t) => {
  const { post } = await setUp(t)
  const type = 'multipart/form-data; boundary=b'
  const file = 'name="file"; filename="a.txt"\r\nContent-Type: text/plain\r\n\r\nbbb --b a b--\n--b'
  t.equal((await post(multipart(['name="a"\r\n\r\n1', file]), type)).status, 413)
  const text = 'ab --b b--\r\n--bb\r\nb'
  t.same(keptIn(await post(multipart([`name="a"\r\n\r\n${text}`, 'name="b"\r\n\r\nb']), type))?.fields, [
    ['a', text],
    ['b', 'b'],
  ])
  const strange = multipart(['name="a"\r\n\r\n(.*)']).replaceAll('--b', '--(.*) $')
  t.same(keptIn(await post(strange, 'multipart/form-data; charset=x; Boundary="(.*) $"'))?.fields, [['a', '(.*)']])
})

void t.test('a malformed multipart body is a 400', async (t) => {
  const { post } = await setUp(t)
  t.equal((await post('a=1', 'multipart/form-data; boundary=b')).status, 400)
  t.equal((await post('a=1', 'multipart/form-data')).status, 400)
})

void t.test('a form from another site or another origin is not kept', async (t) => {
  const { url, post } = await setUp(t)
  for (const from of ['https://evil.example/', url.replace(/\d+$/, '1')]) {
    const answer = await post('a=1', 'application/x-www-form-urlencoded', { from })
    t.equal(answer.status, 401, from)
    t.equal(keptIn(answer), null, from)
    t.notMatch(answer.body, 'Sign in and send')
  }
})

void t.test('preservePost: false and other media types are not kept', async (t) => {
  const { post } = await setUp(t, { routes: [{ path: '/**', preservePost: false }] })
  t.equal(keptIn(await post('a=1')), null)
  const usual = await setUp(t)
  t.equal(keptIn(await usual.post('a=1', 'text/plain')), null)
  t.equal(keptIn(await usual.post('{}', 'application/json')), null)
})

void t.test('a form posted with a cookie whose session has ended is kept, and the cookie is cleared', async (t) => {
  const { url, browser, post, gateway } = await setUp(t, { admin: { listen: '127.0.0.1:0', sessions: 'loopback' } })
  await browser.login(`${url}/`, 'alice')
  await gateway.admin?.inject({ method: 'DELETE', url: '/sessions?sub=alice' })
  const answer = await post('a=1')
  t.same([answer.status, answer.headers.gatehouse], [401, 'session_expired'])
  t.match(answer.headers['set-cookie']?.join(), /^gatehouse=;.*Max-Age=0/)
  t.same(keptIn(answer)?.fields, [['a', '1']])
})

void t.test('the page after the login posts only what is in the storage, under its own policy', async (t) => {
  const { url, browser } = await setUp(t)
  await browser.login(`${url}/`, 'alice')
  const page = await browser.get(`${url}/oauth2/form?id=${encodeURIComponent('"</script><script>alert(1)//')}`)
  t.equal(page.status, 200)
  t.notMatch(page.body, 'alert(1)')
  t.match(page.headers['content-security-policy'], "form-action 'self'")
})
