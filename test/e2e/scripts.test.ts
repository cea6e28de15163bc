import t from 'tap'
import { openChromium } from '../support/chromium.ts'
import { startGateway } from '../support/gateway.ts'
import { eventually } from '../support/eventually.ts'
import { html, startSite } from './site.ts'
import { endSessions, signIn, visit } from './visit.ts'

const chromium = await openChromium(t)
const site = await startSite(t, {
  '/': html('<p>Home</p><p><a id="rates" href="/rates">rates</a></p>'),
  '/public/libraries': html('', '<script src="/public/../jquery.js"></script>'),
  '/scripts': html('<div id="out">as before</div>', '<script src="/jquery.js"></script><script src="/axios.js"></script>'),
  '/htmx': html(`<button hx-get="/fragment" hx-target="#out">Load</button><div id="out">as before</div>
<nav hx-boost="true"><a href="/boosted">Boosted</a></nav>`, '<script src="/htmx.js"></script>'),
  '/boosted': html('<p id="boosted">Boosted</p>'),
  '/fragment': '<p id="fragment">A fragment</p>',
  '/rates': html('<p id="rates">Rates</p>'),
  '/prefetching': html('<a href="/rates">rates</a>', '<link rel="prefetch" href="/rates">'),
  '/prerendering': html('<a href="/rates">rates</a>', '<script type="speculationrules">{"prerender":[{"urls":["/rates"],"eagerness":"immediate"}]}</script>'),
  '/worker.js': { headers: { 'content-type': 'text/javascript' }, body: `
addEventListener('install', () => skipWaiting())
addEventListener('activate', (event) => event.waitUntil(clients.claim()))
addEventListener('fetch', (event) => event.respondWith(fetch(event.request)))` },
})
const running = await startGateway(t, {
  config: {
    upstream: site.url, admin: { listen: '127.0.0.1:0' },
    routes: [{ path: '/**' }, { path: '/jquery.js', access: 'public' }],
  },
})
const { url, idp } = running

/** What a page of another origin is: not behind the gateway, on another host. */
const elsewhere = site.url.replace('127.0.0.1', 'localhost')

/** Runs in a page: what a fetch comes to, as far as a script may know. */
const tryFetch = async ([address, init]: [string, RequestInit?]) => {
  try {
    const answer = await fetch(address, init)
    return { type: answer.type, status: answer.status, code: answer.headers.get('gatehouse'), problem: answer.status === 401 ? await answer.json() as unknown : null }
  } catch (error) {
    return { failed: String(error) }
  }
}

void t.test('in a page whose session has ended every way to call gets a 401 that says where to sign in', async (t) => {
  const { page, context, said } = await visit(t, chromium)
  await signIn(page, `${url}/scripts?tab=2#part`)
  await endSessions(running)
  const first = await page.evaluate(tryFetch, ['/api/a'])
  t.match(first, { status: 401, code: 'session_expired', problem: { code: 'session_expired', login_url: `${url}/oauth2/login?redirect=%2Fscripts%3Ftab%3D2` } })
  t.same((await context.cookies()).filter(({ name }) => name.startsWith('gatehouse')), [], 'its cookie is gone, and no login has begun')

  const answers = await page.evaluate(async () => {
    const viaXhr = await new Promise((resolve) => {
      const xhr = new XMLHttpRequest()
      xhr.open('POST', '/api/a')
      xhr.onload = () => { resolve([xhr.status, xhr.getResponseHeader('gatehouse'), JSON.parse(xhr.responseText).code]) }
      xhr.send('x')
    })
    const { $, axios } = window as unknown as { $: { ajax: (what: unknown) => Promise<unknown> }, axios: { post: (url: string, body: unknown) => Promise<unknown> } }
    const viaJquery = await new Promise((resolve) => {
      void $.ajax({ url: '/api/a', error: (xhr: { status: number, responseJSON: { code: string } }) => { resolve([xhr.status, xhr.responseJSON.code]) } })
    })
    const viaAxios = await axios.post('/api/a', { a: 1 }).catch(({ response }: { response: { status: number, data: { code: string } } }) => [response.status, response.data.code])
    const viaImage = await new Promise((resolve) => {
      const image = new Image()
      image.onload = () => { resolve('loaded') }
      image.onerror = () => { resolve('failed') }
      image.src = '/picture.png'
    })
    const viaEvents = await new Promise((resolve) => {
      const events = new EventSource('/events')
      events.onerror = () => { resolve(events.readyState === EventSource.CLOSED ? 'closed' : 'tries again') }
    })
    const viaSocket = await new Promise((resolve) => {
      const socket = new WebSocket(`${location.origin.replace('http', 'ws')}/socket`)
      socket.onclose = ({ code }) => { resolve(code) }
    })
    const noCors = await fetch('/api/a', { mode: 'no-cors' })
    const beacon = navigator.sendBeacon('/api/beacon', 'x')
    return { viaXhr, viaJquery, viaAxios, viaImage, viaEvents, viaSocket, noCors: noCors.status, beacon }
  })
  t.same(answers, {
    viaXhr: [401, 'login_required', 'login_required'], viaJquery: [401, 'login_required'], viaAxios: [401, 'login_required'],
    viaImage: 'failed', viaEvents: 'closed', viaSocket: 1006, noCors: 401, beacon: true,
  })
  t.same(site.received.filter(({ path }) => path.startsWith('/api/') || path === '/picture.png' || path === '/events'), [], 'the application hears of nothing')
  t.same((await context.cookies()).filter(({ name }) => name.startsWith('gatehouse')), [])
  t.notMatch(said.join('\n'), /CORS/)
  t.match(await page.evaluate(() => document.getElementById('out')?.textContent), 'as before')
})

