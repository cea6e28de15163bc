import type { FastifyReply, FastifyRequest } from 'fastify'
import { CHOOSE_ACCOUNT, TRIES } from '../../config/login-query.ts'
import { Fault } from '../../errors.ts'
import { parseStepUpKey } from '../../gate/admit.ts'
import { startPageOf } from '../../gate/return-target.ts'
import type { Facts } from '../../gate/verdict.ts'
import { providerLabel } from '../../telemetry/metrics.ts'
import { contextOf } from '../context.ts'
import { requestFields } from '../identity.ts'
import { kindOf } from '../answers/send.ts'
import type { LoginState } from '../cookies/login-state.ts'
import { findSession } from './current-session.ts'
import type { Services } from './endpoint.ts'
import { MAX_TRIES } from './login.ts'

/**
 * Answers a callback that cannot finish its login, because the callback is late, repeated or from another browser.
 * Redirects a browser with a session to the return URL. Otherwise restarts the login, at most three times.
 */
export async function restartLogin(
  services: Services,
  request: FastifyRequest,
  reply: FastifyReply,
  state: LoginState,
  problem: string,
): Promise<FastifyReply> {
  const { facts } = contextOf(request)
  if (!canRedirect(services, request)) throw new Fault('login_failed', { cause: new Error(problem) })
  const session = await findSession(services, request)
  if (session !== null && session.provider === state.provider)
    return reply.header('cache-control', 'no-store').redirect(targetOf(services, state, facts), 302)
  return repeatLogin(services, request, reply, state, problem)
}

/**
 * Returns whether the callback may redirect: the user sees the resulting page only for a navigation or a form, and in a
 * frame in which the login takes place.
 */
export function canRedirect({ config }: Services, request: FastifyRequest): boolean {
  const kind = kindOf(request, config)
  return kind === 'navigation' || kind === 'form' || (kind === 'frame' && config.session.cookie.partitioned)
}

/**
 * Restarts the login of a callback, with these parameters in addition to its own. Throws `login_failed` after three restarts in
 * a row.
 */
export function repeatLogin(
  services: Services,
  request: FastifyRequest,
  reply: FastifyReply,
  state: LoginState,
  problem: string,
  parameters: Readonly<Record<string, string>> = {},
): FastifyReply {
  const { cookies, metrics } = services
  const { facts } = contextOf(request)
  const { cookie } = request.headers
  const target = targetOf(services, state, facts)
  const tries = Math.max(cookies.tries(cookie, target), state.tries) + 1
  if (tries > MAX_TRIES) {
    forgetTries(services, request, reply)
    throw new Fault('login_failed', {
      cause: new Error(problem),
      text: 'login_failed.restarted',
    })
  }
  metrics.logins.inc({ outcome: 'begun_anew', ...providerLabel(state.provider) })
  request.log.info(
    { event: 'login_begun_anew', ...requestFields(request), provider: state.provider, problem, tries },
    'a callback could not be used',
  )
  const url = loginUrlOf(services, facts, state)
  url.searchParams.set(TRIES, String(tries))
  // The link of an error page does not ask again, because the provider may have refused the question.
  if (state.chooseAccount === true) url.searchParams.set(CHOOSE_ACCOUNT, '1')
  if (state.provider !== undefined) url.searchParams.set('provider', state.provider)
  for (const [name, value] of Object.entries(parameters)) url.searchParams.set(name, value)
  return reply
    .header('cache-control', 'no-store')
    .header('set-cookie', cookies.setTries(tries, target, cookies.logins(cookie, target)))
    .redirect(url.href, 302)
}

export function forgetTries({ cookies }: Services, request: FastifyRequest, reply: FastifyReply): void {
  const clearTries = cookies.clearTries(request.headers.cookie)
  if (clearTries !== null) reply.header('set-cookie', clearTries)
}

/** Returns the return URL of a login, or the start page if the login began on another public origin. */
export function targetOf({ config }: Services, { origin, target }: LoginState, facts: Facts): string {
  return origin === facts.origin ? target : startPageOf(config)
}

export function loginUrlOf(services: Services, facts: Facts, state: LoginState | null): URL {
  const url = new URL(`${facts.origin}${services.config.basePath}/login`)
  if (state === null) return url
  const { acrValues = null, maxAge = null, scope, claims } = parseStepUpKey(state.stepUp) ?? {}
  url.searchParams.set('redirect', targetOf(services, state, facts))
  if (acrValues !== null) url.searchParams.set('acr_values', acrValues.join(' '))
  if (maxAge !== null) url.searchParams.set('max_age', String(maxAge))
  if (scope !== undefined) url.searchParams.set('scope', scope)
  if (claims !== undefined) url.searchParams.set('claims', claims)
  for (const [name, value] of Object.entries(state.parameters ?? {})) url.searchParams.set(name, value)
  return url
}
