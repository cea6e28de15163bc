import t from 'tap'
import { MemoryStore } from '../../src/store/memory.ts'
import { storeContract } from './contract.ts'

storeContract(t, async (t) => {
  const store = new MemoryStore(1000)
  t.teardown(async () => store.close())
  return store
})

void t.test('the least recently used session goes when the store is full, and both who asked are told', async (t) => {
  let evictions = 0
  const told: string[] = []
  const store = new MemoryStore(2, () => { evictions += 1 })
  t.teardown(async () => store.close())
  store.listen({ changed: () => {}, gone: () => {}, evicted: (id) => { told.push(id) }, restored: () => {} })
  const now = Date.now()
  for (const id of ['a', 'b', 'c']) {
    await store.create(id, { sealed: Buffer.from(id), version: 1, createdAt: now, endsAt: now + 60_000, seenAt: now }, { issuer: 'i', subject: 'alice', sid: null }, 60_000)
  }
  t.same(told, ['a'])
  t.equal(evictions, 1)
  t.equal(store.size(), 2)
  t.same(await store.find({ issuer: 'i', subject: 'alice' }), ['b', 'c'])
})
