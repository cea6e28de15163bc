import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Test } from 'tap'
import type { Owner, Store, StoredRecord } from '../../src/store/store.ts'
import { eventually } from '../support/eventually.ts'

const MINUTE = 60_000

const newId = (): string => randomBytes(16).toString('base64url')

const recordOf = (version: number, text = 'sealed'): StoredRecord => {
  const now = Date.now()
  return { sealed: Buffer.from(text), version, createdAt: now, endsAt: now + MINUTE, seenAt: now }
}

const ownerOf = (subject: string, sid: string | null = null): Owner => ({
  issuer: 'https://idp.example.com',
  subject,
  sid,
})

/** Tests what every store promises; `open` returns an empty store that is reachable. */
export const storeContract = (t: Test, open: (t: Test) => Promise<Store>): void => {
  void t.test('a record is read as it was written, including binary data', async (t) => {
    const store = await open(t)
    const id = newId()
    const record = { ...recordOf(1), sealed: Buffer.from([0, 255, 13, 10, 34, 0, 128]) }
    await store.create(id, record, ownerOf('alice'), MINUTE)
    t.same(await store.read(id), record)
    t.equal(await store.read(newId()), null)
  })

  void t.test('a record is replaced only by a later version', async (t) => {
    const store = await open(t)
    const id = newId()
    await store.create(id, recordOf(1, 'first'), ownerOf('alice'), MINUTE)
    t.equal(await store.replace(id, recordOf(2, 'second'), MINUTE), 'replaced')
    t.equal(await store.replace(id, recordOf(2, 'second of another'), MINUTE), 'stale')
    t.equal(await store.replace(id, recordOf(1, 'first again'), MINUTE), 'stale')
    t.equal((await store.read(id))?.sealed.toString(), 'second')
    t.equal(
      await store.replace(id, recordOf(5, 'fifth'), MINUTE),
      'replaced',
      'versions that a failed master has lost may be missing',
    )
    t.match(await store.read(id), { version: 5 })
    t.equal(await store.replace(newId(), recordOf(2), MINUTE), 'gone')
  })

  void t.test('exactly one of many writers of one version succeeds', async (t) => {
    const store = await open(t)
    const id = newId()
    await store.create(id, recordOf(1), ownerOf('alice'), MINUTE)
    const outcomes = await Promise.all(
      Array.from({ length: 20 }, async (_, i) => store.replace(id, recordOf(2, `writer ${i}`), MINUTE)),
    )
    t.equal(outcomes.filter((outcome) => outcome === 'replaced').length, 1)
    t.equal(outcomes.filter((outcome) => outcome === 'stale').length, 19)
  })

  void t.test('replacing a record keeps its noted activity', async (t) => {
    const store = await open(t)
    const id = newId()
    const first = recordOf(1)
    await store.create(id, first, ownerOf('alice'), MINUTE)
    await store.touch(id, first.seenAt + 500, MINUTE)
    await store.replace(id, { ...first, version: 2 }, MINUTE)
    t.match(await store.read(id), { version: 2, seenAt: first.seenAt + 500, createdAt: first.createdAt })
    await store.touch(id, first.seenAt + 100, MINUTE)
    t.match(await store.read(id), { seenAt: first.seenAt + 500 }, 'an older note is ignored')
  })

  void t.test('a removed record stays removed, regardless of later writes', async (t) => {
    const store = await open(t)
    const id = newId()
    await store.create(id, recordOf(1), ownerOf('alice', 's1'), MINUTE)
    t.equal(await store.remove(id), true)
    t.equal(await store.remove(id), false)
    await store.touch(id, Date.now() + 1000, MINUTE)
    t.equal(await store.replace(id, recordOf(2), MINUTE), 'gone')
    const { acquired } = await store.lock(id, 'holder', MINUTE)
    t.equal(acquired, true)
    await store.unlock(id, 'holder')
    t.equal(await store.read(id), null)
    t.same(await store.find({ issuer: 'https://idp.example.com', subject: 'alice' }), [])
    t.same(await store.find({ issuer: 'https://idp.example.com', sid: 's1' }), [])
  })

  void t.test('a removal among concurrent writes wins', async (t) => {
    const store = await open(t)
    await Promise.all(
      Array.from({ length: 20 }, async () => {
        const id = newId()
        await store.create(id, recordOf(1), ownerOf('alice'), MINUTE)
        await Promise.all([
          store.replace(id, recordOf(2), MINUTE),
          store.touch(id, Date.now() + 1, MINUTE),
          store.remove(id),
          store.replace(id, recordOf(2), MINUTE),
          store.replace(id, recordOf(3), MINUTE),
          store.touch(id, Date.now() + 2, MINUTE),
        ])
        t.equal(await store.read(id), null)
      }),
    )
    t.same(await store.find({ issuer: 'https://idp.example.com', subject: 'alice' }), [])
  })

  void t.test('a session that is listed again is found by its new sid, and removed from all lists', async (t) => {
    const store = await open(t)
    const id = newId()
    const bySid = async (sid: string): Promise<string[]> => store.find({ issuer: 'https://idp.example.com', sid })
    await store.create(id, recordOf(1), ownerOf('alice'), MINUTE)
    await store.relist(id, ownerOf('alice', 's2'))
    t.same(await bySid('s2'), [id])
    t.same(await store.find({ issuer: 'https://idp.example.com', subject: 'alice' }), [id])
    await store.remove(id)
    t.same(await bySid('s2'), [])
    await store.relist(id, ownerOf('alice', 's3'))
    t.same(await bySid('s3'), [], 'an ended session is not listed')
  })

  void t.test('sessions are found by sub and by sid, in the order in which they were created', async (t) => {
    const store = await open(t)
    const ids = [newId(), newId(), newId(), newId(), newId()]
    for (const [i, id] of ids.entries())
      await store.create(id, recordOf(1), ownerOf('alice', i < 2 ? 's1' : 's2'), MINUTE)
    await store.create(newId(), recordOf(1), ownerOf('bob'), MINUTE)
    await store.create(
      newId(),
      recordOf(1),
      { issuer: 'https://other.example.com', subject: 'alice', sid: 's1' },
      MINUTE,
    )
    t.same(await store.find({ issuer: 'https://idp.example.com', subject: 'alice' }), ids)
    t.same(await store.find({ issuer: 'https://idp.example.com', sid: 's1' }), ids.slice(0, 2))
    t.same(await store.find({ issuer: 'https://idp.example.com', sid: 'alice' }), [], 'a sub is not a sid')
    await store.remove(ids[1] ?? '')
    t.same(
      await store.find({ issuer: 'https://idp.example.com', subject: 'alice' }),
      ids.filter((_id, i) => i !== 1),
    )
    t.same(await store.find({ issuer: 'https://idp.example.com', sid: 's1' }), ids.slice(0, 1))
  })

  void t.test('the index stays consistent under concurrent logins and logouts', async (t) => {
    const store = await open(t)
    const kept: string[] = []
    await Promise.all(
      Array.from({ length: 40 }, async (_, i) => {
        const id = newId()
        await store.create(id, recordOf(1), ownerOf('alice', 's1'), MINUTE)
        if (i % 2 === 0) await store.remove(id)
        else kept.push(id)
      }),
    )
    t.same((await store.find({ issuer: 'https://idp.example.com', subject: 'alice' })).toSorted(), kept.toSorted())
    t.same((await store.find({ issuer: 'https://idp.example.com', sid: 's1' })).toSorted(), kept.toSorted())
  })

  void t.test('records end with their time to live, which a write extends', async (t) => {
    const store = await open(t)
    const [short, replaced, touched] = [newId(), newId(), newId()]
    for (const id of [short, replaced, touched]) await store.create(id, recordOf(1), ownerOf('alice'), 300)
    await store.replace(replaced, recordOf(2), MINUTE)
    await store.touch(touched, Date.now() + 1, MINUTE)
    await sleep(400)
    t.equal(await store.read(short), null)
    t.match(await store.read(replaced), { version: 2 })
    t.not(await store.read(touched), null)
    t.same(await store.find({ issuer: 'https://idp.example.com', subject: 'alice' }), [replaced, touched])
    t.equal(await store.replace(short, recordOf(2), MINUTE), 'gone')
  })

  void t.test('touching never extends a session past its end', async (t) => {
    const store = await open(t)
    const id = newId()
    const now = Date.now()
    await store.create(id, { ...recordOf(1), createdAt: now, endsAt: now + 400, seenAt: now }, ownerOf('alice'), 400)
    await store.touch(id, now + 50, MINUTE)
    await t.resolves(
      eventually(async () => (await store.read(id)) === null, { what: 'the record has expired', timeoutMs: 2_000 }),
    )
  })

  void t.test('a one-time value can be claimed once', async (t) => {
    const store = await open(t)
    const claims = await Promise.all(Array.from({ length: 10 }, async () => store.claimOnce('login 1', MINUTE)))
    t.equal(claims.filter(Boolean).length, 1)
    t.equal(await store.claimOnce('login 2', 200), true)
    t.equal(await store.claimOnce('login 2', 200), false)
    await sleep(300)
    t.equal(await store.claimOnce('login 2', 200), true, 'it is forgotten after its time')
  })

  void t.test('a lock has one holder', async (t) => {
    const store = await open(t)
    const id = newId()
    await store.create(id, recordOf(1), ownerOf('alice'), MINUTE)
    const tries = await Promise.all(Array.from({ length: 10 }, async (_, i) => store.lock(id, `holder ${i}`, MINUTE)))
    t.equal(tries.filter(({ acquired }) => acquired).length, 1)
    const winner = `holder ${tries.findIndex(({ acquired }) => acquired)}`
    await store.unlock(id, 'somebody else')
    t.equal((await store.lock(id, 'another', MINUTE)).acquired, false, 'only the holder can release it')
    await store.unlock(id, winner)
    t.same(await store.lock(id, 'another', MINUTE), { acquired: true, abandoned: false })
    t.equal((await store.lock(newId(), 'another', MINUTE)).acquired, true, 'another session has its own lock')
  })

  void t.test('a lock expires, and its holder can extend it', async (t) => {
    const store = await open(t)
    const [left, prolonged] = [newId(), newId()]
    await store.lock(left, 'first', 300)
    await store.lock(prolonged, 'first', 300)
    t.equal((await store.lock(prolonged, 'first', MINUTE)).acquired, true)
    await sleep(400)
    t.equal((await store.lock(left, 'second', MINUTE)).acquired, true)
    t.equal((await store.lock(prolonged, 'second', MINUTE)).acquired, false)
    await store.unlock(left, 'first')
    t.equal((await store.lock(left, 'third', MINUTE)).acquired, false, 'a late holder does not release the lock')
  })
}
