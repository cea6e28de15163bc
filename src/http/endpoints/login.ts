import type { FastifyReply, FastifyRequest } from 'fastify'
import {
  AFTER_REFUSAL,
  CHOOSE_ACCOUNT,
  FRAGMENT_KEPT,
  MOVED,
  PASSED_ON,
  TARGET_NAMES,
  TRIES,
} from '../../config/login-query.ts'
import { Fault } from '../../errors.ts'
import { parseStepUpKey } from '../../gate/admit.ts'
import { challenge, loginUrlFor } from '../../gate/challenge.ts'
import { MAX_TARGET_LENGTH, returnTarget, startPageOf, targetAtLogin } from '../../gate/return-target.ts'
import type { Provider } from '../../oidc/provider.ts'
import { authTimeOf } from '../../oidc/token-set.ts'
import type { Session } from '../../session/session.ts'
import { countFromZero } from '../../telemetry/metrics.ts'
import { contextOf } from '../context.ts'
import { kindOf } from '../answers/send.ts'
import { fingerprint } from '../cookies/login-state.ts'
import { logLongTarget } from '../answers/denial-log.ts'
import { sendPage, scriptLiteral } from '../answers/pages.ts'
import { POST_KEPT_FORM_PATH } from '../answers/post-kept-form.ts'
import { clearTwoSessions } from '../cookies/cookies.ts'
import { beginLogin } from './begin-login.ts'
import { findSession } from './current-session.ts'
import { providersFor, sendChoice } from './choose-provider.ts'
import { queryOf, type Endpoint, type Services } from './endpoint.ts'
import { SILENT_DONE } from './silent-login.ts'

/** How often a login may restart automatically before the user gets an error page. */
export const MAX_TRIES = 3

/** How many logins to the same target may succeed in a row, each within a minute of the one before. */
const MAX_LOGINS = 5

/** The parameters of a step-up, which the provider of the current session can deliver. */
const STEP_UP = ['acr_values', 'max_age', 'scope', 'claims'] as const

/**
 * `GET login`: begins a login. At another public origin than the login host, redirects to the login host.
 */
export const login: Endpoint = (services) => {
  countFromZero(services.metrics.logins, 'outcome', ['gave_up'])
  return async (request, reply) => answerLogin(services, request, reply)
}

