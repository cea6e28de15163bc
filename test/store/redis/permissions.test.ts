import t from 'tap'
import { startReplicas, statusAt } from '../../support/gateway-process.ts'
import { PERMISSIONS, startRedis } from '../../support/redis.ts'
import { eventually } from '../../support/eventually.ts'

void t.test(
  'what the user of Redis may not do is said at the start, in Redis’s words, and can be mended without a restart',
  async (t) => {
    const redis = await startRedis(t)
    const {
      another,
      login,
      gateways: [a],
    } = await startReplicas(t, { store: redis.url })
    const lacking: [user: string, permission: string, words: RegExp][] = [
      ['mute', 'publish', /NOPERM.*'publish'/],
      ['unscripted', 'eval', /NOPERM.*'eval'/],
      ['unlisted', 'zadd', /NOPERM.*run ZADD on/],
      ['deaf', 'subscribe', /NOPERM.*'subscribe'/],
    ]
    const ready = async (admin: string): Promise<number> => (await fetch(`${admin}/readyz`)).status
    await Promise.all(
      lacking.map(async ([user, permission, words]) => {
        await redis.command('ACL', 'SETUSER', user, 'on', '>s3cret', ...PERMISSIONS, `-${permission}`)
        const gateway = await another({
          session: { redis: { username: user, password: 's3cret' } },
          withoutStore: true,
        })
        await eventually(() => gateway.events('store_unavailable').some(({ cause }) => words.test(String(cause))), {
          what: `the log tells of ${permission}`,
        })
        t.equal(await ready(gateway.admin), 503)
        t.equal(gateway.events('store_connected').length, 0)
        t.ok(gateway.events('store_unavailable').length < 5, 'once, not with every try')
        t.notMatch(gateway.lines.join('\n'), /s3cret|unhandled/i)
        await redis.command('ACL', 'SETUSER', user, `+${permission}`)
        await eventually(async () => (await ready(gateway.admin)) === 200, { what: 'it is ready' })
        const browser = await login()
        t.equal(await statusAt(browser, gateway), 200)
      }),
    )
    t.equal(await ready(a.admin), 200)
  },
)

void t.test('a permission that is taken away later is told of, too', async (t) => {
  const redis = await startRedis(t)
  await redis.command('ACL', 'SETUSER', 'gateway', 'on', '>s3cret', ...PERMISSIONS)
  const {
    gateways: [a],
  } = await startReplicas(t, { store: redis.url, session: { redis: { username: 'gateway', password: 's3cret' } } })
  await redis.command('ACL', 'SETUSER', 'gateway', '-publish')
  await eventually(() => a.events('store_unavailable').some(({ cause }) => /NOPERM.*'publish'/.test(String(cause))), {
    what: 'the log says so',
  })
})

void t.test('a database that does not exist is said not to exist', async (t) => {
  const redis = await startRedis(t)
  const {
    gateways: [a],
  } = await startReplicas(t, { store: `${redis.url}/99`, withoutStore: true })
  await eventually(
    () => a.events('store_unavailable').some(({ cause }) => /DB index is out of range/.test(String(cause))),
    { what: 'the log says so' },
  )
  t.equal((await fetch(`${a.admin}/readyz`)).status, 503)
})
