import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { createProofCheck } from '../support/dpop.ts'
import { startReplicas, statusAt, type GatewayProcess } from '../support/gateway-process.ts'
import { startRedis } from '../support/redis.ts'

const redis = await startRedis(t)
const { gateways, idp, upstream, login, another } = await startReplicas(t, {
  store: redis.url,
  provider: { dpop: 'on', clientAuthentication: 'none', clientSecret: null },
  idp: { dpop: 'nonce', lifetimes: { accessToken: 2 } },
})
const [a, b] = gateways
await idp.registerClient({
  clientId: 'replicated',
  clientAuthentication: 'none',
  redirectUris: [`${a.url}/oauth2/callback`],
  dpopBound: true,
})

void t.test('a replica, and a gateway after a restart, refresh with the key of the login', async (t) => {
  const browser = await login()
  const check = createProofCheck()
  const proofAt = async (gateway: GatewayProcess) => {
    t.equal(await statusAt(browser, gateway), 200)
    return check(upstream.requests.at(-1) ?? { headers: {} }, { htu: `${a.url}/api/echo` })
  }
  const first = await proofAt(a)
  await sleep(2_100)
  const second = await proofAt(b)
  t.equal(second.jkt, first.jkt)
  t.not(second.token, first.token)
  t.equal(idp.grants['refresh_token'], 1, 'the provider accepts the refresh token with this key only')
  t.equal((await proofAt(a)).token, second.token)
  await Promise.all([a.stop(), b.stop()])
  const restarted = await another()
  await sleep(2_100)
  const third = await proofAt(restarted)
  t.equal(third.jkt, first.jkt)
  t.not(third.token, second.token)
  t.equal(idp.grants['refresh_token'], 2)
})
