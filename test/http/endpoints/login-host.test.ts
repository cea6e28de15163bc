import t, { type Test } from 'tap'
import { startIdp } from '../../../src/demo/idp.ts'
import { createBrowser, type Browser } from '../../support/browser.ts'
import { freePort } from '../../support/free-port.ts'
import { startGateway, type Running } from '../../support/gateway.ts'
import { openRedirects } from '../../support/open-redirects.ts'
import { authorizationUrlOf, plainPage, signIn } from '../../support/sign-in.ts'
import { openWebSocket } from '../../support/websocket.ts'

const AUTH = 'https://auth.example.com'
const APP_1 = 'https://app1.example.com'
const APP_2 = 'https://app2.example.com'
const SCRIPT = { kind: 'script' } as const

const idp = await startIdp()
t.teardown(() => idp.close())

type Hosts = Running & { readonly browser: Browser; readonly newBrowser: () => Browser }

/** Starts a gateway for all hosts below example.com, and a browser that reaches it as behind a proxy with TLS. */
const startHosts = async (t: Test, config: object = {}): Promise<Hosts> => {
  const port = await freePort()
  const running = await startGateway(t, {
    idp,
    port,
    client: {
      redirectUris: [`${AUTH}/oauth2/callback`],
      postLogoutRedirectUris: [`${AUTH}/oauth2/logout/callback`],
    },
    config: {
      publicUrl: [AUTH, 'https://*.example.com'],
      loginHost: AUTH,
      session: { cookie: { domain: 'example.com' } },
      rateLimit: { login: false, callback: false },
      ...config,
    },
  })
  const address = `http://127.0.0.1:${port}`
  const origins = Object.fromEntries([AUTH, APP_1, APP_2, 'https://a.b.example.com'].map((origin) => [origin, address]))
  const newBrowser = (): Browser => createBrowser({ origins })
  return { ...running, browser: newBrowser(), newBrowser }
}

const redirectOf = (url: string | undefined): string | null => new URL(url ?? '').searchParams.get('redirect')

void t.test(
  'a navigation at one host logs in at the login host and returns, and every host has the session',
  async (t) => {
    const { browser, upstream } = await startHosts(t)
    const { answer, hops } = await browser.login(`${APP_1}/api/orders?page=2`, 'alice')
    t.equal(answer.url, `${APP_1}/api/orders?page=2`)
    t.equal(answer.status, 200)
    t.equal(hops[0]?.status, 302)
    t.equal(hops[1]?.url.split('?')[0], `${AUTH}/oauth2/login`)
    t.equal(redirectOf(hops[1]?.url), `${APP_1}/api/orders?page=2`)
    const callbacks = hops.filter(({ url }) => url.includes('/oauth2/callback'))
    t.equal(callbacks.length, 1)
    t.ok(callbacks[0]?.url.startsWith(`${AUTH}/oauth2/callback`))
    t.match(upstream.requests.at(-1)?.headers, { 'x-forwarded-host': 'app1.example.com', 'x-forwarded-proto': 'https' })
    t.equal((await browser.get(`${APP_2}/api/orders`, SCRIPT)).status, 200, 'another host has the session')
    t.equal(upstream.requests.at(-1)?.headers['x-forwarded-host'], 'app2.example.com')
  },
)

void t.test('the cookies that bind a login belong to the login host alone', async (t) => {
  const { browser } = await startHosts(t)
  await browser.login(`${APP_1}/`, 'alice')
  t.same(
    browser.cookies.list(`${APP_1}/`).map(({ name, domain }) => [name, domain]),
    [['__Secure-gatehouse', 'example.com']],
  )
  const login = browser.cookies.all().find(({ name }) => name.startsWith('__Secure-gatehouse-login-'))
  t.match(login, { domain: 'auth.example.com', hostOnly: true })
})

void t.test('a script gets a login URL at the login host, which leads back to its page', async (t) => {
  const { browser } = await startHosts(t)
  const answer = await browser.get(`${APP_1}/api/orders`, { ...SCRIPT, from: `${APP_1}/page` })
  t.match(answer.json(), { status: 401, code: 'login_required' })
  t.equal(String(answer.json()['login_url']), `${AUTH}/oauth2/login?redirect=${encodeURIComponent(`${APP_1}/page`)}`)
  const bare = await browser.get(`${APP_1}/api/orders`, { kind: 'none', headers: { accept: '*/*' } })
  t.equal(redirectOf(String(bare.json()['login_url'])), `${APP_1}/`, 'without a page, the start page of its host')
  const own = await browser.get(`${AUTH}/api/orders`, { ...SCRIPT, from: `${AUTH}/page` })
  t.equal(String(own.json()['login_url']), `${AUTH}/oauth2/login?redirect=%2Fpage`)
})

