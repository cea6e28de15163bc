import { networkInterfaces } from 'node:os'
import t, { type Test } from 'tap'
import { freePort } from '../../support/free-port.ts'
import { startGateway } from '../../support/gateway.ts'
import { loggedIn } from '../../support/logged-in.ts'
import { ask as askRaw, parseAnswers, sendRaw } from '../../support/raw-http.ts'

const token = 'c2Vzc2lvbi1hZG1pbmlzdHJhdGlvbg=='
const bearer = `Authorization: Bearer ${token}`

type Asked = { readonly status: number; readonly code: string | undefined; readonly authenticate: string | undefined }

/** An admin listener with these settings, and requests to it, each with its headers as they are sent. */
const start = async (t: Test, admin: object, listen = '127.0.0.1') => {
  const port = await freePort()
  const running = await startGateway(t, { config: { admin: { listen: `${listen}:${port}`, ...admin } } })
  const url = `http://127.0.0.1:${port}`
  return {
    ...running,
    port,
    ask: async (line: string, headers: readonly string[] = [], at = url): Promise<Asked> => {
      const [method = '', target = ''] = line.split(' ')
      const answer = await askRaw(at, method, target, headers)
      return {
        status: answer.status,
        code: answer.headers.get('gatehouse')?.[0],
        authenticate: answer.headers.get('www-authenticate')?.[0],
      }
    },
  }
}

const calls = ['GET /sessions?sub=alice', 'DELETE /sessions?sub=alice', 'DELETE /sessions/nobody'] as const
const spellings = ['HEAD /sessions?sub=alice', 'GET /%73essions?sub=alice', 'DELETE /sessions/%6eobody'] as const

void t.test(
  'by default the admin listener serves only health and metrics, and no session administration',
  async (t) => {
    const { ask } = await start(t, {})
    for (const line of [...calls, ...spellings]) {
      t.match(await ask(line), { status: 404, code: 'not_found' }, line)
      t.match(await ask(line, [bearer]), { status: 404, code: 'not_found' }, `${line} with a token`)
    }
    for (const path of ['/livez', '/readyz', '/metrics']) t.equal((await ask(`GET ${path}`)).status, 200, path)
  },
)

void t.test('session administration requires its token on every call, and health and metrics do not', async (t) => {
  const { ask, events, log } = await start(t, { sessions: { token } })
  for (const line of [...calls, ...spellings]) {
    t.match(await ask(line), { status: 401, code: 'invalid_token', authenticate: 'Bearer' }, line)
    for (const wrong of [
      'Bearer wrong',
      `Bearer ${token}x`,
      `Bearer ${token.slice(0, -1)}`,
      'Bearer ',
      `Basic ${token}`,
      token,
      `Bearer ${token} x`,
    ]) {
      const refused = { status: 401, code: 'invalid_token', authenticate: 'Bearer error="invalid_token"' }
      t.match(await ask(line, [`Authorization: ${wrong}`]), refused, `${line} ${wrong}`)
    }
    t.equal((await ask(line, [bearer])).status, line.startsWith('DELETE') ? 204 : 200, `${line} with the token`)
  }
  t.equal((await ask('DELETE /sessions/nobody', [`authorization: bearer ${token}`])).status, 204, 'lower case')
  t.match(await ask('GET /nothing', [bearer]), { status: 404, code: 'not_found' })
  t.equal((await ask('GET /livez')).status, 200)
  t.ok(events('invalid_token').every(({ client, listener }) => client === '127.0.0.1' && listener === 'admin'))
  t.notOk(
    log.some((line) => line.includes(token)),
    'the token is in no line of the log',
  )
})

