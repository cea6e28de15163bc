import t from 'tap'
import { createSessionCache } from '../../src/session/cache.ts'
import { sampleSession } from './sample.ts'

void t.test('what is kept is there, with the time at which it was read', async (t) => {
  const atHand = createSessionCache()
  const session = sampleSession()
  t.equal(atHand.get(session.id), null)
  atHand.keep(session, 1_000)
  t.same(atHand.get(session.id), { session, readAt: 1_000, outdated: false })
})

void t.test('a notice of a newer version makes it outdated, of the same or an older one does not', async (t) => {
  const atHand = createSessionCache()
  const session = sampleSession({ version: 3 })
  atHand.keep(session, 1_000)
  atHand.noteChange(session.id, 3)
  t.equal(atHand.get(session.id)?.outdated, false)
  atHand.noteChange(session.id, 4)
  t.equal(atHand.get(session.id)?.outdated, true)
  atHand.keep({ ...session, version: 4 }, 2_000)
  t.equal(atHand.get(session.id)?.outdated, false)
})

void t.test('a notice that has overtaken the answer of a read counts', async (t) => {
  const atHand = createSessionCache()
  const session = sampleSession()
  atHand.noteChange(session.id, 2)
  atHand.keep(session, 1_000)
  t.equal(atHand.get(session.id)?.outdated, true)
})

void t.test('an older version never takes the place of a newer one', async (t) => {
  const atHand = createSessionCache()
  const session = sampleSession({ version: 2 })
  atHand.keep(session, 1_000)
  atHand.keep({ ...session, version: 1 }, 2_000)
  t.match(atHand.get(session.id), { session: { version: 2 }, readAt: 1_000 })
})

void t.test('what has ended never comes back, what is dropped may', async (t) => {
  const atHand = createSessionCache()
  const [ended, dropped] = [sampleSession(), sampleSession()]
  for (const session of [ended, dropped]) atHand.keep(session, 1_000)
  atHand.end(ended.id)
  atHand.drop(dropped.id)
  for (const session of [ended, dropped]) atHand.keep(session, 2_000)
  t.same([atHand.get(ended.id), atHand.hasEnded(ended.id)], [null, true])
  t.match(atHand.get(dropped.id), { readAt: 2_000 })
  t.equal(atHand.hasEnded(dropped.id), false)
})
