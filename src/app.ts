import type { RequestListener } from 'node:http'
import { isDeepStrictEqual } from 'node:util'
import type { FastifyInstance } from 'fastify'
import type { Config, Listen } from './config/schema.ts'
import { Fault } from './errors.ts'
import { compileHeaders } from './gate/headers.ts'
import { hostOf, compileRoutes } from './gate/match.ts'
import { buildGate } from './gate/pipeline.ts'
import { observe } from './http/access-log.ts'
import { createReadiness } from './http/admin/readiness.ts'
import { buildAdmin } from './http/admin/server.ts'
import { createAnswers, handleFailures } from './http/answers/send.ts'
import { giveContext } from './http/context.ts'
import { createCookies } from './http/cookies/cookies.ts'
import { type LoginState, createSealedState } from './http/cookies/login-state.ts'
import type { LogoutState, Services } from './http/endpoints/endpoint.ts'
import { registerEndpoints } from './http/endpoints/index.ts'
import { createFactReader } from './http/facts.ts'
import { createFastify } from './http/fastify.ts'
import { registerForwardAuth, type ForwardAuthServices } from './http/forward-auth/verdict.ts'
import { registerGate } from './http/gate.ts'
import { refuseLoops, viaNameOf } from './http/loops.ts'
import { compileLoginRedirects } from './http/proxy/intercept.ts'
import { STREAM_KINDS, createStreams, type Streams } from './http/proxy/open-streams.ts'
import { createPools, type Pools, type Upstreams } from './http/proxy/upstreams.ts'
import { createCounts, type Counts, createLimits } from './http/rate-limit.ts'
import { createListener, type Listener } from './http/server/listener.ts'
import { createRefusals } from './http/server/parser-errors.ts'
import { createAccessTokens, type AccessTokens } from './oidc/access-token.ts'
import { openProvider, type Provider } from './oidc/provider.ts'
import { keysOf } from './session/envelope.ts'
import { openSessions, type Sessions } from './session/sessions.ts'
import { openStore } from './store/open.ts'
import type { Store } from './store/store.ts'
import type { Log } from './telemetry/log.ts'
import { createMetrics, type Metrics } from './telemetry/metrics.ts'
import type { Tracing } from './telemetry/tracing.ts'
import { createTokens } from './token/acquire.ts'
import { createRouteTokens, type RouteTokens } from './token/exchange.ts'
import { createRefresher, type Refresher } from './token/refresh.ts'

/** A gateway that is ready to listen. */
export interface Gatehouse {
  /** The public listener. */
  readonly listener: Listener
  /** The listener for the proxy that asks for verdicts, or `null` where there is none. */
  readonly forwardAuth: Listener | null
  /** The admin listener, or `null` where there is none. */
  readonly admin: FastifyInstance | null
  readonly metrics: Metrics
  /**
   * From now on requests meet this configuration; those under way, sessions, streams and connections go on. What
   * `fixedKeys` names must be as it was. Rejects when it can't be put together; then nothing has changed.
   */
  reload(config: Config): Promise<void>
  /** From now on `/readyz` says no, and each answer is the last on its connection. */
  drain(): void
  /** Closes connections that are still open, the admin listener's apart. */
  cut(): void
  /** Finishes what runs (refreshes, too) and closes everything. */
  close(): Promise<void>
}

/** What lasts as long as the process, whatever becomes of the configuration. */
interface Lasting {
  readonly log: Log
  readonly metrics: Metrics
  readonly tracing: Tracing | null
  readonly store: Store
  readonly provider: Provider
  readonly sessions: Sessions
  readonly refresher: Refresher
  readonly routeTokens: RouteTokens
  readonly bearers: AccessTokens
  readonly streams: Streams
  readonly pools: Pools
  readonly counts: Counts
}

/** What follows from one configuration. */
interface Shell {
  readonly route: RequestListener
  /** Requests on the listener for verdicts. */
  readonly verdict: RequestListener | null
  readonly upstreams: Upstreams
}

