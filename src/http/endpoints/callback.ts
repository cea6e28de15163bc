import type { FastifyReply, FastifyRequest } from 'fastify'
import { Fault, causes } from '../../errors.ts'
import {
  readResponse,
  refusedLogin,
  stateIn,
  type AuthorizationError,
  type CodeOrError,
} from '../../oidc/authorization-response.ts'
import { redeemCode, requireIssuer, type LoginResult } from '../../oidc/callback.ts'
import { revokeRefreshToken } from '../../oidc/logout.ts'
import type { Provider } from '../../oidc/provider.ts'
import { ownershipOf } from '../../oidc/providers.ts'
import { authTimeOf } from '../../oidc/token-set.ts'
import { wasLoggedOut } from '../../session/provider-logout.ts'
import { type Session } from '../../session/session.ts'
import { absoluteEnd } from '../../session/lifetime.ts'
import { subjectIn } from '../../telemetry/log.ts'
import { countFromZero, providerLabel } from '../../telemetry/metrics.ts'
import { sendPage, scriptLiteral } from '../answers/pages.ts'
import { contextOf, type Context } from '../context.ts'
import { requestFields } from '../identity.ts'
import { LOGIN_SECONDS } from '../cookies/cookies.ts'
import { fingerprint, isFresh, loginSecrets, type LoginState, userMark } from '../cookies/login-state.ts'
import { findSession } from './current-session.ts'
import { callbackPath, parametersOf, type Endpoint, type Services } from './endpoint.ts'
import { answerRefusal } from './login-error.ts'
import { canRedirect, repeatLogin, restartLogin, loginUrlOf } from './restart-login.ts'
import { outcomeOf, sendOutcome, type Outcome } from './silent-login.ts'

const NO_AUTH_TIME = 'the provider does not say when the user authenticated'

const OUTCOMES = [
  'ok',
  'kept',
  'begun_anew',
  'refused_with_session',
  'silent_failed',
  'login_failed',
  'provider_unavailable',
  'store_unavailable',
  'internal_error',
]

/**
 * `GET` or `POST callback`: finishes a login. Each of several providers has a callback URL of its own, `callback/NAME`.
 * @see https://www.rfc-editor.org/rfc/rfc6749#section-4.1.2
 * @see https://openid.net/specs/oauth-v2-form-post-response-mode-1_0.html
 * @see https://www.rfc-editor.org/rfc/rfc9700#section-4.4
 */
export function callback(provider: Provider): Endpoint {
  return (services) => {
    const { logins } = services.metrics
    const label = providerLabel(provider.name)
    countFromZero(logins, 'outcome', OUTCOMES, label)
    return async (request, reply) => {
      const { loginHost } = services.config
      // All logins have the redirect URI of the login host, so no callback belongs to another host.
      if (loginHost !== null && contextOf(request).facts.origin !== loginHost)
        return services.answers.deny(request, reply, { reason: 'no-route' })
      try {
        return await finishLogin(services, provider, request, reply)
      } catch (error) {
        logins.inc({ outcome: error instanceof Fault ? error.code : 'internal_error', ...label })
        if (error instanceof Fault) error.provider = provider.name
        // A page cannot repeat a posted response.
        const isLost = request.method === 'POST' || (error instanceof Fault && error.status === 400)
        if (error instanceof Fault && error.code !== 'rate_limited' && isLost)
          error.loginUrl = loginUrlOf(services, contextOf(request).facts, stateOf(services, request)).href
        throw error
      }
    }
  }
}

/** A `state` with its return URL. */
interface OpenedState extends LoginState {
  /** Whether the browser no longer has the long return URL. */
  readonly isTargetLost: boolean
}

interface BoundCallback {
  readonly provider: Provider
  readonly answer: CodeOrError
  readonly sealed: string
  readonly state: LoginState
  readonly secret: string
}

type LoginEnd =
  | { readonly type: 'logged-in'; readonly session: Session }
  /** The current session continues. `renewed`: with new tokens. */
  | { readonly type: 'kept'; readonly renewed: boolean }
  | { readonly type: 'failed'; readonly problem: string; readonly outcome: Outcome }
  /** The provider does not say when the user authenticated, although the login requested a maximum age. */
  | { readonly type: 'unproven' }
  /** The provider refused a login that is not silent. */
  | { readonly type: 'refused'; readonly answer: AuthorizationError }

