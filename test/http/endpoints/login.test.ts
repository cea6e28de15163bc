import t from 'tap'
import { startIdp } from '../../../src/demo/idp.ts'
import { createBrowser } from '../../support/browser.ts'
import { eventually } from '../../support/eventually.ts'
import { startGateway } from '../../support/gateway.ts'
import { authorizationUrlOf, beginLogin, plainPage } from '../../support/sign-in.ts'

void t.test('a browser logs in and returns to the page it requested', async (t) => {
  const { url, upstream } = await startGateway(t)
  const browser = createBrowser()
  const { answer } = await browser.login(`${url}/orders?page=2`, 'alice')
  t.equal(answer.url, `${url}/orders?page=2`)
  const seen = upstream.requests.at(-1)
  t.equal(seen?.url, '/orders?page=2')
  t.match(seen?.headers.authorization, /^Bearer \S+$/)
  t.notMatch(seen?.headers.cookie ?? '', /gatehouse/)
})

void t.test('a provider that was down at the start is discovered by the next login, which succeeds', async (t) => {
  const idp = await startIdp()
  t.teardown(() => idp.close())
  idp.fail('discovery', { status: 503 })
  const { url } = await startGateway(t, { idp })
  const browser = createBrowser()

  const refused = await browser.get(`${url}/oauth2/login`)
  t.equal(refused.status, 503)
  t.equal(refused.headers.gatehouse, 'provider_unavailable')
  t.match(refused.headers['retry-after'], /^\d+$/)
  t.match(refused.headers['content-type'], /^text\/html/)
  t.notOk(refused.headers['set-cookie'])

  idp.fail('discovery', null)
  const { answer } = await browser.login(`${url}/orders`, 'alice')
  t.equal(answer.url, `${url}/orders`)
})

void t.test('a provider that was down at the start is discovered in the background', async (t) => {
  const idp = await startIdp()
  t.teardown(() => idp.close())
  idp.fail('discovery', { status: 503 })
  const { events } = await startGateway(t, { idp })
  await eventually(() => events('provider_unavailable').length > 0)
  idp.fail('discovery', null)
  await eventually(() => events('provider_discovered').length === 1)
})

void t.test('the authorization request is a code flow with its own PKCE, state and nonce', async (t) => {
  const { url } = await startGateway(t)
  const browser = createBrowser()
  const [first, second] = [await beginLogin(browser, url), await beginLogin(browser, url)]
  for (const { searchParams } of [first, second]) {
    t.equal(searchParams.get('response_type'), 'code')
    t.equal(searchParams.get('code_challenge_method'), 'S256')
    t.match(searchParams.get('code_challenge'), /^[\w-]{43}$/)
    t.equal(searchParams.get('redirect_uri'), `${url}/oauth2/callback`)
    t.equal(searchParams.get('scope'), 'openid profile email offline_access')
    t.notOk(searchParams.has('response_mode'))
  }
  for (const name of ['state', 'nonce', 'code_challenge']) {
    t.not(first.searchParams.get(name), second.searchParams.get(name), `each login has its own ${name}`)
  }
})

void t.test('neither nonce nor code verifier can be read from the state', async (t) => {
  const { url } = await startGateway(t)
  const { searchParams } = await beginLogin(createBrowser(), url, { redirect: '/orders' })
  const state = Buffer.from(searchParams.get('state') ?? '', 'base64url').toString('latin1')
  t.notMatch(state, searchParams.get('nonce') ?? 'no nonce')
  t.notMatch(state, /orders|tries|browser/)
})

void t.test('prompt, login_hint, acr_values, max_age and scope go to the provider', async (t) => {
  const { url } = await startGateway(t, {
    config: { provider: { authorizationParameters: { domain_hint: 'example.com' } } },
  })
  const asked = {
    prompt: 'login',
    login_hint: 'bob',
    acr_values: 'urn:demo:mfa',
    max_age: '60',
    scope: 'orders.read openid',
  }
  const { searchParams } = await beginLogin(createBrowser(), url, asked)
  t.equal(searchParams.get('prompt'), 'login')
  t.equal(searchParams.get('login_hint'), 'bob')
  t.equal(searchParams.get('acr_values'), 'urn:demo:mfa')
  t.equal(searchParams.get('max_age'), '60')
  t.equal(searchParams.get('scope'), 'openid profile email offline_access orders.read')
  t.equal(searchParams.get('domain_hint'), 'example.com', 'besides the configured headers')
})

