import type { Page } from 'playwright-core'
import t from 'tap'
import { openChromium } from '../support/chromium.ts'
import { startGateway } from '../support/gateway.ts'
import { html, startSite } from './site.ts'
import { arrive, endSessions, isPosted, visit } from './visit.ts'

const fields = `
<textarea name="note"></textarea><input name="twice" value="1"><input name="twice" value="2"><input name="" value="nameless">
<input name="submit" value="a field called submit"><input name="action" value="/elsewhere"><input name="appendChild" value="x">
<select name="many" multiple><option selected>ä</option><option selected>b</option></select>
<input type="hidden" name="_charset_"><input type="file" name="file"><input name="größe &quot;&amp;" value="100 % + 1">
<button name="how" value="by button">Send</button>`
const form = (attributes: string): string =>
  html(`<form method="post" action="/posted?way=1&way=2" ${attributes}>${fields}</form>`)
const latin1 = (body: string) => ({ headers: { 'content-type': 'text/html; charset=utf-8' }, body })

const chromium = await openChromium(t)
const site = await startSite(t, {
  '/': html('Home'),
  '/urlencoded': form(''),
  '/multipart': form('enctype="multipart/form-data"'),
  '/urlencoded-latin1': latin1(form('accept-charset="iso-8859-1"')),
  '/multipart-latin1': latin1(form('accept-charset="iso-8859-1" enctype="multipart/form-data"')),
  '/paying': html('<form method="post" action="/mfa/pay"><input name="amount" value="5 €"><button>Pay</button></form>'),
  '/framed': html('<iframe src="/urlencoded"></iframe>'),
  '/trap': html(''),
})
const running = await startGateway(t, {
  config: {
    upstream: site.url,
    admin: { listen: '127.0.0.1:0', sessions: 'loopback' },
    routes: [{ path: '/**' }, { path: '/mfa/**', require: { acr: 'urn:demo:mfa' } }],
  },
})
const { url } = running
const elsewhere = site.url.replace('127.0.0.1', 'localhost')

const posted = (path = '/posted?way=1&way=2'): string[] =>
  site
    .at(path)
    .filter(({ method }) => method === 'POST')
    .map(({ body }) => body.replace(/-{4,}\w+/g, '-----'))

const note = 'first line\nsecond “line” äöü €\n\n<script>&amp; + % = \t 😀'

const fillIn = async (page: Page): Promise<void> => {
  await page.locator('textarea').fill(note)
}

for (const way of ['urlencoded', 'multipart', 'urlencoded-latin1', 'multipart-latin1']) {
  void t.test(`a form that is ${way} reaches the application once, byte for byte`, async (t) => {
    const { page } = await arrive(t, chromium, `${url}/${way}`)
    await fillIn(page)
    await page.getByRole('button', { name: 'Send' }).click()
    await isPosted(page)
    const sent = posted()
    await page.goto(`${url}/${way}`)
    await fillIn(page)
    await endSessions(running)
    await page.getByRole('button', { name: 'Send' }).click()
    t.match(
      await page.locator('main').innerText(),
      /Sign-in required[^]*kept in this browser tab and sent once you are signed in/,
    )
    t.same(posted(), sent, 'the form has not been sent yet')
    await page.getByRole('link', { name: 'Sign in and send' }).click()
    await isPosted(page)
    t.same(posted(), [...sent, sent.at(-1)])
    t.equal(await page.evaluate(() => sessionStorage.length), 0)
    await page.goBack()
    t.equal(page.url(), `${url}/${way}`, 'going back leads to the form')
    t.equal(posted().length, sent.length + 1, 'and sends nothing again')
  })
}

void t.test('the gateway, the URL and other tabs hold no part of a kept form', async (t) => {
  const { page, context } = await arrive(t, chromium, `${url}/urlencoded`)
  await endSessions(running)
  await page.locator('textarea').fill('a-secret-note')
  await page.getByRole('button', { name: 'Send' }).click()
  const link = page.getByRole('link', { name: 'Sign in and send' })
  const address = (await link.getAttribute('href')) ?? ''
  t.notMatch(decodeURIComponent(address), 'a-secret-note')
  t.notMatch(running.log.join(''), 'a-secret-note')
  const other = await context.newPage()
  await other.goto(address)
  await other.waitForURL(/\/oauth2\/form\?id=/)
  t.match(
    await other.locator('main').innerText(),
    /There is nothing to send: this form has been sent already, or was kept in another tab/,
  )
  const before = posted().length
  await link.click()
  await isPosted(page)
  t.equal(posted().length, before + 1)
})

