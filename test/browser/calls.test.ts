import type { Page } from 'playwright-core'
import t from 'tap'
import { openChromium } from '../support/chromium.ts'
import { startGateway } from '../support/gateway.ts'
import { eventually } from '../support/eventually.ts'
import { html, passThroughWorker, startSite } from './site.ts'
import { endSessions, hasSession, loginCookies, signIn, visit } from './visit.ts'

const chromium = await openChromium(t)
const site = await startSite(t, {
  '/': html('<p>Home</p><p><a id="rates" href="/rates">rates</a></p>'),
  '/scripts': html(
    '<div id="out">as before</div>',
    '<script src="/jquery.js"></script><script src="/axios.js"></script>',
  ),
  '/htmx': html(
    `<button hx-get="/fragment" hx-target="#out">Load</button><div id="out">as before</div>
<nav hx-boost="true"><a href="/boosted">Boosted</a></nav>`,
    '<script src="/htmx.js"></script>',
  ),
  '/boosted': html('<p id="boosted">Boosted</p>'),
  '/fragment': '<p id="fragment">A fragment</p>',
  '/rates': html('<p id="rates">Rates</p>'),
  '/worker.js': passThroughWorker,
})
const running = await startGateway(t, {
  config: {
    upstream: site.url,
    admin: { listen: '127.0.0.1:0', sessions: 'loopback' },
  },
})
const { url, idp } = running

/** What a page of another origin is: not behind the gateway, on another host. */
const elsewhere = site.url.replace('127.0.0.1', 'localhost')

type Init = {
  method?: string
  mode?: 'no-cors'
  credentials?: 'include'
  headers?: Record<string, string>
  body?: string
}

/** Runs in a page: what a fetch comes to, as far as a script may know. */
const tryFetch = async ({ address, init }: { address: string; init: Init }) => {
  try {
    const answer = await fetch(address, init)
    return {
      type: answer.type,
      status: answer.status,
      code: answer.headers.get('gatehouse'),
      problem: answer.status === 401 ? ((await answer.json()) as unknown) : null,
    }
  } catch (error) {
    return { failed: String(error) }
  }
}

const call = async (page: Page, address: string, init: Init = {}) => page.evaluate(tryFetch, { address, init })

void t.test('every kind of call from a page whose session has ended gets a 401 with the login URL', async (t) => {
  const { page, context, said } = await visit(t, chromium)
  await signIn(page, `${url}/scripts?tab=2#part`)
  const logins = await loginCookies(context)
  await endSessions(running)
  const first = await call(page, '/api/a')
  t.match(first, {
    status: 401,
    code: 'session_expired',
    problem: { code: 'session_expired', login_url: `${url}/oauth2/login?redirect=%2Fscripts%3Ftab%3D2` },
  })
  t.notOk(await hasSession(context), 'its cookie is gone')

  const answers = await page.evaluate(async () => {
    const viaXhr = await new Promise((resolve) => {
      const xhr = new XMLHttpRequest()
      xhr.open('POST', '/api/a')
      xhr.onload = () => {
        resolve([xhr.status, xhr.getResponseHeader('gatehouse'), JSON.parse(xhr.responseText).code])
      }
      xhr.send('x')
    })
    const { $, axios } = window as unknown as {
      $: { ajax: (what: unknown) => Promise<unknown> }
      axios: { post: (url: string, body: unknown) => Promise<unknown> }
    }
    const viaJquery = await new Promise((resolve) => {
      void $.ajax({
        url: '/api/a',
        error: (xhr: { status: number; responseJSON: { code: string } }) => {
          resolve([xhr.status, xhr.responseJSON.code])
        },
      })
    })
    const viaAxios = await axios
      .post('/api/a', { a: 1 })
      .catch(({ response }: { response: { status: number; data: { code: string } } }) => [
        response.status,
        response.data.code,
      ])
    const viaImage = await new Promise((resolve) => {
      const image = new Image()
      image.onload = () => {
        resolve('loaded')
      }
      image.onerror = () => {
        resolve('failed')
      }
      image.src = '/picture.png'
    })
    const viaEvents = await new Promise((resolve) => {
      const events = new EventSource('/events')
      events.onerror = () => {
        resolve(events.readyState === EventSource.CLOSED ? 'closed' : 'tries again')
      }
    })
    const viaSocket = await new Promise((resolve) => {
      const socket = new WebSocket(`${location.origin.replace('http', 'ws')}/socket`)
      socket.onclose = ({ code }) => {
        resolve(code)
      }
    })
    const noCors = await fetch('/api/a', { mode: 'no-cors' })
    const beacon = navigator.sendBeacon('/api/beacon', 'x')
    return { viaXhr, viaJquery, viaAxios, viaImage, viaEvents, viaSocket, noCors: noCors.status, beacon }
  })
  t.same(answers, {
    viaXhr: [401, 'login_required', 'login_required'],
    viaJquery: [401, 'login_required'],
    viaAxios: [401, 'login_required'],
    viaImage: 'failed',
    viaEvents: 'closed',
    viaSocket: 1006,
    noCors: 401,
    beacon: true,
  })
  t.same(
    site.received.filter(({ path }) => path.startsWith('/api/') || path === '/picture.png' || path === '/events'),
    [],
    'the application hears of nothing',
  )
  t.same(await loginCookies(context), logins, 'no login has begun')
  t.notMatch(said.join('\n'), /CORS/)
  t.match(await page.evaluate(() => document.getElementById('out')?.textContent), 'as before')
})

