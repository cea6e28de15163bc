import { randomBytes } from 'node:crypto'
import t from 'tap'
import { startUpstream } from '../../src/demo/upstream.ts'
import { createBrowser } from '../support/browser.ts'
import { startGateway } from '../support/gateway.ts'
import { startRedis } from '../support/redis.ts'
import { until } from '../support/until.ts'

void t.test(
  'a session in Redis that another provider began ends: its refresh token is not sent to this one',
  async (t) => {
    const redis = await startRedis(t)
    const upstream = await startUpstream()
    t.teardown(async () => upstream.close())
    const session = { keys: [randomBytes(32).toString('base64')], store: redis.url }
    const idp = { lifetimes: { accessToken: 2 } }
    const before = await startGateway(t, { upstream, idp, config: { session } })
    const browser = createBrowser()
    await browser.login(`${before.url}/`, 'alice')
    const after = await startGateway(t, { upstream, idp, config: { session } })
    // One host, two ports: the browser sends the cookie to both.
    await until('the session has ended', async () => {
      const { status } = await browser.get(`${after.url}/api/orders`, { kind: 'script' })
      return status === 401
    })
    t.equal(after.idp.grants['refresh_token'] ?? 0, 0, 'nobody asked the other provider')
    t.match(after.events('session_ended'), [{ reason: 'refused' }])
  },
)