void t.test(
  'a form that is too large or has a file gets a page that says so, and its input is still there after going back',
  async (t) => {
    for (const [way, make] of Object.entries({
      'too large': async (page: Page) => {
        await page.locator('textarea').fill('x'.repeat(256 * 1024))
      },
      'with a file': async (page: Page) => {
        await page.locator('textarea').fill('with a file')
        await page
          .locator('input[type=file]')
          .setInputFiles({ name: 'a.txt', mimeType: 'text/plain', buffer: Buffer.from('contents') })
      },
    })) {
      const { page, context } = await arrive(t, chromium, `${url}/multipart`)
      await make(page)
      const written = await page.locator('textarea').inputValue()
      await endSessions(running)
      const answered = page.waitForResponse((response) => response.request().method() === 'POST')
      await page.getByRole('button', { name: 'Send' }).click()
      const answer = await answered
      t.equal(answer.status(), 413, way)
      t.equal(answer.headers()['gatehouse'], 'payload_too_large')
      t.match(await page.locator('main').innerText(), /files or is too large to be kept[^]*Nothing is lost/)
      const opened = context.waitForEvent('page')
      await page.getByRole('link', { name: 'Sign in on a new tab' }).click()
      await (await opened).waitForURL((at) => at.origin === url && !at.pathname.startsWith('/oauth2/'))
      await page.getByRole('button', { name: 'Go back to the form' }).click()
      await page.waitForURL(`${url}/multipart`)
      t.equal(await page.locator('textarea').inputValue(), written)
      const before = posted().length
      await page.getByRole('button', { name: 'Send' }).click()
      await isPosted(page)
      t.equal(posted().length, before + 1)
      t.match(posted().at(-1), written)
      await context.close()
    }
  },
)

void t.test('a form from another site is not kept', async (t) => {
  const { page } = await visit(t, chromium)
  await page.goto(`${elsewhere}/trap`)
  const before = posted('/transfer').length
  await page.evaluate((action) => {
    const form = document.createElement('form')
    form.method = 'post'
    form.action = action
    form.innerHTML = '<input name="amount" value="1000">'
    document.body.append(form)
    form.submit()
  }, `${url}/transfer`)
  await page.waitForURL(`${url}/transfer`)
  t.equal(await page.getByRole('link', { name: 'Sign in and send' }).count(), 0)
  t.equal(await page.evaluate(() => sessionStorage.length), 0)
  await page.getByRole('link', { name: 'Sign in' }).click()
  await page.getByRole('button', { name: 'Sign in as alice' }).click()
  await page.waitForURL(`${url}/`)
  t.equal(posted('/transfer').length, before)
})

void t.test('a form that needs a step-up survives the step-up', async (t) => {
  const { page } = await arrive(t, chromium, `${url}/paying`)
  await page.getByRole('button', { name: 'Pay' }).click()
  t.match(await page.locator('main').innerText(), /stronger or more recent sign-in/)
  await page.getByRole('link', { name: 'Sign in and send' }).click()
  await page.getByRole('button', { name: 'Confirm second factor' }).click()
  await isPosted(page)
  t.equal(page.url(), `${url}/mfa/pay`)
  t.same(posted('/mfa/pay'), ['amount=5+%E2%82%AC'])
})

void t.test('a form in a frame is kept, and continues in the top window', async (t) => {
  const { page } = await arrive(t, chromium, `${url}/framed`)
  const frame = page.frameLocator('iframe')
  await frame.locator('textarea').fill('in a frame')
  await endSessions(running)
  const before = posted().length
  await frame.getByRole('button', { name: 'Send' }).click()
  await frame.getByRole('link', { name: 'Sign in and send' }).click()
  await isPosted(page)
  t.equal(posted().length, before + 1)
  t.match(posted().at(-1), 'note=in+a+frame')
})

void t.test('a browser without storage shows a message, and the form is still there after going back', async (t) => {
  const { page, context } = await arrive(t, chromium, `${url}/urlencoded`)
  await context.addInitScript(() => {
    Storage.prototype.setItem = () => {
      throw new Error('full')
    }
  })
  await page.locator('textarea').fill('still here')
  await endSessions(running)
  await page.getByRole('button', { name: 'Send' }).click()
  t.match(
    await page.locator('main').innerText(),
    /keeps nothing for this site\. Go back: what you entered is still there/,
  )
  await page.goBack()
  t.equal(await page.locator('textarea').inputValue(), 'still here')
})
