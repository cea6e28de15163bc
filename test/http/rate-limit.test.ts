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

/** A token of the provider for these claims. */
const tokenFor = async (claims: object = {}): Promise<string> => {
  const now = Math.floor(Date.now() / 1000)
  const all = { iss: idp.issuer, aud: 'api://orders', sub: 'alice', client_id: 'robot', iat: now, exp: now + 60 }
  return idp.sign({ ...all, ...claims }, { typ: 'at+jwt' })
}

const repeat = async (count: number, call: () => Promise<number>): Promise<number[]> => {
  const statuses: number[] = []
  for (let i = 0; i < count; i += 1) statuses.push(await call())
  return statuses
}

void t.test(
  'requests with a valid token count for its client and user, and all others for their address',
  async (t) => {
    const bearer = { audience: 'api://orders' }
    const gateway = await startGateway(t, {
      idp,
      upstream,
      config: {
        rateLimit: { requests: '3/1m' },
        routes: [{ path: '/**' }, { path: '/api/**', bearer }, { path: '/public/**', access: 'public' }],
      },
    })
    const call = async (token: string, path?: string): Promise<number> => (await callWith(gateway, token, path)).status
    const [first, second, bob, cron] = [
      await tokenFor(),
      await tokenFor({ jti: '2' }),
      await tokenFor({ sub: 'bob' }),
      await tokenFor({ client_id: 'cron' }),
    ]
    t.same(await repeat(4, async () => call(first)), [200, 200, 200, 429])
    t.equal(await call(second), 429, 'another token of the same client and user')
    t.same(await repeat(4, async () => call(bob)), [200, 200, 200, 429], 'another user')
    t.same(await repeat(4, async () => call('invalid')), [401, 401, 401, 429], 'invalid tokens count for the address')
    t.equal(await call(first, '/public/x'), 429, 'and so does a route without bearer')
    t.equal((await fetch(`${gateway.url}/api/echo`)).status, 429, 'and so does a request without a token')
    t.equal(await call(cron), 429, 'after a flood of invalid tokens, no further token is verified')
  },
)

void t.test(
  'requests without a token do not use up the limit of clients with tokens at the same address',
  async (t) => {
    const gateway = await startGateway(t, {
      idp,
      upstream,
      config: { rateLimit: { requests: '2/1m' }, routes: [{ path: '/**', bearer: { audience: 'api://orders' } }] },
    })
    const { url } = gateway
    t.same(await repeat(3, async () => (await fetch(`${url}/api/echo`)).status), [401, 401, 429])
    const token = await tokenFor()
    t.same(await repeat(3, async () => (await callWith(gateway, token)).status), [200, 200, 429])
  },
)

void t.test('a token that cannot be verified counts for the address, and is verified once', async (t) => {
  const gateway = await startGateway(t, {
    idp,
    upstream,
    config: { rateLimit: { requests: '2/1m' }, routes: [{ path: '/**', bearer: { clientIds: 'robot' } }] },
  })
  idp.fail('introspection', { status: 503 })
  t.teardown(() => {
    idp.fail('introspection', null)
  })
  const before = idp.requests.introspection
  t.same(await repeat(3, async () => (await callWith(gateway, 'opaque')).status), [503, 503, 429])
  t.equal(idp.requests.introspection - before, 3)
})

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
  const call = async (authorization: string): Promise<number> =>
    (
      await ask(gateway.verdicts, 'GET', '/oauth2/auth', [
        'X-Original-Method: GET',
        `X-Original-URL: ${gateway.url}/`,
        `Authorization: ${authorization}`,
      ])
    ).status
  const token = await tokenFor()
  t.same(await repeat(3, async () => call(`Bearer ${token}`)), [200, 200, 429])
  t.same(await repeat(3, async () => call('Bearer x')), [401, 401, 429])
})
