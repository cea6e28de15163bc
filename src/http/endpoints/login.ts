import type { FastifyReply, FastifyRequest } from 'fastify'
import { Fault } from '../../errors.ts'
import { loginUrlFor } from '../../gate/challenge.ts'
import { returnTarget } from '../../gate/return-target.ts'
import { mayHaveIssued } from '../../oidc/issuer.ts'
import { announcedIssuer } from '../../oidc/provider.ts'
import { contextOf, type Context } from '../context.ts'
import { kindOf } from '../answers/send.ts'
import { fingerprint } from '../cookies/login-state.ts'
import { renderPage, scriptLiteral } from '../answers/pages.ts'
import { POST_KEPT_FORM_PATH } from '../answers/post-kept-form.ts'
import { remedyForTwo } from '../cookies/cookies.ts'
import { beginLogin } from './begin-login.ts'
import { findSession } from './current-session.ts'
import { queryOf, type Endpoint, type Services } from './endpoint.ts'
import { SILENT_DONE } from './silent.ts'

/** How often a login may begin anew by itself before the user is told why it does not work. */
export const MAX_TRIES = 3

/** How often a login to the same address may succeed, each within a minute of the one before. */
const MAX_LOGINS = 5

/** What a login can be told to ask the provider for. */
const PARTICULARS = ['prompt', 'login_hint', 'acr_values', 'max_age', 'scope', 'claims'] as const

/** How a login that begins anew by itself tells how often that was, and that the provider refused the one before. */
export const TRIES = 'tries'
export const REFUSED = 'refused'

/** Marks the second call of a login whose target has got its fragment. */
const FRAGMENT_KEPT = 'fragment'

const OTHER = 'This site does not sign in with the service that was asked for.'

/** `GET login`: sends the browser to the provider. */
export const login: Endpoint = (services) => async (request, reply) => {
  const { config } = services
  const context = contextOf(request)
  const kind = kindOf(request, config)
  const parameters = queryOf(request)
  // The site that starts a login may name the provider (OpenID Connect Core 1.0, section 4).
  const issuer = parameters.get('iss')
  if (issuer !== null && !mayHaveIssued(announcedIssuer(services.provider), issuer))
    throw new Fault('login_failed', { cause: new Error('a login with another provider was asked for'), detail: OTHER })
  const target = loginTarget(parameters, context, config.basePath)
  if (kind !== 'navigation') {
    const loginUrl = new URL(loginUrlFor(context.facts, 'script', config.basePath))
    if (target !== null) loginUrl.searchParams.set('redirect', target)
    for (const name of PARTICULARS) {
      const value = parameters.get(name)
      if (value !== null) loginUrl.searchParams.set(name, value)
    }
    return services.answers.send(request, reply, {
      status: 401,
      code: 'login_required',
      title: 'Login required',
      detail: 'You have to sign in to go on.',
      loginUrl: loginUrl.href,
      authenticate: 'Bearer',
    })
  }
  // Where another proxy asks for verdicts, this is the first that the browser itself hears of it.
  const two = remedyForTwo(services.cookies, context.facts)
  if (two !== null) reply.header('set-cookie', two.setCookie)
  if (two !== null && two.answer !== null) return services.answers.send(request, reply, two.answer)
  // Several targets that are ignored, one after the other, are no loop.
  const asked = target === null ? fingerprint(askedTarget(parameters) ?? '/') : undefined
  breakLoop(services, request, reply, asked ?? target ?? '/')
  const { url, setCookie } = await beginLogin(services, context, {
    target: target ?? '/',
    asked,
    silent: false,
    // With the store down there is no login in the end, but finding that out is not this step's.
    before: await findSession(services, request).catch(() => null),
    tries: Math.min(wholeNumber(parameters.get(TRIES)) ?? 0, MAX_TRIES),
    afterRefusal: parameters.has(REFUSED),
    prompt: parameters.get('prompt') ?? undefined,
    loginHint: parameters.get('login_hint') ?? undefined,
    acrValues: parameters.get('acr_values') ?? undefined,
    maxAge: wholeNumber(parameters.get('max_age')),
    scope: parameters.get('scope') ?? undefined,
    claims: parameters.get('claims') ?? undefined,
  })
  reply.header('set-cookie', setCookie).header('cache-control', 'no-store')
  context.verdict = 'login'
  const browser = request.headers['sec-fetch-mode'] !== undefined && !parameters.has(FRAGMENT_KEPT)
  if (browser) return sendFragmentPage(services, request, reply, url, target ?? '/', parameters)
  return reply.redirect(url.href, 302)
}

