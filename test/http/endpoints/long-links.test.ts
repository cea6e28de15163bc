import { randomBytes } from 'node:crypto'
import t, { type Test } from 'tap'
import { startIdp } from '../../../src/demo/idp.ts'
import { startScriptedProvider } from '../../oidc/scripted-provider.ts'
import { createBrowser, type Browser } from '../../support/browser.ts'
import type { Answer } from '../../support/exchange.ts'
import { startGateway } from '../../support/gateway.ts'
import { authorizationUrlOf, plainPage, signIn } from '../../support/sign-in.ts'

const idp = await startIdp()
t.teardown(() => idp.close())

const MOST_BYTES = 8000
const LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~!$&()*+,;=:@/?[]|{}^`'"

/** Cuts a target to a length, without half a percent-encoding at its end. */
const cut = (text: string, length: number): string => text.slice(0, length).replace(/%.?$/, (end) => 'x'.repeat(end.length))

const random = (length: number): string =>
  `/app?${Array.from(randomBytes(length), (byte) => LETTERS[byte % LETTERS.length]).join('').replaceAll("'", 'x')}`.slice(0, length)
const encoded = (length: number): string =>
  cut(`/app?q=${[...randomBytes(length)].map((byte) => `%${byte.toString(16).toUpperCase().padStart(2, '0')}`).join('')}`, length)
const rison = (length: number): string =>
  cut(`/app/discover?_g=(filters:!(),time:(from:now-15m,to:now))&_a=(columns:!(${"a,'b c',".replaceAll(' ', '%20').replaceAll("'", '%27').repeat(length)}`, length)

const setCookies = ({ headers }: Answer): readonly string[] => headers['set-cookie'] ?? []

/** Checks what a login sets and where it leads, and returns the URL at the provider. */
const measure = (t: Test, answer: Answer): URL => {
  const authorization = authorizationUrlOf(answer)
  t.ok(authorization.href.length <= MOST_BYTES, `${authorization.href.length} bytes at the provider`)
  for (const cookie of setCookies(answer)) t.ok(cookie.length <= 4096, `a cookie of ${cookie.length} bytes`)
  return authorization
}

const finish = async (t: Test, browser: Browser, authorization: URL, target: string): Promise<void> => {
  const callback = await signIn(browser, authorization)
  t.ok(callback.href.length <= MOST_BYTES, `${callback.href.length} bytes at the callback`)
  const answer = await browser.get(callback.href, plainPage)
  t.equal(new URL(answer.headers.location ?? '', callback).href, callback.origin + target)
}

const keptTargets = (browser: Browser, url: string): string[] =>
  browser.cookies
    .all()
    .filter(({ name, value }) => name.includes('-target-') && value !== '')
    .map(({ name, path }) => `${name} ${path} ${url}`)

void t.test('a link of up to 8 kB survives the login', async (t) => {
  const { url, upstream, events } = await startGateway(t, { idp, config: { provider: { pushedAuthorization: 'off' } } })
  for (const make of [random, encoded, rison])
    for (const length of [1024, 1025, 2100, 4000, 8000, 8192]) {
      const target = make(length)
      t.equal(new URL(target, url).href.length, url.length + length)
      const browser = createBrowser()
      const denied = await browser.get(url + target, plainPage)
      t.equal(denied.status, 302)
      const begun = await browser.get(new URL(denied.headers.location ?? '', url).href, plainPage)
      const authorization = measure(t, begun)
      t.equal(setCookies(begun).length > 1, length > 1024)
      await finish(t, browser, authorization, target)
      t.same(keptTargets(browser, url), [], 'the callback removes the cookies')
      await browser.get(url + target, plainPage)
      t.equal(upstream.requests.at(-1)?.url, target)
      t.notMatch(upstream.requests.at(-1)?.headers['cookie'] ?? '', /target/)
    }
  t.same(events('return_url_too_long'), [])
  for (const length of [8193, 9000]) {
    const browser = createBrowser()
    const { headers } = await browser.get(url + random(length), plainPage)
    t.equal(headers.location, `${url}/oauth2/login`)
    const redirect = random(length)
    const login = `${url}/oauth2/login?${new URLSearchParams({ redirect }).toString()}`
    await finish(t, browser, measure(t, await browser.get(login, plainPage)), '/')
    t.match(events('return_url_too_long').slice(-2), [{ length, limit: 8192 }, { length, limit: 8192 }])
  }
})