void t.test(
  'fifty concurrent calls after the session ended get fifty responses, and none starts a login',
  async (t) => {
    const { page, context } = await visit(t, chromium)
    await signIn(page, `${url}/scripts`)
    const begun = idp.requests.authorization
    const cookies: string[] = []
    page.on('response', (response) => {
      void response.allHeaders().then((headers) => {
        if (headers['set-cookie'] !== undefined) cookies.push(headers['set-cookie'])
      })
    })
    const logins = await loginCookies(context)
    await endSessions(running)
    const statuses = await page.evaluate(async () =>
      Promise.all(Array.from({ length: 50 }, async (_, n) => (await fetch(`/api/${n}`)).status)),
    )
    t.same(
      statuses,
      Array.from({ length: 50 }, () => 401),
    )
    t.ok(
      cookies.every((cookie) => /^gatehouse=;.*Max-Age=0$/.test(cookie)),
      cookies.join('\n'),
    )
    t.same([await hasSession(context), await loginCookies(context)], [false, logins])
    t.equal(idp.requests.authorization, begun)
  },
)

void t.test('a script that calls login or logout gets JSON and stays on its origin', async (t) => {
  const { page } = await visit(t, chromium)
  await signIn(page, `${url}/scripts`)
  const begun = idp.requests.authorization
  t.match(await call(page, '/oauth2/login?redirect=/rates'), {
    status: 401,
    code: 'login_required',
    problem: { login_url: `${url}/oauth2/login?redirect=%2Frates` },
  })
  const out = await page.evaluate(async () => {
    const answer = await fetch('/oauth2/logout', { method: 'POST' })
    return {
      status: answer.status,
      redirected: answer.redirected,
      body: (await answer.json()) as { logout_url: string },
    }
  })
  t.match(out, { status: 200, redirected: false })
  t.ok(out.body.logout_url.startsWith(`${idp.issuer}/logout?`))
  t.equal(idp.requests.authorization, begun)
  t.match(await call(page, '/api/a'), { status: 401 })
  t.match(
    await page.evaluate(async () => (await fetch('/oauth2/logout', { method: 'POST' })).json()),
    { logout_url: /^http/ },
    'also when there is nothing to end',
  )
})

void t.test(
  'a fetch from another origin gets no data, and its preflight gets no session, login or cookie',
  async (t) => {
    const { page, context } = await visit(t, chromium)
    await signIn(page, `${url}/`)
    const logins = await loginCookies(context)
    const before = site.received.length
    await page.goto(`${elsewhere}/public/`)
    const target = `${url}/api/cross`
    t.match(await call(page, target, { credentials: 'include' }), { failed: /Failed to fetch/ })
    t.match(await call(page, target, { credentials: 'include', method: 'PUT', headers: { 'x-own': '1' } }), {
      failed: /Failed to fetch/,
    })
    t.match(await call(page, target, { credentials: 'include', mode: 'no-cors', method: 'POST', body: 'x' }), {
      type: 'opaque',
      status: 0,
    })
    t.same(
      site.received.slice(before).filter(({ path }) => path === '/api/cross'),
      [],
    )
    t.same([await hasSession(context), await loginCookies(context)], [true, logins], 'the user’s session is untouched')
  },
)

