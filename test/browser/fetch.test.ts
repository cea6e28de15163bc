import type { Page } from 'playwright-core'
import t from 'tap'
import { openChromium } from '../support/chromium.ts'
import { startGateway } from '../support/gateway.ts'
import { html, startSite } from './site.ts'
import { arrive, endSessions } from './visit.ts'

const chromium = await openChromium(t)
const site = await startSite(t, { '/': html('', '<script src="/oauth2/auto.js"></script>') })
const running = await startGateway(t, {
  config: { upstream: site.url, admin: { listen: '127.0.0.1:0', sessions: 'loopback' } },
})
const { url, idp } = running

/** Runs in a page: sends a body of that kind, and tells what came back. */
const sendBody = async (kind: string) => {
  const form = new FormData()
  form.append('note', 'Zoë')
  form.append('note', 'twice')
  form.append('file', new Blob(['in a file']), 'a.txt')
  const bytes = new TextEncoder().encode('bytes')
  const bodies: Record<string, BodyInit> = {
    'text': 'text, Zoë',
    'form data': form,
    'blob': new Blob(['in a blob'], { type: 'text/x' }),
    'view': bytes.subarray(1, 4),
    'buffer': bytes.buffer,
    'parameters': new URLSearchParams({ a: 'ä', b: '&' }),
    'large': 'x'.repeat(3_000_000),
  }
  const init = { method: 'POST', headers: { 'x-own': 'kept' }, body: bodies[kind] ?? 'none' }
  const answers = [
    await fetch('/api/body', init),
    await fetch(new Request('/api/body', init)),
    await fetch(new URL('/api/body', location.href), init),
  ]
  return Promise.all(
    answers.map(async (answer) => [
      answer.status,
      ((await answer.json()) as { body: string }).body.replaceAll(/-{4,}\w+/g, '--'),
    ]),
  )
}

const types = async (page: Page, kind: string): Promise<unknown> => {
  await page.evaluate(sendBody, kind)
  return site
    .at('/api/body')
    .at(-1)
    ?.headers['content-type']?.replace(/-{4,}\w+/, '--')
}

for (const kind of ['text', 'form data', 'blob', 'view', 'buffer', 'parameters', 'large']) {
  void t.test(`a body that is ${kind} is repeated unchanged, even with a Request object or a URL object`, async (t) => {
    const { page } = await arrive(t, chromium, `${url}/`)
    const expected = await page.evaluate(sendBody, kind)
    const type = site
      .at('/api/body')
      .at(-1)
      ?.headers['content-type']?.replace(/-{4,}\w+/, '--')
    const before = site.at('/api/body').length
    await endSessions(running)
    t.same(await page.evaluate(sendBody, kind), expected)
    t.equal(site.at('/api/body').length, before + 3, 'each once')
    t.equal(await types(page, kind), type)
    t.ok(site.at('/api/body').every(({ headers }) => headers['x-own'] === 'kept'))
  })
}

void t.test('a request with keepalive is repeated', async (t) => {
  const { page } = await arrive(t, chromium, `${url}/`)
  await endSessions(running)
  t.same(
    await page.evaluate(async () => {
      const answer = await fetch('/api/keepalive', { method: 'POST', body: 'x'.repeat(50_000), keepalive: true })
      return [answer.status, ((await answer.json()) as { body: string }).body.length]
    }),
    [200, 50_000],
  )
})

void t.test('the browser refuses a streamed body over HTTP/1.1, as it does without the script', async (t) => {
  const { page } = await arrive(t, chromium, `${url}/`)
  const init = '{ method: "POST", body: new Blob(["streamed"]).stream(), duplex: "half" }'
  t.equal(
    await page.evaluate(`fetch("/api/streamed", ${init}).then(({ status }) => status, ({ name }) => name)`),
    'TypeError',
  )
  t.same(site.at('/api/streamed'), [])
})

void t.test('a request without cookies gets its 401, because no login would help', async (t) => {
  const { page, context } = await arrive(t, chromium, `${url}/`)
  const begun = idp.requests.authorization
  t.equal(await page.evaluate(async () => (await fetch('/api/omit', { credentials: 'omit' })).status), 401)
  await endSessions(running)
  t.equal(await page.evaluate(async () => (await fetch(new Request('/api/omit', { credentials: 'omit' }))).status), 401)
  t.equal(idp.requests.authorization, begun)
  t.equal(context.pages().length, 1)
})

void t.test('a request that is already consumed or aborted fails as it does without the script', async (t) => {
  const { page } = await arrive(t, chromium, `${url}/`)
  t.same(
    await page.evaluate(async () => {
      const used = new Request('/api/used', { method: 'POST', body: 'x' })
      const first = await fetch(used)
      const name = async (answer: Promise<Response>): Promise<string> =>
        answer.then(
          ({ status }) => String(status),
          (error: Error) => error.name,
        )
      const aborted = fetch('/api/aborted', { signal: AbortSignal.abort() })
      return [first.status, used.bodyUsed, await name(fetch(used)), await name(aborted), await name(fetch('http://['))]
    }),
    [200, true, 'TypeError', 'AbortError', 'TypeError'],
  )
})

void t.test('aborting one waiting call leaves the other calls alone', async (t) => {
  const { page } = await arrive(t, chromium, `${url}/`)
  await endSessions(running)
  idp.fail('authorization', { delay: 1_000, times: 1 })
  t.same(
    await page.evaluate(async () => {
      const aborter = new AbortController()
      const isRenewing = (): boolean => document.querySelector('iframe') !== null
      const call = async (n: number): Promise<unknown> =>
        fetch(`/api/some/${n}`, { method: 'POST', body: 'x', ...(n === 1 ? { signal: aborter.signal } : {}) }).then(
          ({ status }) => status,
          (error: Error) => `${error.name}${isRenewing() ? ' at once' : ''}`,
        )
      const timer = setInterval(() => {
        if (!isRenewing()) return
        clearInterval(timer)
        aborter.abort()
      }, 10)
      return Promise.all([call(0), call(1), call(2)])
    }),
    [200, 'AbortError at once', 200],
  )
  t.same(site.at('/api/some/1'), [])
})

void t.test(
  'a session that ends during fifty calls by fetch and XMLHttpRequest is renewed once, and each call is answered once',
  async (t) => {
    const { page } = await arrive(t, chromium, `${url}/`)
    const begun = idp.requests.authorization
    const answers = page.evaluate(async () => {
      const call = async (n: number): Promise<string> => {
        if (n % 2 === 0)
          return (
            (await (await fetch(`/api/middle/${n}`, { method: 'POST', body: `body ${n}` })).json()) as { body: string }
          ).body
        return new Promise((resolve) => {
          const xhr = new XMLHttpRequest()
          xhr.onload = () => {
            resolve((JSON.parse(xhr.responseText) as { body: string }).body)
          }
          xhr.open('POST', `/api/middle/${n}`)
          xhr.send(`body ${n}`)
        })
      }
      const running: Promise<string>[] = []
      for (let n = 0; n < 50; n += 1) {
        running.push(call(n))
        if (n === 20) await running[0]
      }
      return Promise.all(running)
    })
    await page.waitForResponse((response) => response.url().includes('/api/middle/'))
    await endSessions(running)
    t.same(
      await answers,
      Array.from({ length: 50 }, (_, n) => `body ${n}`),
    )
    t.ok(idp.requests.authorization <= begun + 1, `${idp.requests.authorization - begun} renewals`)
    for (let n = 0; n < 50; n += 1) t.equal(site.at(`/api/middle/${n}`).length, 1, `call ${n}`)
  },
)
