import type { FastifyReply, FastifyRequest } from 'fastify'
import { causes } from '../../errors.ts'
import { isCrossOrigin } from '../../gate/csrf.ts'
import { hostOf } from '../../gate/match.ts'
import { returnTarget, startPageOf, targetAtLogin } from '../../gate/return-target.ts'
import type { Facts } from '../../gate/verdict.ts'
import { endSession, revokeRefreshToken, type EndSession } from '../../oidc/logout.ts'
import type { Session } from '../../session/session.ts'
import type { Ticket } from '../../session/ticket.ts'
import { subjectIn, sessionFields } from '../../telemetry/log.ts'
import { startPage } from '../answers/actions.ts'
import { anySite, sendPage } from '../answers/pages.ts'
import { kindOf } from '../answers/send.ts'
import { contextOf } from '../context.ts'
import { requestFields } from '../identity.ts'
import { findSession } from './current-session.ts'
import { parametersOf, queryOf, type Endpoint, type Services } from './endpoint.ts'
import { keepLogoutForm, sendLogoutForm } from './logout-form.ts'
import { forgetTries } from './restart-login.ts'

const MAX_LOGOUT_TARGET_LENGTH = 2048

const CROSS_ORIGIN_LOGOUT = { reason: 'cross-origin', logout: true } as const

/**
 * `GET` or `POST logout`: ends the session at the gateway, then at the provider.
 * @see https://openid.net/specs/openid-connect-rpinitiated-1_0.html
 */
export const logout: Endpoint = (services) => async (request, reply) => {
  const { answers, config, cookies, logoutStates, origins, providers } = services
  const context = contextOf(request)
  const { facts } = context
  const kind = kindOf(request, config)
  const scripted = kind === 'script' || kind === 'websocket'
  const { loginHost } = config
  const loginOrigin = loginHost ?? facts.origin
  const isPublic = (origin: string): boolean => loginHost !== null && origins.has(origin)
  const target = shortTarget(returnTarget(requestedTarget(request), facts.origin, isPublic))
  if (isFromAnotherSite(request, isPublic))
    return scripted
      ? answers.deny(request, reply, CROSS_ORIGIN_LOGOUT)
      : sendConfirmation(services, request, reply, target)

  const ended = await endSessions(services, request, reply, 'logout')
  for (const session of ended) void revokeRefreshToken(providers.of(session), session.tokens, services.log)
  const provider = providers.find(ended[0]?.provider ?? cookies.choice(facts.headers.cookie))
  const state = logoutStates.seal({
    target: target === null ? null : targetAtLogin(target, facts.origin, loginOrigin),
    origin: facts.origin,
    ...(provider?.name === undefined ? {} : { provider: provider.name }),
  })
  const postLogoutRedirectUri = `${loginOrigin}${config.basePath}/logout/callback`
  const withHint = (idTokenHint: string | null): EndSession | null =>
    provider && endSession(provider, { idTokenHint, postLogoutRedirectUri, state })
  // Sends no hint if two sessions have ended, because an attacker may have planted one of them. Without a hint, the
  // provider asks the user.
  const atProvider = withHint((ended.length === 1 ? ended[0]?.idToken : null) ?? null)
  context.verdict = 'logout'
  // The callback of the logout clears this cookie. Without the callback, the browser may still have its session at the
  // provider. If the provider is unknown, the browser may have a session at each of them.
  const left = [...(provider === null ? providers.all : [provider]), ...ended.map((session) => providers.of(session))]
  const signedOut = cookies.setSignedOut(
    facts.headers.cookie,
    left.map(({ name }) => name),
  )
  reply.header('cache-control', 'no-store').header('set-cookie', signedOut)
  if (atProvider?.method === 'POST') {
    if (!scripted) return sendLogoutForm(services, request, reply, atProvider)
    const logoutUrl = await keepLogoutForm(services, request, reply, atProvider).catch((error: unknown) => {
      request.log.warn(
        { event: 'logout_form_not_kept', ...requestFields(request), cause: causes(error) },
        'no ID token is sent',
      )
      return withHint(null)?.url ?? null
    })
    return reply.send({ logout_url: logoutUrl })
  }
  if (scripted) return reply.send({ logout_url: atProvider?.url ?? null })
  if (atProvider === null && target === null) return sendSignedOut(services, request, reply)
  return reply.redirect(atProvider?.url ?? target ?? '/', kind === 'form' ? 303 : 302)
}

/** Returns `null` for a return URL with which the `state` at the provider would be too long. */
function shortTarget(target: string | null): string | null {
  return target !== null && target.length > MAX_LOGOUT_TARGET_LENGTH ? null : target
}

function requestedTarget(request: FastifyRequest): string | null {
  const [form, query] = [parametersOf(request), queryOf(request)]
  return form.get('redirect') ?? form.get('rd') ?? query.get('redirect') ?? query.get('rd')
}

/**
 * `GET logout/callback`: redirects from the provider to the page after the logout. Any link may lead to this URL, so a
 * browser with a session gets the start page instead of the signed-out page.
 */
export const logoutCallback: Endpoint = (services) => async (request, reply) => {
  const { config, cookies, logoutStates, origins, providers } = services
  const sealed = queryOf(request).get('state')
  const state = sealed === null ? null : logoutStates.open(sealed)
  const { cookie } = request.headers
  const returned = (
    state === null
      ? // A provider whose `logout.url` has no `{state}` returns without a state.
        providers.all.filter(({ settings }) => settings.logout.url?.includes('{state}') === false)
      : providers.all.filter(({ name }) => name === state.provider)
  ).map(({ name }) => name)
  if (returned.some((name) => cookies.wasSignedOut(cookie, name)))
    reply.header('set-cookie', cookies.clearSignedOut(cookie, returned))
  contextOf(request).verdict = 'logout'
  if (state !== null && state.target === null && state.origin !== contextOf(request).facts.origin) {
    // The page of that origin notifies the tabs of that origin.
    const page = `${state.origin}${config.basePath}/logout/callback?state=${encodeURIComponent(sealed ?? '')}`
    if (config.loginHost !== null && origins.has(state.origin))
      return reply.header('cache-control', 'no-store').redirect(page, 302)
  }
  const target = state?.target ?? ((await findSession(services, request)) === null ? null : startPageOf(config))
  return target === null
    ? sendSignedOut(services, request, reply)
    : reply.header('cache-control', 'no-store').redirect(target, 302)
}

