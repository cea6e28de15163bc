import type { FastifyReply, FastifyRequest } from 'fastify'
import { Fault } from '../../errors.ts'
import { redeemCode, type LoginResult } from '../../oidc/callback.ts'
import { revokeRefreshToken } from '../../oidc/logout.ts'
import { wasLoggedOut } from '../../session/logged-out.ts'
import { sidOf } from '../../oidc/token-set.ts'
import { absoluteEnd, type Session } from '../../session/session.ts'
import { contextOf, type Context } from '../context.ts'
import { LOGIN_SECONDS } from '../cookies.ts'
import { kindOf } from '../failures.ts'
import { fingerprint, isFresh, loginSecrets, userMark, type LoginState } from '../login-state.ts'
import { renderPage, scriptLiteral } from '../pages.ts'
import { findSession } from './current-session.ts'
import { parametersOf, type Endpoint, type Services } from './endpoint.ts'
import { MAX_TRIES } from './login.ts'
import { outcomeOf, sendOutcome } from './silent.ts'

/** `GET` or `POST callback`: finishes a login (RFC 6749, section 4.1.2; OAuth 2.0 Form Post Response Mode). */
export const callback: Endpoint = (services) => async (request, reply) => {
  const { cookies, loginStates, config, metrics } = services
  const context = contextOf(request)
  const parameters = parametersOf(request)
  const sealed = parameters.get('state')
  if (sealed === null) {
    throw new Fault('login_failed', { cause: new Error('the callback has no state'), detail: 'This address finishes a sign-in that has begun elsewhere. Begin again at the start page.' })
  }
  const state = loginStates.open(sealed)
  const binding = state === null ? undefined
    : cookies.bindings(request.headers.cookie).find(({ secret }) => fingerprint(secret) === state.browser)
  const problem = state === null ? 'the state is not one of this gateway’s'
    : binding === undefined ? 'this browser has no cookie for the state'
      : await staleness(services, context, state)
  if (state === null || binding === undefined || problem !== null) {
    return state?.silent === true ? sendOutcome(services, request, reply, 'error') : heal(services, request, reply, state, problem ?? '')
  }

  const url = new URL(`${state.origin}${config.basePath}/callback?${parameters.toString()}`)
  let result: LoginResult
  try {
    const { acrValues, maxAge } = state
    result = await redeemCode(services.provider, url, { state: sealed, ...loginSecrets(binding.secret, state.id), acrValues, maxAge }, context.now)
  } catch (error) {
    metrics.logins.inc({ outcome: state.silent ? 'silent_failed' : error instanceof Fault ? error.code : 'internal_error' })
    if (state.silent) return sendOutcome(services, request, reply, outcomeOf(parameters.get('error')))
    throw error
  }
  // The page around a silent login still shows the work of the user who was there before.
  if (state.silent && state.user !== null && state.user !== userOf(result)) {
    return sendOutcome(services, request, reply, state.keep ? 'login_required' : 'interaction_required')
  }
  if (state.keep) {
    const kept = await keepSession(services, request, context, result)
    if (kept !== 'another') return sendOutcome(services, request, reply, kept === 'over' ? 'login_required' : 'ok', kept === 'renewed')
  }
  const session = await replaceSession(services, request, context, result, state)
  if (await wasLoggedOut(services.store, session)) {
    await services.sessions.end(session, 'backchannel')
    const problem = 'the provider ended this sign-in while it was under way'
    return state.silent ? sendOutcome(services, request, reply, 'login_required') : heal(services, request, reply, state, problem)
  }
  metrics.logins.inc({ outcome: 'ok' })
  request.log.info({ event: 'login', id: request.id, session: session.id, sub: session.subject }, 'a user has logged in')
  context.verdict = 'login'
  reply.header('set-cookie', cookies.setTicket(session.ticket))
  const clearTries = cookies.clearTries(request.headers.cookie)
  if (clearTries !== null) reply.header('set-cookie', clearTries)
  return config.session.cookie.sameSite === 'strict' ? sendBounce(services, request, reply, state.target)
    : reply.header('cache-control', 'no-store').redirect(state.target, 302)
}

