import t from 'tap'
import { nameUsers, openLog, sessionFields, subjectIn, userName } from '../../src/telemetry/log.ts'

const claims = { sub: 'alice' }
const open = () => openLog('info', { stream: { write: () => {} } }).log

void t.test('a child of a log names users as the log does, also after a change', (t) => {
  const log = open()
  const child = log.child({ provider: 'staff' }).child({ worker: 1 })
  nameUsers(log, () => 'Alice')
  t.equal(userName(child, claims), 'Alice')
  t.match(sessionFields(child, { id: 'a', claims }), { session: 'a', user: 'Alice' })
  t.same(subjectIn(child, 'alice'), { sub: 'alice' })
  nameUsers(log, null)
  t.equal(userName(child, claims), undefined)
  t.same(subjectIn(child, 'alice'), {})
  t.end()
})

void t.test('a log names no users before that is set', (t) => {
  const log = open()
  t.equal(userName(log, claims), undefined)
  t.same(subjectIn(log, 'alice'), {})
  t.end()
})
