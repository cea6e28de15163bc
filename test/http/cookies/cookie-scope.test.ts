import { createServer, request } from 'node:http'
import { once } from 'node:events'
import { randomBytes } from 'node:crypto'
import t, { type Test } from 'tap'
import { startIdp } from '../../../src/demo/idp.ts'
import { createBrowser } from '../../support/browser.ts'
import type { Answer } from '../../support/exchange.ts'
import { freePort } from '../../support/free-port.ts'
import { startGateway, type Running } from '../../support/gateway.ts'
import { logInWithLargeIdToken } from '../../support/large-id-token.ts'
import { authorizationUrlOf, plainPage, signIn } from '../../support/sign-in.ts'

// One provider for all gateways here: what it does is not what these tests are about.
const idp = await startIdp()
t.teardown(() => idp.close())
const SCRIPT = { kind: 'script' } as const

type Neighbors = { readonly site: string; readonly root: Running; readonly app: Running }

/** Starts two gateways with the same session keys behind one host: one for `/app1/`, the other for all other paths. */
const startNeighbors = async (t: Test, publicUrl?: string): Promise<Neighbors> => {
  const [port, rootPort, appPort] = [await freePort(), await freePort(), await freePort()]
  const site = publicUrl ?? `http://127.0.0.1:${port}`
  const keys = [randomBytes(32).toString('base64')]
  const start = async (listenPort: number, parent: string) =>
    startGateway(t, {
      idp,
      port: listenPort,
      publicUrl: site,
      client: { redirectUris: [`${site}${parent}/oauth2/callback`] },
      config: { basePath: `${parent}/oauth2`, session: { keys }, routes: [{ path: `${parent}/**` }] },
    })
  const [root, app] = [await start(rootPort, ''), await start(appPort, '/app1')]
  const front = createServer((from, to) => {
    const target = from.url?.startsWith('/app1/') === true ? appPort : rootPort
    const inner = request({ port: target, method: from.method, path: from.url, headers: from.headers }, (answer) => {
      to.writeHead(answer.statusCode ?? 502, answer.rawHeaders)
      answer.pipe(to)
    })
    from.pipe(inner)
  })
  front.listen(port, '127.0.0.1')
  await once(front, 'listening')
  t.teardown(async () => {
    front.close()
    front.closeAllConnections()
    await once(front, 'close')
  })
  return { site, root, app }
}

void t.test('two gateways under two paths of one host have two sessions, in either order', async (t) => {
  const { site, root, app } = await startNeighbors(t)
  for (const order of [
    ['/', '/app1/'],
    ['/app1/', '/'],
  ] as const) {
    const browser = createBrowser()
    for (const path of order) await browser.login(site + path, 'alice')
    for (const [path, gateway] of [
      ['/api/orders', root],
      ['/app1/api/orders', app],
    ] as const) {
      await browser.get(site + path, SCRIPT)
      const received = gateway.upstream.requests.at(-1)
      t.equal(received?.url, path)
      t.match(received?.headers.authorization, /^Bearer /, path)
      t.notMatch(received?.headers.cookie, 'gatehouse', 'no cookie of either gateway reaches the application')
    }
    const cookies = browser.cookies.all().filter(({ name }) => name === 'gatehouse')
    t.same(cookies.map((cookie) => cookie.path).toSorted(), ['/', '/app1'])
    const answer = await browser.post(`${site}/app1/oauth2/logout/local`, '', SCRIPT)
    t.equal(answer.status, 204)
    t.equal((await browser.get(`${site}/app1/api/orders`, SCRIPT)).status, 401)
    await browser.get(`${site}/api/orders`, SCRIPT)
    t.match(root.upstream.requests.at(-1)?.headers.authorization, /^Bearer /, 'the session of the neighbor stays')
  }
})

void t.test(
  'on https the neighbor’s cookie has another prefix, and does not reach the application either',
  async (t) => {
    const site = 'https://apps.example.com'
    const { root, app } = await startNeighbors(t, site)
    const [rootBrowser, appBrowser] = [root, app].map(({ config }) => {
      const { listen } = config
      return createBrowser({ origins: { [site]: `http://127.0.0.1:${'port' in listen ? listen.port : 0}` } })
    })
    await rootBrowser?.login(`${site}/`, 'alice')
    await appBrowser?.login(`${site}/app1/`, 'alice')
    const foreign = rootBrowser?.cookies.header(new URL(`${site}/app1/`)) ?? ''
    t.match(foreign, '__Host-gatehouse=')
    const own = appBrowser?.cookies.header(new URL(`${site}/app1/`)) ?? ''
    t.match(own, '__Secure-gatehouse=')
    await appBrowser?.get(`${site}/app1/api/orders`, {
      ...SCRIPT,
      headers: { cookie: `${foreign}; ${own}; theme=dark` },
    })
    const { headers } = app.upstream.requests.at(-1) ?? {}
    t.match(headers?.authorization, /^Bearer /)
    t.notMatch(headers?.cookie, 'gatehouse')
    t.match(headers?.cookie, 'theme=dark')
  },
)

void t.test('all cookies have the path, and a login without a return URL leads below it', async (t) => {
  const { url } = await startGateway(t, {
    idp,
    port: await freePort(),
    client: {},
    config: { basePath: '/a/b/oauth2', routes: [{ path: '/a/b/**' }], session: { cookie: { path: '/a' } } },
  })
  const browser = createBrowser()
  const login = await browser.get(`${url}/a/b/oauth2/login`, plainPage)
  t.match(login.headers['set-cookie'], [/^gatehouse-login-\d=.*; Path=\/a; HttpOnly; SameSite=Lax; Max-Age=600$/])
  const expired = await browser.get(`${url}/a/b/x`, { ...SCRIPT, headers: { cookie: 'gatehouse=x' } })
  t.equal(expired.status, 401)
  t.match(expired.body, 'login_url')
  t.match((await browser.get(`${url}/a/b/oauth2/logout/callback`)).body, 'Signed out')
})

