import t from 'tap'
import { startIdp } from '../../../src/demo/idp.ts'
import { freePort } from '../../support/free-port.ts'
import { startGateway } from '../../support/gateway.ts'
import { ask } from '../../support/raw-http.ts'

// One provider for all gateways here: what it does is not what these tests are about.
const idp = await startIdp()
t.teardown(() => idp.close())

const publicRoutes = [{ path: '/**', access: 'public' }]

const family = [
  'Forwarded: for=6.6.6.6',
  'X-Real-IP: 6.6.6.6',
  'X_Real_IP: 6.6.6.6',
  'X-Original-URL: /evil',
  'X-Original-URI: /evil',
  'X-Original-Method: DELETE',
  'X-Original-Host: evil.example',
  'X-Rewrite-URL: /evil',
  'X_Rewrite_URL: /evil',
  'X-Forwarded-User: evil',
  'X-Forwarded-Email: evil',
  'X_Forwarded_Groups: evil',
  'X-Forwarded-Preferred-Username: evil',
  'X-Forwarded-Access-Token: evil',
  'X-Forwarded-Prefix: /evil',
  'X-Forwarded-Port: 666',
  'X-Forwarded-Uri: /evil',
  'X-Forwarded-Method: EVIL',
  'X-Forwarded-Server: evil',
  'X_Forwarded_For: 6.6.6.6',
  'X.Forwarded.Proto: evil',
  'X-Forwarded_Host: evil.example',
]

void t.test('forwarded headers from clients are dropped, and the gateway sets three', async (t) => {
  const { url, upstream } = await startGateway(t, { idp, config: { routes: publicRoutes } })
  await ask(url, 'GET', '/x', [
    ...family,
    'X-Forwarded-For: 6.6.6.6',
    'X-Forwarded-Proto: evil',
    'X-Forwarded-Host: evil.example',
  ])
  const seen = upstream.requests.at(-1)
  t.notMatch(seen?.rawHeaders.join(), /evil|6\.6\.6\.6|666/i)
  t.match(seen?.headers, {
    'x-forwarded-for': '127.0.0.1',
    'x-forwarded-proto': 'http',
    'x-forwarded-host': new URL(url).host,
  })
})

void t.test('three forwarded headers of a trusted proxy are extended, and the others pass', async (t) => {
  const { url, upstream } = await startGateway(t, {
    idp,
    config: { routes: publicRoutes, trustedProxies: ['127.0.0.1'] },
  })
  await ask(url, 'GET', '/x', [
    'X-Forwarded-For: 192.0.2.7, 10.0.0.1',
    'X-Forwarded-Proto: https',
    'X-Forwarded-Host: shop.example.com',
    'X-Forwarded-Prefix: /shop',
    'X-Real-IP: 192.0.2.7',
  ])
  t.match(upstream.requests.at(-1)?.headers, {
    'x-forwarded-for': '192.0.2.7, 10.0.0.1, 127.0.0.1',
    'x-forwarded-proto': 'https',
    'x-forwarded-host': 'shop.example.com',
    'x-forwarded-prefix': '/shop',
    'x-real-ip': '192.0.2.7',
  })
})

void t.test('the log names the client behind a trusted proxy, and ignores other clients’ headers', async (t) => {
  const client = async (trustedProxies: string[]): Promise<unknown> => {
    const { url, events } = await startGateway(t, { idp, config: { routes: publicRoutes, trustedProxies } })
    await ask(url, 'GET', '/x', ['X-Forwarded-For: 6.6.6.6, 192.0.2.7'])
    return events('request').at(-1)?.['client']
  }
  t.equal(await client(['127.0.0.0/8']), '192.0.2.7')
  t.equal(await client([]), '127.0.0.1')
  t.equal(await client(['10.0.0.0/8']), '127.0.0.1')
})

void t.test('Host, or a trusted proxy’s X-Forwarded-Host, selects one of several public URLs', async (t) => {
  const port = await freePort()
  const urls = [`http://127.0.0.1:${port}`, 'http://one.localhost:9', 'http://two.localhost:9']
  const { upstream, url } = await startGateway(t, {
    idp,
    port,
    config: {
      publicUrl: urls,
      trustedProxies: ['127.0.0.1'],
      routes: [
        { path: '/**' },
        { path: '/who', access: 'public' },
        { path: '/who', access: 'public', host: 'two.localhost', headers: { set: { 'X-Route': 'two' } } },
      ],
    },
  })
  const loginUrl = async (headers: string[]): Promise<unknown> => {
    const problem: { login_url: unknown } = JSON.parse((await ask(url, 'GET', '/private', headers)).body.toString())
    return problem.login_url
  }
  t.equal(await loginUrl(['Host: one.localhost:9']), 'http://one.localhost:9/oauth2/login')
  t.equal(await loginUrl(['Host: TWO.localhost:9']), 'http://two.localhost:9/oauth2/login')
  t.equal(await loginUrl(['Host: evil.example']), `${urls[0]}/oauth2/login`)
  t.equal(await loginUrl(['X-Forwarded-Host: two.localhost:9']), 'http://two.localhost:9/oauth2/login')
  await ask(url, 'GET', '/who', ['Host: two.localhost:9'])
  t.match(upstream.requests.at(-1)?.headers, { 'x-route': 'two', 'host': 'two.localhost:9' })
  await ask(url, 'GET', '/who', ['Host: one.localhost:9'])
  t.notOk(upstream.requests.at(-1)?.headers['x-route'])
  await ask(url, 'GET', 'http://two.localhost:9/who', ['Host: one.localhost:9'])
  t.match(
    upstream.requests.at(-1)?.headers,
    { 'x-route': 'two', 'host': 'two.localhost:9' },
    'an absolute target says it more loudly than Host',
  )
})
