import t from 'tap'
import { createBrowser } from '../support/browser.ts'
import { moveClock } from '../support/clock.ts'
import { eventually } from '../support/eventually.ts'
import { startGateway } from '../support/gateway.ts'
import { beginLogin, callbackFor } from '../support/sign-in.ts'

const script = { kind: 'script' } as const

void t.test('no token, code, cookie, state or secret is in any line of the log, at any level, whatever happens', async (t) => {
  const clientSecret = 'the-client-secret-of-this-test'
  const routes = [{ path: '/**' }, { path: '/admin', require: { claims: { groups: ['none'] } } }]
  const { url, idp, log, events } = await startGateway(t, {
    idp: { lifetimes: { accessToken: 100 }, pushedAuthorization: true },
    config: { provider: { clientSecret, userinfo: true, timeout: '1s' }, routes },
    client: { clientSecret },
  })
  const browser = createBrowser()
  const secrets = new Set([clientSecret])
  const note = (): void => { for (const { value } of browser.cookies.all()) if (value.length > 20) secrets.add(value) }

  // Logins: one that succeeds, one for each way to fail.
  const callback = await callbackFor(browser, url, { redirect: '/orders?secret=in-the-query' })
  note()
  for (const name of ['state', 'code']) secrets.add(callback.searchParams.get(name) ?? name)
  await browser.get(callback.href)
  note()
  await browser.get(callback.href, script)
  await createBrowser().get(callback.href)
  const noJson = { status: 200, body: 't'.repeat(40), contentType: 'application/json' }
  for (const failure of [{ status: 500 }, { status: 400, body: { error: 'invalid_grant' } }, noJson]) {
    const other = createBrowser()
    const failing = await callbackFor(other, url)
    idp.fail('token', failure)
    await other.get(failing.href)
    idp.fail('token', null)
    for (const name of ['state', 'code']) secrets.add(failing.searchParams.get(name) ?? name)
  }
  secrets.add('t'.repeat(10))
  secrets.add('in-the-query')
  const cancelled = await beginLogin(browser, url)
  secrets.add(cancelled.searchParams.get('request_uri') ?? '')

  // The application, with every kind of no.
  await browser.get(`${url}/orders?token=in-the-query`, { headers: { authorization: 'Bearer a-client-token-of-its-own' } })
  secrets.add('a-client-token-of-its-own')
  await browser.get(`${url}/admin`)
  await browser.get(`${url}/orders/%zz`)
  await browser.get(`${url}/api/orders`, { kind: 'script', headers: { cookie: `gatehouse=${'x'.repeat(60)}` } })
  secrets.add('x'.repeat(60))

  // Refreshes: one that succeeds, one that fails, one that ends the session; a logout.
  await browser.post(`${url}/oauth2/session/refresh`, '', script)
  idp.fail('token', { status: 500 })
  moveClock(t, 101_000)
  await browser.get(`${url}/api/orders`, script)
  idp.fail('token', null)
  moveClock(t, 31_000)
  await browser.get(`${url}/api/orders`, script)
  await browser.login(`${url}/oauth2/login?prompt=login`, 'bob')
  note()
  idp.fail('revocation', { status: 500 })
  await browser.follow(await browser.get(`${url}/oauth2/logout?redirect=%2Fpublic%2Fbye`, { from: `${url}/` }))
  await eventually(() => events('revocation_failed').length > 0)

  t.ok(log.length > 15, `${log.length} lines`)
  t.ok(idp.secretsIssued.length > 8, `${idp.secretsIssued.length} secrets of the provider`)
  const all = log.join('')
  for (const secret of [...secrets, ...idp.secretsIssued]) t.notOk(all.includes(secret), secret.slice(0, 12))
})
