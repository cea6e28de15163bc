import type { Page } from 'playwright-core'
import t from 'tap'
import { openChromium } from '../support/chromium.ts'
import { eventually } from '../support/eventually.ts'
import { freePort } from '../support/free-port.ts'
import { startGateway } from '../support/gateway.ts'
import { html, startSite } from './site.ts'
import { arrive, endSessions, save, saved } from './visit.ts'

const chromium = await openChromium(t)
const auto = '<script src="/oauth2/auto.js"></script>'
const saving = html(
  '<input id="work"><button id="save">Save</button><p id="out"></p><div id="needed"></div><script ' +
    'src="/saving.js"></script>',
  auto,
)
const site = await startSite(t, {
  '/': html('', auto),
  '/libraries': html('', `${auto}<script src="/jquery.js"></script><script src="/axios.js"></script>`),
  '/saving': saving,
  '/saving.js': {
    headers: { 'content-type': 'text/javascript' },
    body: `
document.getElementById('save').onclick = async () => {
  const answer = await fetch('/api/save', { method: 'POST', body: document.getElementById('work').value })
  document.getElementById('out').textContent = answer.status + ' ' + (answer.ok ? (await answer.json()).body : answer.headers.get('gatehouse'))
}
addEventListener('gatehouse:login-needed', ({ detail }) => {
  const button = document.createElement('button')
  button.textContent = 'Sign in again'
  button.onclick = () => { button.remove(); detail.login() }
  document.getElementById('needed').append(button)
})`,
  },
  '/strict': {
    headers: {
      'content-type': 'text/html',
      'content-security-policy':
        "default-src 'none'; script-src 'self'; img-src data:; connect-src 'self'; frame-src 'self' " +
        "http://127.0.0.1:*; require-trusted-types-for 'script'",
    },
    body: saving,
  },
})
const config = {
  upstream: site.url,
  admin: { listen: '127.0.0.1:0', sessions: 'loopback' },
  routes: [{ path: '/**' }, { path: '/mfa/**', require: { acr: 'urn:demo:mfa' } }],
}
/** Of the provider's own site, so that a frame of it knows the user. */
const near = await startGateway(t, { config })
const { idp } = near
const port = await freePort()
/** On another site, so that the provider has no session in a frame. */
const far = await startGateway(t, { config, idp, port, publicUrl: `http://localhost:${port}` })

/**
 * Runs in a page before its scripts: no window without a click, as browsers do; for them a test's every step is one.
 */
const blockWindows = (): void => {
  const open = window.open.bind(window)
  let clicked = false
  addEventListener(
    'click',
    ({ isTrusted }) => {
      clicked ||= isTrusted
    },
    true,
  )
  window.open = (...what) => (clicked ? open(...what) : null)
}

/** Tells whether the page is still the very one that was opened. */
const mark = async (page: Page): Promise<() => Promise<boolean>> => {
  await page.evaluate(() => {
    document.body.dataset['mark'] = 'here'
  })
  return async () => page.evaluate(() => document.body.dataset['mark'] === 'here')
}

void t.test(
  'a fetch after the session ended is repeated with its body, whatever its type, and the page stays',
  async (t) => {
    const { page } = await arrive(t, chromium, `${near.url}/`)
    const isHere = await mark(page)
    const bodies = async (): Promise<unknown> =>
      page.evaluate(async () => {
        const form = new FormData()
        form.append('note', 'Zoë')
        form.append('file', new Blob(['in a file']), 'a.txt')
        const results = []
        for (const init of [
          { body: 'text, Zoë' },
          { body: form },
          { body: new Blob(['in a blob'], { type: 'text/x' }) },
          { body: new TextEncoder().encode('bytes') },
        ]) {
          const answer = await fetch('/api/body', { method: 'POST', headers: { 'x-own': 'kept' }, ...init })
          results.push([answer.status, ((await answer.json()) as { body: string }).body.replace(/-{4,}\w+/g, '--')])
        }
        return results
      })
    const expected = await bodies()
    for (const n of [0, 1, 2, 3]) {
      const before = site.at('/api/body').length
      await endSessions(near)
      const again = await page.evaluate(async (n) => {
        const form = new FormData()
        form.append('note', 'Zoë')
        form.append('file', new Blob(['in a file']), 'a.txt')
        const init = [
          { body: 'text, Zoë' },
          { body: form },
          { body: new Blob(['in a blob'], { type: 'text/x' }) },
          { body: new TextEncoder().encode('bytes') },
        ][n]
        const answer = await fetch(new Request('/api/body', { method: 'POST', headers: { 'x-own': 'kept' }, ...init }))
        return [answer.status, ((await answer.json()) as { body: string }).body.replace(/-{4,}\w+/g, '--')]
      }, n)
      t.same(again, (expected as unknown[])[n])
      t.equal(site.at('/api/body').length, before + 1, 'once')
      t.equal(site.at('/api/body').at(-1)?.headers['x-own'], 'kept')
    }
    t.ok(await isHere())
  },
)