void t.test('fifty calls at once after the end get fifty answers, and none of them begins a login', async (t) => {
  const { page, context } = await visit(t, chromium)
  await signIn(page, `${url}/scripts`)
  const begun = idp.requests.authorization
  const cookies: string[] = []
  page.on('response', (response) => {
    void response.allHeaders().then((headers) => { if (headers['set-cookie'] !== undefined) cookies.push(headers['set-cookie']) })
  })
  await endSessions(running)
  const statuses = await page.evaluate(async () => Promise.all(Array.from({ length: 50 }, async (_, n) => (await fetch(`/api/${n}`)).status)))
  t.same(statuses, Array.from({ length: 50 }, () => 401))
  t.ok(cookies.every((cookie) => /^gatehouse=;.*Max-Age=0$/.test(cookie)), cookies.join('\n'))
  t.same((await context.cookies()).filter(({ name }) => name.startsWith('gatehouse')), [])
  t.equal(idp.requests.authorization, begun)
})

void t.test('a script that calls login or logout gets JSON and stays on its origin', async (t) => {
  const { page } = await visit(t, chromium)
  await signIn(page, `${url}/scripts`)
  const begun = idp.requests.authorization
  t.match(await page.evaluate(tryFetch, ['/oauth2/login?redirect=/rates']), { status: 401, code: 'login_required', problem: { login_url: `${url}/oauth2/login?redirect=%2Frates` } })
  const out = await page.evaluate(async () => {
    const answer = await fetch('/oauth2/logout', { method: 'POST' })
    return { status: answer.status, redirected: answer.redirected, body: await answer.json() as { logout_url: string } }
  })
  t.match(out, { status: 200, redirected: false })
  t.ok(out.body.logout_url.startsWith(`${idp.issuer}/logout?`))
  t.equal(idp.requests.authorization, begun)
  t.match(await page.evaluate(tryFetch, ['/api/a']), { status: 401 })
  t.match(await page.evaluate(async () => (await fetch('/oauth2/logout', { method: 'POST' })).json()), { logout_url: /^http/ }, 'also when there is nothing to end')
})

void t.test('another origin’s fetch gets nothing, and its preflight no session, login or cookie', async (t) => {
  const { page, context } = await visit(t, chromium)
  await signIn(page, `${url}/`)
  const before = site.received.length
  await page.goto(`${elsewhere}/public/`)
  const target = `${url}/api/cross`
  t.match(await page.evaluate(tryFetch, [target, { credentials: 'include' }]), { failed: /Failed to fetch/ })
  t.match(await page.evaluate(tryFetch, [target, { credentials: 'include', method: 'PUT', headers: { 'x-own': '1' } }]), { failed: /Failed to fetch/ })
  t.match(await page.evaluate(tryFetch, [target, { credentials: 'include', mode: 'no-cors', method: 'POST', body: 'x' }]), { type: 'opaque', status: 0 })
  t.same(site.received.slice(before).filter(({ path }) => path === '/api/cross'), [])
  t.equal((await context.cookies(url)).filter(({ name }) => name === 'gatehouse').length, 1, 'the session of its user is untouched')
  t.same((await context.cookies(url)).filter(({ name }) => name.startsWith('gatehouse-login')).length <= 1, true)
})

