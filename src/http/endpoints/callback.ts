import type { FastifyReply, FastifyRequest } from 'fastify'
import { Fault, causes } from '../../errors.ts'
import {
  readAuthorizationResponse,
  refusedLogin,
  type AuthorizationError,
  type CodeOrError,
} from '../../oidc/authorization-response.ts'
import { redeemCode, requireIssuer, type LoginResult } from '../../oidc/callback.ts'
import { revokeRefreshToken } from '../../oidc/logout.ts'
import { sidOf } from '../../oidc/token-set.ts'
import { wasLoggedOut } from '../../session/provider-logout.ts'
import { type Session, absoluteEnd } from '../../session/session.ts'
import { countFromZero } from '../../telemetry/metrics.ts'
import { renderPage, scriptLiteral } from '../answers/pages.ts'
import { contextOf, type Context } from '../context.ts'
import { LOGIN_SECONDS } from '../cookies/cookies.ts'
import { fingerprint, isFresh, loginSecrets, type LoginState, userMark } from '../cookies/login-state.ts'
import { findSession } from './current-session.ts'
import { parametersOf, type Endpoint, type Services } from './endpoint.ts'
import { answerRefusal } from './login-refused.ts'
import { restartLogin, loginUrlOf } from './restart-login.ts'
import { outcomeOf, sendOutcome, type Outcome } from './silent.ts'

const NO_STATE = 'This address finishes a sign-in that has begun elsewhere, or long ago. Begin again.'

/** What can become of a login that comes back. */
const OUTCOMES = [
  'ok',
  'kept',
  'begun_anew',
  'refused_with_session',
  'gave_up',
  'silent_failed',
  'login_failed',
  'provider_unavailable',
  'store_unavailable',
  'internal_error',
]

/** `GET` or `POST callback`: finishes a login (RFC 6749, section 4.1.2; OAuth 2.0 Form Post Response Mode). */
export const callback: Endpoint = (services) => {
  const { logins } = services.metrics
  countFromZero(logins, OUTCOMES)
  return async (request, reply) => {
    try {
      return await finishLogin(services, request, reply)
    } catch (error) {
      logins.inc({ outcome: error instanceof Fault ? error.code : 'internal_error' })
      if (error instanceof Fault && error.code === 'login_failed' && error.status === 400)
        error.loginUrl = loginUrlOf(services, contextOf(request).facts, stateOf(services, request)).href
      throw error
    }
  }
}

/** A login that comes back: its state, and the secret that binds it to this browser, where this browser has it. */
interface Returned {
  readonly answer: CodeOrError
  readonly sealed: string
  readonly state: LoginState
  readonly secret: string
}

/** What becomes of it. */
type End =
  | { readonly type: 'logged-in'; readonly session: Session }
  /** The session that there is goes on, with new tokens where it was `renewed`. */
  | { readonly type: 'kept'; readonly renewed: boolean }
  | { readonly type: 'nothing'; readonly problem: string; readonly outcome: Outcome }
  /** The provider’s no to a login that the user sees. */
  | { readonly type: 'refused'; readonly answer: AuthorizationError }

async function finishLogin(services: Services, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
  const state = stateOf(services, request)
  if (state === null) {
    const cause = new Error('the callback has no state, or one that is not of this gateway')
    throw new Fault('login_failed', { cause, detail: NO_STATE })
  }
  const end = await endOf(services, request, state)
  switch (end.type) {
    case 'logged-in':
      return welcome(services, request, reply, state, end.session)
    case 'kept':
      services.metrics.logins.inc({ outcome: 'kept' })
      return sendOutcome(services, request, reply, 'ok', end.renewed)
    case 'refused':
      return answerRefusal(services, request, reply, state, end.answer)
    case 'nothing':
      if (!state.silent) return restartLogin(services, request, reply, state, end.problem)
      services.metrics.logins.inc({ outcome: 'silent_failed' })
      return sendOutcome(services, request, reply, end.outcome)
  }
}

/** The sealed `state` of a callback; `null` without one that this gateway has sealed. */
function stateOf({ loginStates }: Services, request: FastifyRequest): LoginState | null {
  return loginStates.open(parametersOf(request).get('state') ?? '')
}