void t.test(
  'if the provider has no session, a popup window signs the user in, the request is repeated, and form input is kept',
  async (t) => {
    const { page, context } = await arrive(t, chromium, `${far.url}/saving`, { atProvider: false })
    await endSessions(far)
    const isHere = await mark(page)
    const opened = context.waitForEvent('page')
    await save(page, 'an hour of work')
    const window = await opened
    t.equal(await page.locator('#out').innerText(), '', 'the page waits')
    await window.getByRole('button', { name: 'Sign in as alice' }).click()
    t.equal(await saved(page), '200 an hour of work')
    await eventually(() => window.isClosed())
    t.ok(await isHere())
    t.equal(await page.locator('#work').inputValue(), 'an hour of work')
  },
)

void t.test('closing the window returns the 401, and the user can try again', async (t) => {
  const { page, context } = await arrive(t, chromium, `${far.url}/saving`, { atProvider: false })
  await endSessions(far)
  const opened = context.waitForEvent('page')
  await save(page, 'not lost')
  const window = await opened
  await window.getByRole('button', { name: 'Sign in as alice' }).waitFor()
  await page.waitForTimeout(1_500)
  await window.close()
  t.match(await saved(page), /^401 (?:session_expired|login_required)$/)
  const openedAgain = context.waitForEvent('page')
  await page.evaluate(() => {
    document.getElementById('out')?.replaceChildren()
  })
  await page.getByRole('button', { name: 'Save' }).click()
  await (await openedAgain).getByRole('button', { name: 'Sign in as alice' }).click()
  t.equal(await saved(page), '200 not lost')
})

void t.test('renewal also waits for a provider that isolates its window from the page (COOP)', async (t) => {
  const { page, context } = await arrive(t, chromium, `${far.url}/saving`, { atProvider: false })
  await context.route(
    (at) => at.origin === idp.issuer && at.pathname.startsWith('/interaction/'),
    async (route) => {
      const answer = await route.fetch({ maxRedirects: 0 })
      await route.fulfill({
        response: answer,
        headers: { ...answer.headers(), 'cross-origin-opener-policy': 'same-origin' },
      })
    },
  )
  // A test's pages all believe that the user is at them.
  await page.evaluate(() => {
    document.hasFocus = () => false
  })
  await endSessions(far)
  const opened = context.waitForEvent('page')
  await save(page, 'cut off')
  const window = await opened
  await window.getByRole('button', { name: 'Sign in as alice' }).waitFor()
  await page.waitForTimeout(1_600)
  t.equal(await page.locator('#out').innerText(), '', 'the page has not given up')
  t.equal(
    await page.getByRole('button', { name: 'Sign in again' }).count(),
    0,
    'and does not believe that the window was blocked',
  )
  await window.getByRole('button', { name: 'Sign in as alice' }).click()
  t.equal(await saved(page), '200 cut off')
})

void t.test('a blocked window fires an event, and a click handled by the page continues the renewal', async (t) => {
  const { page, context } = await arrive(t, chromium, `${far.url}/saving`, { atProvider: false })
  await context.addInitScript(blockWindows)
  await page.reload()
  await endSessions(far)
  await page.locator('#work').fill('typed long ago')
  await page.evaluate(() => {
    document.getElementById('save')?.click()
  })
  const again = page.getByRole('button', { name: 'Sign in again' })
  await again.waitFor()
  t.equal(context.pages().length, 1)
  const opened = context.waitForEvent('page')
  await again.click()
  await (await opened).getByRole('button', { name: 'Sign in as alice' }).click()
  t.equal(await saved(page), '200 typed long ago')
})