void t.test('htmx: a call after the session ended takes the page to the login and back', async (t) => {
  const { page } = await visit(t, chromium)
  await signIn(page, `${url}/htmx`)
  await page.getByRole('button', { name: 'Load' }).click()
  await page.locator('#fragment').waitFor()
  await page.reload()
  await endSessions(running)
  const atProvider = page.waitForRequest((request) => request.url().startsWith(`${idp.issuer}/authorize`))
  await page.getByRole('button', { name: 'Load' }).click()
  await atProvider
  await page.waitForURL(`${url}/htmx`)
  t.equal(await page.locator('#out').innerText(), 'as before', 'no problem document was put into the page')
  await page.getByRole('button', { name: 'Load' }).click()
  await page.locator('#fragment').waitFor()
})

void t.test('htmx: a boosted link after the session ended reaches its target through the login', async (t) => {
  const { page } = await visit(t, chromium)
  await signIn(page, `${url}/htmx`)
  await page.getByRole('link', { name: 'Boosted' }).click()
  await page.locator('#boosted').waitFor()
  await page.goto(`${url}/htmx`)
  await endSessions(running)
  const atProvider = page.waitForRequest((request) => request.url().startsWith(`${idp.issuer}/authorize`))
  await page.getByRole('link', { name: 'Boosted' }).click()
  await atProvider
  await page.waitForURL(`${url}/boosted`)
})

void t.test(
  'a service worker passes calls through, and navigations after the session ended reach the login through it',
  async (t) => {
    const { page, context } = await visit(t, chromium)
    await signIn(page, `${url}/scripts`)
    await page.evaluate(async () => {
      const controlled = new Promise((resolve) => {
        navigator.serviceWorker.addEventListener('controllerchange', resolve)
      })
      await navigator.serviceWorker.register('/worker.js')
      await controlled
    })
    t.match(await call(page, '/api/through-worker'), { status: 200 })
    const logins = await loginCookies(context)
    await endSessions(running)
    t.match(await call(page, '/api/through-worker'), { status: 401, code: 'session_expired' })
    t.same([await hasSession(context), await loginCookies(context)], [false, logins])
    await page.goto(`${url}/rates`)
    await page.waitForURL(`${url}/rates`)
    t.equal(await page.locator('#rates').innerText(), 'Rates')
  },
)

const inAdvance: Readonly<Record<string, () => void>> = {
  prefetch: () => {
    const link = document.createElement('link')
    link.rel = 'prefetch'
    link.href = '/rates'
    document.head.append(link)
  },
  prerender: () => {
    const rules = document.createElement('script')
    rules.type = 'speculationrules'
    rules.textContent = '{ "prerender": [{ "urls": ["/rates"], "eagerness": "immediate" }] }'
    document.head.append(rules)
  },
}

for (const [name, load] of Object.entries(inAdvance)) {
  void t.test(`a ${name} after the session ended starts no login, but the click that follows does`, async (t) => {
    const { page, context } = await visit(t, chromium)
    await signIn(page, `${url}/`)
    const [begun, logins, asked] = [
      idp.requests.authorization,
      await loginCookies(context),
      running.events('request').length,
    ]
    await endSessions(running)
    await page.evaluate(load)
    await eventually(() =>
      running
        .events('request')
        .slice(asked)
        .some(({ path, status }) => path === '/rates' && status === 401),
    )
    t.equal(idp.requests.authorization, begun)
    t.same(await loginCookies(context), logins)
    await page.getByRole('link', { name: 'rates' }).click()
    await page.waitForURL(`${url}/rates`)
    t.equal(await page.locator('#rates').innerText(), 'Rates')
    t.equal(idp.requests.authorization, begun + 1)
  })
}

void t.test('a frame shows a page whose link signs in at the top', async (t) => {
  const { page, context } = await visit(t, chromium)
  await signIn(page, `${url}/`)
  const logins = await loginCookies(context)
  await endSessions(running)
  await page.evaluate(() => {
    const frame = document.createElement('iframe')
    frame.src = '/rates'
    document.body.append(frame)
  })
  const link = page.frameLocator('iframe').getByRole('link', { name: 'Sign in' })
  await link.waitFor()
  t.same([await hasSession(context), await loginCookies(context)], [false, logins])
  await link.click()
  await page.waitForURL((at) => at.origin === url && !at.pathname.startsWith('/oauth2/'))
  t.equal(page.frames().length, 1)
})