async function finishLogin(
  services: Services,
  provider: Provider,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const state = stateOf(services, request)
  if (state === null) {
    const cause = new Error('the callback has no state, or a state that this gateway has not sealed')
    throw new Fault('login_failed', { cause, text: 'login_failed.elsewhere' })
  }
  // A provider that an attacker controls must not receive the code of another provider.
  if (state.provider !== provider.name) {
    const cause = new Error(`the login began with the provider ${state.provider}, but the callback is that of another`)
    throw new Fault('login_failed', { cause, text: 'login_failed.elsewhere' })
  }
  const end = await completeLogin(services, provider, request, state)
  if (state.longTarget === true) forgetLongTarget(services, request, reply, state)
  switch (end.type) {
    case 'logged-in':
      return sendToTarget(services, request, reply, state, end.session)
    case 'kept':
      services.metrics.logins.inc({ outcome: 'kept', ...providerLabel(provider.name) })
      return sendOutcome(services, request, reply, 'ok', {
        isNew: end.renewed,
        reportAt: reportOriginOf(services, state),
      })
    case 'refused':
      return answerRefusal(services, request, reply, state, end.answer)
    case 'unproven':
      if (!canRedirect(services, request))
        throw new Fault('login_failed', { cause: new Error(NO_AUTH_TIME), text: 'login_failed.step_up' })
      return repeatLogin(services, request, reply, state, NO_AUTH_TIME, { prompt: 'login' })
    case 'failed':
      if (!state.silent) return restartLogin(services, request, reply, state, end.problem)
      services.metrics.logins.inc({ outcome: 'silent_failed', ...providerLabel(provider.name) })
      return sendOutcome(services, request, reply, end.outcome, { reportAt: reportOriginOf(services, state) })
  }
}

/** Removes the cookies of the return URL. The callback must have an outcome, because the browser may repeat it before. */
function forgetLongTarget(
  { cookies }: Services,
  request: FastifyRequest,
  reply: FastifyReply,
  { id, isTargetLost }: OpenedState,
): void {
  if (isTargetLost)
    request.log.info(
      { event: 'return_url_lost', ...requestFields(request) },
      'the browser no longer has the return URL of a login, so the login leads to the start page',
    )
  reply.header('set-cookie', cookies.targets.clear(request.headers.cookie, id))
}

/** Returns the origin of the page that gets the outcome of a silent login. */
function reportOriginOf({ config }: Services, { target, origin }: LoginState): string | undefined {
  return config.loginHost === null ? undefined : new URL(target, origin).origin
}

/** Returns the `state` of a callback with its return URL, or `null` if this gateway has not sealed it. */
function stateOf({ cookies, loginStates }: Services, request: FastifyRequest): OpenedState | null {
  const state = loginStates.open(stateIn(parametersOf(request)))
  if (state === null) return null
  if (state.longTarget !== true) return { ...state, isTargetLost: false }
  const target = cookies.targets.find(request.headers.cookie, state.id)
  return { ...state, target: target ?? state.target, isTargetLost: target === null }
}