void t.test('a click in one tab also continues another tab that waits for a click', async (t) => {
  const { page: waiting, context } = await arrive(t, chromium, `${far.url}/saving`, { atProvider: false })
  await context.addInitScript(blockWindows)
  await waiting.reload()
  const page = await context.newPage()
  await page.goto(`${far.url}/saving`)
  await endSessions(far)
  await waiting.locator('#work').fill('in the background')
  await waiting.evaluate(() => {
    document.getElementById('save')?.click()
  })
  await waiting.getByRole('button', { name: 'Sign in again' }).waitFor()
  const opened = context.waitForEvent('page')
  await save(page, 'in front')
  await (await opened).getByRole('button', { name: 'Sign in as alice' }).click()
  t.equal(await saved(page), '200 in front')
  t.equal(await saved(waiting), '200 in the background')
})

void t.test('a page with a strict policy and trusted types can renew the session', async (t) => {
  const { page, said } = await arrive(t, chromium, `${near.url}/strict`)
  await endSessions(near)
  await save(page, 'strictly')
  t.equal(await saved(page), '200 strictly')
  t.notMatch(said.join('\n'), /Security Policy|Trusted/i)
})

void t.test('all calls of all tabs share one renewal', async (t) => {
  const { page, context } = await arrive(t, chromium, `${near.url}/`)
  const tabs = [page, await context.newPage(), await context.newPage()]
  for (const tab of tabs.slice(1)) await tab.goto(`${near.url}/`)
  const begun = idp.requests.authorization
  await endSessions(near)
  const statuses = await Promise.all(
    tabs.map(async (tab) =>
      tab.evaluate(async () =>
        Promise.all(
          Array.from(
            { length: 10 },
            async (_, n) => (await fetch(`/api/shared/${n}`, { method: 'PUT', body: 'x' })).status,
          ),
        ),
      ),
    ),
  )
  t.same(new Set(statuses.flat()), new Set([200]))
  t.equal(idp.requests.authorization, begun + 1)
})

void t.test('a step-up asks for the second factor in the window, even right after a renewal', async (t) => {
  const { page, context } = await arrive(t, chromium, `${near.url}/`)
  await endSessions(near)
  // A click, so that a window may open.
  await page.evaluate(() => {
    const button = document.createElement('button')
    button.textContent = 'Pay'
    button.onclick = async () => {
      document.title = String((await fetch('/mfa/pay', { method: 'POST', body: '5 €' })).status)
    }
    document.body.append(button)
  })
  const opened = context.waitForEvent('page')
  await page.getByRole('button', { name: 'Pay' }).click()
  await (await opened).getByRole('button', { name: 'Confirm second factor' }).click()
  await page.waitForFunction(() => document.title === '200')
  t.same(
    site.at('/mfa/pay').map(({ body }) => Buffer.from(body, 'latin1').toString()),
    ['5 €'],
  )
})

void t.test('a request that the page aborts while it waits is not repeated', async (t) => {
  const { page } = await arrive(t, chromium, `${near.url}/`)
  await endSessions(near)
  idp.fail('authorization', { delay: 500, times: 1 })
  t.equal(
    await page.evaluate(async () =>
      fetch('/api/aborted', { signal: AbortSignal.timeout(200) }).catch((error: Error) => error.name),
    ),
    'TimeoutError',
  )
  t.same(
    await page.evaluate(async () => {
      await fetch('/oauth2/logout/local', { method: 'POST' })
      return new Promise((resolve) => {
        const xhr = new XMLHttpRequest()
        const seen: string[] = []
        for (const name of ['abort', 'load', 'error', 'loadend'])
          xhr.addEventListener(name, () => {
            seen.push(name)
          })
        xhr.open('GET', '/api/aborted')
        xhr.send()
        setTimeout(() => {
          xhr.abort()
        }, 100)
        setTimeout(() => {
          resolve(seen)
        }, 1_200)
      })
    }),
    ['abort', 'loadend'],
  )
  t.same(site.at('/api/aborted'), [])
})

void t.test('cross-origin calls and synchronous calls are left alone', async (t) => {
  const { page } = await arrive(t, chromium, `${near.url}/`)
  // What the page asks for by itself would hear of the end first, and lose the cookie.
  await page.waitForLoadState('networkidle')
  await endSessions(near)
  const begun = idp.requests.authorization
  t.same(
    await page.evaluate(() => {
      const xhr = new XMLHttpRequest()
      xhr.open('GET', '/api/waiting', false)
      xhr.send()
      return [xhr.status, xhr.getResponseHeader('gatehouse')]
    }),
    [401, 'session_expired'],
  )
  t.match(
    await page.evaluate(
      async (other) =>
        fetch(other).then(
          () => 'answered',
          (error: Error) => error.name,
        ),
      site.url,
    ),
    'TypeError',
  )
  t.equal(idp.requests.authorization, begun)
})
