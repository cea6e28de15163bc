import type { FastifyReply, FastifyRequest } from 'fastify'
import { userApiOf } from '../../config/presets/apply.ts'
import { Fault, causes } from '../../errors.ts'
import { NEEDS_INTERACTION } from '../../oidc/authorization-response.ts'
import { targetAtLogin } from '../../gate/return-target.ts'
import { contextOf } from '../context.ts'
import { requestFields } from '../identity.ts'
import { kindOf } from '../answers/send.ts'
import { startPage } from '../answers/actions.ts'
import { sendPage, scriptLiteral } from '../answers/pages.ts'
import { userMark } from '../cookies/login-state.ts'
import { beginLogin } from './begin-login.ts'
import { findSession } from './current-session.ts'
import { queryOf, type Endpoint, type Services } from './endpoint.ts'

export type Outcome = 'ok' | 'login_required' | 'interaction_required' | 'error'

/** The return URL of a login in a separate window: the page that reports the outcome to its opener. */
export const SILENT_DONE = 'silent?outcome=ok'

const USER_MARK = /^[A-Za-z0-9_-]{22}$/

/**
 * `GET silent`: a login with `prompt=none` in a frame. `user` is the `user` that `GET session` returned to the page, so
 * that a login by another user fails. With `keep`, the login does not replace the session. With a login host, the login
 * takes place there, and the outcome is reported by this endpoint of the origin that the frame began with, `from`. Of
 * several providers, asks the one that `provider` names, otherwise that of the session, otherwise the one that this
 * browser last logged in at. A provider without OpenID Connect has no `prompt=none`.
 * @see https://openid.net/specs/openid-connect-core-1_0.html#AuthRequest
 */
export const silent: Endpoint = (services) => async (request, reply) => {
  const parameters = queryOf(request)
  const outcome = parameters.get('outcome')
  const context = contextOf(request)
  const { config, origins } = services
  const { origin } = context.facts
  if (outcome !== null) {
    const isNew = outcome === 'ok' && !parameters.has('kept')
    return sendOutcome(services, request, reply, outcome === 'ok' ? 'ok' : outcomeOf(outcome), { isNew })
  }
  // A script cannot follow the redirect to another origin.
  if (['script', 'websocket'].includes(kindOf(request, config))) return sendOutcome(services, request, reply, 'error')
  if (config.loginHost !== null && config.loginHost !== origin) {
    // A proxy in front that replaces the Host would cause a loop of redirects.
    if (parameters.has('from')) return sendOutcome(services, request, reply, 'error')
    parameters.set('from', origin)
    const url = `${config.loginHost}${config.basePath}/silent?${parameters.toString()}`
    return reply.header('cache-control', 'no-store').redirect(url, 302)
  }
  const from = parameters.get('from') ?? origin
  const reportAt = config.loginHost !== null && origins.has(from) ? from : origin
  try {
    const before = await findSession(services, request)
    const keep = parameters.has('keep')
    if (keep && before === null) return sendOutcome(services, request, reply, 'login_required', { reportAt })
    const { providers, cookies } = services
    const named = keep ? undefined : providers.all.find(({ name }) => name === parameters.get('provider'))
    const provider = named ?? providers.find(before?.provider ?? cookies.choice(request.headers.cookie))
    if (provider === null || userApiOf(provider.settings) !== null)
      return sendOutcome(services, request, reply, 'login_required', { reportAt })
    const pageUser = parameters.get('user') ?? ''
    const { url, setCookies } = await beginLogin(services, context, {
      provider,
      target: targetAtLogin(`${config.basePath}/${SILENT_DONE}`, reportAt, origin),
      silent: true,
      keep,
      before,
      prompt: 'none',
      // The page's user takes precedence, because the page may be older than the session.
      user: USER_MARK.test(pageUser) ? pageUser : before === null ? null : userMark(before),
    })
    context.verdict = 'silent'
    return await reply.header('set-cookie', setCookies).header('cache-control', 'no-store').redirect(url.href, 302)
  } catch (error) {
    request.log.info(
      {
        event: 'silent_login_failed',
        ...requestFields(request),
        provider: error instanceof Fault ? error.provider : undefined,
        cause: causes(error),
      },
      'a silent login could not begin',
    )
    return sendOutcome(services, request, reply, 'error', { reportAt })
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

interface Report {
  /** Whether there is a new session or there are new tokens, of which all tabs are notified. */
  readonly isNew?: boolean
  /** The origin of the page that gets the outcome; by default that of the request. */
  readonly reportAt?: string | undefined
}

/**
 * Sends the page that reports the outcome to the page's parent or opener on its own origin, or redirects to that page
 * at the origin `reportAt`.
 */
export function sendOutcome(
  { config, routes }: Services,
  request: FastifyRequest,
  reply: FastifyReply,
  outcome: Outcome,
  { isNew = outcome === 'ok', reportAt }: Report = {},
): FastifyReply {
  const context = contextOf(request)
  context.verdict = `silent_${outcome}`
  if (reportAt !== undefined && reportAt !== context.facts.origin) {
    const page = `${reportAt}${config.basePath}/silent?outcome=${outcome}${outcome === 'ok' && !isNew ? '&kept' : ''}`
    return reply.header('cache-control', 'no-store').redirect(page, 302)
  }
  const start = startPage({ config, routes }, context.facts.origin)
  const news = isNew ? 'new BroadcastChannel("gatehouse").postMessage(alone?"signed-in":"renewed");' : ''
  const script =
    `var alone=parent===self,to=alone?opener:parent;${news}` +
    `if(to)to.postMessage({type:"gatehouse",outcome:${scriptLiteral(outcome)}},location.origin);if(alone)close()`
  return sendPage(
    request,
    reply,
    {
      name: 'silent',
      text: outcome === 'ok' ? 'silent.signed_in' : 'silent.not_signed_in',
      script,
      actions: start === null ? [] : [{ label: 'start_page', href: start, top: true }],
      isFramable: config.session.cookie.partitioned,
    },
    config.pages,
  )
}