async function completeLogin(
  services: Services,
  provider: Provider,
  request: FastifyRequest,
  state: LoginState,
): Promise<LoginEnd> {
  const context = contextOf(request)
  const parameters = parametersOf(request)
  const answer = await readResponse(provider, parameters).catch((error: unknown) => {
    if (!state.silent) throw error
    return failSilentLogin(request, provider, error, 'error')
  })
  if (answer.type === 'failed') return answer
  if (answer.type === 'malformed') {
    if (state.silent) return failed('error', answer.problem)
    throw new Fault('login_failed', { cause: new Error(answer.problem) })
  }
  if (answer.type === 'expired') return failed('error', 'the signed response has expired')
  const { cookies } = services
  const binding = cookies.bindings(request.headers.cookie).find(({ secret }) => fingerprint(secret) === state.browser)
  if (binding === undefined) return failed('error', 'this browser has no cookie for the state')
  const problem = await whyStale(services, request, context, state)
  if (problem !== null) return failed('error', problem)

  const sealed = stateIn(parameters)
  const result = await redeem(services, request, { provider, answer, sealed, state, secret: binding.secret })
  if (result.type !== 'redeemed') return result
  // A silent login must not change the user, because the surrounding page shows the data of the previous one.
  const { login } = result
  // A login with `prompt=login` proves the age by itself.
  if (state.maxAge !== null && state.reauthenticates !== true && authTimeOf(login.claims) === null)
    return { type: 'unproven' }
  if (state.silent && state.user !== null && state.user !== userMark(login))
    return failed(state.keep ? 'login_required' : 'interaction_required')
  if (state.keep) {
    const kept = await keepSession(services, request, context, login, state)
    if (kept === 'ended') return failed('login_required')
    if (kept !== 'another') return { type: 'kept', renewed: kept === 'renewed' }
  }
  const session = await replaceSession(services, request, context, login, state)
  if (!(await wasLoggedOut(services.store, session, state.at))) return { type: 'logged-in', session }
  await services.sessions.end(session, 'backchannel')
  return failed('login_required', 'the provider ended this sign-in while it was under way')
}

function failed(outcome: Outcome, problem = 'the login failed'): Extract<LoginEnd, { type: 'failed' }> {
  return { type: 'failed', outcome, problem }
}

async function redeem(
  { config }: Services,
  request: FastifyRequest,
  { provider, answer, sealed, state, secret }: BoundCallback,
): Promise<
  { readonly type: 'redeemed'; readonly login: LoginResult } | Extract<LoginEnd, { type: 'failed' | 'refused' }>
> {
  const { acrValues, maxAge } = state
  const redirectUri = `${state.origin}${config.basePath}/${callbackPath(provider)}`
  const checks = {
    redirectUri,
    state: sealed,
    ...loginSecrets(secret, state.id),
    acrValues,
    maxAge,
    identityOnly: state.identityOnly === true,
  }
  try {
    if (answer.type === 'code')
      return {
        type: 'redeemed',
        login: {
          ...(await redeemCode(provider, answer, checks, contextOf(request).now)),
          ...ownershipOf(provider),
          ...(state.reauthenticates === true ? { reauthenticated: true } : {}),
        },
      }
    requireIssuer(provider, answer)
    if (!state.silent) return { type: 'refused', answer }
    return failSilentLogin(request, provider, refusedLogin(answer, 'refused', false), outcomeOf(answer.error))
  } catch (error) {
    if (!state.silent) throw error
    return failSilentLogin(request, provider, error, 'error')
  }
}

function failSilentLogin(
  request: FastifyRequest,
  { name }: Provider,
  error: unknown,
  outcome: Outcome,
): Extract<LoginEnd, { type: 'failed' }> {
  request.log.info(
    { event: 'silent_login_failed', ...requestFields(request), provider: name, cause: causes(error) },
    'a silent login failed',
  )
  return failed(outcome)
}

function sendToTarget(
  services: Services,
  request: FastifyRequest,
  reply: FastifyReply,
  state: LoginState,
  session: Session,
): FastifyReply {
  const { cookies, config, metrics } = services
  metrics.logins.inc({ outcome: 'ok', ...providerLabel(session.provider) })
  const context = contextOf(request)
  const previous = context.session?.id === session.id ? undefined : context.session?.id
  context.session = session
  request.log.info(
    {
      event: 'login',
      ...requestFields(request),
      provider: session.provider,
      ...subjectIn(request.log, session.subject),
      previous,
    },
    'a user has logged in',
  )
  context.verdict = 'login'
  reply.header('set-cookie', cookies.setTicket(session.ticket))
  if (session.provider !== undefined) reply.header('set-cookie', cookies.setChoice(session.provider))
  // The count detects a return URL that leads back to the login every time.
  const requestedTarget = state.rejectedTarget ?? state.target
  if (!state.silent)
    reply.header(
      'set-cookie',
      cookies.setLogins(cookies.logins(request.headers.cookie, requestedTarget) + 1, requestedTarget),
    )
  return config.session.cookie.sameSite === 'strict'
    ? sendTargetPage(services, request, reply, state.target)
    : reply.header('cache-control', 'no-store').redirect(state.target, 302)
}