async function answerLogin(services: Services, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
  const { config } = services
  const { basePath, loginHost } = config
  const context = contextOf(request)
  const kind = kindOf(request, config)
  const parameters = queryOf(request)
  // A third party that initiates a login sends the issuer:
  // https://openid.net/specs/openid-connect-core-1_0.html#ThirdPartyInitiatedLogin
  const issuer = parameters.get('iss')
  if (issuer !== null && services.providers.issuing(issuer).length === 0)
    throw new Fault('login_failed', {
      cause: new Error('a login with another provider was requested'),
      text: 'login_failed.other_provider',
    })
  const { origin } = context.facts
  const target = loginTarget(services, parameters, origin)
  if (target === null) logLongTarget(request, requestedTarget(parameters)?.length ?? 0)
  const inFrame = kind === 'frame' && config.session.cookie.partitioned
  if (kind !== 'navigation' && !inFrame) {
    const loginUrl = new URL(loginUrlFor(context.facts, 'script', basePath, undefined, loginHost))
    if (target !== null) loginUrl.searchParams.set('redirect', targetAtLogin(target, origin, loginHost ?? origin))
    const ofProviders = services.providers.all.flatMap(({ settings }) => settings.loginParameters)
    for (const name of [...PASSED_ON, ...ofProviders]) {
      const value = parameters.get(name)
      if (value !== null) loginUrl.searchParams.set(name, value)
    }
    const denial = { reason: 'login-required', loginUrl: loginUrl.href } as const
    return services.answers.send(request, reply, challenge(denial, kind, context.facts, null, config))
  }
  // Clears two session cookies at the login too, because a forward-auth proxy may not have passed Set-Cookie on to the
  // browser.
  const two = clearTwoSessions(services.cookies, context.facts, reply)
  if (two !== null) return services.answers.deny(request, reply, two)
  if (loginHost !== null && loginHost !== origin)
    return redirectToLoginHost(
      request,
      reply,
      `${loginHost}${basePath}`,
      targetAtLogin(target ?? startPageOf(config), origin, loginHost),
    )
  // Logins with different rejected return URLs are not a loop. The fingerprint distinguishes them.
  const rejectedTarget = target === null ? fingerprint(requestedTarget(parameters) ?? '/') : undefined
  const actualTarget = target ?? startPageOf(config)
  breakLoop(services, request, reply, rejectedTarget ?? actualTarget)
  // An unavailable store is reported at the callback.
  const before = await findSession(services, request).catch(() => null)
  const choices = providersFor(services, context.facts, actualTarget, parameters.getAll('provider'), issuer)
  const isRenewal = target === `${config.basePath}/${SILENT_DONE}` || STEP_UP.some((name) => parameters.has(name))
  const provider =
    choices.length === 1
      ? choices[0]
      : choices.find(({ name }) => isRenewal && before !== null && name === before.provider)
  if (provider === undefined) return sendChoice(services, request, reply, choices, parameters)
  const { cookie } = request.headers
  const maxAge = wholeNumber(parameters.get('max_age'))
  const prompt =
    parameters.get('prompt') ?? (maxAge !== undefined && givesNoAuthTime(provider, before) ? 'login' : undefined)
  const isAsked = services.cookies.wasSignedOut(cookie, provider.name)
  const chooseAccount = (isAsked || parameters.has(CHOOSE_ACCOUNT)) && prompt === undefined
  // A login with `prompt=none` asks the user nothing, so the next one still has to.
  const answersQuestion = isAsked && prompt?.split(' ').includes('none') !== true
  const { url, setCookies } = await beginLogin(services, context, {
    provider,
    target: actualTarget,
    rejectedTarget,
    silent: false,
    before,
    tries: Math.min(wholeNumber(parameters.get(TRIES)) ?? 0, MAX_TRIES),
    afterRefusal: parameters.has(AFTER_REFUSAL),
    prompt,
    chooseAccount,
    loginHint: parameters.get('login_hint') ?? undefined,
    acrValues: parameters.get('acr_values') ?? undefined,
    maxAge,
    scope: parameters.get('scope') ?? undefined,
    claims: parameters.get('claims') ?? undefined,
    parameters: passedOn(parameters, provider.settings.loginParameters),
  }).catch((error: unknown) => {
    // Otherwise a provider that refuses the question in a pushed request would refuse every login.
    if (answersQuestion && error instanceof Fault && error.code === 'login_failed')
      reply.header('set-cookie', services.cookies.clearSignedOut(cookie, [provider.name]))
    throw error
  })
  reply.header('set-cookie', setCookies).header('cache-control', 'no-store')
  if (answersQuestion) reply.header('set-cookie', services.cookies.clearSignedOut(cookie, [provider.name]))
  context.verdict = 'login'
  const browser = request.headers['sec-fetch-mode'] !== undefined && !parameters.has(FRAGMENT_KEPT)
  if (browser && !inFrame) {
    const repeated = new URLSearchParams(parameters)
    if (chooseAccount) repeated.set(CHOOSE_ACCOUNT, '1')
    return sendFragmentPage(services, request, reply, url, actualTarget, repeated)
  }
  return reply.redirect(url.href, 302)
}

/**
 * Returns whether the session shows that the provider does not say when a user authenticated. Some providers say it only
 * to a login with `max_age`, and list `auth_time` in their metadata.
 * @see https://openid.net/specs/openid-connect-core-1_0.html#IDToken
 */
function givesNoAuthTime(provider: Provider, session: Session | null): boolean {
  if (session === null || session.provider !== provider.name || authTimeOf(session.claims) !== null) return false
  const announced = provider.peek()?.configuration.serverMetadata().claims_supported
  if (announced?.includes('auth_time') !== true) return true
  return session.requestedStepUp !== null && (parseStepUpKey(session.requestedStepUp)?.maxAge ?? null) !== null
}

