import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { openSessions, type Sessions } from '../../src/session/sessions.ts'
import type { Session } from '../../src/session/session.ts'
import { newTicket } from '../../src/session/ticket.ts'
import { MemoryStore } from '../../src/store/memory.ts'
import type { StoredRecord } from '../../src/store/store.ts'
import { openLog } from '../../src/telemetry/log.ts'
import { createMetrics } from '../../src/telemetry/metrics.ts'

/** The memory store with the ways of one that is far away. */
class DistantStore extends MemoryStore {
  override async read(id: string): Promise<StoredRecord | null> {
    const record = await super.read(id)
    await sleep(30)
    return record
  }

  override async replace(...args: Parameters<MemoryStore['replace']>): ReturnType<MemoryStore['replace']> {
    const outcome = await super.replace(...args)
    await sleep(30)
    return outcome
  }
}

const open = (t: Test, store: MemoryStore = new DistantStore(100)): Sessions => {
  t.teardown(() => store.close())
  const settings = {
    lifetime: 3_600_000,
    idleTimeout: 600_000,
    endWithIdToken: false,
    outageGrace: 0,
    maxPerUser: null,
  }
  return openSessions({ store, settings, log: openLog('silent').log, metrics: createMetrics() })
}

const create = async (sessions: Sessions): Promise<Session> => {
  const now = Date.now()
  const claims = { iss: 'https://idp.example.com', sub: 'alice', aud: 'orders', iat: now / 1000, exp: now / 1000 + 300 }
  return sessions.create(
    {
      issuer: claims.iss,
      idToken: 'id',
      idTokenExpiresAt: claims.exp * 1000,
      subject: claims.sub,
      sid: null,
      claims,
      tokens: { accessToken: 'a', expiresAt: now + 100_000, issuedAt: now, refreshToken: 'r', scope: null },
    },
    'https://orders.example.com',
    now,
  )
}

void t.test('a cached session is returned without waiting', async (t) => {
  const sessions = open(t)
  const session = await create(sessions)
  t.equal(sessions.load(session.ticket, Date.now()), session)
})

void t.test('another process finds a session in the store by its ticket, only with the right key', async (t) => {
  const store = new MemoryStore(100)
  const session = await create(open(t, store))
  t.equal((await open(t, store).load(session.ticket, Date.now()))?.subject, 'alice')
  t.equal(await open(t, store).load({ id: session.id, key: newTicket().key }, Date.now()), null)
})

void t.test('the key is checked for a cached session', async (t) => {
  const sessions = open(t)
  const session = await create(sessions)
  t.equal(sessions.load({ id: session.id, key: newTicket().key }, Date.now()), null)
  t.ok(sessions.load(session.ticket, Date.now()))
})

void t.test('a session that ends while it is looked up stays ended', async (t) => {
  const store = new DistantStore(100)
  const session = await create(open(t, store))
  const sessions = open(t, store)
  const loading = sessions.load(session.ticket, Date.now())
  await sessions.end(session, 'logout')
  t.equal(await loading, null)
  t.equal(await sessions.load(session.ticket, Date.now()), null)
})

void t.test('a session that ends while new tokens are saved stays ended', async (t) => {
  const store = new DistantStore(100)
  const sessions = open(t, store)
  const session = await create(sessions)
  const renewing = sessions.renew(session, { refreshedAt: Date.now() })
  await sleep(5)
  await sessions.end(session, 'logout')
  t.equal((await renewing).session, null)
  t.equal(await sessions.load(session.ticket, Date.now()), null)
  t.equal(await store.read(session.id), null)
})

void t.test('a listener is called once for the end of a session', async (t) => {
  const sessions = open(t)
  const heard: string[] = []
  sessions.onEnd((id) => {
    heard.push(id)
  })
  const session = await create(sessions)
  await sessions.end(session, 'logout')
  await sessions.end(session, 'admin')
  t.same(heard, [session.id])
})

void t.test('saving new tokens keeps the latest activity', async (t) => {
  const sessions = open(t)
  const session = await create(sessions)
  const renewing = sessions.renew(session, { refreshedAt: Date.now() })
  const later = Date.now() + 1_000
  sessions.touch(session, later)
  await renewing
  const renewed = await sessions.load(session.ticket, later)
  t.equal(renewed?.version, 2)
  t.equal(renewed?.lastSeenAt, later)
})
