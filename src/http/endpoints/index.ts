import { METHODS } from 'node:http'
import type { FastifyInstance, FastifyReply, FastifyRequest, HTTPMethods } from 'fastify'
import { isPrefetch } from '../../gate/classify.ts'
import { hostOf } from '../../gate/match.ts'
import { inTurn } from '../server/response-queue.ts'
import { contextOf } from '../context.ts'
import { askForBody } from '../server/expect-continue.ts'
import type { Limits } from '../rate-limit.ts'
import { POST_KEPT_FORM_PATH, postKeptForm } from '../answers/post-kept-form.ts'
import { autoScript, clientScript, clientTypes } from './browser-scripts.ts'
import { callback } from './callback.ts'
import { callbackPath, type Endpoint, type Services } from './endpoint.ts'
import { jwks } from './jwks.ts'
import { login } from './login.ts'
import { logout, logoutCallback, logoutLocal } from './logout.ts'
import { LOGOUT_FORM_PATH, logoutForm } from './logout-form.ts'
import { silent } from './silent-login.ts'
import { backchannelLogout, frontchannelLogout } from './single-logout.ts'
import { refreshSession, session, userinfo } from './session.ts'

interface Entry {
  readonly path: string
  readonly methods: readonly HTTPMethods[]
  readonly endpoint: Endpoint
  /** The rate limit, or `null` for the keys: without them, an application would reject every request. */
  readonly limit: keyof Limits | null
  /** Whether a request changes state, so that a prefetch must not reach the endpoint. */
  readonly effect: boolean
}

const table: readonly Entry[] = [
  { path: 'login', methods: ['GET'], endpoint: login, limit: 'login', effect: true },
  { path: 'start', methods: ['GET'], endpoint: login, limit: 'login', effect: true },
  { path: 'sign_in', methods: ['GET'], endpoint: login, limit: 'login', effect: true },
  { path: 'logout', methods: ['GET', 'POST'], endpoint: logout, limit: 'session', effect: true },
  { path: 'sign_out', methods: ['GET', 'POST'], endpoint: logout, limit: 'session', effect: true },
  { path: 'logout/callback', methods: ['GET'], endpoint: logoutCallback, limit: 'session', effect: false },
  { path: LOGOUT_FORM_PATH, methods: ['GET'], endpoint: logoutForm, limit: 'session', effect: true },
  { path: 'logout/local', methods: ['POST'], endpoint: logoutLocal, limit: 'session', effect: true },
  { path: 'logout/frontchannel', methods: ['GET'], endpoint: frontchannelLogout, limit: 'session', effect: true },
  { path: 'logout/backchannel', methods: ['POST'], endpoint: backchannelLogout, limit: 'session', effect: true },
  { path: 'silent', methods: ['GET'], endpoint: silent, limit: 'login', effect: true },
  { path: 'client.js', methods: ['GET'], endpoint: clientScript, limit: 'session', effect: false },
  { path: 'client.d.ts', methods: ['GET'], endpoint: clientTypes, limit: 'session', effect: false },
  { path: 'auto.js', methods: ['GET'], endpoint: autoScript, limit: 'session', effect: false },
  { path: 'jwks', methods: ['GET'], endpoint: jwks, limit: null, effect: false },
  { path: 'session', methods: ['GET'], endpoint: session, limit: 'session', effect: false },
  { path: 'session/refresh', methods: ['POST'], endpoint: refreshSession, limit: 'session', effect: true },
  {
    path: POST_KEPT_FORM_PATH,
    methods: ['GET'],
    endpoint: (services) => (request, reply) => postKeptForm(request, reply, services),
    limit: 'session',
    effect: true,
  },
  { path: 'userinfo', methods: ['GET'], endpoint: userinfo, limit: 'session', effect: false },
]

/** Returns the callbacks: `callback`, or `callback/NAME` for each of several providers. */
function callbacksOf({ providers }: Services): Entry[] {
  return providers.all.map((provider) => ({
    path: callbackPath(provider),
    methods: ['GET', 'POST'],
    endpoint: callback(provider),
    limit: 'callback',
    effect: true,
  }))
}

const MAX_FORM_BYTES = 64 * 1024
const BODY_TIMEOUT_MS = 30_000

/** Registers the gateway's own URLs. All other URLs under the base path are not found. */
export function registerEndpoints(app: FastifyInstance, services: Services, limits: Limits): void {
  app.addHook('onRequest', (request, reply, done) => {
    // A gateway URL is ambiguous if a variant of its path selects a route of the application.
    const { origin, method, path } = contextOf(request).facts
    const variant = services.routes.conflictingVariant(hostOf(origin), method, path, 'endpoint')
    if (variant === null) done()
    else services.answers.deny(request, reply, { reason: 'ambiguous-path', variant })
  })
  // Fastify's parser refuses an empty body with a JSON content type, which many scripts send with every POST.
  app.removeAllContentTypeParsers()
  app.addContentTypeParser(
    'application/x-www-form-urlencoded',
    { parseAs: 'string', bodyLimit: MAX_FORM_BYTES },
    (_request, body, done) => {
      done(null, new URLSearchParams(String(body)))
    },
  )
  app.addContentTypeParser('*', (_request, payload, done) => {
    payload.resume()
    done(null, null)
  })
  for (const { path, methods, endpoint, limit, effect } of [...table, ...callbacksOf(services)]) {
    const url = `${services.config.basePath}/${path}`
    const answer = endpoint(services)
    const handler = (request: FastifyRequest, reply: FastifyReply): unknown =>
      effect && isPrefetch(request.headers) ? ignorePrefetch(request, reply) : answer(request, reply)
    const onRequest = [disableSniffing, ...(limit === null ? [] : limits[limit]), limitBodyTime]
    // A HEAD would change state, but could not show the result.
    app.route({ url, method: [...methods], handler, onRequest, exposeHeadRoute: !effect })
    const others = METHODS.filter(
      (method) =>
        !methods.some((known) => known === method) &&
        !(method === 'HEAD' && !effect && methods.includes('GET')) &&
        method !== 'CONNECT',
    )
    app.route({
      url,
      method: others,
      onRequest,
      handler: (request, reply) =>
        services.answers.deny(request, reply, { reason: 'method-not-allowed', allow: methods }),
    })
  }
  // Denies in onRequest and not only in the handler, so that the response does not wait for a body.
  const denyUnknown = async (request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> =>
    services.answers.deny(request, reply, { reason: 'no-route' })
  app.all(`${services.config.basePath}/*`, { onRequest: denyUnknown }, denyUnknown)
}

function disableSniffing(_request: FastifyRequest, reply: FastifyReply, done: () => void): void {
  reply.header('x-content-type-options', 'nosniff')
  done()
}

/** Disconnects clients that send a body slowly, because the bodies are small and the senders are not authenticated. */
function limitBodyTime(request: FastifyRequest, reply: FastifyReply, done: () => void): void {
  askForBody(request.raw)
  // The time starts after earlier responses, because a client that waits for 100 Continue may first wait for them.
  inTurn(reply.raw, () => {
    const timer = setTimeout(() => {
      if (!request.raw.complete) request.raw.destroy()
    }, BODY_TIMEOUT_MS).unref()
    reply.raw.once('close', () => {
      clearTimeout(timer)
    })
  })
  done()
}

function ignorePrefetch(request: FastifyRequest, reply: FastifyReply): FastifyReply {
  contextOf(request).verdict = 'prefetch'
  return reply.header('cache-control', 'no-store').code(204).send()
}
