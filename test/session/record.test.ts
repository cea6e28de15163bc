import t from 'tap'
import { fromRecord, toRecord } from '../../src/session/record.ts'
import { newTicket } from '../../src/session/ticket.ts'
import { sampleSession } from './sample.ts'

void t.test('a session comes back from its record as it was', async (t) => {
  const session = sampleSession({ version: 3, lastSeenAt: 1_234_567 })
  t.same(fromRecord(session.ticket, toRecord(session)), session)
})

void t.test('the store sees times and a count, and nothing of the user, the tokens or the key', async (t) => {
  const session = sampleSession()
  const { sealed, ...clear } = toRecord(session)
  t.same(Object.keys(clear).toSorted(), ['createdAt', 'endsAt', 'seenAt', 'version'])
  for (const secret of ['alice', 'token', 'Zoë', session.ticket.key, 'example'])
    t.notOk(sealed.includes(secret), secret)
})

void t.test('with another ticket’s key, or under another id, it does not open', async (t) => {
  const session = sampleSession()
  const { id, key } = session.ticket
  t.equal(fromRecord({ id, key: newTicket().key }, toRecord(session)), null)
  t.equal(
    fromRecord({ id: newTicket().id, key }, toRecord(session)),
    null,
    'so one record can’t be put in another’s place',
  )
})
