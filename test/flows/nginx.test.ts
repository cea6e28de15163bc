import t, { type Test } from 'tap'
import { parse } from 'yaml'
import type { IdpOptions } from '../../src/demo/idp.ts'
import { createBrowser, type Browser } from '../support/browser.ts'
import { createAuthority } from '../support/certificates.ts'
import { documented } from '../support/documented.ts'
import { freePort } from '../support/free-port.ts'
import { startGateway, type Running } from '../support/gateway.ts'
import { startNginx } from '../support/nginx.ts'

// Debian's nginx, with the very configuration of docs/forward-auth.md: only ports and the names of files are others
// here.
const [conf = ''] = documented('forward-auth.md', 'nginx')
const [yaml = ''] = documented('forward-auth.md', 'yaml')
const { trustedProxies, routes }: { trustedProxies: string[]; routes: object[] } = parse(yaml)

const authority = createAuthority()
const script = { kind: 'script' } as const

type Started = Running & { readonly site: string; readonly browser: Browser }

const start = async (
  t: Test,
  more: { readonly routes?: readonly object[]; readonly idp?: IdpOptions } = {},
): Promise<Started> => {
  const port = await freePort()
  const site = `https://127.0.0.1:${port}`
  const running = await startGateway(t, {
    publicUrl: site,
    ...(more.idp === undefined ? {} : { idp: more.idp }),
    config: { trustedProxies, routes: [...routes, ...(more.routes ?? [])] },
  })
  const gateway = running.gateway.listener.address()
  await startNginx(
    t,
    port,
    conf
      .replace('listen 443 ssl', `listen 127.0.0.1:${port} ssl`)
      .replace(
        'server 127.0.0.1:8080',
        `server 127.0.0.1:${typeof gateway === 'object' && gateway !== null ? gateway.port : 0}`,
      )
      .replace('server 127.0.0.1:3000', `server ${new URL(running.upstream.url).host}`),
    authority.issue(['127.0.0.1']),
  )
  return { ...running, site, browser: createBrowser({ ca: authority.ca }) }
}

void t.test('a person is sent to the login and comes back, the application hears who it is', async (t) => {
  const { site, browser, upstream } = await start(t)
  const { answer, hops } = await browser.login(`${site}/orders?page=2`, 'alice')
  t.equal(answer.url, `${site}/orders?page=2`)
  t.equal(hops[0]?.status, 302)
  t.match(upstream.requests.at(-1), {
    url: '/orders?page=2',
    headers: {
      'x-user': 'alice',
      'x-groups': 'staff,admin',
      'authorization': /^Bearer \S+$/,
      'host': new URL(site).host,
      'x-forwarded-proto': 'https',
      'x-forwarded-for': '127.0.0.1',
    },
  })
})

void t.test(
  'a script’s call has the injected headers and none of the client’s, and not the gateway’s cookie',
  async (t) => {
    const { site, browser, upstream } = await start(t)
    await browser.login(`${site}/`, 'alice')
    browser.cookies.store(new URL(site), ['theme=dark; Path=/'])
    const forged = {
      'x-user': 'root',
      'x-groups': 'root',
      'x_user': 'root',
      'X.User': 'root',
      'authorization': 'Bearer forged',
      'x-forwarded-uri': '/public/x',
      'x-original-uri': '/public/x',
    }
    for (const [method, body] of [
      ['GET', undefined],
      ['POST', '{"n":1}'],
    ] as const) {
      const answer = await browser.request(method, `${site}/api/echo`, {
        ...script,
        headers: forged,
        ...(body === undefined ? {} : { body }),
      })
      t.equal(answer.status, 200)
      t.match(answer.json(), { method, body: { text: body ?? '' } }, 'the body went to the application alone')
      const { headers = {}, rawHeaders = [] } = upstream.requests.at(-1) ?? {}
      t.match(headers, { 'x-user': 'alice', 'x-groups': 'staff,admin', 'authorization': /^Bearer (?!forged)/ })
      t.notMatch(rawHeaders.join(), 'root')
      t.notMatch(headers.cookie, /gatehouse=/)
      t.match(headers.cookie, /theme=dark/)
    }
  },
)

void t.test(
  'without a session a script gets the problem, a form is kept, and the application hears nothing',
  async (t) => {
    const { site, browser, upstream } = await start(t)
    const problem = await browser.get(`${site}/api/orders`, { ...script, from: `${site}/app` })
    t.match(problem.json(), { status: 401, code: 'login_required', login_url: `${site}/oauth2/login?redirect=%2Fapp` })
    t.match(problem.headers, {
      'www-authenticate': 'Bearer',
      'gatehouse': 'login_required',
      'content-type': 'application/problem+json',
    })
    const kept = await browser.post(`${site}/orders`, new URLSearchParams({ note: 'keep me' }), { from: `${site}/` })
    t.equal(kept.status, 401)
    t.match(kept.body, 'keep me')
    t.same(upstream.requests, [])
  },
)

