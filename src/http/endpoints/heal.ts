import type { FastifyReply, FastifyRequest } from 'fastify'
import { Fault } from '../../errors.ts'
import { contextOf } from '../context.ts'
import { kindOf } from '../answers.ts'
import type { LoginState } from '../login-state.ts'
import { findSession } from './current-session.ts'
import type { Services } from './endpoint.ts'
import { MAX_TRIES } from './login.ts'

/**
 * Answers a callback that can’t be used any more, or not by this browser. Where the user is logged in already the login
 * has served its purpose; else it begins once more, three times at most.
 */
export async function heal(
  services: Services,
  request: FastifyRequest,
  reply: FastifyReply,
  state: LoginState,
  problem: string,
): Promise<FastifyReply> {
  const { cookies, config, metrics } = services
  const { facts } = contextOf(request)
  const cause = new Error(problem)
  const kind = kindOf(request, config)
  if (kind !== 'navigation' && kind !== 'form') throw new Fault('login_failed', { cause })
  const target = state.origin === facts.origin ? state.target : '/'
  reply.header('cache-control', 'no-store')
  if ((await findSession(services, request)) !== null) return reply.redirect(target, 302)
  const tries = Math.max(cookies.tries(request.headers.cookie, target), state.tries) + 1
  if (tries > MAX_TRIES) {
    const clearTries = cookies.clearTries(request.headers.cookie)
    if (clearTries !== null) reply.header('set-cookie', clearTries)
    throw new Fault('login_failed', {
      cause,
      detail:
        `The sign-in was begun anew several times and came to nothing: ${problem}. Check that this browser ` +
        'accepts cookies.',
    })
  }
  metrics.logins.inc({ outcome: 'begun_anew' })
  request.log.info({ event: 'login_begun_anew', id: request.id, problem, tries }, 'a callback could not be used')
  const again = new URLSearchParams({ redirect: target, tries: String(tries) })
  return reply
    .header('set-cookie', cookies.setTries(tries, target, cookies.logins(request.headers.cookie, target)))
    .redirect(`${facts.origin}${config.basePath}/login?${again.toString()}`, 302)
}
