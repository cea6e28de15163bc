import t from 'tap'
import { connectionOptions, foldHeaderName, HOP_BY_HOP } from '../src/header-names.ts'

void t.test('the headers that RFC 9110 names belong to one connection', async (t) => {
  for (const name of ['connection', 'proxy-connection', 'keep-alive', 'te', 'transfer-encoding', 'upgrade'])
    t.ok(HOP_BY_HOP.has(name), name)
  t.notOk(HOP_BY_HOP.has('content-length'))
})

void t.test('the headers that Connection lists are recognized in any case and with spaces', async (t) => {
  t.same([...(connectionOptions('close, X-One ,\tx-two') ?? [])], ['close', 'x-one', 'x-two'])
  const others = new Set(['x-zero'])
  t.equal(connectionOptions('X-One', others), others, 'those of a second Connection are added')
  t.same([...others], ['x-zero', 'x-one'])
})

void t.test('the usual values of Connection list no further headers', async (t) => {
  for (const value of ['keep-alive', 'Keep-Alive', 'close', 'Upgrade']) t.equal(connectionOptions(value), null, value)
  const others = new Set(['x-zero'])
  t.equal(connectionOptions('close', others), others)
})

void t.test('names that CGI can’t distinguish fold to the same name', async (t) => {
  for (const name of ['X-User', 'x_user', 'x.user']) t.equal(foldHeaderName(name), 'x-user')
})