void t.test('the Host must be a name of the listener, even for health and metrics', async (t) => {
  const { ask, port } = await start(t, { hosts: ['Admin.Shop.svc'], sessions: { token } })
  for (const host of ['evil.example', `evil.example:${port}`, '10.1.2.3', 'localhost.evil.example', 'a.localhost'])
    for (const line of ['GET /livez', 'GET /readyz', 'GET /metrics', ...calls, 'GET /nothing'])
      t.match(await ask(line, [`Host: ${host}`, bearer]), { status: 421, code: 'bad_request' }, `${line} as ${host}`)
  for (const host of [
    '127.0.0.1',
    `127.0.0.1:${port}`,
    '127.0.0.1.',
    'localhost',
    'LOCALHOST:1',
    'localhost.',
    '[::1]:9090',
    '[0:0:0:0:0:0:0:1]',
    '[::ffff:127.0.0.1]',
    `[::ffff:7f00:1]:${port}`,
  ])
    t.equal((await ask('GET /livez', [`Host: ${host}`])).status, 200, host)
  for (const host of ['admin.shop.svc', 'ADMIN.shop.svc:9090'])
    t.equal((await ask('DELETE /sessions/nobody', [`Host: ${host}`, bearer])).status, 204, host)
  for (const host of ['127.0.0.1@evil.example', 'evil.example#localhost', '', 'local host'])
    t.not((await ask('GET /livez', [`Host: ${host}`])).status, 200, host)

  for (const [target, hosts] of [
    ['http://evil.example/livez', ['localhost']],
    ['http://localhost/livez', ['evil.example']],
    ['http://localhost@evil.example/livez', ['localhost']],
    ['/livez', ['localhost', 'evil.example']],
    ['/livez', ['evil.example', 'localhost']],
  ] as const) {
    const refused = await ask(
      `GET ${target}`,
      hosts.map((host) => `Host: ${host}`),
    )
    t.match(refused, { status: 421 }, `${target} at ${hosts.join()}`)
  }
  t.equal((await ask(`GET http://127.0.0.1:${port}/livez`)).status, 200)
  for (const method of ['HEAD', 'OPTIONS', 'POST', 'TRACE']) {
    t.match(await ask(`${method} /livez`, ['Host: evil.example']), { status: 421 }, method)
    t.equal((await ask(`${method} /livez`)).status, method === 'HEAD' ? 200 : 404, method)
  }

  const old = await sendRaw(`http://127.0.0.1:${port}`, 'GET /livez HTTP/1.0\r\n\r\n')
  t.equal(parseAnswers(old)[0]?.status, 200, 'HTTP/1.0 names no host')
})

void t.test('a listener on every address accepts the address of the connection as Host', async (t) => {
  const [address] = Object.values(networkInterfaces())
    .flatMap((addresses) => addresses ?? [])
    .filter(({ family, internal }) => family === 'IPv4' && !internal)
    .map(({ address }) => address)
  for (const listen of ['0.0.0.0', '[::]']) {
    const { ask, port } = await start(t, { sessions: 'loopback' }, listen)
    t.equal((await ask('GET /livez')).status, 200)
    t.equal((await ask('DELETE /sessions/nobody')).status, 204, 'from loopback')
    if (address === undefined) continue
    const outside = `http://${address}:${port}`
    t.equal((await ask('GET /livez', [], outside)).status, 200, 'its own address, as in a kubelet’s probe')
    t.match(await ask('GET /livez', ['Host: 10.1.2.3'], outside), { status: 421 })
    t.match(await ask('DELETE /sessions/nobody', [], outside), { status: 403, code: 'forbidden' }, 'not from loopback')
    t.match(await ask('DELETE /sessions/nobody', ['Host: localhost'], outside), { status: 403, code: 'forbidden' })
  }
})

void t.test('with `loopback` a proxy on the same machine can’t administer sessions for its clients', async (t) => {
  const { ask } = await start(t, { sessions: 'loopback' })
  for (const line of calls) {
    t.equal((await ask(line)).status, line.startsWith('DELETE') ? 204 : 200, line)
    for (const header of ['X-Forwarded-For: 127.0.0.1', 'Forwarded: for=127.0.0.1'])
      t.match(await ask(line, [header]), { status: 403, code: 'forbidden' }, header)
  }
})

