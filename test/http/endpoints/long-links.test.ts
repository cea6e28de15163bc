import { randomBytes } from 'node:crypto'
import { isDeepStrictEqual } from 'node:util'
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
const cut = (text: string, length: number): string =>
  text.slice(0, length).replace(/%.?$/, (end) => 'x'.repeat(end.length))

const random = (length: number): string =>
  `/app?${Array.from(randomBytes(length), (byte) => LETTERS[byte % LETTERS.length])
    .join('')
    .replaceAll("'", 'x')}`.slice(0, length)
const encoded = (length: number): string =>
  cut(
    `/app?q=${[...randomBytes(length)].map((byte) => `%${byte.toString(16).toUpperCase().padStart(2, '0')}`).join('')}`,
    length,
  )
const rison = (length: number): string =>
  cut(
    `/app/discover?_g=(filters:!(),time:(from:now-15m,to:now))&_a=(columns:!(${"a,'b c',".replaceAll(' ', '%20').replaceAll("'", '%27').repeat(length)}`,
    length,
  )

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
  const { href } = new URL(answer.headers.location ?? '', callback)
  t.ok(href === callback.origin + target, `${href.slice(0, 100)} for ${target.slice(0, 100)}`)
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
    t.match(events('return_url_too_long').slice(-2), [
      { length, limit: 8192 },
      { length, limit: 8192 },
    ])
  }
})

/** Begins a login in a browser whose other tabs have begun theirs, and returns the URL at the provider. */
const openTab = async (t: Test, browser: Browser, url: string, target: string): Promise<URL> => {
  const denied = await browser.get(url + target, plainPage)
  return measure(t, await browser.get(new URL(denied.headers.location ?? '', url).href, plainPage))
}

void t.test('two tabs with long links reach their pages, and the oldest of many links goes first', async (t) => {
  const { url, events } = await startGateway(t, { idp })
  for (const length of [4000, 8192]) {
    const browser = createBrowser()
    const targets = [random(length), random(length)]
    const begun = []
    for (const target of targets) begun.push(await openTab(t, browser, url, target))
    for (const [i, authorization] of begun.entries()) await finish(t, browser, authorization, targets[i] ?? '')
    t.same(keptTargets(browser, url), [])
  }
  const browser = createBrowser()
  const targets = Array.from({ length: 12 }, () => random(2500))
  const begun: URL[] = []
  for (const target of targets) {
    begun.push(await openTab(t, browser, url, target))
    const size = browser.cookies.header(new URL(`${url}/oauth2/login`)).length
    t.ok(size < 20_000, `${size} bytes of cookies`)
    t.ok(browser.cookies.header(new URL(`${url}/app`)).length < 2000, 'the application’s URLs get no long cookies')
  }
  const ends = []
  for (const authorization of begun) {
    const answer = await browser.get((await signIn(browser, authorization)).href, plainPage)
    ends.push(answer.headers.location)
  }
  const survivors = 12 - ends.filter((end) => end === '/').length
  t.ok(survivors >= 6, `${survivors} links survive`)
  t.ok(isDeepStrictEqual(ends.slice(-survivors), targets.slice(-survivors)), 'the latest links survive')
  t.equal(events('return_url_lost').length, 12 - survivors)
})

void t.test('logins that start before any has cookies never add up to more than six cookies', async (t) => {
  const { url } = await startGateway(t, { idp })
  const browser = createBrowser()
  const targets = Array.from({ length: 10 }, () => random(8192))
  const answers = await Promise.all(
    targets.map(async (redirect) => {
      const fresh = createBrowser()
      return fresh.get(`${url}/oauth2/login?${new URLSearchParams({ redirect }).toString()}`, plainPage)
    }),
  )
  for (const answer of answers) browser.cookies.store(new URL(url), setCookies(answer))
  t.equal(keptTargets(browser, url).length, 6)
  // The last login is complete. A further one has room, and leaves no pieces of links behind.
  await finish(t, browser, await openTab(t, browser, url, targets[0] ?? ''), targets[0] ?? '')
  await finish(t, browser, authorizationUrlOf(answers.at(-1) ?? (await browser.get(url))), targets.at(-1) ?? '')
})

