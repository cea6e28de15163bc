import type { FastifyReply, FastifyRequest } from 'fastify'
import { Fault } from '../../errors.ts'
import { stepUpOf } from '../../gate/admit.ts'
import type { Facts } from '../../gate/verdict.ts'
import { contextOf } from '../context.ts'
import { kindOf } from '../answers/send.ts'
import type { LoginState } from '../cookies/login-state.ts'
import { findSession } from './current-session.ts'
import type { Services } from './endpoint.ts'
import { MAX_TRIES, REFUSED, TRIES } from './login.ts'

/**
 * Answers a callback that can’t be used any more, or not by this browser. Where the user is logged in already the login
 * has served its purpose; else it begins once more, three times at most.
 */
export async function restartLogin(
  services: Services,
  request: FastifyRequest,
  reply: FastifyReply,
  state: LoginState,
  problem: string,
): Promise<FastifyReply> {
  const { facts } = contextOf(request)
  if (!canGoOn(services, request)) throw new Fault('login_failed', { cause: new Error(problem) })
  if ((await findSession(services, request)) !== null)
    return reply.header('cache-control', 'no-store').redirect(targetOf(state, facts), 302)
  return beginAnew(services, request, reply, state, problem)
}

/** Whether a person sees where a redirect from the callback leads. */
export function canGoOn({ config }: Services, request: FastifyRequest): boolean {
  return ['navigation', 'form'].includes(kindOf(request, config))
}

/**
 * Begins the login of a callback once more; `refused`: since the provider has refused this one. Throws `login_failed`
 * after three times within a minute.
 */
export function beginAnew(
  services: Services,
  request: FastifyRequest,
  reply: FastifyReply,
  state: LoginState,
  problem: string,
  refused = false,
): FastifyReply {
  const { cookies, metrics } = services
  const { facts } = contextOf(request)
  const { cookie } = request.headers
  const target = targetOf(state, facts)
  const tries = Math.max(cookies.tries(cookie, target), state.tries) + 1
  if (tries > MAX_TRIES) {
    forgetTries(services, request, reply)
    throw new Fault('login_failed', {
      cause: new Error(problem),
      detail:
        `The sign-in was begun anew several times and came to nothing: ${problem}. Check that this browser ` +
        'accepts cookies.',
    })
  }
  metrics.logins.inc({ outcome: 'begun_anew' })
  request.log.info({ event: 'login_begun_anew', id: request.id, problem, tries }, 'a callback could not be used')
  const url = loginUrlOf(services, facts, state)
  url.searchParams.set(TRIES, String(tries))
  if (refused) url.searchParams.set(REFUSED, '1')
  return reply
    .header('cache-control', 'no-store')
    .header('set-cookie', cookies.setTries(tries, target, cookies.logins(cookie, target)))
    .redirect(url.href, 302)
}

/** A login that the user begins by hand is the first one again. */
export function forgetTries({ cookies }: Services, request: FastifyRequest, reply: FastifyReply): void {
  const clearTries = cookies.clearTries(request.headers.cookie)
  if (clearTries !== null) reply.header('set-cookie', clearTries)
}

/** Where a login leads, on the public origin that was asked. */
export function targetOf({ origin, target }: LoginState, facts: Facts): string {
  return origin === facts.origin ? target : '/'
}

/** Where the login of a callback is begun again, with the step-up that it asked for; without a state any login. */
export function loginUrlOf({ config }: Services, facts: Facts, state: LoginState | null): URL {
  const url = new URL(`${facts.origin}${config.basePath}/login`)
  if (state === null) return url
  const { acrValues = null, maxAge = null, scope, claims } = stepUpOf(state.stepUp) ?? {}
  url.searchParams.set('redirect', targetOf(state, facts))
  if (acrValues !== null) url.searchParams.set('acr_values', acrValues.join(' '))
  if (maxAge !== null) url.searchParams.set('max_age', String(maxAge))
  if (scope !== undefined) url.searchParams.set('scope', scope)
  if (claims !== undefined) url.searchParams.set('claims', claims)
  return url
}