void t.test('a login URL at another host leads to the login host with all its parameters', async (t) => {
  const { browser } = await startHosts(t)
  for (const [query, target] of [
    ['rd=/orders&acr_values=x&prompt=login', `${APP_1}/orders`],
    [`redirect=${encodeURIComponent(`${APP_2}/x?y#z`)}&prompt=login&acr_values=x`, `${APP_2}/x?y#z`],
    ['acr_values=x&prompt=login&redirect=https://evil.example/', `${APP_1}/`],
  ]) {
    const { status, headers } = await browser.get(`${APP_1}/oauth2/start?${query}`)
    t.equal(status, 302)
    const url = new URL(headers.location ?? '')
    t.equal(url.origin + url.pathname, `${AUTH}/oauth2/login`)
    t.match(Object.fromEntries(url.searchParams), { redirect: target, acr_values: 'x', prompt: 'login' })
    t.notOk(url.searchParams.has('rd'))
  }
  const again = await browser.get(`${APP_1}/oauth2/login?moved=1`)
  t.match([again.status, again.headers.gatehouse], [400, 'login_failed'], 'a replaced Host makes no loop')
})

void t.test('a return URL is any URL of a public origin, and of no other', async (t) => {
  const { newBrowser } = await startHosts(t)
  const end = async (target: string, parameter = 'redirect'): Promise<string | undefined> => {
    const browser = newBrowser()
    const query = new URLSearchParams({ [parameter]: target }).toString()
    const callback = await signIn(browser, authorizationUrlOf(await browser.get(`${AUTH}/oauth2/login?${query}`)))
    return (await browser.get(callback.href)).headers.location
  }
  t.equal(await end(`${APP_1}/a?b=c#d`), `${APP_1}/a?b=c#d`)
  t.equal(await end('HTTPS://APP2.EXAMPLE.COM:443/x', 'rd'), `${APP_2}/x`)
  t.equal(await end(`${AUTH}/here`), '/here')
  for (const target of [
    'http://app1.example.com/',
    'https://app1.example.com:8443/',
    'https://example.com/',
    'https://a.b.example.com/',
    'https://app1.example.com.evil.example/',
    'https://evilexample.com/',
    'https://app1.example.com@evil.example/',
    'https://user@app1.example.com/',
    'https://*.example.com/',
    'https://-.example.com/',
    'https://app1.example.com//evil.example/',
    `${APP_1}/oauth2/logout`,
    `${APP_1}/oauth2/login`,
  ])
    t.equal(await end(target), '/', target)
})

void t.test('no known open redirect leads away from the public origins', async (t) => {
  const { browser } = await startHosts(t)
  for (const line of openRedirects()) {
    const { headers } = await browser.get(`${APP_1}/oauth2/login?redirect=${encodeURIComponent(line)}`, plainPage)
    const target = redirectOf(headers.location)
    t.match(new URL(target ?? '').origin, /^https:\/\/[a-z0-9-]+\.example\.com$/, line)
  }
})

void t.test('a callback exists at the login host alone', async (t) => {
  const { browser, events } = await startHosts(t)
  const callback = await signIn(browser, authorizationUrlOf(await browser.get(`${AUTH}/oauth2/login`)))
  const elsewhere = await browser.get(callback.href.replace(AUTH, APP_1))
  t.match([elsewhere.status, elsewhere.headers.gatehouse], [404, 'not_found'])
  t.equal(elsewhere.headers['set-cookie'], undefined)
  t.same(events('login'), [])
  t.equal((await browser.get(callback.href)).status, 302, 'and the login still finishes there')
  const other = await startHosts(t)
  t.match((await other.newBrowser().get(callback.href)).status, 400, 'no other gateway or browser finishes it')
})

void t.test('a login finishes only in the browser that began it', async (t) => {
  const { browser, newBrowser } = await startHosts(t)
  const callback = await signIn(browser, authorizationUrlOf(await browser.get(`${AUTH}/oauth2/login`)))
  const other = newBrowser()
  const answer = await other.get(callback.href)
  t.equal(other.cookies.get(AUTH, '__Secure-gatehouse'), null)
  t.match(answer.headers.location, `${AUTH}/oauth2/login`, 'another browser logs in itself')
})

void t.test('a request belongs to its host: routes, another host of a wildcard, and a host in no list', async (t) => {
  const { browser, url, upstream } = await startHosts(t, {
    routes: [
      { path: '/**' },
      { path: '/api/echo', host: 'app1.example.com', access: 'public' },
      { path: '/api/orders', host: 'auth.example.com', access: 'public' },
    ],
  })
  t.equal((await browser.get(`${APP_1}/api/echo`, SCRIPT)).status, 200)
  t.equal((await browser.get(`${APP_2}/api/echo`, SCRIPT)).status, 401)
  t.equal((await browser.get(`${AUTH}/api/orders`, SCRIPT)).status, 200)
  const unknown = await browser.get(`${url}/api/orders`, { ...SCRIPT, headers: { host: 'a.b.example.com' } })
  t.equal(unknown.status, 200, 'two labels are not a wildcard: the first public URL')
  t.equal(upstream.requests.at(-1)?.headers['x-forwarded-host'], 'auth.example.com')
})

void t.test('with a wildcard first, a host in no list is the login host', async (t) => {
  const { browser, url } = await startHosts(t, { publicUrl: ['https://*.example.com'] })
  const answer = await browser.get(`${url}/x`, { ...plainPage, headers: { accept: 'text/html', host: 'elsewhere' } })
  t.equal(answer.headers.location, `${AUTH}/oauth2/login?redirect=%2Fx`)
})

void t.test('unsafe requests and WebSockets pass from their own host alone', async (t) => {
  const { browser, url } = await startHosts(t)
  await browser.login(`${APP_1}/`, 'alice')
  t.equal((await browser.post(`${APP_1}/api/echo`, 'x', { ...SCRIPT, from: `${APP_1}/` })).status, 200)
  for (const from of [APP_2, AUTH, 'https://evil.example']) {
    const answer = await browser.post(`${APP_1}/api/echo`, 'x', { ...SCRIPT, from: `${from}/` })
    t.ok(answer.status === 403 || (from.includes('evil') && answer.status === 401), from)
  }
  const cookie = browser.cookies.header(new URL(APP_1))
  const opened = async (origin: string): Promise<number> => {
    const socket = await openWebSocket(`${url}/ws`, {
      headers: [`Cookie: ${cookie}`, `Origin: ${origin}`, 'Host: app1.example.com'],
    })
    return socket.status
  }
  t.equal(await opened(APP_1), 101)
  t.equal(await opened(APP_2), 403)
})

void t.test('a step-up, an expired session and a rejected prompt lead through the login host', async (t) => {
  const { browser, gateway } = await startHosts(t, {
    admin: { listen: '127.0.0.1:0', sessions: 'loopback' },
    routes: [{ path: '/**' }, { path: '/strong', require: { acr: 'urn:demo:mfa' } }],
  })
  await browser.login(`${APP_1}/`, 'alice')
  const { answer, hops } = await browser.login(`${APP_1}/strong`, 'alice')
  t.equal(answer.url, `${APP_1}/strong`)
  t.match(hops[1]?.url, `${AUTH}/oauth2/login?redirect=`)
  t.match(hops[1]?.url, 'acr_values=urn%3Ademo%3Amfa')
  await gateway.admin?.inject({ method: 'DELETE', url: '/sessions?sub=alice' })
  const ended = await browser.get(`${APP_1}/api/orders`, { ...SCRIPT, from: `${APP_1}/page` })
  t.match(ended.json(), { code: 'session_expired' })
  t.match(ended.headers['set-cookie'], [/^__Secure-gatehouse=;.*Domain=example\.com/])
  t.equal(redirectOf(String(ended.json()['login_url'])), `${APP_1}/page`)
})

void t.test('a login that the provider refuses returns to a host whose route accepts the session', async (t) => {
  const { browser } = await startHosts(t, {
    routes: [{ path: '/**' }, { path: '/closed', host: 'app1.example.com', require: { claims: { groups: 'none' } } }],
  })
  await browser.login(`${APP_1}/`, 'alice')
  const refused = async (target: string) => {
    const begun = await browser.get(
      `${AUTH}/oauth2/login?prompt=none&acr_values=x&redirect=${encodeURIComponent(target)}`,
    )
    const state = authorizationUrlOf(begun).searchParams.get('state') ?? ''
    const query = new URLSearchParams({ state, error: 'access_denied', iss: idp.issuer }).toString()
    return browser.get(`${AUTH}/oauth2/callback?${query}`)
  }
  const accepted = await browser.get(`${AUTH}/oauth2/login?redirect=${encodeURIComponent(`${APP_2}/closed`)}`)
  const state = authorizationUrlOf(accepted).searchParams.get('state') ?? ''
  const query = new URLSearchParams({ state, error: 'access_denied', iss: idp.issuer }).toString()
  t.equal((await browser.get(`${AUTH}/oauth2/callback?${query}`)).headers.location, `${APP_2}/closed`)
  t.equal((await refused(`${APP_1}/closed`)).status, 400)
})

void t.test('a form posted without a session is kept by its own host', async (t) => {
  const { browser } = await startHosts(t)
  const kept = await browser.post(`${APP_1}/submit`, new URLSearchParams({ note: 'keep me' }), { from: `${APP_1}/` })
  t.equal(kept.status, 401)
  const [, href = ''] = /<a href="([^"]+)"/.exec(kept.body) ?? []
  const login = new URL(href.replaceAll('&amp;', '&'))
  t.equal(login.origin, AUTH)
  t.match(redirectOf(login.href), /^https:\/\/app1\.example\.com\/oauth2\/form\?id=[\w-]{12}$/)
  const callback = await signIn(browser, authorizationUrlOf(await browser.get(login.href)))
  const posting = await browser.get((await browser.get(callback.href)).headers.location ?? '')
  t.equal(posting.status, 200)
  t.match(posting.body, 'Sending your form')
})

