import t, { type Test } from 'tap'
import { MemoryStore } from '../../src/store/memory.ts'
import type { StoredRecord } from '../../src/store/store.ts'
import { moveClock } from '../support/clock.ts'

const record = (version = 1, seenAt = 0): StoredRecord => ({ sealed: Buffer.from('sealed'), version, createdAt: 0, endsAt: 1, seenAt })

const owner = { issuer: 'https://idp.example.com', subject: 'alice', sid: 'sid-1' }

const open = (t: Test, max = 10, onEvicted?: () => void): MemoryStore => {
  const store = new MemoryStore(max, onEvicted)
  t.teardown(() => store.close())
  return store
}

void t.test('a record is there until its time is up', async (t) => {
  const store = open(t)
  await store.create('a', record(), owner, 1_000)
  t.same(await store.read('a'), record())
  t.equal(await store.read('b'), null)
  t.equal(store.size(), 1)
  moveClock(t, 1_100)
  t.equal(await store.read('a'), null)
})

void t.test('a record is replaced by the version after it, and only while it is there', async (t) => {
  const store = open(t)
  await store.create('a', record(), owner, 60_000)
  t.equal(await store.replace('a', record(3), 60_000), 'stale')
  t.equal(await store.replace('a', record(2), 60_000), 'replaced')
  t.equal(await store.replace('a', record(2), 60_000), 'stale')
  t.equal((await store.read('a'))?.version, 2)
  t.equal(await store.remove('a'), true)
  t.equal(await store.remove('a'), false)
  t.equal(await store.replace('a', record(3), 60_000), 'gone')
  t.equal(await store.read('a'), null)
})

void t.test('of two writes of one version one is stale', async (t) => {
  const store = open(t)
  await store.create('a', record(), owner, 60_000)
  t.same((await Promise.all([store.replace('a', record(2), 60_000), store.replace('a', record(2), 60_000)])).toSorted(), ['replaced', 'stale'])
})

void t.test('activity moves on and prolongs, and brings nothing back', async (t) => {
  const store = open(t)
  await store.create('a', record(1, 5), owner, 1_000)
  await store.touch('a', 9, 5_000)
  await store.touch('a', 7, 5_000)
  t.equal((await store.read('a'))?.seenAt, 9)
  moveClock(t, 2_000)
  t.ok(await store.read('a'))
  await store.remove('a')
  await store.touch('a', 99, 5_000)
  t.equal(await store.read('a'), null)
})

void t.test('a removal that comes between reading and writing of an update stands', async (t) => {
  const store = open(t)
  await store.create('a', record(), owner, 60_000)
  await Promise.all([store.touch('a', 5, 60_000), store.remove('a'), store.touch('a', 6, 60_000)])
  t.equal(await store.read('a'), null)
})

void t.test('a one-time value is for the first who asks, until its time is up', async (t) => {
  const store = open(t)
  t.same(await Promise.all([store.once('x', 1_000), store.once('x', 1_000), store.once('y', 1_000)]), [true, false, true])
  t.equal(await store.once('x', 1_000), false)
  moveClock(t, 1_100)
  t.equal(await store.once('x', 1_000), true)
})

void t.test('when it is full the least recently used goes, and whoever listens hears of it', async (t) => {
  let evicted = 0
  const gone: string[] = []
  const store = open(t, 2, () => { evicted += 1 })
  store.listen({ changed: () => {}, gone: (id) => { gone.push(id) } })
  await store.create('a', record(), owner, 60_000)
  await store.create('b', record(), owner, 60_000)
  await store.read('a')
  await store.create('c', record(), owner, 60_000)
  t.same([evicted, gone, store.size()], [1, ['b'], 2])
  t.equal(await store.read('b'), null)
  await store.remove('a')
  t.equal(evicted, 1, 'a removal is no eviction')
})

void t.test('sessions are found by issuer and sub, and by issuer and sid', async (t) => {
  const store = open(t)
  const { issuer } = owner
  await store.create('a', record(), owner, 60_000)
  await store.create('b', record(), { ...owner, sid: null }, 60_000)
  await store.create('c', record(), { ...owner, issuer: 'https://other.example.com' }, 60_000)
  t.same(await store.find({ issuer, subject: 'alice' }), ['a', 'b'])
  t.same(await store.find({ issuer, sid: 'sid-1' }), ['a'])
  t.same(await store.find({ issuer, subject: 'bob' }), [])
  await store.remove('a')
  t.same(await store.find({ issuer, subject: 'alice' }), ['b'])
  moveClock(t, 61_000)
  t.same(await store.find({ issuer, subject: 'alice' }), [])
})

void t.test('a lock has one holder, who alone can give it back, and ends by itself', async (t) => {
  const store = open(t)
  t.equal((await store.lock('a', 'me', 1_000)).acquired, true)
  t.equal((await store.lock('a', 'you', 1_000)).acquired, false)
  await store.unlock('a', 'you')
  t.equal((await store.lock('a', 'you', 1_000)).acquired, false)
  await store.unlock('a', 'me')
  t.equal((await store.lock('a', 'you', 1_000)).acquired, true)
  moveClock(t, 1_100)
  t.equal((await store.lock('a', 'me', 1_000)).acquired, true)
})
