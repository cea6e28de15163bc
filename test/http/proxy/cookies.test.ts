import t from 'tap'
import { startIdp } from '../../../src/demo/idp.ts'
import { createBrowser } from '../../support/browser.ts'
import { startGateway } from '../../support/gateway.ts'
import { ask } from '../../support/raw-http.ts'

// One provider for all gateways here: what it does is not what these tests are about.
const idp = await startIdp()
t.teardown(() => idp.close())

void t.test('the gateway’s cookies never reach the application, and all others do', async (t) => {
  const { url, upstream } = await startGateway(t, {
    idp,
    config: { routes: [{ path: '/**' }, { path: '/public/**', access: 'public' }] },
  })
  const browser = createBrowser()
  await browser.login(`${url}/`, 'alice')
  const own = `gatehouse=${browser.cookies.get(url, 'gatehouse') ?? ''}`
  for (const path of ['/api/x', '/public/x']) {
    await ask(url, 'GET', path, [
      `Cookie: theme=dark; ${own}; lang=en`,
      'Cookie: gatehouse-login-0=x; more=1; gatehouse-tries=2',
    ])
    const seen = upstream.requests.at(-1)?.rawHeaders ?? []
    t.same(
      seen.filter((_, i) => seen[i - 1] === 'Cookie' && i % 2 === 1).flatMap((value) => value.split('; ')),
      ['theme=dark', 'lang=en', 'more=1'],
      path,
    )
  }
})

void t.test('an application can set cookies, but none of the gateway’s in any spelling', async (t) => {
  const { url } = await startGateway(t, { idp, config: { routes: [{ path: '/**', access: 'public' }] } })
  const lines = [
    'gatehouse=stolen',
    'gatehouse=; Max-Age=0',
    ' gatehouse =x; Path=/',
    'gatehouse',
    'gatehouse-login-0=x',
    'gatehouse-login-3=x; Path=/a',
    'gatehouse-tries=9',
    '=gatehouse=x',
    ' = gatehouse=x',
  ]
  const fine = ['theme=dark; Path=/', 'gatehouses=1', 'x=gatehouse=1', 'GATEHOUSE=1']
  const query = new URLSearchParams([...lines, ...fine].map((line): [string, string] => ['cookie', line]))
  const answer = await createBrowser().get(`${url}/api/set-cookie?${query.toString()}`, { kind: 'script' })
  t.same(answer.headers['set-cookie'], fine)
})

void t.test('if two gateway cookies are valid, neither is accepted', async (t) => {
  const { url } = await startGateway(t, { idp })
  const tickets: string[] = []
  for (const user of ['alice', 'bob']) {
    const browser = createBrowser()
    await browser.login(`${url}/`, user)
    tickets.push(browser.cookies.get(url, 'gatehouse') ?? '')
  }
  const [alice = '', bob = ''] = tickets
  const status = async (cookie: string): Promise<number> =>
    (await ask(url, 'GET', '/api/orders', [`Cookie: ${cookie}`])).status
  t.equal(await status(`gatehouse=${alice}`), 200)
  t.equal(await status(`gatehouse=${alice}; gatehouse=${bob}`), 401)
  t.equal(await status(`gatehouse=${alice}; gatehouse=${alice}`), 401)
  t.equal(await status(`gatehouse=rubbish; gatehouse=${alice}`), 200, 'an invalid cookie is ignored')
})

void t.test('a session works among any number of other cookies', async (t) => {
  const { url } = await startGateway(t, { idp })
  const browser = createBrowser()
  await browser.login(`${url}/`, 'alice')
  const ticket = browser.cookies.get(url, 'gatehouse') ?? ''
  const others = Array.from({ length: 150 }, (_, i) => `c${i}=${'v'.repeat(40)}`).join('; ')
  t.equal(
    (await ask(url, 'GET', '/api/orders', [`Cookie: ${others}; my-gatehouse=1; gatehouse=${ticket}; gatehouse2=x`]))
      .status,
    200,
  )
})