async function endOf(services: Services, request: FastifyRequest, state: LoginState): Promise<End> {
  const context = contextOf(request)
  const parameters = parametersOf(request)
  const answer = readAuthorizationResponse(parameters)
  if (answer.type === 'malformed') {
    if (state.silent) return nothing('error', answer.problem)
    throw new Fault('login_failed', { cause: new Error(answer.problem) })
  }
  const { cookies } = services
  const binding = cookies.bindings(request.headers.cookie).find(({ secret }) => fingerprint(secret) === state.browser)
  if (binding === undefined) return nothing('error', 'this browser has no cookie for the state')
  const problem = await staleness(services, request, context, state)
  if (problem !== null) return nothing('error', problem)

  const sealed = parameters.get('state') ?? ''
  const result = await redeem(services, request, { answer, sealed, state, secret: binding.secret })
  if (result.type !== 'redeemed') return result
  // The page around a silent login still shows the work of the user who was there before.
  const { login } = result
  if (state.silent && state.user !== null && state.user !== userOf(login))
    return nothing(state.keep ? 'login_required' : 'interaction_required')
  if (state.keep) {
    const kept = await keepSession(services, request, context, login)
    if (kept === 'over') return nothing('login_required')
    if (kept !== 'another') return { type: 'kept', renewed: kept === 'renewed' }
  }
  const session = await replaceSession(services, request, context, login, state)
  if (!(await wasLoggedOut(services.store, session, state.at))) return { type: 'logged-in', session }
  await services.sessions.end(session, 'backchannel')
  return nothing('login_required', 'the provider ended this sign-in while it was under way')
}

function nothing(outcome: Outcome, problem = 'the login came to nothing'): Extract<End, { type: 'nothing' }> {
  return { type: 'nothing', outcome, problem }
}

/** What the provider’s answer is good for. */
async function redeem(
  { provider, config }: Services,
  request: FastifyRequest,
  { answer, sealed, state, secret }: Returned,
): Promise<{ readonly type: 'redeemed'; readonly login: LoginResult } | Extract<End, { type: 'nothing' | 'refused' }>> {
  const { acrValues, maxAge } = state
  const redirectUri = `${state.origin}${config.basePath}/callback`
  const checks = { redirectUri, state: sealed, ...loginSecrets(secret, state.id), acrValues, maxAge }
  try {
    if (answer.type === 'code')
      return { type: 'redeemed', login: await redeemCode(provider, answer, checks, contextOf(request).now) }
    requireIssuer(provider, answer)
    if (!state.silent) return { type: 'refused', answer }
    return silentlyFailed(request, refusedLogin(answer, 'refused', false), outcomeOf(answer.error))
  } catch (error) {
    if (!state.silent) throw error
    return silentlyFailed(request, error, 'error')
  }
}

function silentlyFailed(request: FastifyRequest, error: unknown, outcome: Outcome): Extract<End, { type: 'nothing' }> {
  request.log.info(
    { event: 'silent_login_failed', id: request.id, cause: causes(error) },
    'a login without the user came to nothing',
  )
  return nothing(outcome)
}

/** Sends the user, who is logged in now, to where they wanted to go. */
function welcome(
  services: Services,
  request: FastifyRequest,
  reply: FastifyReply,
  state: LoginState,
  session: Session,
): FastifyReply {
  const { cookies, config, metrics } = services
  metrics.logins.inc({ outcome: 'ok' })
  request.log.info(
    { event: 'login', id: request.id, session: session.id, sub: session.subject },
    'a user has logged in',
  )
  contextOf(request).verdict = 'login'
  reply.header('set-cookie', cookies.setTicket(session.ticket))
  // A target that leads here again and again is found out by it.
  const asked = state.asked ?? state.target
  if (!state.silent)
    reply.header('set-cookie', cookies.setLogins(cookies.logins(request.headers.cookie, asked) + 1, asked))
  return config.session.cookie.sameSite === 'strict'
    ? sendBounce(services, request, reply, state.target)
    : reply.header('cache-control', 'no-store').redirect(state.target, 302)
}

/**
 * A redirect that began at the provider's site does not carry a SameSite=Strict cookie; a step from a page of ours
 * does.
 */
function sendBounce({ config }: Services, request: FastifyRequest, reply: FastifyReply, target: string): FastifyReply {
  const page = renderPage(
    {
      name: 'signed_in',
      title: 'Signed in',
      detail: 'You are being taken to where you wanted to go.',
      requestId: request.id,
      actions: [{ label: 'Continue', href: target, id: 'continue' }],
      script: `location.replace(${scriptLiteral(target)})`,
    },
    config.pages,
  )
  return reply.headers(page.headers).send(page.html)
}

async function staleness(
  { store }: Services,
  request: FastifyRequest,
  { facts, now }: Context,
  state: LoginState,
): Promise<string | null> {
  if (!isFresh(state, now)) return 'the login took longer than ten minutes'
  if (state.origin !== facts.origin) return 'the login began at another public URL'
  if (await store.claimOnce(`login ${state.id}`, LOGIN_SECONDS * 1000)) return null
  request.log.info({ event: 'replay', id: request.id, what: 'state' }, 'a callback came a second time')
  return 'the state was used before'
}

/**
 * What a silent login does to a session that it is to leave as it is: nothing, but for tokens that can't be renewed in
 * another way. `another`: it is not the provider's session of old, so this one can't be kept.
 */
async function keepSession(
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
function userOf({ issuer, idTokenClaims }: LoginResult): string {
  return userMark({ issuer, subject: idTokenClaims.sub })
}

/** The id changes with every login. The same user's session goes on under the new id, another user's ends. */
async function replaceSession(
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
