import t from 'tap'
import { deriveDpopKey } from '../../src/oidc/dpop.ts'
import { fromRecord, toRecord } from '../../src/session/record.ts'
import { newTicket } from '../../src/session/ticket.ts'
import { sampleSession } from './sample.ts'

void t.test('a session is restored unchanged from its record', async (t) => {
  const { tokens } = sampleSession()
  const bound = { ...tokens, dpopKey: deriveDpopKey('secret'), isBound: true } as const
  const session = sampleSession({ version: 3, lastSeenAt: 1_234_567, claimsEndAt: 2_000_000, tokens: bound })
  t.same(fromRecord(session.ticket, toRecord(session)), session)
})

void t.test('the record shows times and a version, and nothing about the user, the tokens or the key', async (t) => {
  const dpopKey = deriveDpopKey('secret')
  const session = sampleSession({ tokens: { ...sampleSession().tokens, dpopKey } })
  const { sealed, ...clear } = toRecord(session)
  t.same(Object.keys(clear).toSorted(), ['createdAt', 'endsAt', 'seenAt', 'version'])
  for (const secret of ['alice', 'token', 'Zoë', session.ticket.key, 'example', dpopKey.d, dpopKey.x])
    t.notOk(sealed.includes(secret), secret)
})

void t.test('a record does not open with another ticket’s key, or under another id', async (t) => {
  const session = sampleSession()
  const { id, key } = session.ticket
  t.equal(fromRecord({ id, key: newTicket().key }, toRecord(session)), null)
  t.equal(fromRecord({ id: newTicket().id, key }, toRecord(session)), null, 'a record can’t replace another one')
})
