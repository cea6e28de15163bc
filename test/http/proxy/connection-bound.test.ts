import type { Socket } from 'node:net'
import t, { type Test } from 'tap'
import { startIdp } from '../../../src/demo/idp.ts'
import { createBrowser } from '../../support/browser.ts'
import { startGateway } from '../../support/gateway.ts'
import { open, parseAnswers, type RawAnswer } from '../../support/raw-http.ts'
import { startSockets } from '../../support/sockets.ts'
import { eventually } from '../../support/eventually.ts'

// One provider for all gateways here: what it does is not what these tests are about.
const idp = await startIdp()
t.teardown(() => idp.close())

/** An application whose login belongs to the connection, and what it has seen. */
type Ntlm = { url: string; open: () => number; most: () => number; closed: (connection: number) => boolean }

/**
 * NTLM over HTTP as IIS does it: messages 1, 2 and 3 on one connection, which belongs to the user from then on. Each
 * response says which connection it came on, and whose that is.
 */
const startNtlm = async (t: Test, scheme = 'NTLM'): Promise<Ntlm> => {
  const over = new Set<number>()
  let all = 0
  const url = await startSockets(t, (socket, connection) => {
    all = connection
    let user: string | null = null
    let challenged = false
    let text = ''
    socket.on('close', () => over.add(connection))
    socket.on('data', (chunk) => {
      text += chunk.toString('latin1')
      for (let end = text.indexOf('\r\n\r\n'); end !== -1; end = text.indexOf('\r\n\r\n')) {
        const head = text.slice(0, end)
        text = text.slice(end + 4)
        const [, message = ''] = /^authorization: \S+ (.*)$/im.exec(head) ?? []
        if (message === 'type1') challenged = true
        else if (challenged && message.startsWith('type3-')) user = message.slice('type3-'.length)
        const authenticate =
          message === 'type1'
            ? `WWW-Authenticate: ${scheme} type2\r\n`
            : user === null
              ? `WWW-Authenticate: ${scheme}\r\nWWW-Authenticate: Basic realm="a"\r\n`
              : ''
        const body = `connection ${connection} is ${user ?? 'nobody'}`
        socket.write(
          `HTTP/1.1 ${user === null ? 401 : 200} Yes\r\n${authenticate}Content-Length: ${body.length}\r\n\r\n${body}`,
        )
      }
    })
  })
  return { url, open: () => all - over.size, most: () => all, closed: (connection) => over.has(connection) }
}

type Client = {
  ask: (...lines: string[]) => Promise<RawAnswer>
  login: (user: string, ...lines: string[]) => Promise<RawAnswer>
  socket: Socket
}

/** A client with one connection, and how it logs in on it. */
const connect = (t: Test, url: string, scheme = 'NTLM'): Client => {
  const socket = open(url)
  t.teardown(() => socket.destroy())
  let bytes = Buffer.alloc(0)
  socket.on('data', (chunk: Buffer) => {
    bytes = Buffer.concat([bytes, chunk])
  })
  const ask = async (...lines: string[]): Promise<RawAnswer> => {
    bytes = Buffer.alloc(0)
    socket.write([`GET / HTTP/1.1`, 'Host: a', 'Accept: */*', ...lines, '', ''].join('\r\n'))
    await eventually(() => bytes.includes('connection ') && parseAnswers(bytes).length === 1, {
      what: 'an answer has arrived',
    })
    const [answer] = parseAnswers(bytes)
    if (answer === undefined) throw new Error('no answer')
    return answer
  }
  return {
    ask,
    socket,
    async login(user, ...lines) {
      await ask(`Authorization: ${scheme} type1`, ...lines)
      return ask(`Authorization: ${scheme} type3-${user}`, ...lines)
    },
  }
}

const routes = [{ path: '/**', access: 'optional', token: { grant: 'none' } }]

void t.test(
  'a connection-bound login belongs to one client, and lasts as long as the client’s connection',
  async (t) => {
    for (const scheme of ['NTLM', 'Negotiate', 'negotiate']) {
      const application = await startNtlm(t, scheme)
      const { url } = await startGateway(t, { idp, config: { upstream: application.url, routes } })
      const [a, b, c] = [connect(t, url, scheme), connect(t, url, scheme), connect(t, url, scheme)]
      t.equal((await a.ask()).status, 401)
      const first = await a.login('alice')
      t.match(first.body.toString(), /is alice$/, scheme)
      for (let i = 0; i < 5; i += 1) {
        t.equal((await a.ask()).body.toString(), first.body.toString(), 'alice stays logged in on the same connection')
        const other = await b.ask()
        t.equal(other.status, 401, 'another client is not alice')
        t.match(other.body.toString(), /is nobody$/)
      }
      t.match((await c.login('bob')).body.toString(), /is bob$/)
      t.match((await a.ask()).body.toString(), /is alice$/)
      t.match((await c.ask()).body.toString(), /is bob$/)
      const hers = Number(/\d+/.exec(first.body.toString())?.[0])
      a.socket.destroy()
      await eventually(() => application.closed(hers), { what: 'the upstream connection has closed with the client’s' })
      t.match((await c.ask()).body.toString(), /is bob$/)
    }
  },
)

