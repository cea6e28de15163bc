import { randomBytes } from 'node:crypto'
import Fastify from 'fastify'
import t, { type Test } from 'tap'
import { loadConfig } from '../../../src/config/load.ts'
import { createCookies, type Cookies } from '../../../src/http/cookies/cookies.ts'
import { newTicket } from '../../../src/session/ticket.ts'
import { moveClock } from '../../support/clock.ts'
import { asFile } from '../../support/gateway.ts'

const key = (): string => randomBytes(32).toString('base64')

const attributes = (setCookie: string): string => setCookie.slice(setCookie.indexOf(';') + 2)

const cookiesWith = async (
  t: Test,
  { publicUrl = 'http://localhost', session = {}, provider = {} } = {},
): Promise<Cookies> => {
  const app = Fastify()
  t.teardown(() => app.close())
  const { config } = loadConfig({
    env: {},
    file: asFile(t, {
      publicUrl,
      upstream: 'http://localhost:1',
      admin: false,
      session: { keys: [key()], ...session },
      provider: { issuer: 'https://idp.example.com', clientId: 'orders', clientSecret: 'secret', ...provider },
    }),
  })
  return createCookies(app, config)
}

/** `name=value` of a Set-Cookie line. */
const pair = (setCookie: string): string => setCookie.split(';')[0] ?? ''

void t.test('a ticket is read back from its cookie', async (t) => {
  const cookies = await cookiesWith(t)
  const ticket = newTicket()
  t.same(cookies.ticket(`a=b; ${pair(cookies.setTicket(ticket))}; c=d`), ticket)
})

void t.test('the cookie is small and reveals nothing about the ticket', async (t) => {
  const cookies = await cookiesWith(t)
  const ticket = newTicket()
  const line = cookies.setTicket(ticket)
  t.notOk(line.includes(ticket.id) || line.includes(ticket.key))
  t.ok(pair(line).length < 260, `${pair(line).length} bytes`)
})

void t.test('there is no ticket without a cookie of the exact name', async (t) => {
  const cookies = await cookiesWith(t)
  const value = pair(cookies.setTicket(newTicket())).slice('gatehouse='.length)
  const names = ['xgatehouse', 'gatehousex', 'x=gatehouse', 'gatehouse-login-0', 'Gatehouse', '']
  for (const header of [undefined, '', 'a=b', ...names.map((name) => `${name}=${value}`)]) {
    t.equal(cookies.ticket(header), null, header ?? 'no header')
  }
})

void t.test('every key opens cookies, and the first one seals them', async (t) => {
  const [old, fresh] = [key(), key()]
  const before = await cookiesWith(t, { session: { keys: [old] } })
  const during = await cookiesWith(t, { session: { keys: [fresh, old] } })
  const after = await cookiesWith(t, { session: { keys: [fresh] } })
  const ticket = newTicket()
  const sealedBefore = pair(before.setTicket(ticket))
  t.same(during.ticket(sealedBefore), ticket)
  t.equal(after.ticket(sealedBefore), null)
  t.same(after.ticket(pair(during.setTicket(ticket))), ticket)
})

void t.test('a login cookie does not open as a session cookie, nor a session cookie as a login cookie', async (t) => {
  const cookies = await cookiesWith(t)
  const login = pair(cookies.bind(undefined).setCookie)
  t.equal(cookies.ticket(`gatehouse=${login.slice(login.indexOf('=') + 1)}`), null)
  const ticket = pair(cookies.setTicket(newTicket()))
  t.same(cookies.bindings(`gatehouse-login-0=${ticket.slice(ticket.indexOf('=') + 1)}`), [])
})

void t.test('a login reuses the browser’s binding, or creates one', async (t) => {
  const cookies = await cookiesWith(t)
  const first = cookies.bind(undefined)
  const again = cookies.bind(pair(first.setCookie))
  t.equal(again.binding, first.binding)
  t.equal(pair(again.setCookie).split('=')[0], pair(first.setCookie).split('=')[0], 'in the same place')
  t.not(cookies.bind(undefined).binding, first.binding)
  t.match(cookies.bindings(pair(first.setCookie)), [{ secret: first.binding }])
})

void t.test('a binding is valid for ten minutes', async (t) => {
  const cookies = await cookiesWith(t)
  const { setCookie } = cookies.bind(undefined)
  moveClock(t, 599_000)
  t.equal(cookies.bindings(pair(setCookie)).length, 1)
  moveClock(t, 2_000)
  t.equal(cookies.bindings(pair(setCookie)).length, 0)
})