/** How long a stopping gateway waits for a store that is away, ms, before it gives up what it could not save. */
const UNSAVED_WAIT = 5_000

/** Puts the gateway together: what lasts, the shell that a configuration makes, and the listener in front of both. */
export async function buildApp(written: Config, log: Log, tracing: Tracing | null = null): Promise<Gatehouse> {
  const config = withOwnKeys(written)
  // One object for as long as the process lives: what it says follows the configuration.
  const session = { ...config.session }
  const metrics = createMetrics()
  const store = await openStore(session, log, metrics, tracing)
  const provider = openProvider(config.provider, log, metrics, tracing)
  const sessions = openSessions({ store, settings: session, log, metrics })
  const refresher = createRefresher({ provider, store, sessions, log, metrics })
  const lasting: Lasting = {
    log,
    metrics,
    tracing,
    store,
    provider,
    sessions,
    refresher,
    routeTokens: createRouteTokens({ provider, refresher, sessions, log }),
    bearers: createAccessTokens(provider),
    streams: createStreams(sessions),
    pools: createPools(),
    counts: createCounts(store),
  }
  metrics.watchStreams(STREAM_KINDS, (kind) => lasting.streams.count(kind))

  let shell = await buildShell(config, lasting)
  let present = config
  const refusals = createRefusals({ log, metrics, config: () => present })
  const listener = createListener(
    config.tls,
    (request, response) => {
      shell.route(request, response)
    },
    log,
    config.limits,
    refusals,
  )
  const forwardAuth =
    config.forwardAuth === null
      ? null
      : createListener(
          null,
          (request, response) => {
            shell.verdict?.(request, response)
          },
          log,
          config.limits,
          refusals,
        )
  const listeners = forwardAuth === null ? [listener] : [listener, forwardAuth]
  let draining = false
  const readiness = createReadiness({ provider, store, isDraining: () => draining })
  metrics.watchReady(async () => (await readiness()).ready)
  const settings = config.admin === null ? null : { ...config.admin }
  const admin =
    settings === null
      ? null
      : buildAdmin({ settings, provider, sessions, metrics, readiness, log, limits: config.limits })

  async function reload(changed: Config): Promise<void> {
    const next = withOwnKeys(changed)
    const fresh = await buildShell(next, lasting)
    // From here on nothing waits: no request meets a half of each.
    shell = fresh
    lasting.pools.keepOnly(fresh.upstreams)
    const reconnects = !isDeepStrictEqual([session.store, session.redis], [next.session.store, next.session.redis])
    Object.assign(session, next.session)
    if (settings !== null) Object.assign(settings, next.admin)
    if (reconnects) store.reconnect()
    provider.configure(next.provider)
    if (next.tls !== null && !isDeepStrictEqual(present.tls, next.tls)) listener.certify(next.tls)
    for (const one of listeners) one.limit(next.limits)
    present = next
  }

  function drain(): void {
    draining = true
    for (const one of listeners) one.drain()
  }

  async function close(): Promise<void> {
    drain()
    lasting.streams.drain()
    await Promise.all(listeners.map(async (one) => one.close()))
    await refresher.settled()
    await sessions.settled(UNSAVED_WAIT)
    await admin?.close()
    await lasting.pools.close()
    await provider.close()
    await store.close()
  }
  let closing: Promise<void> | null = null
  return {
    listener,
    forwardAuth,
    admin,
    metrics,
    reload,
    drain,
    cut() {
      for (const one of listeners) one.cut()
    },
    close: () => (closing ??= close()),
  }
}

/** Several deployments may have the same session keys and the same store: their sessions are their own all the same. */
function withOwnKeys(config: Config): Config {
  return { ...config, session: { ...config.session, keys: keysOf(config) } }
}

