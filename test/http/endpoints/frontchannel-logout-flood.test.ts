import t from 'tap'
import { startIdp } from '../../../src/demo/idp.ts'
import { startGateway } from '../../support/gateway.ts'
import { parseAnswers, sendRaw } from '../../support/raw-http.ts'
import { startRedis } from '../../support/redis.ts'

const redis = await startRedis(t)
const idp = await startIdp()
t.teardown(() => idp.close())

void t.test('front-channel logouts of unknown sessions leave a bounded number of notes', async (t) => {
  const { url } = await startGateway(t, {
    idp,
    config: { session: { store: redis.url }, rateLimit: { session: false }, log: { level: 'error' } },
  })
  const count = 1_500
  const requests = Array.from({ length: count }, (_, i) => {
    const query = new URLSearchParams({ iss: idp.issuer, sid: `invented-${i}` }).toString()
    const last = i % 50 === 49 ? 'Connection: close\r\n' : ''
    return `GET /oauth2/logout/frontchannel?${query} HTTP/1.1\r\nHost: a\r\n${last}\r\n`
  })
  const statuses = new Set<number>()
  for (let i = 0; i < count; i += 50) {
    const bytes = await sendRaw(url, requests.slice(i, i + 50).join(''))
    for (const { status } of parseAnswers(bytes)) statuses.add(status)
  }
  t.same([...statuses], [200])
  const keys = Number(await redis.command('DBSIZE'))
  t.ok(keys >= 1_000 && keys < 1_050, `${keys} keys`)
})
