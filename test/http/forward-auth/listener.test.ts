import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { get, type IncomingMessage, type RequestOptions } from 'node:http'
import { createServer, connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { startIdp } from '../../../src/demo/idp.ts'
import { startUpstream } from '../../../src/demo/upstream.ts'
import { cookieOf } from '../../support/gateway-process.ts'
import { freePort } from '../../support/free-port.ts'
import { asFile } from '../../support/gateway.ts'
import { runProgram } from '../../support/program.ts'
import { startRedis } from '../../support/redis.ts'
import { nextEvent, serveFile, type ServedFile } from '../../support/served-file.ts'

const idp = await startIdp()
const upstream = await startUpstream()
t.teardown(async () => Promise.all([idp.close(), upstream.close()]))

const closed = [{ path: '/**', headers: { set: { 'X-User': '{claims.sub}' } } }]
const about = (target: string): Record<string, string> => ({ 'x-original-method': 'GET', 'x-original-uri': target })

/** Each on a connection of its own, which any worker may get. */
const verdict = async (
  where: RequestOptions,
  headers: Readonly<Record<string, string>>,
): Promise<{ status: number | undefined; user: unknown }> => {
  const [answer]: IncomingMessage[] = await once(get({ ...where, path: '/auth', headers, agent: false }), 'response')
  answer?.resume()
  return { status: answer?.statusCode, user: answer?.headers['x-user'] }
}

const loggedIn = async (gateway: ServedFile): Promise<string> => cookieOf(await gateway.login(), gateway)

void t.test('the listener is on the line that says so, follows the routes, and ends with the process', async (t) => {
  const port = await freePort()
  const gateway = await serveFile(
    t,
    { idp, upstream },
    { routes: closed, forwardAuth: { listen: `127.0.0.1:${port}` } },
  )
  const where = { host: '127.0.0.1', port }
  t.match(gateway.events('listening'), [{ address: gateway.url, forwardAuth: `http://127.0.0.1:${port}` }])
  const cookie = await loggedIn(gateway)
  t.same(await verdict(where, { cookie, ...about('/orders') }), { status: 200, user: 'alice' })
  t.same(await verdict(where, about('/public/x')), { status: 401, user: undefined })

  gateway.rewrite({ routes: [...closed, { path: '/public/**', access: 'public' }] })
  gateway.hangUp()
  await nextEvent(gateway, 'reloaded', 0)
  t.same(await verdict(where, about('/public/x')), { status: 200, user: undefined })
  t.same(await verdict(where, { cookie, ...about('/orders') }), { status: 200, user: 'alice' }, 'the session lives')

  gateway.rewrite({ forwardAuth: { listen: `127.0.0.1:${await freePort()}` } })
  gateway.hangUp()
  t.match(await nextEvent(gateway, 'reload_refused', 0), { restart: ['forwardAuth'] })

  const idle = connect(port, '127.0.0.1')
  await once(idle, 'connect')
  const { status, after } = await gateway.stop()
  t.equal(status, 0)
  t.ok(after < 10_000, `${after} ms`)
  idle.destroy()
  await t.rejects(verdict(where, about('/public/x')), { code: 'ECONNREFUSED' })
})

void t.test('several workers give verdicts on one Unix socket, which outlives a kill', async (t) => {
  const redis = await startRedis(t)
  const folder = mkdtempSync(join(tmpdir(), 'gh-'))
  t.teardown(() => {
    rmSync(folder, { recursive: true })
  })
  const socketPath = join(folder, 'verdicts.sock')
  const left = createServer().listen(socketPath)
  await once(left, 'listening')
  const session = { keys: [Buffer.alloc(32, 7).toString('base64')], store: redis.url }
  const settings = { workers: 2, session, routes: closed, forwardAuth: { listen: `unix:${socketPath}` } }
  const least = { listen: `127.0.0.1:${await freePort()}`, publicUrl: 'http://127.0.0.1:1', upstream: upstream.url }
  const provider = { issuer: idp.issuer, clientId: 'a', clientSecret: 'b' }
  const file = asFile(t, { ...least, admin: false, provider, ...settings })
  const taken = await runProgram(t, ['start', '--config', file])
  t.equal(taken.status, 1)
  t.match(taken.stderr, /forwardAuth\.listen: .*EADDRINUSE/, 'a program answers there')
  left.close()
  await once(left, 'close')
  const gateway = await serveFile(t, { idp, upstream }, settings)
  t.match(gateway.events('listening'), [{ forwardAuth: `unix:${socketPath}` }])
  const cookie = await loggedIn(gateway)
  const verdicts = await Promise.all(
    Array.from({ length: 20 }, async () => verdict({ socketPath }, { cookie, ...about('/orders') })),
  )
  t.same(new Set(verdicts.map(({ status, user }) => `${status} ${String(user)}`)), new Set(['200 alice']))
  t.equal(new Set(gateway.events('request').map(({ worker }) => worker)).size, 2)
  t.equal((await gateway.stop()).status, 0)
  t.equal(existsSync(socketPath), false)
})

void t.test('a port that is taken is named with its key', async (t) => {
  const taken = createServer().listen(0, '127.0.0.1')
  await once(taken, 'listening')
  t.teardown(() => taken.close())
  const address = taken.address()
  const at = `127.0.0.1:${typeof address === 'object' ? (address?.port ?? 0) : 0}`
  const session = { keys: [Buffer.alloc(32, 7).toString('base64')] }
  const keys: [string, object][] = [
    ['listen', { listen: at }],
    ['admin.listen', { admin: { listen: at } }],
    ['forwardAuth.listen', { forwardAuth: { listen: at } }],
  ]
  for (const [key, change] of keys) {
    const file = asFile(t, {
      listen: `127.0.0.1:${await freePort()}`,
      publicUrl: 'http://127.0.0.1:1',
      upstream: upstream.url,
      admin: false,
      session,
      provider: { issuer: idp.issuer, clientId: 'a', clientSecret: 'b' },
      ...change,
    })
    const { status, stderr } = await runProgram(t, ['start', '--config', file])
    t.equal(status, 1)
    t.match(stderr, new RegExp(`^gatehouse: ${key}: port \\d+ is taken; .*EADDRINUSE.*${at}\\n$`))
  }
})
