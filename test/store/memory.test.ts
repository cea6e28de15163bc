import t from 'tap'
import { boundedKeyv, MemoryStore } from '../../src/store/memory.ts'
import { storeContract } from './contract.ts'

storeContract(t, async (t) => {
  const store = new MemoryStore(1000)
  t.teardown(async () => store.close())
  return store
})

void t.test('a full store drops the least recently used session, and tells both listeners', async (t) => {
  let evictions = 0
  const told: string[] = []
  const store = new MemoryStore(2, () => {
    evictions += 1
  })
  t.teardown(async () => store.close())
  store.listen({
    changed: () => {},
    gone: () => {},
    evicted: (id) => {
      told.push(id)
    },
    restored: () => {},
  })
  const now = Date.now()
  for (const id of ['a', 'b', 'c']) {
    await store.create(
      id,
      { sealed: Buffer.from(id), version: 1, createdAt: now, endsAt: now + 60_000, seenAt: now },
      { issuer: 'i', subject: 'alice', sid: null },
      60_000,
    )
  }
  t.same(told, ['a'])
  t.equal(evictions, 1)
  t.equal(store.size(), 2)
  t.same(await store.find({ issuer: 'i', subject: 'alice' }), ['b', 'c'])
})

void t.test(
  'expired sessions are removed without being read, others stay, and the oldest is dropped first',
  async (t) => {
    const dropped: [string, boolean][] = []
    const { keyv, dropExpired, size } = boundedKeyv<string>(3, (key, full) => {
      dropped.push([key, full])
    })
    await keyv.set('short', 'a', 1_000)
    await keyv.set('long', 'b', 60_000)
    dropExpired(Date.now() + 2_000)
    t.same([size(), dropped], [1, [['short', false]]])
    t.equal(await keyv.get('long'), 'b')
    for (const key of ['c', 'd', 'e']) await keyv.set(key, key, 60_000)
    t.same([size(), dropped.at(-1)], [3, ['long', true]])
  },
)

void t.test('a note under a name of any length is found, and takes the same space', async (t) => {
  const store = new MemoryStore(10)
  t.teardown(async () => store.close())
  const names = ['x'.repeat(5_000_000), 'y'.repeat(5_000_000)]
  for (const name of names) await store.setNote(name, name.slice(0, 1), 60_000)
  t.same(await Promise.all(names.map((name) => store.getNote(name))), ['x', 'y'])
  t.equal(await store.getNote('x'), null)
})
