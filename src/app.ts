import { METHODS, type ServerOptions } from 'node:http'
import type { Socket } from 'node:net'
import Fastify, { LogController, type FastifyBaseLogger, type FastifyInstance } from 'fastify'
import type { Config } from './config/schema.ts'
import { Fault, faults } from './errors.ts'
import { compileHeaders } from './gate/headers.ts'
import { compileRoutes } from './gate/match.ts'
import { buildGate, hostOf } from './gate/pipeline.ts'
import { buildAdmin } from './http/admin.ts'
import { createCookies } from './http/cookies.ts'
import { registerEndpoints } from './http/endpoints/index.ts'
import type { LogoutState, Services } from './http/endpoints/endpoint.ts'
import { routeExpectations } from './http/expectation.ts'
import { createFactReader } from './http/facts.ts'
import { answerParserError, createAnswers, handleFailures, rawProblem } from './http/failures.ts'
import { registerGate } from './http/gate.ts'
import { isLastOnConnection } from './http/last-on-connection.ts'
import { createLimits } from './http/limits.ts'
import type { LoginState } from './http/login-state.ts'
import { newRequestId, observe } from './http/observe.ts'
import { compileLoginRedirects } from './http/proxy/login-redirect.ts'
import { openUpstreams } from './http/proxy/upstreams.ts'
import { STREAM_KINDS, createStreams } from './http/proxy/streams.ts'
import { createReadiness } from './http/readiness.ts'
import { createSealedState } from './http/sealed-state.ts'
import { closeInStages, hasBody } from './http/staged-close.ts'
import { rewriteTarget } from './http/target.ts'
import { GatewayRequest, routeUpgrades } from './http/upgrades.ts'
import { createAccessTokens } from './oidc/access-token.ts'
import { openProvider } from './oidc/provider.ts'
import { openSessions } from './session/sessions.ts'
import { openStore } from './store/open.ts'
import type { Log } from './telemetry/log.ts'
import { createMetrics } from './telemetry/metrics.ts'
import type { Tracing } from './telemetry/tracing.ts'
import { createTokens } from './token/acquire.ts'
import { createRouteTokens } from './token/exchange.ts'
import { createRefresher } from './token/refresh.ts'

/** A gateway that is ready to listen. */
export interface Gatehouse {
  /** The public listener. */
  readonly app: FastifyInstance
  /** The admin listener, or `null` where there is none. */
  readonly admin: FastifyInstance | null
  /** From now on `/readyz` says no. */
  drain(): void
  /** Finishes what runs (refreshes, too) and closes everything. */
  close(): Promise<void>
}

/** How long a stopping gateway waits for a store that is away, ms, before it gives up what it could not save. */
const UNSAVED_WAIT = 5_000

/** How often a closing gateway looks for connections that have become idle, ms. */
const LOOK_FOR_IDLE = 100

