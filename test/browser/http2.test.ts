import { join } from 'node:path'
import t from 'tap'
import { startIdp } from '../../src/demo/idp.ts'
import { createAuthority } from '../support/certificates.ts'
import { openChromium } from '../support/chromium.ts'
import { freePort } from '../support/free-port.ts'
import { startGateway } from '../support/gateway.ts'
import { signIn, visit } from './visit.ts'

const idp = await startIdp()
const chromium = await openChromium(t)
t.teardown(() => idp.close())

void t.test('Chromium speaks HTTP/2 over TLS: login, calls, event stream, WebSocket and logout', async (t) => {
  const { cert, key } = createAuthority().issue(['app.test'])
  const folder = t.testdir({ 'cert.pem': cert, 'key.pem': key })
  const port = await freePort()
  const url = `https://app.test:${port}`
  const { upstream } = await startGateway(t, {
    idp,
    port,
    publicUrl: url,
    config: { tls: { certFile: join(folder, 'cert.pem'), keyFile: join(folder, 'key.pem') } },
  })
  const { page } = await visit(t, chromium, { ignoreHTTPSErrors: true })
  await signIn(page, `${url}/public/x?a=b`)
  await page.goto(`${url}/`)
  const protocol = await page.evaluate(() => {
    const [timing] = performance.getEntriesByType('navigation')
    return timing instanceof PerformanceNavigationTiming ? timing.nextHopProtocol : ''
  })
  t.equal(protocol, 'h2')

  const statuses = await page.evaluate(async () =>
    Promise.all(Array.from({ length: 50 }, async (_, i) => (await fetch(`/api/echo?${i}`)).status)),
  )
  t.same(new Set(statuses), new Set([200]), '50 calls at once')

  const handshakes: number[] = []
  const devtools = await page.context().newCDPSession(page)
  await devtools.send('Network.enable')
  devtools.on('Network.webSocketHandshakeResponseReceived', ({ response }) => handshakes.push(response.status))
  const message = await page.evaluate(
    async (target) =>
      new Promise<string>((resolve) => {
        const socket = new WebSocket(target)
        socket.addEventListener('open', () => {
          socket.send('hello')
        })
        socket.addEventListener('message', ({ data }) => {
          resolve(String(data))
        })
        socket.addEventListener('close', ({ code }) => {
          Object.assign(globalThis, { code })
        })
        socket.addEventListener('error', () => {
          resolve('error')
        })
      }),
    `wss://app.test:${port}/ws`,
  )
  t.match(message, /hello/)
  t.same(handshakes, [200], 'the WebSocket is a stream of the HTTP/2 connection')

  await page.evaluate(() => {
    const events = new EventSource('/api/stream')
    Object.assign(globalThis, { events })
    return new Promise((resolve) => {
      events.addEventListener('open', resolve)
    })
  })
  t.equal(upstream.openStreams() > 0, true)
  const ended = await page.evaluate(async () => {
    const { status } = await fetch('/oauth2/logout/local', { method: 'POST' })
    const answer = await fetch('/api/echo')
    return [status, answer.status, answer.headers.get('gatehouse')]
  })
  t.same(ended, [204, 401, 'login_required'])
  await page.waitForFunction(() => 'code' in globalThis)
  t.equal(await page.evaluate(() => Reflect.get(globalThis, 'code')), 4401, 'the WebSocket ends with the session')
})