/** A redirect that began at the provider's site does not carry a SameSite=Strict cookie; a step from a page of ours does. */
function sendBounce({ config }: Services, request: FastifyRequest, reply: FastifyReply, target: string): FastifyReply {
  const page = renderPage({
    name: 'signed_in', title: 'Signed in', detail: 'You are being taken to where you wanted to go.', requestId: request.id,
    actions: [{ label: 'Continue', href: target, id: 'continue' }], script: `location.replace(${scriptLiteral(target)})`,
  }, config.pages)
  return reply.headers(page.headers).send(page.html)
}

async function staleness({ store }: Services, { facts, now }: Context, state: LoginState): Promise<string | null> {
  if (!isFresh(state, now)) return 'the login took longer than ten minutes'
  if (state.origin !== facts.origin) return 'the login began at another public URL'
  return await store.once(`login ${state.id}`, LOGIN_SECONDS * 1000) ? null : 'the state was used before'
}

/** Where the user is logged in already the login has served its purpose; else it begins once more, three times at most. */
async function heal(services: Services, request: FastifyRequest, reply: FastifyReply, state: LoginState | null, problem: string): Promise<unknown> {
  const { cookies, config, metrics } = services
  const { facts } = contextOf(request)
  const cause = new Error(problem)
  const kind = kindOf(request, config)
  if (kind !== 'navigation' && kind !== 'form') throw new Fault('login_failed', { cause })
  const target = state === null || state.origin !== facts.origin ? '/' : state.target
  reply.header('cache-control', 'no-store')
  if (await findSession(services, request) !== null) return reply.redirect(target, 302)
  const tries = Math.max(cookies.tries(request.headers.cookie, target), state?.tries ?? 0) + 1
  metrics.logins.inc({ outcome: tries > MAX_TRIES ? 'gave_up' : 'begun_anew' })
  if (tries > MAX_TRIES) {
    const clearTries = cookies.clearTries(request.headers.cookie)
    if (clearTries !== null) reply.header('set-cookie', clearTries)
    throw new Fault('login_failed', { cause, detail: `The sign-in was begun anew several times and came to nothing: ${problem}. Check that this browser accepts cookies.` })
  }
  request.log.info({ event: 'login_begun_anew', id: request.id, problem, tries }, 'a callback could not be used')
  const again = new URLSearchParams({ redirect: target, tries: String(tries) })
  return reply.header('set-cookie', cookies.setTries(tries, target)).redirect(`${facts.origin}${config.basePath}/login?${again.toString()}`, 302)
}

/**
 * What a silent login does to a session that it is to leave as it is: nothing, but for tokens that can't be renewed in
 * another way. `another`: it is not the provider's session of old, so this one can't be kept.
 */
async function keepSession(
  services: Services, request: FastifyRequest, { now }: Context, { tokens, idToken, idTokenClaims, claims }: LoginResult,
): Promise<'renewed' | 'same' | 'over' | 'another'> {
  const { sessions } = services
  const session = await findSession(services, request)
  if (session === null) return 'over'
  if (session.tokens.refreshToken !== null) return 'same'
  if (session.sid !== sidOf(idTokenClaims)) return 'another'
  const endsAt = absoluteEnd(sessions.policy, session.createdAt, idTokenClaims.exp * 1000)
  const { session: renewed } = await sessions.renew(session, { tokens, idToken, claims, refreshedAt: now, endsAt }, now)
  return renewed === null ? 'over' : 'renewed'
}

function userOf({ issuer, idTokenClaims }: LoginResult): string {
  return userMark({ issuer, subject: idTokenClaims.sub })
}

/** The id changes with every login. The same user's session goes on under the new id, another user's ends. */
async function replaceSession(services: Services, request: FastifyRequest, { now }: Context, result: LoginResult, state: LoginState): Promise<Session> {
  const { sessions, provider, streams, log } = services
  const user = userOf(result)
  const current = await findSession(services, request)
  // Tabs that began together finish one after the other: to change the id each time would fail what the others have under way.
  if (current !== null && userMark(current) === user && current.createdAt > state.at && !state.particular) return current
  const session = await sessions.create(result, state.origin, now, state.stepUp)
  const before = current === null ? state.before : { id: current.id, endsAt: current.endsAt, user: userMark(current) }
  if (before !== null && before.user === user) streams.move(before.id, session)
  if (before !== null) await sessions.end(before, before.user === user ? 'renewed' : 'replaced')
  // The same user's old refresh token may belong to the same grant as the new one: revoking it could end both.
  if (current !== null && userMark(current) !== user) void revokeRefreshToken(provider, current.tokens.refreshToken, log)
  return session
}