void t.test('attempts are counted for one target, and only by the gateway’s own counter', async (t) => {
  const cookies = await cookiesWith(t)
  const header = pair(cookies.setTries(2, '/orders', 3))
  t.equal(cookies.tries(header, '/orders'), 2)
  t.equal(cookies.tries(header, '/other'), 0)
  t.same([cookies.logins(header, '/orders'), cookies.logins(header, '/other')], [3, 0])
  t.equal(cookies.tries(pair(cookies.setLogins(1, '/orders')), '/orders'), 0, 'a successful login resets the count')
  const values = ['', '2', 'x.y', '-1.abc'].map((value) => `gatehouse-tries=${value}`)
  for (const other of [undefined, '', ...values, header.replace('2.', '99.')]) {
    t.equal(cookies.tries(other, '/orders'), 0, other ?? 'no header')
  }
  t.equal(cookies.clearTries(undefined), null)
  t.match(cookies.clearTries(header), /^gatehouse-tries=;.*Max-Age=0$/)
})

void t.test('cookies have the right names and attributes', async (t) => {
  const publicUrl = 'https://a.example.com'
  const keys = [key()]
  const cases = [
    [{}, 'gatehouse', 'Path=/; HttpOnly; SameSite=Lax; Max-Age=39600', 'Path=/; HttpOnly; SameSite=Lax; Max-Age=600'],
    [
      { publicUrl },
      '__Host-gatehouse',
      'Path=/; HttpOnly; Secure; SameSite=Lax; Max-Age=39600',
      'Path=/; HttpOnly; Secure; SameSite=Lax; Max-Age=600',
    ],
    [
      { publicUrl, session: { keys, cookie: { domain: 'example.com', sameSite: 'none', name: 'x' }, lifetime: '1h' } },
      '__Secure-x',
      'Path=/; HttpOnly; Secure; Domain=example.com; SameSite=None; Max-Age=7200',
      'Path=/; HttpOnly; Secure; SameSite=Lax; Max-Age=600',
    ],
    [
      { publicUrl, session: { keys, cookie: { sameSite: 'strict' } }, provider: { responseMode: 'form_post' } },
      '__Host-gatehouse',
      'Path=/; HttpOnly; Secure; SameSite=Strict; Max-Age=39600',
      'Path=/; HttpOnly; Secure; SameSite=None; Max-Age=600',
    ],
  ] as const
  for (const [settings, name, session, login] of cases) {
    const cookies = await cookiesWith(t, settings)
    const line = cookies.setTicket(newTicket())
    t.equal(line.slice(0, line.indexOf('=')), name)
    t.equal(attributes(line), session)
    const { setCookie } = cookies.bind(undefined)
    t.equal(attributes(setCookie), login)
    t.match(setCookie, new RegExp(`^${name}-login-[0-3]=`))
    t.equal(
      attributes(cookies.clearTicket()),
      session.replace(/Max-Age=\d+/, 'Max-Age=0'),
      'a cleared cookie has the same attributes',
    )
    for (const own of [name, `${name}-tries`, `${name}-login-0`, `${name}-login-3`]) t.ok(cookies.isOwn(own))
    for (const other of ['gatehouses', 'session', `${name}-login-4`, `${name}x`]) t.notOk(cookies.isOwn(other))
  }
})

void t.test(
  'two session cookies are cleared in every place where they may be set; with __Host- there is only one',
  async (t) => {
    const places = async (options: Parameters<typeof cookiesWith>[1]): Promise<string[]> =>
      (await cookiesWith(t, options))
        .clearEverywhere('orders.example.com', '/x')
        .map((line) => line.replace(/; HttpOnly.*?(?=; Domain|; Max-Age)/, ''))
    const noted = 'Path=/; Max-Age=600'
    t.same(await places({ publicUrl: 'https://orders.example.com' }), [
      '__Host-gatehouse=; Path=/; Max-Age=0',
      `__Host-gatehouse-cleared=1; ${noted}`,
    ])
    const wide = await places({
      publicUrl: 'https://orders.example.com',
      session: { cookie: { domain: 'example.com' } },
    })
    t.same(
      wide.slice(0, 3),
      ['', '; Domain=orders.example.com', '; Domain=example.com'].map(
        (domain) => `__Secure-gatehouse=; Path=/${domain}; Max-Age=0`,
      ),
    )
    t.equal(wide.length, 7)
  },
)
