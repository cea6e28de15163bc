import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Config } from '../../config/schema.ts'
import { authenticateOf, challenge, type Answer } from '../../gate/challenge.ts'
import { classify } from '../../gate/classify.ts'
import { corsHeaders } from '../../gate/cors.ts'
import type { UpstreamHeaders } from '../../gate/headers.ts'
import type { RouteTable } from '../../gate/match.ts'
import type { PublicOrigins } from '../../gate/public-origins.ts'
import type { Gate } from '../../gate/pipeline.ts'
import type { Facts, RequestKind, Verdict } from '../../gate/verdict.ts'
import type { Sessions } from '../../session/sessions.ts'
import { logDenial } from '../answers/denial-log.ts'
import { keepForm, mayKeepForm } from '../answers/kept-form.ts'
import type { Answers } from '../answers/send.ts'
import { contextOf } from '../context.ts'
import { clearTwoSessions, type Cookies } from '../cookies/cookies.ts'
import type { Limits } from '../rate-limit.ts'
import { hasBody } from '../server/framing.ts'
import { describedBy, readAuthUrl, type AuthUrl } from './described-request.ts'

export interface ForwardAuthServices {
  readonly config: Config
  readonly origins: PublicOrigins
  readonly gate: Gate
  readonly headers: Pick<UpstreamHeaders, 'forProxy' | 'missingFrom' | 'deception'>
  readonly routes: RouteTable
  readonly sessions: Pick<Sessions, 'touch'>
  readonly cookies: Cookies
  readonly answers: Answers
}

/**
 * Names the headers that Envoy removes from the original request. Envoy would otherwise pass on a client's header that
 * the verdict does not have.
 * @see https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/ext_authz_filter
 */
const REMOVED_BY_ENVOY = 'x-envoy-auth-headers-to-remove'

/**
 * Registers forward-auth on its own listener, which only the proxy may reach. Answers a request before its body
 * arrives, and ignores the body unless the body is a form to keep. All other URLs are not found.
 */
export function registerForwardAuth(app: FastifyInstance, services: ForwardAuthServices, limits: Limits): void {
  for (const hook of limits.requests) app.addHook('onRequest', hook)
  app.addHook('onRequest', async (request, reply) => answer(services, request, reply))
  app.all('*', () => {
    throw new Error('a request bypassed forward-auth')
  })
}

async function answer(
  services: ForwardAuthServices,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const { answers, config, gate, headers, origins, routes, sessions } = services
  const context = contextOf(request)
  const authUrl = readAuthUrl(context.facts, config.basePath)
  if (authUrl === null) return answers.deny(request, reply, { reason: 'no-route' })
  const facts = describedBy(authUrl, context.facts, origins, routes)
  if ('reason' in facts) return answers.deny(request, reply, facts)
  context.original = facts
  const cause = headers.deception(facts)
  if (cause !== null) return answers.deny(request, reply, { reason: 'malformed', cause })
  const verdict = verdictForProxy(await gate(facts, context.now), facts, config)
  context.route = verdict.route
  if (verdict.type === 'deny') return deny(services, verdict, facts, authUrl, request, reply)
  if (verdict.session !== null) sessions.touch(verdict.session, context.now)
  context.session = verdict.session
  context.who = verdict.who
  context.verdict = 'allow'
  if (verdict.dpopNonce !== undefined) reply.header('dpop-nonce', verdict.dpopNonce)
  const own = headers.forProxy(facts, verdict.route, verdict.who, verdict.accessToken)
  for (let i = 0; i + 1 < own.length; i += 2) reply.header(own[i] ?? '', own[i + 1] ?? '')
  const missing = authUrl.described === null ? [] : headers.missingFrom(own)
  if (missing.length > 0) reply.header(REMOVED_BY_ENVOY, missing.join(','))
  // The proxy can copy these headers to the application's response.
  reply.headers(corsHeaders(verdict.route, facts.headers.origin))
  return reply.header('cache-control', 'no-store').code(200).send()
}

/**
 * Returns the verdict, or a denial in two cases:
 *
 * - A CORS preflight request is denied, because nginx, Caddy and HAProxy pass denied requests on to the gateway, which
 *   answers the preflight request.
 * - The access token needs a DPoP proof, which only the gateway could send with the request. Such a session began before
 *   `provider.dpop` was switched off, so another login helps. A route with an optional session treats the session like a
 *   missing one.
 */
function verdictForProxy(
  verdict: Verdict,
  { method, headers }: Facts,
  { scripts }: Pick<Config, 'scripts'>,
): Exclude<Verdict, { type: 'preflight' }> {
  if (verdict.type === 'deny' || (verdict.type === 'forward' && verdict.proofKey === null)) return verdict
  const { route } = verdict
  if (verdict.type === 'preflight')
    return {
      type: 'deny',
      denial: { reason: 'login-required' },
      kind: classify(method, headers, scripts),
      route,
      session: null,
    }
  if (route.access === 'optional')
    return { type: 'forward', route, session: null, who: null, accessToken: null, proofKey: null }
  const denial = { reason: 'session-expired', clearCookie: false } as const
  return { type: 'deny', denial, kind: classify(method, headers, scripts), route, session: verdict.session }
}

async function deny(
  { config, answers, cookies }: ForwardAuthServices,
  { denial, kind, route, session, who, dpopNonce }: Extract<Verdict, { type: 'deny' }>,
  facts: Facts,
  authUrl: AuthUrl,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const context = contextOf(request)
  context.kind = kind
  context.session = session
  context.who = who ?? null
  logDenial(request, denial, route?.label)
  if (dpopNonce !== undefined) reply.header('dpop-nonce', dpopNonce)
  const direct = challenge(denial, kind, facts, route, config)
  if (redirectsProxy(authUrl, kind, direct)) {
    const two = clearTwoSessions(cookies, facts, reply)
    return two === null ? answers.send(request, reply, direct, facts) : answers.deny(request, reply, two)
  }
  const { location, ...answer } = direct
  const status = statusForProxy(answer.status)
  const forProxy = {
    ...answer,
    status,
    ...(location === undefined ? {} : { loginUrl: location }),
    ...(status === 401 && answer.authenticate === undefined
      ? { authenticate: authenticateOf(denial, route, facts) }
      : {}),
  }
  if (kind === 'form' && forProxy.loginUrl !== undefined && carriesBody(request) && mayKeepForm(facts, route))
    return keepForm(request, reply, forProxy, config, cookies)
  return answers.send(request, reply, forProxy, facts)
}

/**
 * Returns whether the proxy has sent the body of the original request. A subrequest with another method has no body,
 * even if its Content-Length is that of the original request.
 */
function carriesBody({ method, raw }: FastifyRequest): boolean {
  return method === 'POST' && hasBody(raw)
}

export function redirectsProxy({ redirect }: AuthUrl, kind: RequestKind, { location }: Answer): boolean {
  return redirect && kind === 'navigation' && location !== undefined
}

/** Returns the status for a proxy. Proxies understand only 401, 403 and server errors. */
export function statusForProxy(status: number): number {
  if (status === 302) return 401
  return status < 500 && status !== 401 ? 403 : status
}