/**
 * `POST logout/local`: ends the session only at the gateway. It revokes the refresh token only with
 * `revoke: local-too`, because a revocation may end the grant and with it the user's sessions on other devices.
 * @see https://www.rfc-editor.org/rfc/rfc7009#section-2.1
 */
export const logoutLocal: Endpoint = (services) => async (request, reply) => {
  const { answers, log, providers } = services
  if (isFromAnotherSite(request, () => false)) return answers.deny(request, reply, CROSS_ORIGIN_LOGOUT)
  for (const session of await endSessions(services, request, reply, 'local_logout')) {
    const provider = providers.of(session)
    if (provider.settings.logout.revoke === 'local-too') void revokeRefreshToken(provider, session.tokens, log)
  }
  contextOf(request).verdict = 'logout'
  return reply.header('cache-control', 'no-store').code(204).send()
}

/**
 * Ends the sessions of the browser's cookies and returns them. Clears the cookies even if the store is unavailable.
 */
async function endSessions(
  services: Services,
  request: FastifyRequest,
  reply: FastifyReply,
  reason: 'logout' | 'local_logout',
): Promise<Session[]> {
  const { cookies } = services
  const { facts } = contextOf(request)
  const tickets = cookies.tickets(facts.headers.cookie)
  if (tickets.length === 0) return []
  // Other requests ignore two session cookies, but a logout ends both sessions.
  if (tickets.length > 1) reply.header('set-cookie', cookies.clearEverywhere(hostOf(facts.origin), facts.path))
  else reply.header('set-cookie', cookies.clearTicket())
  forgetTries(services, request, reply)
  const ended = await Promise.all(tickets.map((ticket) => endTicket(services, request, ticket, reason)))
  return ended.filter((session) => session !== null)
}

async function endTicket(
  { sessions, config, log }: Services,
  request: FastifyRequest,
  ticket: Ticket,
  reason: 'logout' | 'local_logout',
): Promise<Session | null> {
  const context = contextOf(request)
  const { now } = context
  try {
    const session = await sessions.load(ticket, now)
    if (session === null) return null
    context.session = session
    await sessions.end(session, reason)
    const channel = reason === 'logout' ? 'browser' : 'local'
    log.info(
      {
        event: 'logout',
        ...requestFields(request),
        ...sessionFields(log, session),
        channel,
        ...subjectIn(log, session.subject),
      },
      'a user has logged out',
    )
    return session
  } catch (error) {
    log.error(
      { event: 'logout_incomplete', ...requestFields(request), session: ticket.id, cause: causes(error) },
      'the store is unavailable; the session ends when it is back, and the cookie is cleared',
    )
    await sessions.end({ id: ticket.id, endsAt: now + config.session.lifetime }, reason)
    return null
  }
}

/**
 * Returns whether another site caused the request. For a link from another site, browsers send no Origin. Current
 * browsers send Sec-Fetch-Site, and old browsers send Referer. The page of an origin that `isTrusted` is no other site.
 */
function isFromAnotherSite(request: FastifyRequest, isTrusted: (origin: string) => boolean): boolean {
  const { facts } = contextOf(request)
  if (facts.headers['sec-fetch-site'] === 'same-site' && isTrusted(pageOriginOf(facts))) return false
  if (isCrossOrigin(facts)) return true
  const { headers, origin } = facts
  return (
    headers['sec-fetch-site'] === undefined &&
    headers.origin === undefined &&
    headers.referer !== undefined &&
    headers.referer !== origin &&
    !headers.referer.startsWith(`${origin}/`)
  )
}

/** Returns the origin of the page that sent a request, or an empty string if the browser does not name it. */
function pageOriginOf({ headers }: Facts): string {
  const { origin, referer = '' } = headers
  if (origin !== undefined) return origin
  return URL.canParse(referer) ? new URL(referer).origin : ''
}

function sendConfirmation(
  { config, routes }: Services,
  request: FastifyRequest,
  reply: FastifyReply,
  target: string | null,
): FastifyReply {
  contextOf(request).verdict = 'confirm_logout'
  const { origin } = contextOf(request).facts
  const start = startPage({ config, routes }, origin)
  return sendPage(
    request,
    reply,
    {
      text: 'confirm_logout',
      actions: [
        { label: 'sign_out', post: `${config.basePath}/logout`, fields: target === null ? {} : { redirect: target } },
        ...(start === null ? [] : [{ label: 'stay_signed_in', href: start } as const]),
      ],
      // `form-action` applies to the redirect to the provider and to the redirects of the provider.
      formTargets: anySite(origin),
    },
    config.pages,
  )
}

function sendSignedOut({ config }: Services, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const { origin } = contextOf(request).facts
  return sendPage(
    request,
    reply,
    {
      text: 'signed_out',
      actions: [{ label: 'sign_in_again', href: `${origin}${config.basePath}/login` }],
      // Notifies the other tabs, because the page that began the logout may have no script.
      script: 'try{new BroadcastChannel("gatehouse").postMessage("ended")}catch(e){}',
      isFramable: config.session.cookie.partitioned,
    },
    config.pages,
  )
}