void t.test('a login that has to start again keeps its link', async (t) => {
  const { url } = await startGateway(t, { idp })
  const browser = createBrowser()
  const target = random(8000)
  const callback = await signIn(browser, await openTab(t, browser, url, target))
  browser.cookies.store(
    new URL(url),
    [0, 1, 2, 3].map((slot) => `gatehouse-login-${slot}=; Path=/; Max-Age=0`),
  )
  const { answer } = await browser.follow(await browser.get(callback.href))
  t.equal(answer.url, url + target)
  t.same(keptTargets(browser, url), [])
  // A callback of another browser has no cookie of the link.
  const other = createBrowser()
  const again = await signIn(other, await openTab(t, other, url, target))
  const stranger = await createBrowser().get(again.href, plainPage)
  t.equal(new URL(stranger.headers.location ?? '', url).searchParams.get('redirect'), '/')
})

void t.test('a script’s login leads back to the long URL of its page', async (t) => {
  const { url } = await startGateway(t, { idp })
  const page = url + rison(8000)
  const { body } = await createBrowser().get(`${url}/api`, { kind: 'script', from: page })
  const { login_url: loginUrl }: { login_url: string } = JSON.parse(body)
  const browser = createBrowser()
  await finish(t, browser, measure(t, await browser.get(loginUrl, plainPage)), page.slice(url.length))
})

void t.test('a browser’s login adds the fragment to a long link', async (t) => {
  const { url } = await startGateway(t, { idp })
  const browser = createBrowser()
  const target = `${rison(4000)}#${'f'.repeat(3000)}`
  const login = `${url}/oauth2/login?${new URLSearchParams({ redirect: target }).toString()}`
  await finish(t, browser, measure(t, await browser.get(login)), target)
})

void t.test('form_post, a login host and a cookie path keep long links', async (t) => {
  const origins = ['https://auth.apps.example.com', 'https://orders.apps.example.com'] as const
  const gateway = await startGateway(t, {
    idp,
    publicUrl: origins[0],
    client: { redirectUris: [`${origins[0]}/oauth2/callback`] },
    config: {
      publicUrl: [...origins],
      loginHost: origins[0],
      provider: { responseMode: 'form_post' },
      session: { cookie: { domain: 'apps.example.com' } },
    },
  })
  const address = gateway.gateway.listener.address()
  const real = `http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}`
  const browser = createBrowser({ origins: { [origins[0]]: real, [origins[1]]: real } })
  const target = random(8192)
  const begun = await browser.follow(await browser.get(origins[1] + target, { kind: 'navigate' }))
  const { answer } = await browser.press(begun.answer, 'alice')
  t.equal(answer.url, origins[1] + target)
  t.ok(browser.cookies.all().every(({ name, path }) => !name.includes('-target-') || path === '/oauth2'))
})

void t.test('a request to the provider stays short with long parameters and without pushed requests', async (t) => {
  const provider = await startScriptedProvider(t)
  const { url } = await startGateway(t, {
    idp,
    config: {
      provider: { issuer: provider.issuer, authorizationParameters: { ui_config: 'u'.repeat(4000) } },
    },
  })
  for (const target of [random(1024), encoded(8000)]) {
    const browser = createBrowser()
    const authorization = await openTab(t, browser, url, target)
    const callback = await provider.callback(authorization, {}, {})
    t.ok(callback.href.length < MOST_BYTES)
    t.equal((await browser.get(callback.href, plainPage)).headers.location, target)
  }
})

void t.test('with a low limit for headers, only links that fit are kept', async (t) => {
  const { url, events } = await startGateway(t, { idp, config: { limits: { headers: '8kb' } } })
  const browser = createBrowser()
  await finish(t, browser, await openTab(t, browser, url, random(4000)), '/')
  t.match(events('return_url_too_long'), [{ length: 4000, headers: 8192 }])
  const short = random(2000)
  const other = createBrowser()
  await finish(t, other, await openTab(t, other, url, short), short)
})