void t.test('a web page of another origin can’t administer sessions', async (t) => {
  for (const sessions of ['loopback', { token }]) {
    const { ask, port } = await start(t, { sessions })
    for (const line of calls) {
      for (const header of [
        'Origin: http://evil.example',
        'Origin: null',
        'Origin: http://localhost:3000',
        `Origin: https://127.0.0.1:${port}`,
        'Sec-Fetch-Site: cross-site',
        'Sec-Fetch-Site: same-site',
      ])
        t.match(await ask(line, [bearer, header]), { status: 403, code: 'cross_origin' }, `${line} ${header}`)
      const own = [bearer, `Origin: http://127.0.0.1:${port}`]
      t.equal((await ask(line, own)).status, line.startsWith('DELETE') ? 204 : 200)
    }
    t.equal((await ask('GET /livez', ['Origin: http://evil.example'])).status, 200)
  }
})

void t.test('a new token applies after a reload', async (t) => {
  const { ask, gateway, config } = await start(t, { sessions: { token } })
  const reload = async (sessions: { token: string } | null): Promise<void> => {
    if (config.admin !== null) await gateway.reload({ ...config, admin: { ...config.admin, sessions } })
  }
  t.equal((await ask(calls[0], [bearer])).status, 200)
  await reload({ token: 'next' })
  t.equal((await ask(calls[0], [bearer])).status, 401)
  t.equal((await ask(calls[0], ['Authorization: Bearer next'])).status, 200)
  await reload(null)
  t.equal((await ask(calls[0], ['Authorization: Bearer next'])).status, 404)
})

void t.test('a client with the token finds and ends a user’s sessions', async (t) => {
  const port = await freePort()
  const { call } = await loggedIn(t, { config: { admin: { listen: `127.0.0.1:${port}`, sessions: { token } } } })
  const administer = async (method: string) =>
    fetch(`http://127.0.0.1:${port}/sessions?sub=alice`, { method, headers: { authorization: `Bearer ${token}` } })
  t.match(await (await administer('GET')).json(), { sessions: [{ sub: 'alice' }] })
  t.equal((await call()).status, 200)
  t.equal((await administer('DELETE')).status, 204)
  t.equal((await call()).status, 401)
})

void t.test('a DELETE is accepted with any body headers, and errors are sent as problems', async (t) => {
  const { port } = await start(t, { sessions: 'loopback' })
  const ask = async (method: string, path: string, init: RequestInit = {}) =>
    fetch(`http://127.0.0.1:${port}${path}`, { method, ...init })

  for (const path of ['/sessions?sub=alice', '/sessions/nobody']) {
    for (const init of [{}, { body: '' }, { body: '{' }]) {
      const { status } = await ask('DELETE', path, { ...init, headers: { 'content-type': 'application/json' } })
      t.equal(status, 204, `${path} ${JSON.stringify(init)}`)
    }
  }
  for (const type of [';', 'foo', 'text/html; charset']) {
    const headers = { 'content-type': type }
    t.equal((await ask('DELETE', '/sessions/nobody', { headers, body: 'x' })).status < 500, true, type)
  }
  for (const [method, path, status, code] of [
    ['DELETE', '/sessions?sub=alice&sub=bob', 400, 'bad_request'],
    ['GET', '/', 404, 'not_found'],
    ['POST', '/sessions', 404, 'not_found'],
    ['GET', '/sessions', 400, 'bad_request'],
  ] as const) {
    const answer = await ask(method, path)
    t.equal(answer.status, status)
    t.equal(answer.headers.get('content-type'), 'application/problem+json')
    t.equal(answer.headers.get('x-content-type-options'), 'nosniff')
    t.equal(answer.headers.get('gatehouse'), code)
    t.match(await answer.json(), { status, code })
  }
})
