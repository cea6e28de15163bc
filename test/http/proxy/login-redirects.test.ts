import t from 'tap'
import { startIdp } from '../../../src/demo/idp.ts'
import { createBrowser } from '../../support/browser.ts'
import { startGateway } from '../../support/gateway.ts'

// One provider for all gateways here: what it does is not what these tests are about.
const idp = await startIdp()
t.teardown(() => idp.close())

const redirect = (to: string, status = 302): string => `/api/redirect?status=${status}&to=${encodeURIComponent(to)}`

const patterns = ['https://login.example.com/**', 'https://sso.example.com/*/authorize', '/signin/**']

const logins = [
  'https://login.example.com',
  'https://login.example.com/',
  'https://login.example.com/tenant/authorize?x=1',
  'https://login.example.com?x',
  'https://LOGIN.example.com/x',
  'HTTPS://login.example.com:443/x',
  'https://sso.example.com/t1/authorize?state=x#y',
  '/signin',
  '/signin/start?return=%2F',
]
const others = [
  'https://login.example.com.evil.example/',
  'https://login.example.org/',
  'https://sso.example.com/t1/t2/authorize',
  'https://sso.example.com/t1/authorized',
  '/signing',
  '/',
  '/orders',
  'http://login.example.com/',
]

void t.test('an application’s redirect to a login is a 401 for a script', async (t) => {
  const { url, upstream } = await startGateway(t, {
    idp,
    config: { routes: [{ path: '/**', loginRedirects: patterns }] },
  })
  const browser = createBrowser()
  await browser.login(`${url}/`, 'alice')
  for (const to of logins) {
    const answer = await browser.get(`${url}${redirect(to)}`, { kind: 'script', from: `${url}/orders?page=2` })
    t.equal(answer.status, 401, to)
    t.match(answer.json(), {
      status: 401,
      code: 'upstream_login_required',
      login_url: `${url}/oauth2/login?redirect=%2Forders%3Fpage%3D2`,
    })
    t.equal(answer.headers.gatehouse, 'upstream_login_required')
    t.equal(answer.headers['www-authenticate'], 'Bearer')
    t.equal(answer.headers['cache-control'], 'no-store')
    t.notOk(answer.headers.location)
    t.notOk(answer.headers['set-cookie'])
  }
  for (const status of [301, 303, 307, 308])
    t.equal((await browser.get(`${url}${redirect('/signin', status)}`, { kind: 'script' })).status, 401, String(status))
  t.equal(upstream.requests.at(-1)?.headers['x-forwarded-for'], '127.0.0.1', 'which was asked all the same')
  const posted = await browser.post(`${url}${redirect('/signin')}`, '{}', { kind: 'script', from: `${url}/` })
  t.equal(posted.status, 401, 'also for a POST')
})

void t.test('any other redirect passes', async (t) => {
  const { url } = await startGateway(t, {
    idp,
    config: { routes: [{ path: '/**', access: 'public', loginRedirects: patterns }] },
  })
  for (const to of others) {
    const answer = await createBrowser().get(`${url}${redirect(to)}`, { kind: 'script' })
    t.equal(answer.status, 302, to)
    t.equal(answer.headers.location, to)
  }
})

void t.test('a navigation goes where the application sends it', async (t) => {
  const { url } = await startGateway(t, {
    idp,
    config: { routes: [{ path: '/**', access: 'public', loginRedirects: patterns }] },
  })
  for (const kind of ['navigate', 'frame'] as const) {
    const answer = await createBrowser().get(`${url}${redirect('https://login.example.com/x')}`, { kind })
    t.equal(answer.status, 302, kind)
    t.equal(answer.headers.location, 'https://login.example.com/x')
  }
})

void t.test('the provider’s own authorization endpoint needs no pattern', async (t) => {
  const { url } = await startGateway(t, { idp })
  const browser = createBrowser()
  await browser.login(`${url}/`, 'alice')
  const discovered = await createBrowser().get(`${idp.issuer}/.well-known/openid-configuration`, { kind: 'none' })
  const endpoint = String(discovered.json()['authorization_endpoint'])
  for (const to of [endpoint, `${endpoint}?client_id=app&redirect_uri=x`]) {
    t.equal(
      (await browser.get(`${url}${redirect(to)}`, { kind: 'script' })).headers.gatehouse,
      'upstream_login_required',
      to,
    )
    t.equal((await browser.get(`${url}${redirect(to)}`)).headers.location, to)
  }
  for (const to of [`${endpoint}/more`, `${idp.issuer}/other`, 'https://elsewhere.example.com/auth']) {
    t.equal((await browser.get(`${url}${redirect(to)}`, { kind: 'script' })).status, 302, to)
  }
})

void t.test('a location without a redirect is just a header', async (t) => {
  const { url } = await startGateway(t, {
    idp,
    config: { routes: [{ path: '/**', access: 'public', loginRedirects: patterns }] },
  })
  const answer = await createBrowser().get(`${url}/api/status/201?header=${encodeURIComponent('Location: /signin')}`, {
    kind: 'script',
  })
  t.equal(answer.status, 201)
})
