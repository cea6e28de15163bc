import t from 'tap'
import { newTicket, readTicket } from '../../src/session/ticket.ts'

const { id, key } = newTicket()

void t.test('a new ticket is one that can be read, and another each time', async (t) => {
  t.same(readTicket({ id, key }), { id, key })
  t.not(newTicket().id, id)
  t.not(newTicket().key, key)
})

void t.test('anything else is none', async (t) => {
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

void t.test('nothing beside id and key is taken over', async (t) => {
  const data = { id, key, more: 'x' }
  t.same(Object.keys(readTicket(data) ?? {}), ['id', 'key'])
})
