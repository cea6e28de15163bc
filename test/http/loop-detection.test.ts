import { once } from 'node:events'
import { connect } from 'node:http2'
import t from 'tap'
import { startIdp } from '../../src/demo/idp.ts'
import { startUpstream } from '../../src/demo/upstream.ts'
import { createBrowser } from '../support/browser.ts'
import { freePort } from '../support/free-port.ts'
import { startGateway } from '../support/gateway.ts'
import { ask, sendRaw } from '../support/raw-http.ts'
import { startTcpProxy } from '../support/tcp-proxy.ts'
import { openWebSocket } from '../support/websocket.ts'

const idp = await startIdp()
t.teardown(() => idp.close())

const routes = [{ path: '/**', access: 'public' }]

void t.test('a gateway whose upstream is itself answers 508 at once', async (t) => {
  const port = await freePort()
  const roundabout = await startTcpProxy(t, port)
  const { url, events } = await startGateway(t, {
    idp,
    port,
    config: {
      upstream: `http://127.0.0.1:${roundabout.port}`,
      routes: [{ path: '/**', access: 'public' }, { path: '/private/**' }],
    },
  })
  const answer = await ask(url, 'GET', '/round')
  t.equal(answer.status, 508)
  t.match(JSON.parse(answer.body.toString()), { status: 508, code: 'upstream_unreachable' })
  t.match(
    events('request').map(({ status, verdict }) => [status, verdict]),
    [
      [508, 'upstream_unreachable'],
      [508, 'forward'],
    ],
    'it has come once more, and no further',
  )
  t.match(events('upstream_unreachable'), [{ cause: /loop/ }])
  t.equal((await ask(url, 'POST', '/round')).status, 508)
  t.equal((await openWebSocket(`${url}/round`)).status, 508)

  const browser = createBrowser()
  const { answer: landed } = await browser.login(`${url}/private/x`, 'alice')
  t.equal(landed.status, 508, 'no endless login')
  t.match(landed.headers['content-type'], /^text\/html/)
})

void t.test('gateways that are each other’s upstream answer 508 at once', async (t) => {
  const [a, b] = [await freePort(), await freePort()]
  const one = await startGateway(t, { idp, port: a, config: { upstream: `http://127.0.0.1:${b}`, routes } })
  const other = await startGateway(t, { idp, port: b, config: { upstream: `http://127.0.0.1:${a}`, routes } })
  t.equal((await ask(one.url, 'GET', '/')).status, 508)
  t.equal(one.events('request').length, 2)
  t.equal(other.events('request').length, 1)
})

void t.test('the application receives Via, and a gateway behind another gateway works', async (t) => {
  const inner = await startGateway(t, { idp, config: { routes } })
  const outer = await startGateway(t, { idp, config: { upstream: inner.url, routes } })
  t.equal((await ask(inner.url, 'GET', '/api/orders')).status, 200)
  const [name] = /^1\.1 (gatehouse-[0-9a-f]{32})$/.exec(inner.upstream.requests[0]?.headers.via ?? '')?.slice(1) ?? []
  t.ok(name, 'one name')
  t.equal((await ask(outer.url, 'GET', '/api/orders', ['Via: 1.0 fred', 'via: HTTP/1.1 proxy.example'])).status, 200)
  const via = inner.upstream.requests[1]?.headers.via ?? ''
  t.match(via, /^1\.0 fred, HTTP\/1\.1 proxy\.example, 1\.1 gatehouse-[0-9a-f]{32}, 1\.1 gatehouse-[0-9a-f]{32}$/)
  t.ok(via.endsWith(`, 1.1 ${name}`))
  t.equal(via.split(String(name)).length, 2, 'each gateway has its own name')
  t.equal((await ask(inner.url, 'GET', '/oauth2/session', [`Via: ${via}`])).status, 508, 'from any sender')
})

void t.test('Via names the version of HTTP that the client used', async (t) => {
  const { url, upstream } = await startGateway(t, { idp, config: { listenH2c: true, routes } })
  const { host } = new URL(url)
  await sendRaw(url, `GET /old HTTP/1.0\r\nHost: ${host}\r\n\r\n`)
  await ask(url, 'GET', '/usual')
  const session = connect(url)
  const stream = session.request({ ':path': '/streamed' })
  await once(stream.resume(), 'close')
  session.close()
  t.same(
    upstream.requests.map((request) => [request.url, request.headers.via?.split(' ')[0]]),
    [
      ['/old', '1.0'],
      ['/usual', '1.1'],
      ['/streamed', '2.0'],
    ],
  )
})

void t.test('replicas use the same name in Via', async (t) => {
  const upstream = await startUpstream()
  t.teardown(() => upstream.close())
  for (let i = 0; i < 2; i += 1) {
    const { gateway } = await startGateway(t, {
      idp,
      upstream,
      publicUrl: 'http://orders.localhost:8080',
      config: { routes, provider: { clientId: 'orders' } },
    })
    const address = gateway.listener.address()
    if (address === null || typeof address === 'string') throw new Error('no port')
    t.equal((await ask(`http://127.0.0.1:${address.port}`, 'GET', '/api/orders')).status, 200)
  }
  const [one, other] = upstream.requests.map(({ headers }) => headers.via)
  t.match(one, /^1\.1 gatehouse-/)
  t.equal(one, other)
})
