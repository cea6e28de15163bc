import type { Page } from 'playwright-core'
import t from 'tap'
import { openChromium } from '../support/chromium.ts'
import { startGateway } from '../support/gateway.ts'
import { html, startSite } from './site.ts'
import { arrive, endSessions, isPosted } from './visit.ts'

const names = [
  'submit',
  'action',
  'method',
  'elements',
  'length',
  'nodeName',
  'constructor',
  '__proto__',
  'hasOwnProperty',
  'toString',
  'a&b=c',
  'größe €',
  '%22',
  'line\nbreak',
  'gatehouse:form',
]
const attribute = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('"', '&quot;').replaceAll('\n', '&#10;')
const fields = `
${names.map((name) => `<input name="${attribute(name)}" value="${attribute(`of ${name}`)}">`).join('\n')}
<select name="many" multiple><option selected>a<option>b<option selected>c<option value="" selected>none</select>
<select name="one"><optgroup label="x"><option value="ä ü">x</option></optgroup></select>
<input name="twice" value="1"><input name="other" value="between"><input name="twice" value="2"><input name="twice" value="">
<input type="checkbox" name="on" checked><input type="checkbox" name="off"><input type="radio" name="radio" value="r" checked>
<input type="password" name="password" value="p&#9;w"><input type="date" name="date" value="2026-11-24"><input type="range" name="range" value="7">
<input type="color" name="colour" value="#17683f"><input type="email" name="mail" value="zoë@example.com"><input type="hidden" name="hidden" value="&#10;x&#13;y">
<input type="file" name="file"><input type="file" name="files" multiple><input name="disabled" value="x" disabled>
<textarea name="text" dirname="text.dir">&#10;&#10;two lines before, &lt;/script&gt; ]]&gt; --&gt; \u2028 😀&#10;</textarea><textarea name="empty"></textarea>
<input type="image" name="picture" alt="Send by picture" src="data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/%3E">
<button name="how" value="by button">Send</button><button name="how" formaction="/posted-elsewhere" formenctype="application/x-www-form-urlencoded">Send elsewhere</button>`
const form = (attributes: string, inside = fields): string =>
  html(`<form method="post" action="/posted" novalidate ${attributes}>${inside}</form>`)
const charsets = ['utf-8', 'windows-1252', 'shift_jis', 'koi8-r', 'gb18030', 'iso-2022-jp']
const large = (bytes: number): string =>
  form('', `<textarea name="text">${'x'.repeat(bytes - 'text='.length)}</textarea><button>Send</button>`)
const limit = 256 * 1024

const chromium = await openChromium(t)
const site = await startSite(t, {
  ...Object.fromEntries(
    charsets.flatMap((charset) =>
      ['application/x-www-form-urlencoded', 'multipart/form-data'].map((type) => [
        `/${charset}/${type}`,
        form(`accept-charset="${charset}" enctype="${type}"`),
      ]),
    ),
  ),
  '/just-small-enough': large(limit),
  '/just-too-large': large(limit + 1),
  '/simple': form('', '<input name="a" value="b"><button>Send</button>'),
  '/new-tab': form('target="_blank"', '<input name="a" value="b"><button>Send</button>'),
  '/with-part': html(
    '<form method="post" action="/posted#/part/7"><input name="a" value="b"><button>Send</button></form>',
  ),
  '/paying': html('<form method="post" action="/to-the-bank"><input name="a" value="b"><button>Send</button></form>'),
  '/': html('Home'),
})
const running = await startGateway(t, {
  config: { upstream: site.url, admin: { listen: '127.0.0.1:0', sessions: 'loopback' } },
})
const { url } = running

type Post = { readonly path: string; readonly type: string | undefined; readonly body: string }
const posts = (): Post[] =>
  site.received
    .filter(({ method }) => method === 'POST')
    .map(({ path, headers, body }) => ({
      path,
      type: headers['content-type']?.replace(/-{4,}\w+/, '-----'),
      body: body.replaceAll(/-{4,}\w+/g, '-----'),
    }))

/**
 * Sends the form with a session, then once more without: tells what the application got the first time and after the
 * login.
 */
const sendTwice = async (
  page: Page,
  path: string,
  press: (page: Page) => Promise<unknown>,
): Promise<[Post | undefined, Post[]]> => {
  await page.goto(url + path)
  await press(page)
  await isPosted(page)
  const first = posts().at(-1)
  const before = posts().length
  await page.goto(url + path)
  await endSessions(running)
  await press(page)
  await page.getByRole('link', { name: 'Sign in and send' }).click()
  await isPosted(page)
  return [first, posts().slice(before)]
}

const pressing = {
  'by its button': async (page: Page) => page.getByRole('button', { name: 'Send', exact: true }).click(),
  'by a picture': async (page: Page) =>
    page.getByRole('button', { name: 'Send by picture' }).click({ position: { x: 3, y: 5 } }),
  'by the button that sends it elsewhere': async (page: Page) =>
    page.getByRole('button', { name: 'Send elsewhere' }).click(),
}