void t.test('a caller can pass no other parameter', async (t) => {
  const { url } = await startGateway(t)
  const smuggled = {
    redirect_uri: 'https://evil.example',
    client_id: 'other',
    response_type: 'token',
    state: 'x',
    max_age: '-1',
  }
  const { searchParams } = await beginLogin(createBrowser(), url, smuggled)
  t.equal(searchParams.get('redirect_uri'), `${url}/oauth2/callback`)
  t.match(searchParams.get('client_id'), /^client-/)
  t.equal(searchParams.get('response_type'), 'code')
  t.not(searchParams.get('state'), 'x')
  t.notOk(searchParams.has('max_age'))
})

void t.test('start and sign_in are aliases of login, and rd of redirect', async (t) => {
  const { url } = await startGateway(t)
  for (const path of ['start', 'sign_in']) {
    const browser = createBrowser()
    const { answer } = await browser.login(`${url}/oauth2/${path}?rd=%2Forders%3Fpage%3D3`, 'alice')
    t.equal(answer.url, `${url}/orders?page=3`)
  }
})

void t.test('a return URL on another origin, or at the gateway’s own endpoints, is ignored', async (t) => {
  const { url } = await startGateway(t)
  for (const redirect of [
    'https://evil.example/',
    '//evil.example',
    '/\\evil.example',
    'javascript:alert(1)',
    '/oauth2/logout',
  ]) {
    const { answer } = await createBrowser().login(
      `${url}/oauth2/login?${new URLSearchParams({ redirect }).toString()}`,
      'alice',
    )
    t.equal(answer.url, `${url}/`, redirect)
  }
  const absolute = new URLSearchParams({ redirect: `${url}/orders#7` })
  const { answer } = await createBrowser().login(`${url}/oauth2/login?${absolute.toString()}`, 'alice')
  t.equal(answer.url, `${url}/orders#7`, 'the same origin, written out, is')
})

void t.test('a pushed authorization request is used if the provider announces it', async (t) => {
  const { url, idp } = await startGateway(t, { idp: { pushedAuthorization: true } })
  const browser = createBrowser()
  const { searchParams } = await beginLogin(browser, url, { login_hint: 'bob' })
  t.same([...searchParams.keys()].toSorted(), ['client_id', 'request_uri'], 'the browser carries a reference only')
  const { answer } = await browser.login(`${url}/orders`, 'alice')
  t.equal(answer.url, `${url}/orders`)
  t.equal(idp.lastAuthorizationRequest?.['code_challenge_method'], 'S256')
  t.equal(idp.parRequests, 2)
})

void t.test('pushedAuthorization: off sends all parameters through the browser', async (t) => {
  const { url, idp } = await startGateway(t, {
    idp: { pushedAuthorization: true },
    config: { provider: { pushedAuthorization: 'off' } },
  })
  t.ok((await beginLogin(createBrowser(), url)).searchParams.has('code_challenge'))
  t.equal(idp.parRequests, 0)
})

void t.test('a script gets the login URL, and no login starts', async (t) => {
  const { url } = await startGateway(t)
  const browser = createBrowser()
  const answer = await browser.get(`${url}/oauth2/login?redirect=%2Forders&acr_values=urn%3Ademo%3Amfa`, {
    kind: 'script',
  })
  t.equal(answer.status, 401)
  t.equal(answer.headers.gatehouse, 'login_required')
  t.equal(answer.headers['www-authenticate'], 'Bearer')
  t.equal(answer.headers['cache-control'], 'no-store')
  t.match(answer.headers['content-type'], /^application\/problem\+json/)
  t.notOk(answer.headers['set-cookie'])
  t.match(answer.json(), {
    status: 401,
    code: 'login_required',
    login_url: `${url}/oauth2/login?redirect=%2Forders&acr_values=urn%3Ademo%3Amfa`,
  })
})

void t.test('without a target a script’s login returns to its page', async (t) => {
  const { url } = await startGateway(t)
  const answer = await createBrowser().get(`${url}/oauth2/login`, { kind: 'script', from: `${url}/app?tab=2` })
  t.equal(answer.json()['login_url'], `${url}/oauth2/login?redirect=%2Fapp%3Ftab%3D2`)
})

void t.test('a prefetch starts no login', async (t) => {
  const { url, idp } = await startGateway(t)
  for (const headers of [
    { 'sec-purpose': 'prefetch' },
    { 'sec-purpose': 'prefetch;prerender' },
    { purpose: 'prefetch' },
    { 'x-moz': 'prefetch' },
  ]) {
    const answer = await createBrowser().get(`${url}/oauth2/login`, { headers })
    t.equal(answer.status, 204, JSON.stringify(headers))
    t.notOk(answer.headers['set-cookie'])
    t.notOk(answer.headers.location)
  }
  t.equal(idp.requests.authorization, 0)
})

