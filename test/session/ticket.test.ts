import t from 'tap'
import { newTicket, readTicket } from '../../src/session/ticket.ts'

const { id, key } = newTicket()

void t.test('a new ticket is readable and unique', async (t) => {
  t.same(readTicket({ id, key }), { id, key })
  t.not(newTicket().id, id)
  t.not(newTicket().key, key)
})

void t.test('any other text is not a ticket', async (t) => {
  const others: { id?: unknown; key?: unknown }[] = [
    {},
    { id },
    { key },
    { id: '', key },
    { id, key: '' },
    { id: id.slice(1), key },
    { id: `${id}A`, key },
    { id, key: key.slice(1) },
    { id: `${id.slice(1)}=`, key },
    { id: `${id.slice(1)}+`, key },
    { id: `${id}\n`, key },
    { id: [id], key },
    { id, key: { key } },
    { id: 1, key },
    { id, key: null },
  ]
  for (const other of others) t.equal(readTicket(other), null, JSON.stringify(other))
})

void t.test('only id and key are read from a ticket', async (t) => {
  const data = { id, key, more: 'x' }
  t.same(Object.keys(readTicket(data) ?? {}), ['id', 'key'])
})
