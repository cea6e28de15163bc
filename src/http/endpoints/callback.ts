import type { FastifyReply, FastifyRequest } from 'fastify'
import { Fault, causes } from '../../errors.ts'
import { redeemCode, type LoginResult } from '../../oidc/callback.ts'
import { wasLoggedOut } from '../../session/logged-out.ts'
import { countFromZero } from '../../telemetry/metrics.ts'
import { contextOf, type Context } from '../context.ts'
import { LOGIN_SECONDS } from '../cookies.ts'
import { fingerprint, isFresh, loginSecrets, type LoginState } from '../login-state.ts'
import { renderPage, scriptLiteral } from '../pages.ts'
import { parametersOf, type Endpoint, type Services } from './endpoint.ts'
import { heal } from './heal.ts'
import { keepSession, replaceSession, userOf } from './session-of-login.ts'
import { outcomeOf, sendOutcome, type Outcome } from './silent.ts'

const NO_STATE = 'This address finishes a sign-in that has begun elsewhere. Begin again at the start page.'

/** What can become of a login that comes back. */
const OUTCOMES = [
  'ok',
  'kept',
  'begun_anew',
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
      throw error
    }
  }
}

async function finishLogin(services: Services, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
  const { cookies, loginStates, config, metrics } = services
  const context = contextOf(request)
  const parameters = parametersOf(request)
  const sealed = parameters.get('state')
  if (sealed === null) {
    throw new Fault('login_failed', { cause: new Error('the callback has no state'), detail: NO_STATE })
  }
  const state = loginStates.open(sealed)
  if (state === null) {
    throw new Fault('login_failed', { cause: new Error('the state is not one of this gateway’s'), detail: NO_STATE })
  }
  const binding = cookies.bindings(request.headers.cookie).find(({ secret }) => fingerprint(secret) === state.browser)
  const problem =
    binding === undefined
      ? 'this browser has no cookie for the state'
      : await staleness(services, request, context, state)
  if (binding === undefined || problem !== null) {
    return state.silent
      ? failSilently(services, request, reply, 'error')
      : heal(services, request, reply, state, problem ?? '')
  }

  const url = new URL(`${state.origin}${config.basePath}/callback?${parameters.toString()}`)
  let result: LoginResult
  try {
    const { acrValues, maxAge } = state
    const checks = { state: sealed, ...loginSecrets(binding.secret, state.id), acrValues, maxAge }
    result = await redeemCode(services.provider, url, checks, context.now)
  } catch (error) {
    if (!state.silent) throw error
    request.log.info(
      { event: 'silent_login_failed', id: request.id, cause: causes(error) },
      'a login without the user came to nothing',
    )
    return failSilently(services, request, reply, outcomeOf(parameters.get('error')))
  }
  // The page around a silent login still shows the work of the user who was there before.
  if (state.silent && state.user !== null && state.user !== userOf(result)) {
    return failSilently(services, request, reply, state.keep ? 'login_required' : 'interaction_required')
  }
  if (state.keep) {
    const kept = await keepSession(services, request, context, result)
    if (kept === 'over') return failSilently(services, request, reply, 'login_required')
    if (kept !== 'another') {
      metrics.logins.inc({ outcome: 'kept' })
      return sendOutcome(services, request, reply, 'ok', kept === 'renewed')
    }
  }
  const session = await replaceSession(services, request, context, result, state)
  if (await wasLoggedOut(services.store, session, state.at)) {
    await services.sessions.end(session, 'backchannel')
    const problem = 'the provider ended this sign-in while it was under way'
    return state.silent
      ? failSilently(services, request, reply, 'login_required')
      : heal(services, request, reply, state, problem)
  }
  metrics.logins.inc({ outcome: 'ok' })
  request.log.info(
    { event: 'login', id: request.id, session: session.id, sub: session.subject },
    'a user has logged in',
  )
  context.verdict = 'login'
  reply.header('set-cookie', cookies.setTicket(session.ticket))
  // A target that leads here again and again is found out by it.
  const asked = state.asked ?? state.target
  if (!state.silent)
    reply.header('set-cookie', cookies.setLogins(cookies.logins(request.headers.cookie, asked) + 1, asked))
  return config.session.cookie.sameSite === 'strict'
    ? sendBounce(services, request, reply, state.target)
    : reply.header('cache-control', 'no-store').redirect(state.target, 302)
}

function failSilently(
  services: Services,
  request: FastifyRequest,
  reply: FastifyReply,
  outcome: Outcome,
): FastifyReply {
  services.metrics.logins.inc({ outcome: 'silent_failed' })
  return sendOutcome(services, request, reply, outcome)
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
  if (await store.once(`login ${state.id}`, LOGIN_SECONDS * 1000)) return null
  request.log.info({ event: 'replay', id: request.id, what: 'state' }, 'a callback came a second time')
  return 'the state was used before'
}
