import { generateKeyPair, SignJWT } from 'jose'
import t, { type Test } from 'tap'
import { createBrowser, type Browser } from '../../support/browser.ts'
import { startGateway, type Running } from '../../support/gateway.ts'
import { authorizationUrlOf, beginLogin, callbackFor } from '../../support/sign-in.ts'

const start = async (t: Test): Promise<Running & { readonly browser: Browser }> => {
  const running = await startGateway(t, { config: { provider: { responseMode: 'query.jwt' } } })
  return { ...running, browser: createBrowser() }
}

const inFrame = (url: string) => ({ kind: 'frame', from: `${url}/` }) as const

void t.test('query.jwt: the provider’s signed response completes the login', async (t) => {
  const { url, browser } = await start(t)
  const { answer, hops } = await browser.login(`${url}/orders?page=2`, 'alice')
  t.equal(answer.url, `${url}/orders?page=2`)
  const callback = new URL(hops.find((hop) => hop.url.includes('/oauth2/callback'))?.url ?? '')
  t.same([...callback.searchParams.keys()], ['response'])
})

void t.test('form_post.jwt: the provider posts the signed response', async (t) => {
  const publicUrl = 'https://orders.example.com'
  const { url } = await startGateway(t, {
    config: { publicUrl, provider: { responseMode: 'form_post.jwt' } },
    client: { redirectUris: [`${publicUrl}/oauth2/callback`] },
  })
  const browser = createBrowser({ origins: { [publicUrl]: url } })
  const begun = await browser.get(`${publicUrl}/oauth2/login`)
  t.equal(authorizationUrlOf(begun).searchParams.get('response_mode'), 'form_post.jwt')
  t.match(begun.headers['set-cookie']?.[0], /SameSite=None/)
  const { answer, hops } = await browser.login(`${publicUrl}/orders`, 'alice')
  t.equal(answer.url, `${publicUrl}/orders`)
  t.match(
    hops.filter((hop) => hop.url.includes('/oauth2/callback')),
    [{ method: 'POST' }],
  )
  const silent = await browser.get(`${publicUrl}/oauth2/silent`, inFrame(publicUrl))
  t.equal(authorizationUrlOf(silent).searchParams.get('response_mode'), 'query.jwt', 'a frame gets no page that posts')
})

void t.test('a code outside a signed response is a 400, and the provider is not asked', async (t) => {
  const { url, browser, idp, events } = await start(t)
  const state = await stateOfLogin(browser, url)
  const plain = new URLSearchParams({ code: 'x', state, iss: idp.issuer })
  const answer = await browser.get(`${url}/oauth2/callback?${plain.toString()}`)
  t.equal(answer.status, 400)
  t.match(String(events('login_failed')[0]?.['cause']), /outside a signed response, which responseMode query.jwt/)
  t.equal(idp.tokenRequests, 0)
})

void t.test('a forged response is a 400', async (t) => {
  const { url, browser, idp, config, events } = await start(t)
  const { privateKey: foreign } = await generateKeyPair('RS256')
  const now = Math.floor(Date.now() / 1000)
  const forgeries: [name: string, change: object, sign?: 'foreign' | 'none'][] = [
    ['signed by another key', {}, 'foreign'],
    ['unsigned', {}, 'none'],
    ['from another issuer', { iss: 'https://evil.example' }],
    ['with an iss that is not a string', { iss: 5 }],
    ['without iss', { iss: undefined }],
    ['for another client', { aud: 'another' }],
    ['without exp', { exp: undefined }],
    ['without aud', { aud: undefined }],
    ['without code', { code: undefined }],
  ]
  for (const [name, change, signer] of forgeries) {
    const claims = {
      iss: idp.issuer,
      aud: config.provider.clientId,
      exp: now + 60,
      code: 'x',
      state: await stateOfLogin(browser, url),
      ...change,
    }
    const response =
      signer === 'foreign'
        ? await new SignJWT(claims).setProtectedHeader({ alg: 'RS256' }).sign(foreign)
        : signer === 'none'
          ? `${encoded({ alg: 'none' })}.${encoded(claims)}.`
          : await idp.sign(claims)
    const answer = await browser.get(`${url}/oauth2/callback?${new URLSearchParams({ response }).toString()}`)
    t.equal(answer.status, 400, name)
    t.equal(answer.headers.gatehouse, 'login_failed', name)
  }
  t.equal(events('login_failed').length, forgeries.length)
  t.equal(idp.tokenRequests, 0)

  for (const query of [
    'response=',
    'response=x',
    'response=a.b.c',
    'response=a&response=b',
    'response=x&state=y',
    '',
  ]) {
    const answer = await browser.get(`${url}/oauth2/callback?${query}`)
    t.equal(answer.status, 400, query)
  }
  const twice = `response=${await idp.sign({ state: await stateOfLogin(browser, url) })}&response=x`
  t.equal((await browser.get(`${url}/oauth2/callback?${twice}`)).status, 400)
})