void t.test('a fragment survives the login at the other host', async (t) => {
  const { browser } = await startHosts(t)
  const page = await browser.get(`${AUTH}/oauth2/login?redirect=${encodeURIComponent(`${APP_1}/app`)}`)
  t.match(page.body, `var t="${APP_1}/app"+location.hash`)
  const query = new URLSearchParams({ fragment: 'kept', redirect: `${APP_1}/app#/orders/7` }).toString()
  const callback = await signIn(browser, authorizationUrlOf(await browser.get(`${AUTH}/oauth2/login?${query}`)))
  t.equal((await browser.get(callback.href)).headers.location, `${APP_1}/app#/orders/7`)
})

void t.test('a silent login in a frame reports to the host that began it', async (t) => {
  const { browser, newBrowser } = await startHosts(t)
  const begin = async (browser: Browser, query = ''): Promise<string[]> => {
    const seen: string[] = []
    let answer = await browser.get(`${APP_1}/oauth2/silent${query}`, { kind: 'frame' })
    while (answer.headers.location !== undefined) {
      seen.push(new URL(answer.headers.location, answer.url).href)
      answer = await browser.get(seen.at(-1) ?? '', { kind: 'frame' })
    }
    t.match(answer.body, 'location.origin')
    return seen
  }
  const anonymous = await begin(newBrowser())
  t.equal(anonymous[0], `${AUTH}/oauth2/silent?from=https%3A%2F%2Fapp1.example.com`)
  t.equal(anonymous.at(-1), `${APP_1}/oauth2/silent?outcome=login_required`)
  await browser.login(`${APP_1}/`, 'alice')
  t.equal((await begin(browser)).at(-1), `${APP_1}/oauth2/silent?outcome=ok`)
  t.equal((await begin(browser, '?keep')).at(-1), `${APP_1}/oauth2/silent?outcome=ok&kept`)
  const foreign = await browser.get(`${AUTH}/oauth2/silent?keep&from=https://evil.example`, { kind: 'frame' })
  t.notMatch(foreign.headers.location, 'evil')
  const forged = await newBrowser().get(`${AUTH}/oauth2/silent?keep&from=https://evil.example`, { kind: 'frame' })
  t.equal(forged.headers.location, undefined)
})