/** What a request walks through, in the order in which it meets the parts. */
async function buildShell(config: Config, lasting: Lasting): Promise<Shell> {
  const { log, metrics, tracing, store, provider, sessions, refresher, streams } = lasting

  const app = createFastify(config)

  // What every request has: facts, an access line, an answer when something goes wrong.
  const cookies = await createCookies(app, config)
  const answers = createAnswers(config, cookies)
  const routes = compileRoutes(config.routes, config.basePath)
  const facts = createFactReader({
    headerFields: config.limits.headerFields,
    publicUrls: config.publicUrl,
    trustedProxies: config.trustedProxies,
    overSocket: 'path' in config.listen,
    readTicket: cookies.ticket,
  })
  observe(app, { config, log, metrics, tracing })
  handleFailures(app, answers)
  giveContext(app, facts, tracing)
  const viaName = viaNameOf(config)
  refuseLoops(app, viaName)
  const limits = await createLimits(app, config.rateLimit, lasting.counts)

  // What decides, and what goes upstream.
  const tokens = createTokens({
    refresher,
    routeTokens: lasting.routeTokens,
    sessions,
    before: config.session.refreshBefore,
  })
  const gate = buildGate({ config, routes, sessions, tokens, bearers: lasting.bearers })
  const headers = compileHeaders(routes, cookies.isOwn, viaName)

  // The gateway's own URLs.
  const services: Services = {
    config,
    gate,
    provider,
    store,
    sessions,
    refresher,
    cookies,
    answers,
    streams,
    log,
    metrics,
    loginStates: createSealedState<LoginState>(config.session.keys, 'login state'),
    logoutStates: createSealedState<LogoutState>(config.session.keys, 'logout state'),
  }
  await app.register(async (scope) => {
    scope.addHook('onRequest', (request, _reply, done) => {
      // A URL of ours that can be read as the application's is as ambiguous as the other way round.
      const asked = request.context?.facts
      const reading =
        asked === undefined
          ? null
          : routes.conflictingVariant(hostOf(asked.origin), asked.method, asked.path, 'endpoint')
      if (reading !== null) throw new Fault('ambiguous_path')
      done()
    })
    registerEndpoints(scope, services, limits)
  })

  // The application's: through the gate, then upstream.
  const upstreams = lasting.pools.openFor(routes.routes, config.limits.answerHeaders)
  await app.register(async (scope) => {
    await registerGate(
      scope,
      {
        config,
        sessions,
        tokens,
        cookies,
        answers,
        streams,
        metrics,
        gate,
        headers,
        upstreams,
        loginRedirects: compileLoginRedirects(routes.routes, provider),
      },
      limits,
    )
  })

  await app.ready()
  const verdicts =
    config.forwardAuth === null
      ? null
      : await buildVerdicts(
          { config, gate, headers, routes, sessions, cookies, answers },
          config.forwardAuth.listen,
          lasting,
        )
  return {
    route: (request, response) => {
      app.routing(request, response)
    },
    verdict:
      verdicts === null
        ? null
        : (request, response) => {
            verdicts.routing(request, response)
          },
    upstreams,
  }
}

/** Forward-auth: what requests on its listener walk through. */
async function buildVerdicts(
  services: ForwardAuthServices,
  listen: Listen,
  { log, metrics, tracing, counts }: Lasting,
): Promise<FastifyInstance> {
  const { config, answers, cookies } = services
  // Only the plain spelling of an address counts: an absolute target is none of ours.
  const app = createFastify({ publicUrl: [] })
  observe(app, { config, log, metrics, tracing })
  handleFailures(app, answers)
  const facts = createFactReader({
    headerFields: config.limits.headerFields,
    publicUrls: config.publicUrl,
    trustedProxies: config.trustedProxies,
    overSocket: 'path' in listen,
    readTicket: cookies.ticket,
  })
  giveContext(app, facts, tracing)
  registerForwardAuth(app, services, await createLimits(app, config.rateLimit, counts))
  await app.ready()
  return app
}
