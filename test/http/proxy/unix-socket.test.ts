import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { startUpstream } from '../../../src/demo/upstream.ts'
import { createBrowser } from '../../support/browser.ts'
import { startGateway } from '../../support/gateway.ts'

void t.test('with upstreamHost: upstream, an application on a Unix socket is localhost', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'gatehouse-'))
  t.teardown(() => {
    rmSync(folder, { recursive: true })
  })
  const upstream = await startUpstream({ socketPath: join(folder, 'app.sock') })
  t.teardown(() => upstream.close())
  const routes = [{ path: '/**', access: 'public', upstreamHost: 'upstream' }]
  const { url } = await startGateway(t, { upstream, config: { routes } })
  await createBrowser().get(`${url}/orders`)
  t.match(upstream.requests.at(-1)?.headers, { 'host': 'localhost', 'x-forwarded-host': new URL(url).host })
})

void t.test('an application is reached on a Unix socket', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'gatehouse-'))
  t.teardown(() => {
    rmSync(folder, { recursive: true })
  })
  const upstream = await startUpstream({ socketPath: join(folder, 'app.sock') })
  const { url } = await startGateway(t, { upstream })
  const browser = createBrowser()
  const { answer } = await browser.login(`${url}/orders?page=2`, 'alice')
  t.equal(answer.url, `${url}/orders?page=2`)
  t.match(upstream.requests.at(-1), {
    url: '/orders?page=2',
    headers: { host: new URL(url).host, authorization: /^Bearer / },
  })
  const echoed = await browser.post(`${url}/api/echo`, 'x'.repeat(100_000), { kind: 'script', from: `${url}/` })
  t.match(echoed.json(), { body: { length: 100_000 } })
  await upstream.close()
  t.equal((await browser.get(`${url}/orders`)).status, 502, 'a socket without a listener')
})
