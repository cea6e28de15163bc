import { createSecretKey, randomBytes } from 'node:crypto'
import { toRecord } from '../src/session/record.ts'
import type { Session } from '../src/session/session.ts'
import { newTicket } from '../src/session/ticket.ts'
import { indexKey, recordKey, CREATE, ENLIST } from '../src/store/redis/scripts.ts'
import { openPipeline } from './redis-pipeline.ts'

/** The lengths of a session's tokens in characters. */
export interface TokenSizes {
  readonly access: number
  readonly id: number
  readonly refresh: number
}

/** The sizes that Keycloak issues to a user with a few roles. */
export const TYPICAL: TokenSizes = { access: 1_300, id: 1_100, refresh: 700 }

const ISSUER = 'https://idp.example.com/realms/orders'
const LIFETIME_MS = 36_000_000
const IDLE_MS = 1_920_000
const BATCH = 200

/** Creates a session of a realistic size. Each session belongs to a different user. */
function sampleSession(turn: number, { access, id, refresh }: TokenSizes): Session {
  const ticket = newTicket()
  const now = Date.now()
  const subject = `user-${turn}`
  const sid = `provider-session-${turn}`
  return {
    id: ticket.id,
    ticket,
    version: 1,
    issuer: ISSUER,
    subject,
    sid,
    idToken: token(id),
    origin: 'https://orders.example.com',
    requestedStepUp: null,
    claims: {
      iss: ISSUER,
      sub: subject,
      aud: 'orders',
      sid,
      name: 'Alice Archer',
      email: `${subject}@example.com`,
      groups: ['staff', 'sales', 'admins-of-orders'],
      acr: '1',
      iat: Math.floor(now / 1000),
      exp: Math.floor(now / 1000) + 300,
      auth_time: Math.floor(now / 1000),
    },
    tokens: {
      accessToken: token(access),
      refreshToken: token(refresh),
      scope: 'openid profile email offline_access',
      expiresAt: now + 300_000,
      issuedAt: now,
    },
    createdAt: now,
    endsAt: now + LIFETIME_MS,
    refreshedAt: now,
    lastSeenAt: now,
  }
}

/**
 * Writes sessions into an empty Redis with the gateway's own scripts, in batches, and calls `onStored` for each session.
 * Rejects with the first error reply of Redis.
 */
export async function storeSessions(
  port: number,
  count: number,
  sizes: TokenSizes = TYPICAL,
  onStored: (session: Session) => void = () => {},
): Promise<void> {
  const key = createSecretKey(randomBytes(32))
  const pipeline = await openPipeline(port)
  // The reply to SCRIPT LOAD has two lines; all other replies have one.
  for (const { text } of [CREATE, ENLIST]) await pipeline.send([['SCRIPT', 'LOAD', text]], 2)
  for (let turn = 0; turn < count; turn += BATCH) {
    const length = Math.min(BATCH, count - turn)
    const batch = Array.from({ length }, (_, index) => sampleSession(turn + index, sizes))
    const commands = batch.flatMap((session) => commandsFor(session, key))
    await pipeline.send(commands, commands.length)
    batch.forEach(onStored)
  }
  await pipeline.end()
}

function commandsFor(session: Session, key: ReturnType<typeof createSecretKey>): string[][] {
  const { issuer, subject, sid } = session
  const record = toRecord(session)
  const indexes = [indexKey(key, { issuer, subject }), indexKey(key, { issuer, sid: sid ?? '' })]
  return [
    ...indexes.map((index) => ['EVALSHA', ENLIST.sha, '1', index, session.id, String(LIFETIME_MS)]),
    [
      'EVALSHA',
      CREATE.sha,
      '1',
      recordKey(session.id),
      record.sealed.toString('base64'),
      String(record.version),
      String(record.createdAt),
      String(record.endsAt),
      String(record.seenAt),
      indexes.join(' '),
      String(IDLE_MS),
    ],
  ]
}

function token(length: number): string {
  return randomBytes(Math.ceil((length * 3) / 4))
    .toString('base64url')
    .slice(0, length)
}
