import t from 'tap'
import { createSessionCache } from '../../src/session/cache.ts'
import { sampleSession } from './sample.ts'

void t.test('a cached session is returned with the time at which it was read', async (t) => {
  const cache = createSessionCache()
  const session = sampleSession()
  t.equal(cache.get(session.id), null)
  cache.keep(session, 1_000)
  t.same(cache.get(session.id), { session, readAt: 1_000, outdated: false })
})

void t.test(
  'a notice of a newer version makes an entry outdated, and a notice of the same or an older version does not',
  async (t) => {
    const cache = createSessionCache()
    const session = sampleSession({ version: 3 })
    cache.keep(session, 1_000)
    cache.noteChange(session.id, 3)
    t.equal(cache.get(session.id)?.outdated, false)
    cache.noteChange(session.id, 4)
    t.equal(cache.get(session.id)?.outdated, true)
    cache.keep({ ...session, version: 4 }, 2_000)
    t.equal(cache.get(session.id)?.outdated, false)
  },
)

void t.test('a notice that overtakes the response of a read applies', async (t) => {
  const cache = createSessionCache()
  const session = sampleSession()
  cache.noteChange(session.id, 2)
  cache.keep(session, 1_000)
  t.equal(cache.get(session.id)?.outdated, true)
})

void t.test('an older version never replaces a newer one', async (t) => {
  const cache = createSessionCache()
  const session = sampleSession({ version: 2 })
  cache.keep(session, 1_000)
  cache.keep({ ...session, version: 1 }, 2_000)
  t.match(cache.get(session.id), { session: { version: 2 }, readAt: 1_000 })
})

void t.test('an ended session never returns, and a dropped session can', async (t) => {
  const cache = createSessionCache()
  const [ended, dropped] = [sampleSession(), sampleSession()]
  for (const session of [ended, dropped]) cache.keep(session, 1_000)
  cache.end(ended.id)
  cache.drop(dropped.id)
  for (const session of [ended, dropped]) cache.keep(session, 2_000)
  t.same([cache.get(ended.id), cache.hasEnded(ended.id)], [null, true])
  t.match(cache.get(dropped.id), { readAt: 2_000 })
  t.equal(cache.hasEnded(dropped.id), false)
})
