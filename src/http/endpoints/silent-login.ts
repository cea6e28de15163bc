import type { FastifyReply, FastifyRequest } from 'fastify'
import { userApiOf } from '../../config/presets/apply.ts'
import { causes } from '../../errors.ts'
import { contextOf } from '../context.ts'
import { kindOf } from '../answers/send.ts'
import { sendPage, scriptLiteral } from '../answers/pages.ts'
import { userMark } from '../cookies/login-state.ts'
import { beginLogin } from './begin-login.ts'
import { findSession } from './current-session.ts'
import { queryOf, type Endpoint, type Services } from './endpoint.ts'

export type Outcome = 'ok' | 'login_required' | 'interaction_required' | 'error'

/** The return URL of a login in a separate window: the page that reports the outcome to its opener. */
export const SILENT_DONE = 'silent?outcome=ok'

const USER_MARK = /^[A-Za-z0-9_-]{22}$/

const NEEDS_INTERACTION = new Set(['interaction_required', 'consent_required', 'account_selection_required'])

/**
 * `GET silent`: a login with `prompt=none` in a frame. `user` is the `user` that
 * `GET session` returned to the page, so that another user's login is noticed. With
 * `keep`, the login does not replace the session. A provider without OpenID Connect has no `prompt=none`.
 * @see https://openid.net/specs/openid-connect-core-1_0.html#AuthRequest
 */
export const silent: Endpoint = (services) => async (request, reply) => {
  const parameters = queryOf(request)
  const outcome = parameters.get('outcome')
  if (outcome !== null) return sendOutcome(services, request, reply, outcome === 'ok' ? 'ok' : outcomeOf(outcome))
  const context = contextOf(request)
  // A script cannot follow the redirect to another origin.
  if (['script', 'websocket'].includes(kindOf(request, services.config)))
    return sendOutcome(services, request, reply, 'error')
  try {
    const before = await findSession(services, request)
    const keep = parameters.has('keep')
    const provider = services.providers.of(before ?? {})
    if ((keep && before === null) || userApiOf(provider.settings) !== null)
      return sendOutcome(services, request, reply, 'login_required')
    const pageUser = parameters.get('user') ?? ''
    const { url, setCookie } = await beginLogin(services, context, {
      provider,
      target: `${services.config.basePath}/${SILENT_DONE}`,
      silent: true,
      keep,
      before,
      prompt: 'none',
      // The page's user takes precedence, because the page may be older than the session.
      user: USER_MARK.test(pageUser) ? pageUser : before === null ? null : userMark(before),
    })
    context.verdict = 'silent'
    return await reply.header('set-cookie', setCookie).header('cache-control', 'no-store').redirect(url.href, 302)
  } catch (error) {
    request.log.info(
      { event: 'silent_login_failed', id: request.id, cause: causes(error) },
      'a silent login could not begin',
    )
    return sendOutcome(services, request, reply, 'error')
  }
}

/**
 * Returns the outcome for the `error` of an authorization response.
 * @see https://openid.net/specs/openid-connect-core-1_0.html#AuthError
 */
export function outcomeOf(error: string | null): Outcome {
  if (error === 'login_required') return 'login_required'
  return error !== null && NEEDS_INTERACTION.has(error) ? 'interaction_required' : 'error'
}

/**
 * Sends the page that reports the outcome to the page's parent or opener on this origin. The page also notifies all
 * tabs of a new session.
 */
export function sendOutcome(
  { config }: Services,
  request: FastifyRequest,
  reply: FastifyReply,
  outcome: Outcome,
  isNew = outcome === 'ok',
): FastifyReply {
  contextOf(request).verdict = `silent_${outcome}`
  const news = isNew ? 'new BroadcastChannel("gatehouse").postMessage(alone?"signed-in":"renewed");' : ''
  const script =
    `var alone=parent===self,to=alone?opener:parent;${news}` +
    `if(to)to.postMessage({type:"gatehouse",outcome:${scriptLiteral(outcome)}},location.origin);if(alone)close()`
  return sendPage(
    request,
    reply,
    {
      name: 'silent',
      title: outcome === 'ok' ? 'Signed in' : 'Not signed in',
      script,
      actions: [{ label: 'Start page', href: '/', top: true }],
      detail:
        outcome === 'ok'
          ? 'You are signed in. This window can be closed.'
          : 'You could not be signed in without your interaction.',
    },
    config.pages,
  )
}
