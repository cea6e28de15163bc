import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { startIdp } from '../../src/demo/idp.ts'
import { startUpstream } from '../../src/demo/upstream.ts'
import { createBrowser } from '../support/browser.ts'
import { startGateway, type Running } from '../support/gateway.ts'
import { startRedis } from '../support/redis.ts'
import { callbackFor } from '../support/sign-in.ts'

/** Two deployments with the same session keys and the same Redis: of two providers, or two clients of one. */
const deployments = async (t: Test, sameProvider: boolean): Promise<[Running, Running]> => {
  const redis = await startRedis(t)
  const upstream = await startUpstream()
  t.teardown(async () => upstream.close())
  const session = { keys: [randomBytes(32).toString('base64')], store: redis.url, maxPerUser: 1 }
  const start = async (): Promise<Running> => {
    const idp = sameProvider ? { idp: shared } : {}
    const admin = { listen: '127.0.0.1:0', sessions: 'loopback' }
    return startGateway(t, { upstream, ...idp, config: { session, admin } })
  }
  const shared = await startIdp()
  t.teardown(async () => shared.close())
  return [await start(), await start()]
}

const script = { kind: 'script' } as const

for (const sameProvider of [false, true]) {
  const other = sameProvider ? 'another client' : 'another provider'

  void t.test(`a session of ${other} is none here, and goes on there`, async (t) => {
    const [a, b] = await deployments(t, sameProvider)
    const browser = createBrowser()
    await browser.login(`${a.url}/`, 'alice')
    // One host, two ports: the browser sends the cookie to both.
    for (const path of ['/api/orders', '/oauth2/session', '/oauth2/userinfo']) {
      const answer = await browser.get(`${b.url}${path}`, script)
      t.match(answer.json(), { status: 401, code: 'login_required' }, path)
      t.notOk(answer.headers['set-cookie'], 'its cookie stays')
    }
    t.equal((await browser.post(`${b.url}/oauth2/session/refresh`, '', script)).status, 401)
    t.equal((await browser.post(`${b.url}/oauth2/logout/local`, '', script)).status, 204)
    await sleep(300)
    t.equal((await browser.get(`${a.url}/api/orders`, script)).status, 200)
    t.equal(b.idp.grants['refresh_token'] ?? 0, 0, 'nobody asked the provider')
    for (const { events } of [a, b]) t.same([...events('session_ended'), ...events('session_lost')], [])
  })

  void t.test(`the user’s sessions at ${other} are not found, counted or ended by those here`, async (t) => {
    const [a, b] = await deployments(t, sameProvider)
    const [atA, atB] = [createBrowser(), createBrowser()]
    await atA.login(`${a.url}/`, 'alice')
    await atB.login(`${b.url}/`, 'alice')
    t.equal((await atA.get(`${a.url}/api/orders`, script)).status, 200, 'maxPerUser is one at each')
    const found = await b.gateway.admin?.inject({ method: 'GET', url: '/sessions?sub=alice' })
    t.equal(found?.json<{ sessions: unknown[] }>().sessions.length, 1)
    await b.gateway.admin?.inject({ method: 'DELETE', url: '/sessions?sub=alice' })
    t.equal((await atB.get(`${b.url}/api/orders`, script)).status, 401)
    t.equal((await atA.get(`${a.url}/api/orders`, script)).status, 200)
  })

  void t.test(`a login that ${other} has begun can’t be finished here`, async (t) => {
    const [a, b] = await deployments(t, sameProvider)
    const browser = createBrowser()
    const callback = await callbackFor(browser, a.url)
    const answer = await browser.get(`${b.url}${callback.pathname}${callback.search}`)
    t.match([answer.status, answer.headers.gatehouse], [400, 'login_failed'])
    t.equal((await browser.get(callback.href)).status, 302)
  })
}
