import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { startIdp } from '../../src/demo/idp.ts'
import { startUpstream } from '../../src/demo/upstream.ts'
import { callWith } from '../support/api-client.ts'
import { startGateway } from '../support/gateway.ts'
import { ask } from '../support/raw-http.ts'
import { startRedis } from '../support/redis.ts'
import { serveFile, type ServedFile } from '../support/served-file.ts'

const idp = await startIdp()
const upstream = await startUpstream()
t.teardown(async () => Promise.all([idp.close(), upstream.close()]))
const keys = [Buffer.alloc(32, 3).toString('base64')]

const statusesOf = async (gateways: readonly ServedFile[], path: string, count: number): Promise<number[]> => {
  const statuses: number[] = []
  for (let i = 0; i < count; i += 1)
    statuses.push((await fetch(`${gateways[i % gateways.length]?.url ?? ''}${path}`)).status)
  return statuses
}

void t.test('replicas share the count of each limit, under keys that reveal no address', async (t) => {
  const redis = await startRedis(t)
  const provider = { issuer: idp.issuer, clientId: 'one-client-of-both', clientSecret: 'x' }
  const settings = { provider, session: { keys, store: redis.url }, rateLimit: { session: '4/1m', requests: '6/1m' } }
  const gateways = await Promise.all([1, 2].map(async () => serveFile(t, { idp, upstream }, settings)))
  t.same(await statusesOf(gateways, '/oauth2/session', 6), [401, 401, 401, 401, 429, 429])
  t.same(await statusesOf(gateways, '/api/orders', 8), [401, 401, 401, 401, 401, 401, 429, 429])
  const names = (await redis.keys()).filter((name) => name.startsWith('gatehouse:rate:'))
  t.equal(names.length, 2)
  t.notMatch(names.join(' '), '127.0.0.1')
  for (const name of names) t.ok(Number(await redis.command('PTTL', name)) > 0, 'each goes by itself')
})

void t.test('a window ends in Redis, and the count restarts', async (t) => {
  const redis = await startRedis(t)
  const gateway = await serveFile(
    t,
    { idp, upstream },
    { session: { keys, store: redis.url }, rateLimit: { session: '2/2s' } },
  )
  t.same(await statusesOf([gateway], '/oauth2/session', 3), [401, 401, 429])
  await sleep(2_100)
  t.same(await statusesOf([gateway], '/oauth2/session', 3), [401, 401, 429])
})

void t.test(
  'while Redis is unreachable or silent each process counts by itself, and no request waits long',
  async (t) => {
    const redis = await startRedis(t)
    const gateway = await serveFile(
      t,
      { idp, upstream },
      { session: { keys, store: redis.url }, rateLimit: { session: '4/1m', login: '3/1m' } },
    )
    t.same(await statusesOf([gateway], '/oauth2/session', 2), [401, 401])
    redis.pause()
    t.teardown(() => {
      redis.goOn()
    })
    const begun = Date.now()
    t.same(await statusesOf([gateway], '/oauth2/session', 4), [401, 401, 429, 429], 'earlier requests still count')
    t.ok(Date.now() - begun < 2_000, 'within a moment')
    redis.goOn()
    await redis.kill()
    t.same(await statusesOf([gateway], '/oauth2/login', 5), [401, 401, 401, 429, 429])
  },
)

void t.test(
  'requests with a verified token count for its client and user, and all others for their address',
  async (t) => {
    const bearer = { audience: 'api://orders' }
    const { idp: own, ...gateway } = await startGateway(t, {
      idp,
      upstream,
      config: {
        rateLimit: { requests: '4/1m' },
        routes: [{ path: '/**' }, { path: '/api/**', bearer }, { path: '/public/**', access: 'public' }],
      },
    })
    const now = Math.floor(Date.now() / 1000)
    const tokenFor = async (claims: object): Promise<string> =>
      own.sign(
        { iss: own.issuer, aud: 'api://orders', sub: 'alice', client_id: 'robot', iat: now, exp: now + 60, ...claims },
        { typ: 'at+jwt' },
      )
    const call = async (token: string, path?: string): Promise<number> => (await callWith(gateway, token, path)).status
    const [first, second] = [await tokenFor({ jti: '1' }), await tokenFor({ jti: '2' })]
    t.equal(await call(first), 200, 'counted for the address: 1')
    for (let i = 0; i < 4; i += 1) t.equal(await call(first), 200, 'counted for the client')
    t.equal(await call(first), 429)
    t.equal(await call(second), 200, 'counted for the address, as any new token: 2')
    t.equal(await call(second), 429, 'another token of the same client and user')
    const bob = await tokenFor({ sub: 'bob' })
    t.equal(await call(bob), 200, 'counted for the address: 3')
    t.equal(await call(bob), 200, 'another user')
    t.equal(await call(first, '/public/x'), 200, 'a route without bearer counts for the address: 4')
    t.equal(await call(first, '/public/x'), 429)
    t.equal(await call('invalid'), 429, 'invalid tokens count for the address')
    t.equal(await call(await tokenFor({ sub: 'carol' })), 429)
    t.equal(await call(bob), 200, 'and take nothing from others')
  },
)

void t.test('forward-auth counts in the same way', async (t) => {
  const gateway = await startGateway(t, {
    idp,
    upstream,
    config: {
      forwardAuth: { listen: '127.0.0.1:0' },
      rateLimit: { requests: '2/1m' },
      routes: [{ path: '/**', bearer: { audience: 'api://orders' } }],
    },
  })
  const now = Math.floor(Date.now() / 1000)
  const claims = { iss: idp.issuer, aud: 'api://orders', sub: 'alice', client_id: 'robot', iat: now, exp: now + 60 }
  const token = await idp.sign(claims, { typ: 'at+jwt' })
  const call = async (authorization: string): Promise<number> =>
    (
      await ask(gateway.verdicts, 'GET', '/oauth2/auth', [
        'X-Original-Method: GET',
        `X-Original-URL: ${gateway.url}/`,
        `Authorization: ${authorization}`,
      ])
    ).status
  t.same(
    [await call(`Bearer ${token}`), await call('Bearer x'), await call('Bearer x')],
    [200, 401, 429],
    'unverified tokens',
  )
  t.same([await call(`Bearer ${token}`), await call(`Bearer ${token}`), await call(`Bearer ${token}`)], [200, 200, 429])
})