function passedOn(parameters: URLSearchParams, names: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    names.flatMap((name) => {
      const value = parameters.get(name)
      return value === null || value === '' ? [] : [[name, value]]
    }),
  )
}

function requestedTarget(parameters: URLSearchParams): string | null {
  return TARGET_NAMES.map((name) => parameters.get(name)).find((target) => target !== null) ?? null
}

/**
 * Returns the return URL of a login, which is on this origin or, with a login host, on any public origin. Of the
 * gateway's own URLs, allows only those that finish a login.
 */
function loginTarget({ config, origins }: Services, parameters: URLSearchParams, origin: string): string | null {
  const { basePath, loginHost } = config
  const target = returnTarget(requestedTarget(parameters), origin, (other) => loginHost !== null && origins.has(other))
  const path = target === null ? '' : pathOf(target)
  if (!path.startsWith(`${basePath}/`)) return target
  return path.startsWith(`${basePath}/${POST_KEPT_FORM_PATH}?`) || path === `${basePath}/${SILENT_DONE}` ? target : null
}

/** Returns a return URL without its origin. */
function pathOf(target: string): string {
  return target.replace(/^https?:\/\/[^/]*/, '')
}

/**
 * Redirects to the same login at the login host. Throws `login_failed` if the request has already been redirected
 * there, because a proxy in front then replaces the Host.
 */
function redirectToLoginHost(request: FastifyRequest, reply: FastifyReply, base: string, target: string): FastifyReply {
  const moved = new URLSearchParams(queryOf(request))
  if (moved.has(MOVED))
    throw new Fault('login_failed', {
      cause: new Error(`a request for ${base} arrived with another Host: let the proxy in front pass the Host on`),
    })
  for (const name of TARGET_NAMES) moved.delete(name)
  moved.set('redirect', target)
  moved.set(MOVED, '1')
  contextOf(request).verdict = 'login'
  return reply.header('cache-control', 'no-store').redirect(`${base}/login?${moved.toString()}`, 302)
}

/** Throws `login_failed` if the browser has logged in to this target several times in a row. */
function breakLoop({ cookies, metrics }: Services, request: FastifyRequest, reply: FastifyReply, target: string): void {
  const { cookie } = request.headers
  if (cookies.logins(cookie, target) < MAX_LOGINS) return
  // Resets the count, so that the user can try again.
  reply.header('set-cookie', cookies.clearTries(cookie))
  metrics.logins.inc({ outcome: 'gave_up' })
  throw new Fault('login_failed', {
    cause: new Error(
      'the browser has logged in several times in a row: it does not send the session cookie, the replicas do not share ' +
        'the store and the keys, the tokens expire immediately, or the application sends the browser here ' +
        'although it has a session',
    ),
    text: 'login_failed.loop',
    values: { count: String(MAX_LOGINS) },
    mayRetry: true,
  })
}

function wholeNumber(text: string | null): number | undefined {
  return text !== null && /^\d{1,9}$/.test(text) ? Number(text) : undefined
}

/**
 * Sends a page that adds the fragment of its URL to the return URL, or goes straight to the provider if there is no
 * fragment. A browser keeps the fragment during the redirect to the login, but never sends it to a server.
 */
function sendFragmentPage(
  { config }: Services,
  request: FastifyRequest,
  reply: FastifyReply,
  url: URL,
  target: string,
  parameters: URLSearchParams,
): FastifyReply {
  const repeated = new URLSearchParams(parameters)
  for (const name of TARGET_NAMES) repeated.delete(name)
  repeated.set(FRAGMENT_KEPT, 'kept')
  const self = `${config.basePath}/login?${repeated.toString()}&redirect=`
  const script =
    `var t=${scriptLiteral(target.split('#')[0])}+location.hash;` +
    `location.replace(location.hash.length>1&&t.length<=${MAX_TARGET_LENGTH}?${scriptLiteral(self)}+encodeURIComponent(t)` +
    ':document.getElementById("continue").href)'
  return sendPage(
    request,
    reply,
    {
      text: 'login',
      actions: [{ label: 'continue', href: url.href, id: 'continue' }],
      script,
    },
    config.pages,
  )
}