/**
 * Sends a page that navigates to the return URL. Browsers do not send a SameSite=Strict cookie in a redirect chain from
 * the provider's site, but they send it in a navigation from a page of this site.
 */
function sendTargetPage(
  { config }: Services,
  request: FastifyRequest,
  reply: FastifyReply,
  target: string,
): FastifyReply {
  return sendPage(
    request,
    reply,
    {
      text: 'signed_in',
      actions: [{ label: 'continue', href: target, id: 'continue' }],
      script: `location.replace(${scriptLiteral(target)})`,
    },
    config.pages,
  )
}

async function whyStale(
  { store }: Services,
  request: FastifyRequest,
  { facts, now }: Context,
  state: LoginState,
): Promise<string | null> {
  if (!isFresh(state, now)) return 'the login took longer than ten minutes'
  if (state.origin !== facts.origin) return 'the login began at another public URL'
  if (await store.claimOnce(`login ${state.id}`, LOGIN_SECONDS * 1000)) return null
  request.log.info(
    { event: 'replay', ...requestFields(request), what: 'state' },
    'a callback was received a second time',
  )
  return 'the state was used before'
}

/**
 * Keeps the current session after a silent login. Replaces the session's tokens only if they cannot be refreshed.
 * Returns `ended` if the user's session has ended, and `another` if the session cannot be kept because the login
 * belongs to another session at the provider. A login that only identifies the user changes no session.
 */
async function keepSession(
  services: Services,
  request: FastifyRequest,
  { now }: Context,
  result: LoginResult,
  { identityOnly }: LoginState,
): Promise<'renewed' | 'same' | 'ended' | 'another'> {
  const { sessions } = services
  const { tokens, sid, idToken, idTokenExpiresAt, claims } = result
  const session = await findSession(services, request)
  // The current session may belong to another user who has logged in in the meantime.
  if (session === null || userMark(session) !== userMark(result)) return 'ended'
  // The session may have lost its refresh token during an `identityOnly` login, which has no groups and an access token
  // with the scope `openid` only.
  if (session.tokens.refreshToken !== null || identityOnly === true) return 'same'
  if (session.sid !== sid) return 'another'
  const endsAt = absoluteEnd(sessions.policy, session.createdAt, idTokenExpiresAt)
  const { session: renewed } = await sessions.renew(session, {
    tokens,
    idToken,
    claims,
    refreshedAt: now,
    endsAt,
    claimsEndAt: null,
  })
  return renewed === null ? 'ended' : 'renewed'
}

/**
 * Creates the session of a login and ends the previous session of the browser. If the previous session belongs to the
 * same user, its open streams move to the new session.
 */
async function replaceSession(
  services: Services,
  request: FastifyRequest,
  { now }: Context,
  result: LoginResult,
  state: LoginState,
): Promise<Session> {
  const { sessions, providers, streams, log } = services
  const user = userMark(result)
  const current = await findSession(services, request)
  // Tabs that begin a login at the same time finish one after the other. A new session each time would fail the
  // requests of the other tabs. The new refresh token is not revoked, because a revocation could end the grant of the
  // current session: https://www.rfc-editor.org/rfc/rfc7009#section-2.1
  if (current !== null && userMark(current) === user && current.createdAt > state.at && !state.particular)
    return current
  const before = current === null ? state.before : { id: current.id, endsAt: current.endsAt, user: userMark(current) }
  const session = await sessions.create(result, state.origin, now, state.stepUp).catch((error: unknown) => {
    // Revokes the new refresh token, because its session was not saved, unless the same user's previous session may
    // depend on the same grant.
    if (before?.user !== user) void revokeRefreshToken(providers.of(result), result.tokens, log)
    throw error
  })
  if (before !== null && before.user === user) streams.move(before.id, session)
  if (before !== null) await sessions.end(before, before.user === user ? 'renewed' : 'replaced')
  // Does not revoke an old refresh token of the same user. It may share a grant with the new refresh token, and a
  // revocation would end that grant.
  if (current !== null && userMark(current) !== user)
    void revokeRefreshToken(providers.of(current), current.tokens, log)
  return session
}