void t.test(
  'a logout returns by the login host to any public origin, or to the signed-out page of its own host',
  async (t) => {
    const { browser } = await startHosts(t, { routes: [{ path: '/**' }, { path: '/bye', access: 'public' }] })
    for (const [query, end] of [
      ['?redirect=/bye', `${APP_1}/bye`],
      [`?rd=${APP_2}/bye`, `${APP_2}/bye`],
      ['?redirect=https://evil.example/', `${APP_1}/oauth2/logout/callback`],
      ['', `${APP_1}/oauth2/logout/callback`],
    ] as const) {
      await browser.login(`${APP_1}/`, 'alice')
      const { answer, hops } = await browser.follow(
        await browser.get(`${APP_1}/oauth2/logout${query}`, { from: `${APP_1}/` }),
      )
      t.equal(answer.url.split('?')[0], end, query)
      t.ok(
        hops.some(({ url }) => url.startsWith(`${AUTH}/oauth2/logout/callback`)),
        'the provider knows one return URL',
      )
      t.equal((await browser.get(`${APP_2}/api/orders`, SCRIPT)).status, 401, 'the session has ended at every host')
    }
  },
)

void t.test('a link of a public host to the logout of the login host signs out, any other link asks', async (t) => {
  const { browser } = await startHosts(t)
  await browser.login(`${APP_1}/`, 'alice')
  const sibling = await browser.get(`${AUTH}/oauth2/sign_out`, { from: 'https://a.b.example.com/' })
  t.match([sibling.status, sibling.body], [200, /Sign out\?/], 'a host of the site that is not public')
  const nameless = await browser.get(`${AUTH}/oauth2/sign_out`, { headers: { 'sec-fetch-site': 'same-site' } })
  t.match(nameless.body, 'Sign out?')
  const own = await browser.get(`${AUTH}/oauth2/sign_out?rd=${APP_1}/`, { from: `${APP_1}/page` })
  t.equal(own.status, 302)
  t.ok(own.headers.location?.startsWith(idp.issuer))
})