void t.test('an expired response leads to a new login, and with a session to the target', async (t) => {
  const { url, browser, idp, config } = await start(t)
  const expired = async (): Promise<string> => {
    const response = await idp.sign({
      iss: idp.issuer,
      aud: config.provider.clientId,
      exp: Math.floor(Date.now() / 1000) - 600,
      code: 'x',
      state: (await beginLogin(browser, url, { redirect: '/orders' })).searchParams.get('state') ?? '',
    })
    return `${url}/oauth2/callback?response=${response}`
  }
  const again = await browser.get(await expired())
  t.equal(new URL(authorizationUrlOf(await browser.get(again.headers.location ?? ''))).origin, idp.issuer)
  await browser.login(`${url}/`, 'alice')
  t.equal((await browser.get(await expired())).headers.location, '/orders')
  t.equal(idp.grants['authorization_code'], 1)
})

void t.test('without a .jwt mode, a response is not accepted', async (t) => {
  const { url, idp, config } = await startGateway(t)
  const browser = createBrowser()
  const response = await idp.sign({
    iss: idp.issuer,
    aud: config.provider.clientId,
    exp: Math.floor(Date.now() / 1000) + 60,
    code: 'x',
    state: await stateOfLogin(browser, url),
  })
  t.equal((await browser.get(`${url}/oauth2/callback?response=${response}`)).status, 400)
})

void t.test('an error in a signed response is told like a plain one', async (t) => {
  const { url, browser, idp, config } = await start(t)
  const response = await idp.sign({
    iss: idp.issuer,
    aud: config.provider.clientId,
    exp: Math.floor(Date.now() / 1000) + 60,
    error: 'access_denied',
    state: await stateOfLogin(browser, url),
  })
  const answer = await browser.get(`${url}/oauth2/callback?response=${response}`)
  t.equal(answer.status, 400)
  t.match(answer.body, 'canceled')
})

void t.test('a silent login in a frame reads the signed response, errors too', async (t) => {
  const { url, browser } = await start(t)
  await browser.login(`${url}/orders`, 'alice')
  const end = async (visitor: Browser): Promise<string> => {
    const begun = await browser.get(`${url}/oauth2/silent?keep`, inFrame(url))
    const atProvider = await visitor.get(authorizationUrlOf(begun).href)
    const callback = new URL(atProvider.headers.location ?? '')
    t.same([...callback.searchParams.keys()], ['response'])
    return (await browser.get(callback.href, inFrame(url))).body
  }
  t.match(await end(browser), 'outcome:"ok"')
  t.match(await end(createBrowser()), 'outcome:"login_required"', 'a browser that the provider does not know')

  const begun = await browser.get(`${url}/oauth2/silent`, inFrame(url))
  const state = authorizationUrlOf(begun).searchParams.get('state') ?? ''
  const forged = `${encoded({ alg: 'none' })}.${encoded({ state, code: 'x' })}.`
  const answer = await browser.get(`${url}/oauth2/callback?response=${forged}`, inFrame(url))
  t.match(answer.body, 'outcome:"error"', 'a forged response ends the silent login')
})

void t.test('a response from before a rotation of the provider’s keys completes the login', async (t) => {
  const { url, browser, idp } = await start(t)
  await browser.login(`${url}/orders`, 'bob')
  await idp.rotateSigningKeys()
  const callback = await callbackFor(browser, url, { redirect: '/orders', prompt: 'login' })
  t.equal((await browser.follow(await browser.get(callback.href))).answer.url, `${url}/orders`)
})

async function stateOfLogin(browser: Browser, url: string): Promise<string> {
  return (await beginLogin(browser, url)).searchParams.get('state') ?? ''
}

function encoded(value: object): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url')
}