for (const charset of charsets) {
  void t.test(
    `a form with every kind of field, in ${charset}, arrives as it would have without the login`,
    async (t) => {
      const { page } = await arrive(t, chromium, `${url}/`)
      for (const type of ['application/x-www-form-urlencoded', 'multipart/form-data']) {
        for (const [how, press] of Object.entries(pressing)) {
          if (charset !== 'utf-8' && how !== 'by its button') continue
          const [first, later] = await sendTwice(page, `/${charset}/${type}`, press)
          t.match(first?.body, '__proto__')
          t.same(later, [first], `${type}, ${how}`)
        }
      }
    },
  )
}

void t.test('a form of 256 kB is kept, and one byte more is not', async (t) => {
  const { page } = await arrive(t, chromium, `${url}/`)
  const [first, later] = await sendTwice(page, '/just-small-enough', pressing['by its button'])
  t.equal(first?.body.length, limit)
  t.same(later, [first])
  await page.goto(`${url}/just-too-large`)
  await endSessions(running)
  await pressing['by its button'](page)
  t.equal(await page.getByRole('heading', { level: 1 }).innerText(), 'Not sent yet')
})

void t.test('pressing twice or reloading the page sends the form once', async (t) => {
  const { page } = await arrive(t, chromium, `${url}/simple`)
  await endSessions(running)
  const before = posts().length
  await page.getByRole('button', { name: 'Send' }).dblclick()
  await page.getByRole('link', { name: 'Sign in and send' }).dblclick()
  await isPosted(page)
  t.equal(posts().length, before + 1)
  await page.goBack()
  await page.waitForURL(`${url}/simple`)
  await page.goForward().catch(() => {})
  t.equal(posts().length, before + 1, 'going forward asks first')
})

void t.test('opening the posting page again in the same tab sends no form', async (t) => {
  const { page } = await arrive(t, chromium, `${url}/simple`)
  await endSessions(running)
  const sending = page.waitForRequest((request) => request.url().startsWith(`${url}/oauth2/form?id=`))
  await page.getByRole('button', { name: 'Send' }).click()
  await page.getByRole('link', { name: 'Sign in and send' }).click()
  const address = (await sending).url()
  await isPosted(page)
  const before = posts().length
  await page.goto(address)
  t.match(await page.locator('main').innerText(), /There is nothing to send/)
  t.equal(posts().length, before)
})

void t.test('a form that opens a new tab is kept and sent in that tab', async (t) => {
  const { page, context } = await arrive(t, chromium, `${url}/new-tab`)
  await endSessions(running)
  const before = posts().length
  const opened = context.waitForEvent('page')
  await page.getByRole('button', { name: 'Send' }).click()
  const tab = await opened
  await tab.getByRole('link', { name: 'Sign in and send' }).click()
  await isPosted(tab)
  t.equal(posts().length, before + 1)
  t.equal(page.url(), `${url}/new-tab`)
})

void t.test('the fragment of the form’s target survives', async (t) => {
  const { page } = await arrive(t, chromium, `${url}/with-part`)
  await endSessions(running)
  await page.getByRole('button', { name: 'Send' }).click()
  await page.getByRole('link', { name: 'Sign in and send' }).click()
  await isPosted(page)
  t.equal(page.url(), `${url}/posted#/part/7`)
})

void t.test('the browser follows an application that answers the form with a redirect to another site', async (t) => {
  const bank = `${site.url.replace('127.0.0.1', 'localhost')}/bank`
  const paying = await startGateway(t, {
    config: {
      admin: { listen: '127.0.0.1:0', sessions: 'loopback' },
      session: { cookie: { name: 'paying' } },
      upstream: site.url,
      routes: [{ path: '/**' }, { path: '/to-the-bank', upstream: site.url }],
    },
  })
  site.redirects.set('/to-the-bank', bank)
  const { page } = await arrive(t, chromium, `${paying.url}/paying`)
  await endSessions(paying)
  await page.getByRole('button', { name: 'Send' }).click()
  await page.getByRole('link', { name: 'Sign in and send' }).click()
  await page.waitForURL(bank)
  t.equal(site.at('/to-the-bank').length, 1)
})

void t.test(
  'a browser without storage shows a message and links, even where a form should have been sent',
  async (t) => {
    const { page, context } = await arrive(t, chromium, `${url}/simple`)
    await context.addInitScript(() => {
      Object.defineProperty(window, 'sessionStorage', {
        get: () => {
          throw new DOMException('off', 'SecurityError')
        },
      })
    })
    await endSessions(running)
    await page.getByRole('button', { name: 'Send' }).click()
    t.match(
      await page.locator('main').innerText(),
      /keeps nothing for this site\. Go back: what you entered is still there/,
    )
    t.equal(await page.getByRole('link', { name: 'Sign in and send' }).count(), 0)
    const opened = context.waitForEvent('page')
    await page.getByRole('link', { name: 'Sign in on a new tab' }).click()
    const tab = await opened
    await tab.waitForURL((at) => at.origin === url && !at.pathname.startsWith('/oauth2/'))
    await page.getByRole('button', { name: 'Go back to the form' }).click()
    await page.waitForURL(`${url}/simple`)
    await page.getByRole('button', { name: 'Send' }).click()
    await isPosted(page)
    await page.goto(`${url}/oauth2/form?id=abcdefghijkl`)
    t.match(await page.locator('main').innerText(), /There is nothing to send/)
  },
)
