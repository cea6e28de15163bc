import type { LoginResult } from '../oidc/callback.ts'
import { sidOf } from '../oidc/token-set.ts'
import type { Store } from '../store/store.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import { recordLife } from './activity.ts'
import type { AtHand } from './at-hand.ts'
import type { Ending } from './ending.ts'
import { toRecord } from './record.ts'
import { absoluteEnd, ownerOf, type Session, type SessionPolicy } from './session.ts'
import { newTicket } from './ticket.ts'

interface Parts {
  readonly store: Pick<Store, 'create'>
  readonly atHand: Pick<AtHand, 'keep'>
  readonly ending: Pick<Ending, 'undo'>
  readonly policy: SessionPolicy
  readonly metrics: Metrics
}

interface Beginning {
  readonly login: LoginResult
  /** The public origin that the login started from. */
  readonly origin: string
  /** See `Session.asked`. */
  readonly asked: string | null
}

/** Begins a session under a new id. Rejects with `store_unavailable`, and then there is none. */
export async function beginSession(
  { store, atHand, ending, policy, metrics }: Parts,
  { login, origin, asked }: Beginning,
  now: number,
): Promise<Session> {
  const ticket = newTicket()
  const session: Session = {
    id: ticket.id,
    ticket,
    version: 1,
    issuer: login.issuer,
    ...(login.issuerTemplate === undefined ? {} : { issuerTemplate: login.issuerTemplate }),
    subject: login.idTokenClaims.sub,
    sid: sidOf(login.idTokenClaims),
    origin,
    claims: login.claims,
    asked,
    idToken: login.idToken,
    tokens: login.tokens,
    createdAt: now,
    refreshedAt: now,
    lastSeenAt: now,
    endsAt: absoluteEnd(policy, now, login.idTokenClaims.exp * 1000),
  }
  try {
    await store.create(session.id, toRecord(session), ownerOf(session), recordLife(policy, session, now))
  } catch (error) {
    // Its answer may be all that was lost.
    ending.undo(session.id)
    throw error
  }
  atHand.keep(session, performance.now())
  metrics.sessionsBegun.inc()
  return session
}