void t.test(
  'without a login host, a return URL of another public origin is ignored, as is a login begun there',
  async (t) => {
    const port = await freePort()
    const { config } = await startGateway(t, {
      idp,
      port,
      config: { publicUrl: [`http://127.0.0.1:${port}`, `http://localhost:${port}`] },
    })
    t.equal(config.loginHost, null)
    const browser = createBrowser()
    const other = encodeURIComponent(`http://localhost:${port}/x`)
    const callback = await signIn(
      browser,
      authorizationUrlOf(await browser.get(`http://127.0.0.1:${port}/oauth2/login?redirect=${other}`)),
    )
    t.equal((await browser.get(callback.href)).headers.location, '/')
    const anonymous = await createBrowser().get(`http://localhost:${port}/x`)
    t.equal(anonymous.headers.location, `http://localhost:${port}/oauth2/login?redirect=%2Fx`)
  },
)

void t.test('several providers have their callbacks at the login host, and the route of the app decides', async (t) => {
  const other = await startIdp({ hostname: 'localhost' })
  t.teardown(() => other.close())
  const entries = [
    ['staff', idp],
    ['partners', other],
  ] as const
  const clientSecret = 'a-secret-of-both-clients'
  for (const [name, at] of entries)
    await at.registerClient({
      clientId: `hosts-${name}`,
      clientSecret,
      redirectUris: [`${AUTH}/oauth2/callback/${name}`],
      postLogoutRedirectUris: [`${AUTH}/oauth2/logout/callback`],
    })
  const providers = Object.fromEntries(
    entries.map(([name, { issuer }]) => [name, { issuer, clientId: `hosts-${name}`, clientSecret }]),
  )
  const routes = [
    { path: '/**' },
    { path: '/partners/**', provider: 'partners', headers: { set: { 'X-At': '{provider}' } } },
  ]
  const { browser, newBrowser, upstream } = await startHosts(t, { provider: null, providers, routes })
  const { answer } = await browser.login(`${APP_1}/partners/report`, 'alice')
  t.equal(answer.url, `${APP_1}/partners/report`)
  t.equal(upstream.requests.at(-1)?.headers['x-at'], 'partners')
  t.equal((await browser.get(`${APP_2}/oauth2/session`, SCRIPT)).json()['provider'], 'partners')
  t.equal((await browser.get(`${APP_1}/oauth2/callback/partners`)).status, 404, 'the callback is at the login host')

  const choice = await newBrowser().get(
    `${AUTH}/oauth2/login?${new URLSearchParams({ redirect: `${APP_2}/x` }).toString()}`,
  )
  t.same([choice.status, choice.body.match(/provider=\w+/g)], [200, ['provider=staff', 'provider=partners']])
})
