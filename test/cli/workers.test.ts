import { existsSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs'
import { once } from 'node:events'
import { get, type IncomingMessage } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import t from 'tap'
import { startIdp } from '../../src/demo/idp.ts'
import { startUpstream } from '../../src/demo/upstream.ts'
import { VERSION } from '../../src/version.ts'
import { statusAt } from '../support/gateway-process.ts'
import { freePort } from '../support/free-port.ts'
import { asFile } from '../support/gateway.ts'
import { runProgram } from '../support/program.ts'
import { ask as askRaw, open } from '../support/raw-http.ts'
import { startRedis } from '../support/redis.ts'
import { adminToken, nextEvent, serveFile, type ServedFile } from '../support/served-file.ts'
import { eventually } from '../support/eventually.ts'

const idp = await startIdp()
const upstream = await startUpstream()
const redis = await startRedis(t)
t.teardown(async () => Promise.all([idp.close(), upstream.close()]))

const session = { keys: [Buffer.alloc(32, 7).toString('base64')], store: redis.url }
const publicRoutes = [{ path: '/api/**', access: 'public' }, { path: '/**' }]

/** The workers that have answered requests so far. */
const busy = (gateway: ServedFile): Set<unknown> => new Set(gateway.events('request').map(({ worker }) => worker))

/** The processes that the gateway has begun. */
const children = async ({ pid }: ServedFile): Promise<number[]> => {
  const { stdout } = await import('node:child_process').then(({ spawnSync }) =>
    spawnSync('ps', ['-o', 'pid=', '--ppid', String(pid)], { encoding: 'utf8' }),
  )
  return stdout
    .split('\n')
    .map(Number)
    .filter((one) => one > 0)
}

/** Sends each request on a new connection, which any worker may accept. */
const ask = async (
  where: string | { socketPath: string; path: string },
): Promise<{ status: number | undefined; body: string }> => {
  const request = typeof where === 'string' ? get(where, { agent: false }) : get({ ...where, agent: false })
  const [answer]: IncomingMessage[] = await once(request, 'response')
  return { status: answer?.statusCode, body: answer === undefined ? '' : await text(answer) }
}

const metric = async (gateway: ServedFile, pattern: RegExp): Promise<number> =>
  Number(pattern.exec((await ask(`${gateway.admin}/metrics`)).body)?.[1])

void t.test(
  'several workers with a memory store are refused with status 2, the reason and what to write instead',
  async (t) => {
    for (const workers of [2, 'auto']) {
      const file = asFile(t, {
        publicUrl: 'http://127.0.0.1:1',
        upstream: upstream.url,
        workers,
        provider: { issuer: idp.issuer, clientId: 'a', clientSecret: 'b' },
      })
      const { status, stderr, stdout } = await runProgram(t, ['start', '--config', file])
      t.equal(status, 2)
      t.match(
        stderr,
        /gatehouse\.yaml:\d+:\d+: workers: several workers need a shared store\n\s+set session\.store to a redis:\/\/ URL/,
      )
      t.equal(stdout, '')
    }
  },
)

void t.test('an occupied port is one line on stderr with its key, and status 1', async (t) => {
  const port = Number(new URL(upstream.url).port)
  for (const key of ['listen', 'admin.listen']) {
    const free = await freePort()
    const file = asFile(t, {
      listen: `127.0.0.1:${key === 'listen' ? port : free}`,
      publicUrl: 'http://orders.localhost',
      upstream: 'http://127.0.0.1:1',
      admin: { listen: `127.0.0.1:${key === 'listen' ? free : port}` },
      workers: 2,
      session,
      provider: { issuer: idp.issuer, clientId: 'a', clientSecret: 'b' },
    })
    const { status, stderr } = await runProgram(t, ['start', '--config', file])
    t.equal(status, 1)
    t.match(stderr, new RegExp(`^gatehouse: ${key}: port ${port} is taken; .*EADDRINUSE.*\\n$`))
  }
})

void t.test('three workers serve one address as one gateway', async (t) => {
  const gateway = await serveFile(
    t,
    { idp, upstream },
    { workers: 3, session, routes: publicRoutes, rateLimit: { session: '5/1m' } },
  )
  const { url, admin } = gateway
  t.equal(gateway.events('listening').length, 1, 'one line says so')
  t.equal((await children(gateway)).length, 3)
  await Promise.all(Array.from({ length: 60 }, async () => ask(`${url}/api/orders`)))
  await eventually(() => busy(gateway).size === 3, { what: 'every worker has had requests' })

  await t.test('the admin listener answers for all workers', async (t) => {
    await eventually(
      async () =>
        (await metric(
          gateway,
          /gatehouse_requests_total\{route="\/api\/\*\*",kind="script",verdict="forward",status="2xx"\} (\d+)/,
        )) === 60,
      { what: 'each request is counted once' },
    )
    const { status, body } = await ask(`${admin}/readyz`)
    t.equal(status, 200)
    t.same(JSON.parse(body), { ready: true, checks: { provider: 'ok', store: 'ok', draining: false } })
    const { status: liveStatus, body: liveBody } = await ask(`${admin}/livez`)
    t.equal(liveStatus, 200)
    t.same(JSON.parse(liveBody), { alive: true, version: VERSION })
    const browser = await gateway.login('carol')
    const headers = { authorization: `Bearer ${adminToken}` }
    const found = await fetch(`${admin}/sessions?sub=carol`, { headers })
    const [carol] = ((await found.json()) as { sessions: { id: string }[] }).sessions
    const session = `${admin}/sessions/${carol?.id ?? ''}`
    for (const authorization of ['', 'Bearer x', `Basic ${adminToken}`])
      t.equal((await fetch(session, { method: 'DELETE', headers: { authorization } })).status, 401, authorization)
    t.equal((await fetch(session, { method: 'DELETE' })).status, 401)
    t.equal(
      (await fetch(session, { method: 'DELETE', headers: { ...headers, origin: 'http://a.example' } })).status,
      403,
    )
    t.not(await statusAt(browser, gateway, '/orders'), 401, 'the session has not ended')
    t.equal((await fetch(session, { method: 'DELETE', headers })).status, 204)
    await eventually(
      async () => {
        const statuses = await Promise.all(Array.from({ length: 9 }, async () => statusAt(browser, gateway, '/orders')))
        return statuses.every((one) => one === 401)
      },
      { what: 'no worker accepts the session any more' },
    )
    t.equal((await fetch(`${admin}/sessions`, { headers })).status, 400)
    for (const path of ['/livez', '/readyz', '/metrics', '/sessions?sub=carol'])
      t.equal((await askRaw(admin, 'GET', path, ['Host: evil.example'])).status, 421, path)
  })

  await t.test('a rate limit counts the requests of all workers', async (t) => {
    const statuses = await Promise.all(
      Array.from({ length: 12 }, async () => (await ask(`${url}/oauth2/session`)).status),
    )
    t.same(
      statuses
        .map(String)
        .toSorted((a, b) => a.localeCompare(b))
        .map(Number),
      [...Array.from({ length: 5 }, () => 401), ...Array.from({ length: 7 }, () => 429)],
    )
  })

  await t.test('a worker that dies is replaced without a failed request', async (t) => {
    const [first, ...others] = await children(gateway)
    process.kill(first ?? 0, 'SIGKILL')
    t.match(await nextEvent(gateway, 'worker_died', 0), { level: 'error', signal: 'SIGKILL' })
    t.same(
      [...new Set(await Promise.all(Array.from({ length: 20 }, async () => (await ask(`${url}/api/orders`)).status)))],
      [200],
    )
    await eventually(async () => (await children(gateway)).length === 3, { what: 'there are three workers again' })
    t.same(
      (await children(gateway)).filter((one) => others.includes(one)),
      others,
    )
    await eventually(
      async () => {
        await ask(`${url}/api/orders`)
        return busy(gateway).size === 4
      },
      { what: 'the new worker serves' },
    )
  })

  await t.test('SIGHUP reaches all workers', async (t) => {
    gateway.rewrite({ routes: [{ path: '/api/**', access: 'public', maxBody: '1kb' }, { path: '/**' }] })
    gateway.hangUp()
    await nextEvent(gateway, 'reloaded', 0)
    const posted = await Promise.all(
      Array.from({ length: 12 }, async () =>
        fetch(`${url}/api/echo`, { method: 'POST', body: 'x'.repeat(2_000), headers: { connection: 'close' } }),
      ),
    )
    t.same([...new Set(posted.map(({ status }) => status))], [413])
    t.equal(gateway.events('reloaded').length, 1, 'it is reported once')
  })

  const { status } = await gateway.stop()
  t.equal(status, 0, 'SIGTERM ends all')
  t.equal((await children(gateway)).length, 0)
  t.same([gateway.events('stopping').length, gateway.events('stopped').length], [1, 1])
})

void t.test('after SIGTERM all workers finish their requests, and no worker is ready', async (t) => {
  const gateway = await serveFile(
    t,
    { idp, upstream },
    { workers: 2, session, routes: publicRoutes, shutdown: { wait: '600ms', drain: '20s' } },
  )
  const slow = Promise.all(Array.from({ length: 6 }, async () => ask(`${gateway.url}/api/slow?ms=2000`)))
  await eventually(() => upstream.requests.filter((one) => one.url === '/api/slow?ms=2000').length === 6, {
    what: 'the requests are in progress',
  })
  const stopped = gateway.stop()
  await nextEvent(gateway, 'stopping', 0)
  t.match(JSON.parse((await ask(`${gateway.admin}/readyz`)).body), { ready: false, checks: { draining: true } })
  t.same(
    (await slow).map((answer) => answer.status),
    [200, 200, 200, 200, 200, 200],
  )
  t.equal((await stopped).status, 0)
})

void t.test(
  'workers share a Unix socket, which has its mode from the beginning and is removed at the end',
  async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'gh-'))
    t.teardown(() => {
      rmSync(folder, { recursive: true })
    })
    const socketPath = join(folder, 'gate.sock')
    const forwardAuth = join(folder, 'verdicts.sock')
    const modes = new Map([socketPath, forwardAuth].map((path) => [path, new Set<number | undefined>()]))
    const looking = setInterval(() => {
      for (const [path, seen] of modes) seen.add(statSync(path, { throwIfNoEntry: false })?.mode)
    }, 0)
    const umask = process.umask(0)
    const gateway = await serveFile(
      t,
      { idp, upstream, port: await freePort() },
      {
        workers: 2,
        session,
        routes: [...publicRoutes, { path: '/signed', headers: { set: { 'X-Assertion': '{assertion}' } } }],
        listen: `unix:${socketPath}`,
        listenMode: '0640',
        forwardAuth: { listen: `unix:${forwardAuth}` },
      },
    )
    clearInterval(looking)
    process.umask(umask)
    t.same(
      [...modes.values()].map((seen) => [...seen].filter((mode) => mode !== undefined).map((mode) => mode & 0o777)),
      [[0o640], [0o777]],
      'one mode at all times; the other socket follows the umask',
    )
    t.match(gateway.events('listening')[0], { address: `unix:${socketPath}` })
    const answers = await Promise.all(Array.from({ length: 20 }, async () => ask({ socketPath, path: '/api/orders' })))
    t.same([...new Set(answers.map(({ status }) => status))], [200])
    await eventually(() => busy(gateway).size === 2, { what: 'both workers have had requests' })
    const jwks = async () =>
      Promise.all(Array.from({ length: 10 }, async () => (await ask({ socketPath, path: '/oauth2/jwks' })).body))
    const keys = new Set(await jwks())
    gateway.hangUp()
    await nextEvent(gateway, 'reloaded', 0)
    for (const body of await jwks()) keys.add(body)
    t.equal(keys.size, 1, 'a key that the gateway has made is the same in all workers, also after a reload')
    t.match([...keys][0], /^\{"keys":\[\{"crv":"P-256",/)
    const served = gateway.events('request').filter(({ path }) => path === '/oauth2/jwks')
    t.equal(new Set(served.map(({ worker }) => worker)).size, 2)
    t.equal((await gateway.stop()).status, 0)
    t.notOk(existsSync(socketPath))
  },
)

void t.test('workers end with the process that started them', async (t) => {
  const gateway = await serveFile(t, { idp, upstream }, { workers: 2, session, routes: publicRoutes })
  const workers = await children(gateway)
  await gateway.kill()
  await eventually(() => workers.every((pid) => !existsSync(`/proc/${pid}`)), { what: 'the workers have exited' })
})

void t.test('connections that a killed worker had not accepted are closed', async (t) => {
  const gateway = await serveFile(t, { idp, upstream }, { workers: 2, session, routes: publicRoutes })
  const descriptors = (): number => readdirSync(`/proc/${gateway.pid}/fd`).length
  await Promise.all(Array.from({ length: 10 }, async () => ask(`${gateway.url}/api/orders`)))
  const before = descriptors()
  const [stopped = 0] = await children(gateway)
  process.kill(stopped, 'SIGSTOP')
  const clients = Array.from({ length: 8 }, () => {
    const client = open(gateway.url)
    client.resume().write('GET /api/orders HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
    return client
  })
  const waiting = (): number => clients.filter(({ closed }) => !closed).length
  await eventually(() => waiting() === 1, { what: 'the other worker has answered all its requests' })
  process.kill(stopped, 'SIGKILL')
  await eventually(() => waiting() === 0, { what: 'the last connection is closed' })
  await nextEvent(gateway, 'worker_died', 0)
  await eventually(async () => (await children(gateway)).length === 2, { what: 'there are two workers again' })
  await eventually(() => descriptors() <= before, { what: 'no descriptor is left over' })
  t.equal((await gateway.stop()).status, 0)
})