void t.test('htmx: a call after the end takes the page to the login and back to itself', async (t) => {
  const { page } = await visit(t, chromium)
  await signIn(page, `${url}/htmx`)
  await page.getByRole('button', { name: 'Load' }).click()
  await page.locator('#fragment').waitFor()
  await page.reload()
  await endSessions(running)
  const begun = idp.requests.authorization
  await page.getByRole('button', { name: 'Load' }).click()
  await page.waitForEvent('load')
  await page.waitForURL(`${url}/htmx`)
  t.equal(idp.requests.authorization, begun + 1)
  t.equal(await page.locator('#out').innerText(), 'as before', 'no problem document was put into the page')
  await page.getByRole('button', { name: 'Load' }).click()
  await page.locator('#fragment').waitFor()
})

void t.test('htmx: a boosted link after the end comes through the login, too', async (t) => {
  const { page } = await visit(t, chromium)
  await signIn(page, `${url}/htmx`)
  await page.getByRole('link', { name: 'Boosted' }).click()
  await page.locator('#boosted').waitFor()
  await page.goto(`${url}/htmx`)
  await endSessions(running)
  const begun = idp.requests.authorization
  await page.getByRole('link', { name: 'Boosted' }).click()
  await page.waitForEvent('load')
  await page.waitForURL(`${url}/htmx`)
  t.equal(idp.requests.authorization, begun + 1)
})

void t.test('a service worker passes calls, and navigations after the end reach the login through it', async (t) => {
  const { page, context } = await visit(t, chromium)
  await signIn(page, `${url}/scripts`)
  await page.evaluate(async () => {
    const controlled = new Promise((resolve) => { navigator.serviceWorker.addEventListener('controllerchange', resolve) })
    await navigator.serviceWorker.register('/worker.js')
    await controlled
  })
  t.match(await page.evaluate(tryFetch, ['/api/through-worker']), { status: 200 })
  await endSessions(running)
  t.match(await page.evaluate(tryFetch, ['/api/through-worker']), { status: 401, code: 'session_expired' })
  t.same((await context.cookies()).filter(({ name }) => name.startsWith('gatehouse')), [])
  await page.goto(`${url}/rates`)
  await page.waitForURL(`${url}/rates`)
  t.equal(await page.locator('#rates').innerText(), 'Rates')
})

void t.test('prefetch and prerender begin no login, and the click after them does', async (t) => {
  for (const path of ['/prefetching', '/prerendering']) {
    const { page, context } = await visit(t, chromium)
    await signIn(page, `${url}${path}`)
    await endSessions(running)
    const asked = new Promise<number>((resolve) => {
      context.on('response', (response) => { if (response.url() === `${url}/rates`) resolve(response.status()) })
    })
    const begun = idp.requests.authorization
    // Without a session the page itself is not to be had: what it asks for in advance comes from what was loaded before.
    await page.evaluate((path) => {
      for (const old of document.querySelectorAll('link[rel=prefetch], script')) {
        const again = document.createElement(old.localName)
        for (const { name, value } of old.attributes) again.setAttribute(name, value)
        again.textContent = (old.textContent ?? '').replace('/rates', '/rates?now')
        if (path === '/prefetching') again.setAttribute('href', '/rates?now')
        document.head.append(again)
      }
    }, path)
    await eventually(() => running.events('request').some(({ path, verdict, status }) => path === '/rates' && status === 401 && verdict === 'session_expired'))
    void asked
    t.equal(idp.requests.authorization, begun, `${path}: nothing was begun in advance`)
    t.same((await context.cookies()).filter(({ name }) => name.startsWith('gatehouse-login')), [], path)
    await page.getByRole('link', { name: 'rates' }).click()
    await page.waitForURL(`${url}/rates`)
    t.equal(await page.locator('#rates').innerText(), 'Rates')
  }
})

void t.test('a frame shows a page whose link signs in at the top', async (t) => {
  const { page, context } = await visit(t, chromium)
  await signIn(page, `${url}/`)
  await endSessions(running)
  await page.evaluate(() => {
    const frame = document.createElement('iframe')
    frame.src = '/rates'
    document.body.append(frame)
  })
  const link = page.frameLocator('iframe').getByRole('link', { name: 'Sign in' })
  await link.waitFor()
  t.same((await context.cookies()).filter(({ name }) => name.startsWith('gatehouse')), [])
  await link.click()
  await page.waitForURL((at) => at.origin === url && !at.pathname.startsWith('/oauth2/'))
  t.equal(page.frames().length, 1)
})
