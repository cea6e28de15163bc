import type { FastifyReply, FastifyRequest } from 'fastify'
import { AFTER_REFUSAL } from '../../config/login-query.ts'
import { causes } from '../../errors.ts'
import { kindOfError, refusedLogin, type AuthorizationError } from '../../oidc/authorization-response.ts'
import { parseStepUpKey } from '../../gate/admit.ts'
import type { Session } from '../../session/session.ts'
import { providerLabel } from '../../telemetry/metrics.ts'
import { contextOf, type Context } from '../context.ts'
import { requestFields } from '../identity.ts'
import type { LoginState } from '../cookies/login-state.ts'
import { findSession } from './current-session.ts'
import type { Services } from './endpoint.ts'
import { repeatLogin, canRedirect, forgetTries, targetOf } from './restart-login.ts'
import { MAX_TRIES } from './login.ts'

/**
 * Answers a login that the provider has refused. Redirects to the return URL if the return URL accepts the browser's
 * session. Restarts the login once after a temporary refusal. Otherwise throws `login_failed` with the reason.
 */
export async function answerRefusal(
  services: Services,
  request: FastifyRequest,
  reply: FastifyReply,
  state: LoginState,
  answer: AuthorizationError,
): Promise<FastifyReply> {
  const context = contextOf(request)
  const kind = kindOfError(answer, state.promptNone === true)
  const isStepUp = parseStepUpKey(state.stepUp) !== null
  // The refusal can be reported even if the store is unavailable.
  const session = await findSession(services, request).catch(() => null)
  const fault = refusedLogin(answer, isStepUp && kind !== 'canceled' ? 'unmet' : kind, session !== null)
  if (!canRedirect(services, request)) throw fault
  const isAccepted = session !== null && (await isAcceptedByTarget(services, context, state, session))
  if (session !== null && isAccepted) {
    const { cookies, metrics } = services
    const target = targetOf(services, state, context.facts)
    const { cookie } = request.headers
    // Counts these redirects, because an application that requests a login despite the session would cause a loop.
    const tries = state.before?.id === session.id ? cookies.tries(cookie, target) + 1 : 0
    if (tries <= MAX_TRIES) {
      metrics.logins.inc({ outcome: 'refused_with_session', ...providerLabel(state.provider) })
      if (tries > 0) reply.header('set-cookie', cookies.setTries(tries, target, cookies.logins(cookie, target)))
      request.log.info(
        {
          event: 'login_refused',
          ...requestFields(request),
          provider: state.provider,
          cause: causes(fault),
        },
        'the provider has refused a login; the current session continues',
      )
      return reply.header('cache-control', 'no-store').redirect(target, 302)
    }
  } else if (kind === 'passing' && state.afterRefusal !== true) {
    return repeatLogin(services, request, reply, state, 'the sign-in service did not finish it', {
      [AFTER_REFUSAL]: '1',
    })
  }
  forgetTries(services, request, reply)
  throw fault
}

async function isAcceptedByTarget(
  services: Services,
  { facts, now }: Context,
  state: LoginState,
  session: Session,
): Promise<boolean> {
  // Routes do not know the step-up that an application requires. Only a session from a later login may satisfy it.
  if (
    parseStepUpKey(state.stepUp) !== null &&
    session.requestedStepUp !== state.stepUp &&
    session.createdAt <= state.at
  )
    return false
  const { config, gate } = services
  const { origin, pathname, search } = new URL(targetOf(services, state, facts), facts.origin)
  if (pathname.startsWith(`${config.basePath}/`)) return true
  try {
    return (await gate({ ...facts, origin, method: 'GET', path: pathname, query: search }, now)).type === 'forward'
  } catch {
    return false
  }
}