void t.test('a connection on which the application offered such a login is not reused', async (t) => {
  const application = await startNtlm(t)
  const { url } = await startGateway(t, { idp, config: { upstream: application.url, routes } })
  const client = connect(t, url)
  const seen = new Set<string>()
  for (let i = 0; i < 4; i += 1) seen.add((await client.ask()).body.toString())
  t.equal(seen.size, 4)
  await eventually(() => application.open() === 0, { what: 'the upstream connections are closed' })
})

void t.test('clients that share one connection of a load balancer stay separate', async (t) => {
  const application = await startNtlm(t)
  const { url } = await startGateway(t, {
    idp,
    config: { upstream: application.url, routes, trustedProxies: ['127.0.0.1'] },
  })
  const balancer = connect(t, url)
  const [alice, bob] = ['X-Forwarded-For: 192.0.2.1', 'X-Forwarded-For: 192.0.2.2']
  const hers = (await balancer.login('alice', alice)).body.toString()
  t.match(hers, /is alice$/)
  t.match((await balancer.ask(bob)).body.toString(), /is nobody$/)
  t.equal((await balancer.ask(alice)).body.toString(), hers)
  const his = (await balancer.login('bob', bob)).body.toString()
  t.match(his, /is bob$/)
  t.equal((await balancer.ask(alice)).body.toString(), hers)
  t.equal((await balancer.ask(bob)).body.toString(), his)
  t.match((await balancer.ask()).body.toString(), /is nobody$/)
  balancer.socket.destroy()
  await eventually(() => application.open() === 0, { what: 'the upstream connections are closed with the client’s' })
})

void t.test('another session on the same connection and address is another client', async (t) => {
  const application = await startNtlm(t)
  const { url } = await startGateway(t, {
    idp,
    config: {
      upstream: application.url,
      // With the session a client's own Authorization is not passed on.
      routes: [{ path: '/**', access: 'optional', token: { grant: 'none' } }],
    },
  })
  const browser = createBrowser()
  await browser.login(`${url}/oauth2/login`, 'alice')
  const client = connect(t, url)
  t.match((await client.login('bob')).body.toString(), /is bob$/)
  const cookie = `Cookie: ${browser.cookies.header(new URL(url))}`
  t.match((await client.ask(cookie)).body.toString(), /is nobody$/)
  t.match((await client.ask()).body.toString(), /is bob$/)
})

void t.test('with authorization: client, a connection-bound login belongs to one session', async (t) => {
  const application = await startNtlm(t)
  const route = { path: '/**', authorization: 'client', token: { grant: 'none' } }
  const { url } = await startGateway(t, { idp, config: { upstream: application.url, routes: [route] } })
  const cookieOf = async (user: string): Promise<string> => {
    const browser = createBrowser()
    await browser.login(`${url}/oauth2/login`, user)
    return `Cookie: ${browser.cookies.header(new URL(url))}`
  }
  const [hers, his] = [await cookieOf('alice'), await cookieOf('bob')]
  const [a, b] = [connect(t, url), connect(t, url)]
  const first = (await a.login('alice', hers)).body.toString()
  t.match(first, /is alice$/)
  for (let i = 0; i < 3; i += 1) {
    t.equal((await a.ask(hers)).body.toString(), first)
    t.match((await a.ask(his)).body.toString(), /is nobody$/, 'another session on the same connection')
    t.match((await b.ask(hers)).body.toString(), /is nobody$/, 'the same session on another connection')
  }
  t.match((await a.login('bob', his)).body.toString(), /is bob$/)
  t.equal((await a.ask(hers)).body.toString(), first)
})

void t.test('connection-bound credentials are recognized in any case, and next to other credentials', async (t) => {
  const application = await startNtlm(t)
  const { url } = await startGateway(t, {
    idp,
    config: { upstream: application.url, routes: [{ path: '/**', access: 'public' }] },
  })
  const [a, b] = [connect(t, url), connect(t, url)]
  await a.ask('authorization: ntlm type1', 'Authorization: Basic eDp5')
  await a.ask('Authorization: Negotiate type3-alice')
  t.match((await a.ask()).body.toString(), /is alice$/)
  t.match((await b.ask()).body.toString(), /is nobody$/)
})

void t.test('other applications share connections', async (t) => {
  let connections = 0
  const upstream = await startSockets(t, (socket, count) => {
    connections = count
    socket.on('data', () => {
      socket.write(
        'HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm="connection NTLM"\r\nContent-Length: 11\r\n\r\nconnection ',
      )
    })
  })
  const { url } = await startGateway(t, { idp, config: { upstream, routes } })
  const [a, b] = [connect(t, url), connect(t, url)]
  for (let i = 0; i < 4; i += 1) {
    await a.ask('Authorization: Basic TlRMTTpOVExN')
    await b.ask()
  }
  t.equal(connections, 1)
})
