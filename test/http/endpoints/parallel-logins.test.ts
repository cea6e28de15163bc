import t from 'tap'
import { createBrowser, type Browser } from '../../support/browser.ts'
import type { Answer } from '../../support/exchange.ts'
import { startGateway } from '../../support/gateway.ts'
import { authorizationUrlOf, beginLogin, signIn } from '../../support/sign-in.ts'

const tabs = Array.from({ length: 20 }, (_, index) => `/orders?tab=${index}`)

const slotOf = ({ headers }: Answer): string => /gatehouse-login-\d/.exec(String(headers['set-cookie']))?.[0] ?? ''

const areTakenAgain = (slots: string[]): boolean => slots.slice(0, 4).every((slot) => slots.includes(slot, 4))

/**
 * Opens twenty tabs before any of them has a cookie, and stores the cookies in the order of the responses. A login
 * draws one of four slots: the tabs start again, once in forty times, if one of the first four tabs has a slot that no
 * later tab takes.
 */
const openTabs = async (browser: Browser, url: string): Promise<URL[]> => {
  const ask = async (): Promise<Answer[]> =>
    Promise.all(
      tabs.map(async (redirect) => {
        const tab = createBrowser()
        return tab.get(`${url}/oauth2/login?${new URLSearchParams({ redirect }).toString()}`)
      }),
    )
  let fresh = await ask()
  while (!areTakenAgain(fresh.map(slotOf))) fresh = await ask()
  for (const { headers } of fresh) browser.cookies.store(new URL(url), headers['set-cookie'] ?? [])
  return fresh.map(authorizationUrlOf)
}

const shuffled = <T>(items: readonly T[], seed: number): T[] =>
  items
    .map((item, index) => ({ item, order: Math.sin(seed * 1000 + index * 7.3) }))
    .toSorted((a, b) => a.order - b.order)
    .map(({ item }) => item)

void t.test(
  'twenty tabs that start at once and finish one after the other in any order reach their pages',
  async (t) => {
    const { url } = await startGateway(t)
    for (const seed of [1, 2]) {
      const browser = createBrowser()
      const begun = (await openTabs(browser, url)).map((authorization, index) => ({
        authorization,
        target: tabs[index],
      }))
      for (const { authorization, target } of shuffled(begun, seed)) {
        const { answer } = await browser.follow(await browser.get((await signIn(browser, authorization)).href))
        t.equal(answer.url, `${url}${target}`)
      }
    }
  },
)

void t.test('twenty tabs whose callbacks all arrive before any continues reach their pages', async (t) => {
  const { url } = await startGateway(t)
  const browser = createBrowser()
  const callbacks: URL[] = []
  for (const authorization of await openTabs(browser, url)) callbacks.push(await signIn(browser, authorization))
  // The first ones have lost their cookies to later tabs, and none of those has finished yet.
  const first = []
  for (const callback of callbacks) first.push(await browser.get(callback.href))
  t.ok(first.filter(({ headers }) => headers.location?.includes('/oauth2/login')).length > 3)
  const ends = []
  for (const answer of first) ends.push((await browser.follow(answer)).answer.url)
  t.same(
    ends,
    tabs.map((target) => `${url}${target}`),
  )
})

void t.test('twenty parallel tabs reach their pages', async (t) => {
  const { url } = await startGateway(t)
  const browser = createBrowser()
  await browser.login(`${url}/`, 'alice')
  const gone = ['gatehouse', ...[0, 1, 2, 3].map((slot) => `gatehouse-login-${slot}`)]
  browser.cookies.store(
    new URL(url),
    gone.map((name) => `${name}=; Path=/; Max-Age=0`),
  )
  const begun = await openTabs(browser, url)
  const ends = await Promise.all(
    begun.map(async (authorization) => {
      const { answer } = await browser.follow(await browser.get(authorization.href))
      return [answer.url, answer.headers.gatehouse]
    }),
  )
  t.same(
    ends,
    tabs.map((target) => [`${url}${target}`, undefined]),
  )
})

void t.test(
  'there are at most five login cookies, small and gone after ten minutes, for any number of tabs',
  async (t) => {
    const { url } = await startGateway(t)
    const browser = createBrowser()
    for (const _ of [1, 2, 3, 4]) await openTabs(browser, url)
    const [, foreign = ''] = /\bstate=([\w-]+)/.exec((await createBrowser().get(`${url}/oauth2/login`)).body) ?? []
    await browser.get(`${url}/oauth2/callback?code=x&state=${foreign}`)
    const cookies = browser.cookies.all()
    t.ok(cookies.length >= 2 && cookies.length <= 5, `${cookies.length} cookies`)
    const size = cookies.reduce((sum, { name, value }) => sum + name.length + value.length, 0)
    t.ok(size < 4096, `${size} bytes`)
    for (const { name, expiresAt, httpOnly, path } of cookies) {
      t.match(name, /^gatehouse-(login-\d|tries)$/)
      t.ok(expiresAt !== null && expiresAt <= Date.now() + 600_000)
      t.ok(httpOnly)
      t.equal(path, '/')
    }
  },
)

void t.test('tabs that start one after the other share one cookie, which is renewed each time', async (t) => {
  const { url } = await startGateway(t)
  const browser = createBrowser()
  const names = new Set<string>()
  for (const redirect of tabs) {
    await beginLogin(browser, url, { redirect })
    for (const { name } of browser.cookies.all()) names.add(name)
  }
  t.equal(names.size, 1)
})

void t.test('tabs that started together share the session of the first to finish', async (t) => {
  const { url, events } = await startGateway(t)
  const browser = createBrowser()
  const [a, b] = [
    await beginLogin(browser, url, { redirect: '/a' }),
    await beginLogin(browser, url, { redirect: '/b' }),
  ]
  const [first, second] = [await signIn(browser, a), await signIn(browser, b)]
  await browser.get(first.href)
  const underWay = browser.cookies.header(new URL(url))
  t.equal((await browser.get(second.href)).headers.location, '/b')
  const late = await browser.get(`${url}/api/orders`, { kind: 'script', headers: { cookie: underWay } })
  t.equal(late.status, 200, 'the first tab’s pending request is answered')
  t.equal(events('session_ended').length, 0)
})

void t.test('if two tabs log in as two users, the last one wins and the other session ends', async (t) => {
  const { url, events } = await startGateway(t)
  const browser = createBrowser()
  const [one, two] = [await beginLogin(browser, url), await beginLogin(browser, url, { prompt: 'login' })]
  await browser.get((await signIn(browser, one, 'alice')).href)
  await browser.get((await signIn(browser, two, 'bob')).href)
  t.equal((await browser.get(`${url}/oauth2/userinfo`, { kind: 'script' })).json()['sub'], 'bob')
  t.match(events('session_ended'), [{ reason: 'replaced' }])
})
