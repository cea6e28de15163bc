import t from 'tap'
import { createBrowser, type Browser } from '../../support/browser.ts'
import { freePort } from '../../support/free-port.ts'
import { startGateway } from '../../support/gateway.ts'
import { openRedirects } from '../../support/open-redirects.ts'
import type { Answer } from '../../support/exchange.ts'

/** Follows redirects until one leads neither to the provider nor to the gateway's own addresses. */
const whereTo = async (browser: Browser, first: Answer, urls: readonly string[]): Promise<string> => {
  let answer = first
  for (let hops = 0; hops < 8; hops += 1) {
    const to = new URL(answer.headers.location ?? '', answer.url).href
    if (!urls.some((own) => to.startsWith(own))) return to
    answer = await browser.get(to, { kind: 'none', headers: { accept: 'text/html' } })
  }
  throw new Error(`no end at ${answer.url}`)
}

void t.test('whatever a login is told to come back to, it ends on this origin', async (t) => {
  const { url, idp } = await startGateway(t, { config: { rateLimit: { login: false, callback: false } } })
  const lines = openRedirects()
  // Each line takes a whole login. Those that a browser would resolve to a page of ours are all tried, of the rest a
  // good share.
  const tried = lines.filter((line, i) => i % 3 === 0 || /^[./\\?#]|^%|^\s/.test(line))
  const browser = createBrowser()
  await browser.login(`${url}/`, 'alice')
  const ends: [line: string, to: string][] = []
  for (const line of tried) {
    const parameter = ends.length % 2 === 0 ? 'redirect' : 'rd'
    const first = await browser.get(`${url}/oauth2/login?${parameter}=${encodeURIComponent(line)}`, {
      kind: 'none',
      headers: { accept: 'text/html' },
    })
    ends.push([line, await whereTo(browser, first, [`${idp.issuer}/`, `${url}/oauth2/`])])
  }
  t.ok(ends.length > 10)
  for (const [line, to] of ends) t.equal(new URL(to, url).origin, url, line)
})

void t.test('whatever a logout is told to go on to, it ends on this origin', async (t) => {
  // A provider that is away leaves the way on to the gateway alone.
  const { url } = await startGateway(t, {
    config: { provider: { issuer: `http://127.0.0.1:${await freePort()}` }, rateLimit: { session: false } },
  })
  const browser = createBrowser()
  for (const line of openRedirects()) {
    for (const parameter of ['redirect', 'rd']) {
      const { status, headers } = await browser.get(`${url}/oauth2/logout?${parameter}=${encodeURIComponent(line)}`)
      if (status === 200) continue
      t.equal(status, 302, line)
      t.equal(new URL(headers.location ?? '', url).origin, url, line)
    }
  }
  t.equal(
    (await browser.get(`${url}/oauth2/logout?redirect=%2Fbye%3Fx%23y`)).headers.location,
    '/bye?x#y',
    'a page of ours still works',
  )
})

void t.test('a target of ours survives the login whole', async (t) => {
  const { url, idp } = await startGateway(t)
  const browser = createBrowser()
  await browser.login(`${url}/`, 'alice')
  for (const target of [
    '/orders?page=2&q=a%20b#part',
    `${url}/orders`,
    '/a//b',
    '/app#/orders/7',
    '/%2f%2fx',
    '/x?u=https://example.com/',
  ]) {
    const first = await browser.get(`${url}/oauth2/login?redirect=${encodeURIComponent(target)}`, {
      kind: 'none',
      headers: { accept: 'text/html' },
    })
    t.equal(await whereTo(browser, first, [`${idp.issuer}/`, `${url}/oauth2/`]), new URL(target, url).href)
  }
})
