import t from 'tap'
import { startIdp } from '../../../src/demo/idp.ts'
import { createBrowser } from '../../support/browser.ts'
import { freePort } from '../../support/free-port.ts'
import { startGateway } from '../../support/gateway.ts'
import { loggedIn } from '../../support/logged-in.ts'
import { beginLogin, signIn } from '../../support/sign-in.ts'

void t.test('the provider’s frame ends the session named by iss and sid, without a cookie', async (t) => {
  const { url, browser, call, idp, events } = await loggedIn(t)
  const { sid } = (await browser.get(`${url}/oauth2/userinfo`, { kind: 'script' })).json()
  const query = new URLSearchParams({ iss: idp.issuer, sid: String(sid) }).toString()
  const answer = await createBrowser().get(`${url}/oauth2/logout/frontchannel?${query}`, {
    kind: 'frame',
    from: `${idp.issuer}/logout`,
    headers: { 'accept-language': 'de' },
  })
  t.match(answer.body, '<html lang="de">')
  t.match(answer.body, '<h1>Abgemeldet</h1>')
  t.equal(answer.status, 200)
  t.equal(answer.headers['cache-control'], 'no-store')
  t.match(answer.headers['content-type'], /^text\/html/)
  t.notMatch(answer.headers['content-security-policy'] ?? '', 'frame-ancestors', 'the provider may hold it')
  t.notOk(answer.headers['x-frame-options'])
  t.equal((await call()).status, 401)
  t.match(events('session_ended'), [{ reason: 'frontchannel' }])
})

void t.test('other sessions stay, and a request that names no session is refused', async (t) => {
  const { url, browser, call, idp } = await loggedIn(t)
  const { sid } = (await browser.get(`${url}/oauth2/userinfo`, { kind: 'script' })).json()
  const ask = async (query: Record<string, string>) =>
    createBrowser().get(`${url}/oauth2/logout/frontchannel?${new URLSearchParams(query).toString()}`, { kind: 'frame' })
  t.equal((await ask({ iss: idp.issuer, sid: 'another' })).status, 200)
  for (const query of [
    {},
    { iss: idp.issuer },
    { sid: '' },
    { iss: '', sid: String(sid) },
    { iss: idp.issuer, sid: '' },
    { iss: idp.issuer, sid: 'x'.repeat(1001) },
    { iss: 'https://other.example', sid: String(sid) },
    { iss: `${idp.issuer}/`, sid: String(sid) },
  ]) {
    const answer = await ask(query)
    t.same([answer.status, answer.headers.gatehouse], [400, 'logout_refused'], JSON.stringify(query))
  }
  t.equal((await call()).status, 200)
})

void t.test('sid alone identifies the session, as Entra sends it, and a repeated iss or sid is refused', async (t) => {
  const { url, browser, call, idp, events } = await loggedIn(t)
  const { sid } = (await browser.get(`${url}/oauth2/userinfo`, { kind: 'script' })).json()
  const ask = async (query: [string, string][]) =>
    createBrowser().get(`${url}/oauth2/logout/frontchannel?${new URLSearchParams(query).toString()}`, { kind: 'frame' })
  const iss: [string, string] = ['iss', idp.issuer]
  const own: [string, string] = ['sid', String(sid)]
  const another: [string, string] = ['sid', 'another']
  for (const query of [
    [own, own],
    [iss, iss, own],
    [own, another],
  ])
    t.equal((await ask(query)).status, 400, JSON.stringify(query))
  t.equal((await call()).status, 200)
  t.equal((await ask([own])).status, 200)
  t.equal((await call()).status, 401)
  t.match(events('session_ended'), [{ reason: 'frontchannel' }])
})

void t.test('front-channel logout works while the provider can’t be discovered', async (t) => {
  const idp = await startIdp()
  t.teardown(() => idp.close())
  idp.fail('discovery', { status: 503 })
  const { url } = await startGateway(t, { idp })
  const ask = async (iss: string): Promise<number> => {
    const query = new URLSearchParams({ iss, sid: 'x' }).toString()
    return (await createBrowser().get(`${url}/oauth2/logout/frontchannel?${query}`, { kind: 'frame' })).status
  }
  t.same([await ask(idp.issuer), await ask('https://evil.example')], [200, 400])
})

void t.test('front-channel logout works without third-party cookies, and a prefetch has no effect', async (t) => {
  const { url, browser, call, idp } = await loggedIn(t)
  const { sid } = (await browser.get(`${url}/oauth2/userinfo`, { kind: 'script' })).json()
  const parameters = new URLSearchParams({ iss: idp.issuer, sid: String(sid) })
  const target = `${url}/oauth2/logout/frontchannel?${parameters.toString()}`
  t.equal((await createBrowser().get(target, { headers: { 'sec-purpose': 'prefetch' } })).status, 204)
  t.equal((await call()).status, 200)
  t.equal((await createBrowser().get(target, { kind: 'none' })).status, 200)
  t.equal((await call()).status, 401)
})

void t.test('a frame that loads before the login’s session is created ends that session', async (t) => {
  const { url, idp } = await startGateway(t)
  const browser = createBrowser()
  await browser.login(`${url}/`, 'alice')
  const { sid } = (await browser.get(`${url}/oauth2/userinfo`, { kind: 'script' })).json()
  await browser.post(`${url}/oauth2/logout/local`, '', { kind: 'script' })
  const callback = await signIn(browser, await beginLogin(browser, url))
  await createBrowser().get(
    `${url}/oauth2/logout/frontchannel?${new URLSearchParams({ iss: idp.issuer, sid: String(sid) }).toString()}`,
    { kind: 'frame' },
  )
  const answer = await browser.get(callback.href)
  t.match(answer.headers.location, `${url}/oauth2/login?`)
  t.notOk(answer.headers['set-cookie']?.some((cookie) => /^gatehouse=[^;]/.test(cookie)))
})

void t.test('with two gateways at one provider, a logout at one ends the session at the other', async (t) => {
  const here = await startGateway(t, { config: { session: { cookie: { name: 'here' } } } })
  const port = await freePort()
  const there = await startGateway(t, {
    port,
    idp: here.idp,
    config: { session: { cookie: { name: 'there' } } },
    client: { frontchannelLogoutUri: `http://127.0.0.1:${port}/oauth2/logout/frontchannel` },
  })
  const browser = createBrowser()
  await browser.login(`${here.url}/`, 'alice')
  await browser.login(`${there.url}/`, 'alice')
  const status = async (): Promise<number> => (await browser.get(`${there.url}/api/orders`, { kind: 'script' })).status
  t.equal(await status(), 200)
  const { answer } = await browser.follow(await browser.get(`${here.url}/oauth2/logout`))
  t.match(answer.body, 'You are signed out')
  t.equal(await status(), 401)
})
