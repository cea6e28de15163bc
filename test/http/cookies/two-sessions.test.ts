import t from 'tap'
import { startIdp } from '../../../src/demo/idp.ts'
import { placesOf } from '../../../src/http/cookies/cookies.ts'
import { startApplication } from '../../support/application.ts'
import { createBrowser } from '../../support/browser.ts'
import { loggedIn } from '../../support/logged-in.ts'

// One provider for all gateways here: what it does is not what these tests are about.
const idp = await startIdp()
t.teardown(() => idp.close())

void t.test(
  'a second session cookie planted under a path by a neighbor is cleared, and the login completes',
  async (t) => {
    const application = await startApplication(t, (_req, res) => {
      res.end('here')
    })
    const { url, browser } = await loggedIn(t, { idp, config: { upstream: application.url } })
    const mallory = createBrowser()
    await mallory.login(`${url}/`, 'bob')
    const planted = mallory.cookies.get(url, 'gatehouse') ?? ''
    for (const path of ['/app', '/app/', '/app/7']) {
      browser.cookies.store(new URL(url), [
        `gatehouse=${planted}; Path=${path}`,
        'gatehouse-cleared=; Path=/; Max-Age=0',
      ])
      t.equal(browser.cookies.list(`${url}/app/7`).filter(({ name }) => name === 'gatehouse').length, 2)
      const { answer, hops } = await browser.login(`${url}/app/7`, 'alice')
      t.equal(answer.status, 200, `${path}: ${hops.map((hop) => hop.url).join(' ')}`)
      t.equal(hops.filter((hop) => hop.url.includes('/oauth2/callback')).length, 1, 'one login')
      t.equal(browser.cookies.list(`${url}/app/7`).filter(({ name }) => name === 'gatehouse').length, 1)
    }
  },
)

void t.test('if the cookies can’t be cleared, a page says what to do, and there is no loop', async (t) => {
  const { url, browser } = await loggedIn(t, { idp })
  const mallory = createBrowser()
  await mallory.login(`${url}/`, 'bob')
  const two = [browser, mallory].map(({ cookies }) => `gatehouse=${cookies.get(url, 'gatehouse') ?? ''}`).join('; ')
  const first = await createBrowser().get(`${url}/orders`, { headers: { cookie: two } })
  t.equal(first.status, 302)
  const cleared = first.headers['set-cookie']?.find((line) => line.startsWith('gatehouse-cleared='))
  t.match(cleared, /; HttpOnly.*Max-Age=600$/)
  for (const path of ['/orders', '/oauth2/login?redirect=%2Forders']) {
    const again = await createBrowser().get(url + path, { headers: { cookie: `${two}; gatehouse-cleared=1` } })
    t.match([again.status, again.headers.gatehouse], [400, 'login_failed'], path)
    t.match(again.headers['content-type'], /^text\/html/)
    t.match(again.body, /Delete the cookies of this site/)
  }
})

void t.test('a direct login clears the cookies', async (t) => {
  const { url, browser } = await loggedIn(t, { idp })
  const mallory = createBrowser()
  await mallory.login(`${url}/`, 'bob')
  browser.cookies.store(new URL(url), [`gatehouse=${mallory.cookies.get(url, 'gatehouse') ?? ''}; Path=/oauth2`])
  const answer = await browser.get(`${url}/oauth2/login`)
  t.equal(answer.status, 200)
  t.same(
    browser.cookies.list(`${url}/oauth2/login`).filter(({ name }) => name === 'gatehouse'),
    [],
  )
})

void t.test('the places to clear are listed likeliest first, each once, up to a limit', async (t) => {
  const text = (host: string, path: string): string[] =>
    placesOf(host, path).map(({ domain, path }) => `${domain ?? '-'} ${path}`)
  t.same(text('a.example.com:8080', '/x/y'), [
    '- /',
    'a.example.com /',
    'example.com /',
    '- /x',
    'a.example.com /x',
    'example.com /x',
    '- /x/',
    'a.example.com /x/',
    'example.com /x/',
    '- /x/y',
    'a.example.com /x/y',
    'example.com /x/y',
  ])
  t.same(text('127.0.0.1:80', '/'), ['- /'])
  t.same(text('[::1]:80', '/a'), ['- /', '- /a'])
  t.same(text('localhost', '/a;Domain=evil/b'), ['- /'])
  t.equal(text('a.b.c.d.example.com', '/1/2/3/4/5/6/7/8').length, 24)
})
