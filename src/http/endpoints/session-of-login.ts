import type { FastifyRequest } from 'fastify'
import type { LoginResult } from '../../oidc/callback.ts'
import { revokeRefreshToken } from '../../oidc/logout.ts'
import { sidOf } from '../../oidc/token-set.ts'
import { absoluteEnd, type Session } from '../../session/session.ts'
import type { Context } from '../context.ts'
import { userMark, type LoginState } from '../login-state.ts'
import { findSession } from './current-session.ts'
import type { Services } from './endpoint.ts'

/**
 * What a silent login does to a session that it is to leave as it is: nothing, but for tokens that can't be renewed in
 * another way. `another`: it is not the provider's session of old, so this one can't be kept.
 */
export async function keepSession(
  services: Services,
  request: FastifyRequest,
  { now }: Context,
  result: LoginResult,
): Promise<'renewed' | 'same' | 'over' | 'another'> {
  const { sessions } = services
  const { tokens, idToken, idTokenClaims, claims } = result
  const session = await findSession(services, request)
  // Another user's by now: what this login looked for is not there any more.
  if (session === null || userMark(session) !== userOf(result)) return 'over'
  if (session.tokens.refreshToken !== null) return 'same'
  if (session.sid !== sidOf(idTokenClaims)) return 'another'
  const endsAt = absoluteEnd(sessions.policy, session.createdAt, idTokenClaims.exp * 1000)
  const { session: renewed } = await sessions.renew(session, { tokens, idToken, claims, refreshedAt: now, endsAt })
  return renewed === null ? 'over' : 'renewed'
}

/** The mark of the user that a login has brought. */
export function userOf({ issuer, idTokenClaims }: LoginResult): string {
  return userMark({ issuer, subject: idTokenClaims.sub })
}

/** The id changes with every login. The same user's session goes on under the new id, another user's ends. */
export async function replaceSession(
  services: Services,
  request: FastifyRequest,
  { now }: Context,
  result: LoginResult,
  state: LoginState,
): Promise<Session> {
  const { sessions, provider, streams, log } = services
  const user = userOf(result)
  const current = await findSession(services, request)
  // Tabs that began together finish one after the other: to change the id each time would fail what the others have
  // under way. The refresh token that this one has got stays unused: it is of the same user's login at the provider, so
  // to revoke it may revoke the grant (RFC 7009, section 2.1) that the present session lives on.
  if (current !== null && userMark(current) === user && current.createdAt > state.at && !state.particular)
    return current
  const before = current === null ? state.before : { id: current.id, endsAt: current.endsAt, user: userMark(current) }
  const session = await sessions.create(result, state.origin, now, state.stepUp).catch((error: unknown) => {
    // What could not be kept must not live on at the provider, unless the user's session here may live on its grant.
    if (before?.user !== user) void revokeRefreshToken(provider, result.tokens.refreshToken, log)
    throw error
  })
  if (before !== null && before.user === user) streams.move(before.id, session)
  if (before !== null) await sessions.end(before, before.user === user ? 'renewed' : 'replaced')
  // The same user's old refresh token may belong to the same grant as the new one: revoking it could end both.
  if (current !== null && userMark(current) !== user)
    void revokeRefreshToken(provider, current.tokens.refreshToken, log)
  return session
}
