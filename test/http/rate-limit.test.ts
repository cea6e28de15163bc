import t from 'tap'
import { startIdp } from '../../src/demo/idp.ts'
import { startUpstream } from '../../src/demo/upstream.ts'
import { startRedis } from '../support/redis.ts'
import { serveFile, type ServedFile } from '../support/served-file.ts'

const idp = await startIdp()
const upstream = await startUpstream()
t.teardown(async () => Promise.all([idp.close(), upstream.close()]))
const keys = [Buffer.alloc(32, 3).toString('base64')]

const statusesOf = async (gateways: readonly ServedFile[], path: string, count: number): Promise<number[]> => {
  const statuses: number[] = []
  for (let i = 0; i < count; i += 1)
    statuses.push((await fetch(`${gateways[i % gateways.length]?.url ?? ''}${path}`)).status)
  return statuses
}

void t.test('replicas count together, each limit for itself, under names that tell nobody’s address', async (t) => {
  const redis = await startRedis(t)
  const provider = { issuer: idp.issuer, clientId: 'one-client-of-both', clientSecret: 'x' }
  const settings = { provider, session: { keys, store: redis.url }, rateLimit: { session: '4/1m', requests: '6/1m' } }
  const gateways = await Promise.all([1, 2].map(async () => serveFile(t, { idp, upstream }, settings)))
  t.same(await statusesOf(gateways, '/oauth2/session', 6), [401, 401, 401, 401, 429, 429])
  t.same(await statusesOf(gateways, '/api/orders', 8), [401, 401, 401, 401, 401, 401, 429, 429])
  const names = (await redis.keys()).filter((name) => name.startsWith('gatehouse:rate:'))
  t.equal(names.length, 2)
  t.notMatch(names.join(' '), '127.0.0.1')
  for (const name of names) t.ok(Number(await redis.command('PTTL', name)) > 0, 'each goes by itself')
})

void t.test('a window ends in Redis, and the count begins anew', async (t) => {
  const redis = await startRedis(t)
  const gateway = await serveFile(
    t,
    { idp, upstream },
    { session: { keys, store: redis.url }, rateLimit: { session: '2/2s' } },
  )
  t.same(await statusesOf([gateway], '/oauth2/session', 3), [401, 401, 429])
  await new Promise((resolve) => {
    setTimeout(resolve, 2_100)
  })
  t.same(await statusesOf([gateway], '/oauth2/session', 3), [401, 401, 429])
})

void t.test('while Redis is away or silent each process counts by itself, and nobody waits for long', async (t) => {
  const redis = await startRedis(t)
  const gateway = await serveFile(
    t,
    { idp, upstream },
    { session: { keys, store: redis.url }, rateLimit: { session: '4/1m', login: '3/1m' } },
  )
  t.same(await statusesOf([gateway], '/oauth2/session', 2), [401, 401])
  redis.pause()
  t.teardown(() => {
    redis.goOn()
  })
  const begun = Date.now()
  t.same(
    await statusesOf([gateway], '/oauth2/session', 4),
    [401, 401, 429, 429],
    'what was counted before still counts',
  )
  t.ok(Date.now() - begun < 2_000, 'within a moment')
  redis.goOn()
  await redis.kill()
  t.same(await statusesOf([gateway], '/oauth2/login', 5), [401, 401, 401, 429, 429])
})