void t.test('a frame gets a page whose link logs in in the top window', async (t) => {
  const { url } = await startGateway(t)
  const answer = await createBrowser().get(`${url}/oauth2/login?redirect=%2Forders`, { kind: 'frame' })
  t.equal(answer.status, 401)
  t.match(answer.headers['content-type'], /^text\/html/)
  t.notOk(answer.headers['set-cookie'])
  t.match(answer.body, 'target="_top"')
  t.match(answer.body, `${url}/oauth2/login?redirect=%2Forders`)
})

void t.test('a browser gets a small page that keeps the fragment, and a plain client gets a redirect', async (t) => {
  const { url, idp } = await startGateway(t)
  const page = await createBrowser().get(`${url}/oauth2/login?redirect=%2Forders`)
  t.equal(page.status, 200)
  t.equal(page.headers['cache-control'], 'no-store')
  t.match(page.body, 'location.hash')
  t.equal(authorizationUrlOf(page).origin, idp.issuer)
  t.ok(page.headers['set-cookie'])

  const again = await createBrowser().get(`${url}/oauth2/login?fragment=kept&redirect=%2Forders%23%2F7`)
  t.equal(again.status, 302, 'with the fragment in the target there is nothing left to look for')

  const plain = await createBrowser().get(`${url}/oauth2/login?redirect=%2Forders`, plainPage)
  t.equal(plain.status, 302)
  t.equal(plain.headers['cache-control'], 'no-store')
  t.equal(authorizationUrlOf(plain).origin, idp.issuer)
})

void t.test('the redirect URI comes from publicUrl, regardless of the Host', async (t) => {
  const { url } = await startGateway(t)
  for (const headers of [
    { host: 'evil.example' },
    { 'host': 'evil.example', 'x-forwarded-host': 'evil.example', 'x-forwarded-proto': 'https' },
  ]) {
    const answer = await createBrowser().get(`${url}/oauth2/login`, { headers })
    t.equal(authorizationUrlOf(answer).searchParams.get('redirect_uri'), `${url}/oauth2/callback`)
  }
})

void t.test('the Host selects one of several public URLs, and an unknown Host selects the first', async (t) => {
  const urls = ['https://orders.example.com', 'https://shop.example.com:8443']
  const { url: listening } = await startGateway(t, { config: { publicUrl: urls } })
  const redirectUri = async (host: string): Promise<string | null> => {
    const answer = await createBrowser().get(`${listening}/oauth2/login`, { headers: { host } })
    return authorizationUrlOf(answer).searchParams.get('redirect_uri')
  }
  t.equal(await redirectUri('orders.example.com'), `${urls[0]}/oauth2/callback`)
  t.equal(await redirectUri('SHOP.example.com:8443'), `${urls[1]}/oauth2/callback`)
  t.equal(await redirectUri('elsewhere.example.com'), `${urls[0]}/oauth2/callback`)
})

void t.test(
  'target_link_uri is an alias of redirect, and a login for another issuer is refused (OpenID Connect Core, section 4)',
  async (t) => {
    const { url, idp } = await startGateway(t)
    const tile = (iss: string, target: string): string =>
      `${url}/oauth2/login?${new URLSearchParams({ iss, target_link_uri: target }).toString()}`
    const { answer } = await createBrowser().login(tile(idp.issuer, `${url}/orders?page=3`), 'alice')
    t.equal(answer.url, `${url}/orders?page=3`)
    t.equal((await createBrowser().login(tile(idp.issuer, 'https://evil.example/'), 'alice')).answer.url, `${url}/`)
    for (const iss of ['https://evil.example', '', `${idp.issuer}/`]) {
      for (const kind of ['navigate', 'script'] as const) {
        const refused = await createBrowser().get(tile(iss, '/orders'), { kind })
        t.match([refused.status, refused.headers.gatehouse], [400, 'login_failed'], `${iss} ${kind}`)
      }
    }
  },
)

void t.test('the claims parameter goes to the provider', async (t) => {
  const { url } = await startGateway(t)
  const claims = '{"id_token":{"acr":{"value":"urn:demo:mfa"}}}'
  t.equal((await beginLogin(createBrowser(), url, { claims })).searchParams.get('claims'), claims)
})
