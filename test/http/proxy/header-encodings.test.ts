import t from 'tap'
import { startIdp } from '../../../src/demo/idp.ts'
import { loggedIn } from '../../support/logged-in.ts'
import { startHttp2Application } from '../../support/http2-application.ts'
import { ask, header } from '../../support/raw-http.ts'
import { openWebSocket } from '../../support/websocket.ts'

const claims = {
  city: 'Tromsø',
  teams: ['Zürich', 'a,b', '100%'],
  evil: 'x\r\nX-Injected: yes',
  // The second byte of this letter is U+0085, at which some applications break lines of Latin-1.
  next: 'ÅX-Injected: yes',
  control: 'x\u0085X-Injected: yes',
  padded: ' admin',
}

const idp = await startIdp({
  users: [{ sub: 'alice', name: 'Alice', email: 'alice@example.com', groups: [], claims }],
})
t.teardown(() => idp.close())

const names = Object.keys(claims)
const set = Object.fromEntries(names.map((name) => [`X-C-${name}`, `{claims.${name}}`]))
const utf8 = { set, encoding: 'utf-8' }

/** The text whose UTF-8 bytes a header has; each character of the value is one byte. */
const decoded = (value: string | null | undefined): string | null =>
  typeof value === 'string' ? Buffer.from(value, 'latin1').toString() : null

const sentIn = (raw: readonly string[]): Record<string, string | null> =>
  Object.fromEntries(
    names.map((name) => {
      const at = raw.findIndex((one, i) => i % 2 === 0 && one.toLowerCase() === `x-c-${name}`)
      return [name, at === -1 ? null : decoded(raw[at + 1])]
    }),
  )

const bytes = {
  city: 'Tromsø',
  teams: 'Zürich,a%2Cb,100%',
  evil: null,
  next: 'ÅX-Injected: yes',
  control: null,
  padded: null,
}

void t.test('utf-8 sends the bytes of each claim over every protocol, and never another header', async (t) => {
  const h2 = await startHttp2Application(t, ({ stream }) => {
    stream.respond({ ':status': 200 })
    stream.end()
  })
  const { url, verdicts, browser, upstream } = await loggedIn(t, {
    idp,
    config: {
      forwardAuth: { listen: '127.0.0.1:0' },
      routes: [
        { path: '/**', headers: utf8 },
        { path: '/h2/**', upstream: h2.url, upstreamProtocol: 'h2c', headers: utf8 },
      ],
    },
  })
  const cookie = `Cookie: ${browser.cookies.header(new URL(url))}`
  await ask(url, 'GET', '/api/orders', [cookie])
  t.same(sentIn(upstream.requests.at(-1)?.rawHeaders ?? []), bytes)
  t.notMatch(upstream.requests.at(-1)?.headers, { 'x-injected': String })
  const socket = await openWebSocket(`${url}/ws`, { headers: [cookie] })
  t.equal(socket.status, 101)
  t.same(sentIn(upstream.requests.at(-1)?.rawHeaders ?? []), bytes)
  socket.socket.destroy()
  t.equal((await ask(url, 'GET', '/h2/x', [cookie])).status, 200)
  t.same(sentIn(h2.requests.at(-1)?.raw ?? []), bytes)
  const verdict = await ask(verdicts, 'GET', '/auth', [cookie, `X-Original-URL: ${url}/api/orders`])
  t.equal(verdict.status, 200)
  t.same(Object.fromEntries(names.map((name) => [name, decoded(header(verdict, `x-c-${name}`))])), bytes)
  t.equal(header(verdict, 'x-injected'), null)
})

void t.test('percent sends text that decodes to each claim', async (t) => {
  const { browser, url, upstream } = await loggedIn(t, {
    idp,
    config: { routes: [{ path: '/**', headers: { set, encoding: 'percent' } }] },
  })
  await browser.get(`${url}/api/orders`, { kind: 'script' })
  const sent = sentIn(upstream.requests.at(-1)?.rawHeaders ?? [])
  t.same(sent['teams']?.split(',').map(decodeURIComponent), claims.teams)
  for (const name of ['city', 'evil', 'next', 'control', 'padded'] as const)
    t.equal(decodeURIComponent(sent[name] ?? ''), claims[name])
})