void t.test('a public route needs no session, and takes no identity from the client', async (t) => {
  const { site, browser, upstream } = await start(t)
  t.equal((await browser.get(`${site}/public/x`, { ...script, headers: { 'x-user': 'root' } })).status, 200)
  t.notOk(upstream.requests.at(-1)?.headers['x-user'])
})

void t.test('claims, step-up and other origins are answered as the gateway itself does', async (t) => {
  const { site, browser, upstream } = await start(t, {
    routes: [
      { path: '/api/echo/nobody', require: { claims: { groups: 'nobody' } } },
      { path: '/api/echo/strong', require: { acr: 'urn:demo:mfa' } },
    ],
  })
  await browser.login(`${site}/`, 'alice')
  upstream.requests.length = 0
  t.match((await browser.get(`${site}/api/echo/nobody`, script)).json(), { status: 403, code: 'forbidden' })
  t.match((await browser.get(`${site}/api/echo/strong`, script)).json(), { status: 401, code: 'step_up_required' })
  t.match(
    (await browser.post(`${site}/api/echo`, 'x', { ...script, from: 'https://evil.example/' })).json(),
    { status: 401 },
    'no cookie comes with it',
  )
  const cross = await browser.post(`${site}/api/echo`, 'x', { ...script, headers: { 'sec-fetch-site': 'cross-site' } })
  t.match(cross.json(), { status: 403, code: 'cross_origin' })
  t.same(upstream.requests, [])
})

void t.test('logout ends it: here, at the provider and for the next call', async (t) => {
  const { site, browser, upstream } = await start(t)
  await browser.login(`${site}/`, 'alice')
  t.equal((await browser.get(`${site}/api/orders`, script)).status, 200)
  const { answer, hops } = await browser.follow(
    await browser.get(`${site}/oauth2/logout?redirect=/public/bye`, { from: `${site}/` }),
  )
  t.equal(answer.url, `${site}/public/bye`)
  t.ok(hops.some(({ url }) => url.startsWith(`${site}/oauth2/logout/callback`)))
  const seen = upstream.requests.length
  t.match((await browser.get(`${site}/api/orders`, script)).json(), { status: 401 })
  t.equal(upstream.requests.length, seen)
})

void t.test('nobody outside gets a verdict with its token, however the address is spelt', async (t) => {
  const { site, browser, upstream } = await start(t)
  await browser.login(`${site}/`, 'alice')
  upstream.requests.length = 0
  for (const target of [
    '/oauth2/auth',
    '/oauth2/auth/',
    '/oauth2/auth/api/orders',
    '/oauth2/%61uth',
    '/oauth2//auth',
    '//oauth2/auth',
    '/x/../oauth2/auth',
    '/oauth2/auth;x',
    '/oauth2/auth?x=1',
    '/oauth2/./auth',
    '/oauth2/auth%2fx',
    '/gatehouse-verdict',
    '/oauth2/AUTH',
  ]) {
    const answer = await browser.get(`${site}/`, {
      ...script,
      target,
      headers: {
        'x-forwarded-uri': '/',
        'x-original-url': `${site}/`,
        'x-original-uri': '/',
        'x-forwarded-method': 'GET',
      },
    })
    t.notOk(answer.headers.authorization, target)
    t.notOk(answer.headers['x-user'], target)
    t.not(answer.status, 200, target)
  }
  t.same(upstream.requests, [])
})

void t.test('what nobody can decide is a 503 or 502, never the application', async (t) => {
  const { site, browser, upstream, gateway, idp } = await start(t, { idp: { lifetimes: { accessToken: 1 } } })
  await browser.login(`${site}/`, 'alice')
  idp.fail('token', { status: 503 })
  await new Promise((resolve) => {
    setTimeout(resolve, 1100)
  })
  upstream.requests.length = 0
  t.match((await browser.get(`${site}/api/orders`, script)).json(), { status: 503, code: 'token_unavailable' })
  t.match((await browser.get(`${site}/`, { ...script, target: '/a\\b' })).json(), { status: 400, code: 'bad_request' })
  gateway.listener.cut()
  await gateway.close()
  t.equal((await browser.get(`${site}/api/orders`, script)).status, 502)
  t.same(upstream.requests, [])
})