/** Puts the gateway together, in the order in which a request meets the parts. */
export async function buildApp(config: Config, log: Log, tracing: Tracing | null = null): Promise<Gatehouse> {
  // What everything else stands on: figures, the store, the provider.
  const metrics = createMetrics()
  const store = await openStore(config.session, log, metrics, tracing)
  const provider = openProvider(config.provider, log, metrics, tracing)
  const sessions = openSessions({ store, settings: config.session, log, metrics })
  const refresher = createRefresher({ provider, store, sessions, log, metrics })
  const routeTokens = createRouteTokens({ provider, refresher, sessions, log })
  const tokens = createTokens({ refresher, routeTokens, sessions, before: config.session.refreshBefore })
  const streams = createStreams(sessions)
  metrics.watchStreams(STREAM_KINDS, (kind) => streams.count(kind))

  // What has no Host is refused further on, with an answer that has a body.
  const reading: ServerOptions = { requireHostHeader: false, IncomingMessage: GatewayRequest }

  // The shell. The raw target is looked at before anything routes on it.
  const lines: FastifyBaseLogger = log
  // Fastify's own lines (two a request, one an address) would only double ours.
  const quiet: FastifyBaseLogger = log.child({}, { level: 'warn' })
  const app: FastifyInstance = Fastify({
    loggerInstance: quiet,
    logController: new LogController({ disableRequestLogging: true }),
    childLoggerFactory: () => lines,
    genReqId: newRequestId,
    rewriteUrl: (request) => rewriteTarget(request, config.publicUrl),
    routerOptions: { maxParamLength: 65_536 },
    exposeHeadRoutes: true,
    requestTimeout: 0,
    clientErrorHandler: (error, socket: Socket) => { answerParserError(error, socket) },
    ...(config.tls === null ? { http: reading }
      : { https: { ...reading, cert: config.tls.certFile.content, key: config.tls.keyFile.content } }),
  })
  for (const method of METHODS) {
    if (method !== 'CONNECT' && !app.supportedMethods.includes(method)) app.addHttpMethod(method, { hasBody: true })
  }
  routeExpectations(app.server)
  app.server.on('connect', (_request, socket: Socket) => {
    // Node takes its own listener away: a reset would end the process.
    socket.on('error', () => { socket.destroy() })
    socket.end(rawProblem(405, 'method_not_allowed', faults.method_not_allowed.title, faults.method_not_allowed.detail))
  })

  // What every request has: facts, an access line, an answer when something goes wrong.
  const cookies = await createCookies(app, config)
  const answers = createAnswers(config, cookies)
  const routes = compileRoutes(config.routes, config.basePath)
  const facts = createFactReader({ publicUrls: config.publicUrl, trustedProxies: config.trustedProxies, overSocket: 'path' in config.listen, readTicket: cookies.ticket })
  app.decorateRequest('context', null)
  observe(app, { config, log, metrics, tracing })
  handleFailures(app, answers)
  app.addHook('onRequest', (request, reply, done) => {
    if (hasBody(request.raw)) closeInStages(request.raw)
    if (isLastOnConnection(request.raw)) reply.raw.shouldKeepAlive = false
    const read = facts.read(request.raw)
    const trace = tracing === null ? null : tracing.begin(read.method, read.headers)
    request.context = { now: Date.now(), facts: read, kind: null, route: null, session: null, verdict: 'none', waited: 0, trace }
    if (read.method === 'TRACE' || read.method === 'TRACK') throw new Fault('method_not_allowed')
    if (trace === null) done()
    else trace.within(done)
  })
  routeUpgrades(app)
  const limits = await createLimits(app, config.rateLimit)

  // What decides, and what goes upstream.
  const gate = buildGate({ config, routes, sessions, tokens, bearers: createAccessTokens(provider) })
  const headers = compileHeaders(routes.routes, cookies.isOwn, ({ origin, method, path }) => routes.dependsOnMethod(hostOf(origin), method, path))

  // The gateway's own URLs.
  const services: Services = {
    config, provider, store, sessions, refresher, cookies, answers, streams, log, metrics,
    loginStates: createSealedState<LoginState>(config.session.keys, 'login state'),
    logoutStates: createSealedState<LogoutState>(config.session.keys, 'logout state'),
  }
  await app.register(async (scope) => {
    scope.addHook('onRequest', (request, _reply, done) => {
      // A URL of ours that can be read as the application's is as ambiguous as the other way round.
      const asked = request.context?.facts
      const reading = asked === undefined ? null : routes.otherReading(hostOf(asked.origin), asked.method, asked.path, 'endpoint')
      if (reading !== null) throw new Fault('ambiguous_path')
      done()
    })
    registerEndpoints(scope, services, limits, { gate, headers })
  })

  // The application's: through the gate, then upstream.
  await app.register(async (scope) => {
    await registerGate(scope, {
      config, sessions, tokens, cookies, answers, streams, metrics,
      gate, headers,
      upstreams: openUpstreams(routes.routes),
      loginRedirects: compileLoginRedirects(routes.routes, provider),
    }, limits)
  })

  let draining = false
  const readiness = createReadiness({ provider, store, isDraining: () => draining })
  metrics.watchReady(async () => (await readiness()).ready)
  const admin = config.admin === null ? null : buildAdmin({ provider, sessions, metrics, readiness, log })
  await app.ready()

  async function close(): Promise<void> {
    draining = true
    streams.drain()
    // A connection that was busy when closing began is closed once its answer is out, not when its client tires of it.
    const idle = setInterval(() => { app.server.closeIdleConnections() }, LOOK_FOR_IDLE)
    await app.close()
    clearInterval(idle)
    await refresher.settled()
    await sessions.settled(UNSAVED_WAIT)
    await admin?.close()
    await provider.close()
    await store.close()
  }
  let closing: Promise<void> | null = null
  return {
    app, admin,
    drain() { draining = true },
    async close() {
      closing ??= close()
      await closing
    },
  }
}