void t.test('a cookie that is not persistent ends with the browser', async (t) => {
  for (const [persistent, life] of [
    [false, ''],
    [true, '; Max-Age=39600'],
  ] as const) {
    const { url } = await startGateway(t, { idp, config: { session: { cookie: { persistent } } } })
    const browser = createBrowser()
    const callback = await signIn(browser, authorizationUrlOf(await browser.get(`${url}/oauth2/login`)))
    const { headers } = await browser.get(callback.href)
    const line = headers['set-cookie']?.find((one) => one.startsWith('gatehouse='))
    t.equal(line?.replace(/^[^;]*/, ''), `; Path=/; HttpOnly; SameSite=Lax${life}`)
    t.equal((await browser.get(`${url}/api/orders`, SCRIPT)).status, 200)
    t.match(
      (await browser.post(`${url}/oauth2/logout/local`, '', SCRIPT)).headers['set-cookie']?.[0],
      /^gatehouse=; .*Max-Age=0$/,
    )
  }
})

void t.test(
  'partitioned cookies are all SameSite=None, Secure and Partitioned, also where they are cleared',
  async (t) => {
    const site = 'https://orders.example.com'
    const port = await freePort()
    const running = await startGateway(t, {
      idp,
      port,
      publicUrl: site,
      config: { session: { cookie: { sameSite: 'none', partitioned: true } } },
    })
    t.equal(running.config.session.cookie.partitioned, true)
    const browser = createBrowser({ origins: { [site]: `http://127.0.0.1:${port}` } })
    const begun = await browser.get(`${site}/oauth2/login`, { kind: 'frame' })
    t.equal(begun.status, 302, 'a login begins in a frame')
    const callback = await signIn(browser, authorizationUrlOf(begun))
    const finished = await browser.get(callback.href, { kind: 'frame' })
    const logout = await browser.post(`${site}/oauth2/logout/local`, '', SCRIPT)
    const lines = [begun, finished, logout].flatMap(({ headers }) => headers['set-cookie'] ?? [])
    t.ok(lines.length >= 4)
    for (const line of lines) t.match(line, /; Path=\/; HttpOnly; Secure; Partitioned; SameSite=None; Max-Age=\d+$/)
    const denied = await browser.get(`${site}/`, { kind: 'frame' })
    t.equal(denied.status, 401)
    t.match(denied.headers['content-security-policy'], 'frame-ancestors *')
    t.notMatch(denied.body, '_top')
    const confirmation = await browser.get(`${site}/oauth2/logout`, { from: 'https://evil.example/' })
    t.match(confirmation.headers['content-security-policy'], "frame-ancestors 'self'", 'no site can frame this button')
    await logInWithLargeIdToken({ ...running, url: site }, browser, 30_000)
    const form = await browser.get(`${site}/oauth2/logout`, { kind: 'frame', from: `${site}/` })
    t.match(form.body, 'document.forms[0].submit()')
    t.match(form.headers['content-security-policy'], 'frame-ancestors *', 'a frame shows the form of a logout')
  },
)

void t.test('with partitioned cookies, a page of another site frames the choice and the end of a logout', async (t) => {
  const site = 'https://orders.example.com'
  const port = await freePort()
  const register = async (name: string): Promise<object> => {
    const client = { clientId: `${name}-${port}`, clientSecret: 'a-secret-of-both-clients' }
    await idp.registerClient({ ...client, redirectUris: [`${site}/oauth2/callback/${name}`] })
    return { issuer: idp.issuer, ...client }
  }
  await startGateway(t, {
    idp,
    port,
    publicUrl: site,
    config: {
      provider: null,
      providers: { a: await register('a'), b: await register('b') },
      session: { cookie: { sameSite: 'none', partitioned: true } },
    },
  })
  const browser = createBrowser({ origins: { [site]: `http://127.0.0.1:${port}` } })
  const isFramable = ({ headers }: Answer): boolean =>
    String(headers['content-security-policy']).includes('frame-ancestors *')
  const choice = await browser.get(`${site}/oauth2/login`, { kind: 'frame' })
  t.match(choice.body, 'Choose how you want to sign in')
  t.ok(isFramable(choice))
  const begun = await browser.get(`${site}/oauth2/login?provider=a`, { kind: 'frame' })
  const callback = await signIn(browser, authorizationUrlOf(begun))
  const { headers } = await browser.get(callback.href, { kind: 'frame' })
  t.match(
    headers['set-cookie']?.find((line) => line.startsWith('__Host-gatehouse-provider=')),
    /=a; Path=\/; HttpOnly; Secure; Partitioned; SameSite=None; Max-Age=\d+$/,
  )
  const end = await browser.get(`${site}/oauth2/logout/callback?state=x`, { kind: 'frame' })
  t.equal(end.status, 302, 'a browser with a session goes to the start page')
  await browser.post(`${site}/oauth2/logout/local`, '', SCRIPT)
  const signedOut = await browser.get(`${site}/oauth2/logout/callback`, { kind: 'frame' })
  t.match(signedOut.body, 'You are signed out')
  t.ok(isFramable(signedOut))
})