/** Where the caller wants to go afterwards, in this gateway's words and in those of others. */
const TARGET_NAMES = ['redirect', 'rd', 'target_link_uri'] as const

function askedTarget(parameters: URLSearchParams): string | null {
  return TARGET_NAMES.map((name) => parameters.get(name)).find((target) => target !== null) ?? null
}

/**
 * The same-origin target of a login; of the gateway's own URLs only those that end a login, the others lead round in
 * circles.
 */
function loginTarget(parameters: URLSearchParams, { facts }: Context, basePath: string): string | null {
  const target = returnTarget(askedTarget(parameters), facts.origin)
  if (target?.startsWith(`${basePath}/`) !== true) return target
  return target.startsWith(`${basePath}/${POST_KEPT_FORM_PATH}?`) || target === `${basePath}/${SILENT_DONE}`
    ? target
    : null
}

/**
 * Throws `login_failed` for a browser that has been signed in to this address again and again, and comes back at once
 * each time.
 */
function breakLoop({ cookies, metrics }: Services, request: FastifyRequest, reply: FastifyReply, target: string): void {
  const { cookie } = request.headers
  if (cookies.logins(cookie, target) < MAX_LOGINS) return
  // Whoever tries again by hand begins anew.
  reply.header('set-cookie', cookies.clearTries(cookie))
  metrics.logins.inc({ outcome: 'gave_up' })
  throw new Fault('login_failed', {
    cause: new Error(
      'signed in again and again: the session’s cookie does not come back, the replicas share neither sessions ' +
        'nor keys, ' +
        'the tokens are spent as soon as they are given, or the application sends the browser here although it ' +
        'has a session',
    ),
    detail:
      `You were signed in ${MAX_LOGINS} times in a row, and were sent back here each time. Check that this ` +
      'browser accepts cookies; else ' +
      'the application is not set up rightly.',
  })
}

function wholeNumber(text: string | null): number | undefined {
  return text !== null && /^\d{1,9}$/.test(text) ? Number(text) : undefined
}

/**
 * A browser keeps the fragment of the page it came from through the redirect to this URL, but never sends it: a small
 * page looks for one, and goes straight to the provider where there is none.
 */
function sendFragmentPage(
  { config }: Services,
  request: FastifyRequest,
  reply: FastifyReply,
  url: URL,
  target: string,
  parameters: URLSearchParams,
): FastifyReply {
  const again = new URLSearchParams(parameters)
  for (const name of TARGET_NAMES) again.delete(name)
  again.set(FRAGMENT_KEPT, 'kept')
  const self = `${config.basePath}/login?${again.toString()}&redirect=`
  const script =
    `var t=${scriptLiteral(target.split('#')[0])}+location.hash;` +
    `location.replace(location.hash.length>1&&t.length<2000?${scriptLiteral(self)}+encodeURIComponent(t)` +
    ':document.getElementById("continue").href)'
  const page = renderPage(
    {
      name: 'login',
      title: 'Signing in',
      detail: 'You are being taken to the sign-in service.',
      requestId: request.id,
      actions: [{ label: 'Continue', href: url.href, id: 'continue' }],
      script,
    },
    config.pages,
  )
  return reply.headers(page.headers).send(page.html)
}
