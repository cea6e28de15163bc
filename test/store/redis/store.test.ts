import { createSecretKey, randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { connectTo } from '../../../src/store/redis/connections.ts'
import { RedisStore } from '../../../src/store/redis/store.ts'
import { openLog } from '../../../src/telemetry/log.ts'
import { startRedis } from '../../support/redis.ts'
import { eventually } from '../../support/eventually.ts'
import { storeContract } from '../contract.ts'

const redis = await startRedis(t)
const LIFETIME = 3_600_000
const noFiles = { caFile: null, certFile: null, keyFile: null, username: null, password: null }
const [oldKey, newKey] = [createSecretKey(randomBytes(32)), createSecretKey(randomBytes(32))]

const open = async (t: Test, indexKeys = [oldKey], lifetime = LIFETIME): Promise<RedisStore> => {
  const store = new RedisStore({
    connect: connectTo({ kind: 'redis', url: redis.url }, noFiles),
    indexKeys: () => indexKeys,
    lifetime: () => lifetime,
    log: openLog('silent', { stream: { write: () => {} } }).log,
  })
  t.teardown(async () => store.close())
  await eventually(
    async () =>
      store.ping().then(
        () => true,
        () => false,
      ),
    { what: 'the store answers' },
  )
  return store
}

const owner = { issuer: 'https://idp.example.com', subject: 'alice', sid: 'provider-session-1' }

const record = (version: number) => {
  const now = Date.now()
  return { sealed: Buffer.from('sealed'), version, createdAt: now, endsAt: now + 60_000, seenAt: now }
}

storeContract(t, async (t) => {
  await redis.command('FLUSHALL')
  return open(t)
})

void t.test('every key has a time to live, and the index lives as long as its sessions', async (t) => {
  await redis.command('FLUSHALL')
  const store = await open(t)
  await store.create('a', record(1), owner, 60_000)
  await store.lock('a', 'holder', 15_000)
  await store.claimOnce('login 1', 10_000)
  const keys = await redis.keys()
  t.equal(keys.length, 5)
  for (const key of keys) {
    const ttl = Number(await redis.command('PTTL', key))
    t.ok(ttl > 0 && ttl <= LIFETIME, `${key}: ${ttl}`)
    if (key.includes('index')) t.ok(ttl > LIFETIME - 5_000)
  }
  await store.replace('a', record(2), 30_000)
  t.ok(Number(await redis.command('PTTL', 'gatehouse:session:{a}')) <= 30_000)
  await store.unlock('a', 'holder')
  await store.remove('a')
  t.same(await redis.keys(), ['gatehouse:once:login 1'])
})

void t.test('the store reveals neither sub nor sid, and a new key finds sessions that an old one listed', async (t) => {
  await redis.command('FLUSHALL')
  const before = await open(t)
  const after = await open(t, [newKey, oldKey])
  await before.create('a', record(1), owner, 60_000)
  await after.create('b', record(1), owner, 60_000)
  t.same(await after.find({ issuer: owner.issuer, subject: 'alice' }), ['a', 'b'])
  t.same(await after.find({ issuer: owner.issuer, sid: 'provider-session-1' }), ['a', 'b'])
  t.same(
    await before.find({ issuer: owner.issuer, subject: 'alice' }),
    ['a'],
    'the old key alone can’t find what the new one has listed',
  )
  const everything = [
    ...(await redis.keys()),
    JSON.stringify(await Promise.all((await redis.keys()).map(async (key) => redis.command('DUMP', key)))),
  ].join('\n')
  t.notMatch(everything, /alice|provider-session-1|idp\.example\.com/)
})

void t.test('a login with a shorter lifetime keeps longer-lived entries and the order', async (t) => {
  await redis.command('FLUSHALL')
  const [long, short] = [await open(t), await open(t, [oldKey], 300)]
  await long.create('a', record(1), owner, 60_000)
  await short.create('b', record(1), owner, 60_000)
  await sleep(500)
  await short.create('c', record(1), owner, 60_000)
  t.same(await long.find({ issuer: owner.issuer, subject: 'alice' }), ['a', 'b', 'c'])
})

void t.test('expired sessions are removed from the list', async (t) => {
  await redis.command('FLUSHALL')
  const store = await open(t, [oldKey], 300)
  await store.create('a', record(1), owner, 60_000)
  await sleep(500)
  await store.create('b', record(1), owner, 60_000)
  t.same(await store.find({ issuer: owner.issuer, subject: 'alice' }), ['b'])
})

void t.test('the next lock holder notices a holder that never finished, and not one that saved', async (t) => {
  const store = await open(t)
  await store.create('c', record(1), owner, 60_000)
  await store.lock('c', 'first', 100)
  await sleep(200)
  t.same(await store.lock('c', 'second', 100), { acquired: true, abandoned: true })
  await store.replace('c', record(2), 60_000)
  await sleep(200)
  t.same(await store.lock('c', 'third', 60_000), { acquired: true, abandoned: false })
  await store.unlock('c', 'third')
  t.same(await store.lock('c', 'fourth', 60_000), { acquired: true, abandoned: false })
})

void t.test('other processes are notified of changes and ends, and this one is not', async (t) => {
  const [here, there] = [await open(t), await open(t)]
  const heard: string[] = []
  for (const [name, store] of [
    ['here', here],
    ['there', there],
  ] as const) {
    store.listen({
      changed: (id, version) => {
        heard.push(`${name}: ${id} changed to ${version}`)
      },
      gone: (id) => {
        heard.push(`${name}: ${id} gone`)
      },
      evicted: () => {},
      restored: () => {},
    })
  }
  await here.create('d', record(1), owner, 60_000)
  await here.replace('d', record(2), 60_000)
  await here.remove('d')
  await eventually(() => heard.length >= 2, { what: 'both notices have arrived' })
  await sleep(100)
  t.same(heard, ['there: d changed to 2', 'there: d gone'])
})

void t.test('a read is guaranteed current while notices arrive, and no longer after they stop', async (t) => {
  const store = await open(t)
  await eventually(() => store.assuredUntil(performance.now()) > performance.now() - 500, {
    what: 'the first heartbeat has returned',
  })
  const readAt = performance.now()
  await sleep(1_000)
  const assured = store.assuredUntil(readAt)
  t.ok(assured > readAt + 500, 'a read from a second ago is still current')
  await redis.command('CLIENT', 'PAUSE', '1200', 'ALL')
  await sleep(1_000)
  const stalled = store.assuredUntil(readAt)
  t.ok(performance.now() - stalled > 700, 'without heartbeats nothing is promised')
  await eventually(() => performance.now() - store.assuredUntil(performance.now() - 1) < 500, {
    what: 'heartbeats arrive again',
  })
})
