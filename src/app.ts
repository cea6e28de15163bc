import type { RequestListener } from 'node:http'
import { isDeepStrictEqual } from 'node:util'
import type { FastifyInstance } from 'fastify'
import { compileRanges, type AddressRanges } from './config/address-ranges.ts'
import { providersOf, type Config, type Listen } from './config/schema.ts'
import { createAssertions } from './gate/assertion.ts'
import { buildFindTokenOwner, type FindTokenOwner } from './gate/bearer.ts'
import { compileCors, type FindCors } from './gate/cors.ts'
import { createClientProofs } from './gate/client-proofs.ts'
import { createUsedProofs, type UsedProofs } from './gate/used-proofs.ts'
import { compileHeaders } from './gate/headers.ts'
import { compileRoutes, type RouteTable } from './gate/match.ts'
import { buildGate } from './gate/pipeline.ts'
import { publicOriginsOf, type PublicOrigins } from './gate/public-origins.ts'
import { observe } from './http/access-log.ts'
import { createReadiness } from './http/admin/readiness.ts'
import { buildAdmin } from './http/admin/server.ts'
import { createAnswers, handleFailures, type Answers } from './http/answers/send.ts'
import { giveContext } from './http/context.ts'
import { createCookies } from './http/cookies/cookies.ts'
import { type LoginState, createSealedState } from './http/cookies/login-state.ts'
import type { LogoutState, Services } from './http/endpoints/endpoint.ts'
import { registerEndpoints } from './http/endpoints/index.ts'
import { registerWellKnown } from './http/endpoints/well-known.ts'
import { initializeRequests } from './http/expected-requests.ts'
import { createFactReader, peerOf } from './http/facts.ts'
import { createFastify } from './http/fastify.ts'
import { describedBy, readAuthUrl } from './http/forward-auth/described-request.ts'
import { registerForwardAuth, type ForwardAuthServices } from './http/forward-auth/verdict.ts'
import { registerGate } from './http/gate.ts'
import { originsByName, registerHttpsRedirect } from './http/https-redirect.ts'
import { compileUserName } from './http/identity.ts'
import { denyLoops, viaNameOf } from './http/loop-detection.ts'
import { compileLoginRedirects } from './http/proxy/intercept.ts'
import { STREAM_KINDS, createStreams, type Streams } from './http/proxy/open-streams.ts'
import { createPools, type Pools, type Upstreams } from './http/proxy/upstreams.ts'
import { createCounts, createLimits, createProxyWarning, hasLimits, type Counts } from './http/rate-limit.ts'
import { createListener, type Listener } from './http/server/listener.ts'
import { createRefusals } from './http/server/parser-errors.ts'
import { createAccessTokens, type AccessTokens } from './oidc/access-token.ts'
import { openProviders, type Providers } from './oidc/providers.ts'
import { keysOf } from './session/envelope.ts'
import { openSessions, type Sessions } from './session/sessions.ts'
import { openStore } from './store/open.ts'
import type { Store } from './store/store.ts'
import { nameUsers, type Log } from './telemetry/log.ts'
import { createMetrics, type Metrics } from './telemetry/metrics.ts'
import type { Tracing } from './telemetry/tracing.ts'
import { createTokens } from './token/acquire.ts'
import { createRouteTokens, type RouteTokens } from './token/route-tokens.ts'
import { createRefresher, type Refresher } from './token/refresh.ts'

export interface Gatehouse {
  readonly listener: Listener
  readonly forwardAuth: Listener | null
  /** The listener without TLS that redirects to `https:`. */
  readonly redirect: Listener | null
  readonly admin: FastifyInstance | null
  readonly metrics: Metrics
  /**
   * Applies a configuration to all further requests. Pending requests, sessions, streams and connections continue. Keys
   * that require a restart must be unchanged. Rejects without any change if the configuration cannot be applied.
   */
  reload(config: Config): Promise<void>
  /** Makes `/readyz` return 503, and closes each connection after its next response. */
  drain(): void
  /** Closes the open connections of all listeners except the admin listener. */
  cut(): void
  /** Finishes pending requests and refreshes, then closes all resources. */
  close(): Promise<void>
}

/** The services that remain when the configuration is reloaded. */
interface Lasting {
  readonly log: Log
  readonly metrics: Metrics
  readonly tracing: Tracing | null
  readonly store: Store
  readonly providers: Providers
  readonly sessions: Sessions
  readonly refresher: Refresher
  readonly routeTokens: RouteTokens
  readonly bearers: AccessTokens
  readonly usedProofs: UsedProofs
  readonly streams: Streams
  readonly pools: Pools
  readonly counts: Counts
  readonly warnOfProxy: (peer: string) => void
}

/** The handlers and the upstreams that each configuration creates. */
interface Shell {
  readonly route: RequestListener
  readonly verdict: RequestListener | null
  readonly redirect: RequestListener | null
  /** The ranges of `trustedProxies`. */
  readonly proxies: AddressRanges
  readonly upstreams: Upstreams
  readonly routes: RouteTable
  readonly findCors: FindCors
}

/** How long a stopping gateway waits for an unavailable store before it drops unsaved writes. */
const UNSAVED_WAIT_MS = 5_000

export async function buildApp(written: Config, log: Log, tracing: Tracing | null = null): Promise<Gatehouse> {
  const config = withOwnKeys(written)
  nameUsers(log, compileUserName(config.log.user))
  // The lasting services use this object. A reload replaces its values.
  const session = { ...config.session }
  const metrics = createMetrics()
  const store = await openStore(session, log, metrics, tracing)
  const providers = openProviders(providersOf(config), log, metrics, tracing)
  const sessions = openSessions({ store, settings: session, log, metrics, adopt: (one) => providers.adopt(one) })
  const refresher = createRefresher({ providers, store, sessions, log, metrics })
  const lasting: Lasting = {
    log,
    metrics,
    tracing,
    store,
    providers,
    sessions,
    refresher,
    routeTokens: createRouteTokens({ providers, refresher, sessions, log }),
    bearers: createAccessTokens(providers, log),
    usedProofs: createUsedProofs(store, session),
    streams: createStreams(sessions),
    pools: createPools(),
    counts: createCounts(store),
    warnOfProxy: createProxyWarning(log),
  }
  metrics.watchStreams(STREAM_KINDS, (kind) => lasting.streams.count(kind))

  let shell = await buildShell(config, lasting)
  let currentConfig = config
  const refusals = createRefusals({
    log,
    metrics,
    config: () => currentConfig,
    routes: () => shell.routes,
    findCors: () => shell.findCors,
  })
  const listener = createListener(
    config.tls,
    (request, response) => {
      shell.route(request, response)
    },
    log,
    config.limits,
    refusals,
    {
      h2c: config.listenH2c,
      sendsProxyHeader: config.listenProxyProtocol
        ? (connection) => 'path' in config.listen || shell.proxies.contains(peerOf(connection))
        : null,
    },
  )
  const plainListener = (route: (shell: Shell) => RequestListener | null): Listener =>
    createListener(null, (request, response) => route(shell)?.(request, response), log, config.limits, refusals)
  const forwardAuth = config.forwardAuth === null ? null : plainListener(({ verdict }) => verdict)
  const redirect = (config.tls?.redirectFrom ?? null) === null ? null : plainListener((one) => one.redirect)
  const listeners = [listener, forwardAuth, redirect].filter((one) => one !== null)
  let draining = false
  const readiness = createReadiness({ providers, store, isDraining: () => draining })
  metrics.watchReady(async () => (await readiness()).ready)
  const settings = config.admin === null ? null : { ...config.admin }
  const admin =
    settings === null
      ? null
      : buildAdmin({ settings, providers, sessions, metrics, readiness, log, limits: config.limits })

  async function reload(changed: Config): Promise<void> {
    const next = withOwnKeys(changed)
    const fresh = await buildShell(next, lasting)
    // No `await` after this line, so that no request is handled with parts of both configurations.
    shell = fresh
    lasting.pools.keepOnly(fresh.upstreams)
    const reconnects = !isDeepStrictEqual([session.store, session.redis], [next.session.store, next.session.redis])
    Object.assign(session, next.session)
    nameUsers(log, compileUserName(next.log.user))
    if (settings !== null) Object.assign(settings, next.admin)
    if (reconnects) store.reconnect()
    providers.configure(providersOf(next))
    if (next.tls !== null && !isDeepStrictEqual(currentConfig.tls, next.tls)) listener.certify(next.tls)
    for (const one of listeners) one.limit(next.limits)
    currentConfig = next
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
    await sessions.settled(UNSAVED_WAIT_MS)
    await admin?.close()
    await lasting.pools.close()
    await providers.close()
    await lasting.bearers.close()
    await store.close()
  }
  let closing: Promise<void> | null = null
  return {
    listener,
    forwardAuth,
    redirect,
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

/** Replaces the session keys with derived ones, because different deployments may share session keys and a store. */
function withOwnKeys(config: Config): Config {
  return { ...config, session: { ...config.session, keys: keysOf(config) } }
}

/**
 * Builds the handlers and upstreams of a configuration. A request passes the hooks in the order of their registration.
 */
async function buildShell(config: Config, lasting: Lasting): Promise<Shell> {
  const { log, metrics, store, providers, sessions, refresher, streams } = lasting

  const origins = publicOriginsOf(config)
  const app = createFastify(origins)

  const cookies = await createCookies(app, config)
  const routes = compileRoutes(config.routes, config.basePath)
  initializeRequests(metrics, routes.routes)
  const findCors = compileCors(routes, origins)
  const answers = createAnswers(config, cookies, routes, findCors)
  prepareRequests(app, config, answers, lasting, {
    origins,
    // With the PROXY protocol, the clients of a Unix socket have addresses.
    overSocket: 'path' in config.listen && !config.listenProxyProtocol,
    readTicket: cookies.ticket,
    onUntrusted: hasLimits(config.rateLimit) && !config.listenProxyProtocol ? lasting.warnOfProxy : null,
  })
  const viaName = viaNameOf(config)
  denyLoops(app, viaName, answers)
  registerWellKnown(app, { config, providers, routes, answers })
  const findTokenOwner = buildFindTokenOwner(routes, lasting.bearers)
  const limits = await createLimits(app, config.rateLimit, lasting.counts, ({ facts, now }, mayVerify) =>
    findTokenOwner(facts, now, mayVerify),
  )

  const tokens = createTokens({
    refresher,
    routeTokens: lasting.routeTokens,
    sessions,
    before: config.session.refreshBefore,
  })
  const proofs = createClientProofs(config.session.keys, lasting.usedProofs)
  const gate = buildGate({ config, routes, sessions, tokens, bearers: lasting.bearers, proofs })
  const assertions = config.assertion === null ? null : createAssertions(config.assertion)
  const headers = compileHeaders(routes, cookies.isOwn, viaName, assertions)

  const services: Services = {
    config,
    origins,
    routes,
    gate,
    providers,
    store,
    sessions,
    refresher,
    cookies,
    answers,
    assertions,
    streams,
    log,
    metrics,
    loginStates: createSealedState<LoginState>(config.session.keys, 'login state'),
    logoutStates: createSealedState<LogoutState>(config.session.keys, 'logout state'),
  }
  await app.register(async (scope) => {
    registerEndpoints(scope, services, limits)
  })

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
        loginRedirects: compileLoginRedirects(routes.routes, providers),
      },
      limits,
    )
  })

  await app.ready()
  const redirects =
    (config.tls?.redirectFrom ?? null) === null
      ? null
      : await buildRedirects(config, origins, createAnswers(config, cookies, routes, null), lasting)
  const verdicts =
    config.forwardAuth === null
      ? null
      : await buildVerdicts(
          {
            config,
            origins,
            gate,
            headers,
            routes,
            sessions,
            cookies,
            answers: createAnswers(config, cookies, routes, null),
          },
          config.forwardAuth.listen,
          lasting,
          findTokenOwner,
        )
  return {
    route: routeOf(app),
    verdict: verdicts === null ? null : routeOf(verdicts),
    redirect: redirects === null ? null : routeOf(redirects),
    proxies: compileRanges(config.trustedProxies),
    upstreams,
    routes,
    findCors,
  }
}

function routeOf(app: FastifyInstance): RequestListener {
  return (request, response) => {
    app.routing(request, response)
  }
}

async function buildVerdicts(
  services: ForwardAuthServices,
  listen: Listen,
  lasting: Lasting,
  findTokenOwner: FindTokenOwner,
): Promise<FastifyInstance> {
  const { config, origins, answers, cookies } = services
  // This listener accepts no absolute targets.
  const app = createFastify({ find: () => null })
  prepareRequests(app, config, answers, lasting, {
    origins,
    overSocket: 'path' in listen,
    readTicket: cookies.ticket,
    onUntrusted: hasLimits(config.rateLimit) ? lasting.warnOfProxy : null,
  })
  const limits = await createLimits(app, config.rateLimit, lasting.counts, ({ facts: subrequest, now }, mayVerify) => {
    const authUrl = subrequest.headers.authorization === undefined ? null : readAuthUrl(subrequest, config.basePath)
    const original = authUrl === null ? null : describedBy(authUrl, subrequest, origins, services.routes)
    return original === null || 'reason' in original ? null : findTokenOwner(original, now, mayVerify)
  })
  registerForwardAuth(app, services, limits)
  await app.ready()
  return app
}

async function buildRedirects(
  config: Config,
  publicOrigins: PublicOrigins,
  answers: Answers,
  lasting: Lasting,
): Promise<FastifyInstance> {
  const origins = originsByName(publicOrigins)
  const app = createFastify(origins)
  prepareRequests(app, config, answers, lasting, {
    origins,
    overSocket: false,
    readTicket: () => null,
    onUntrusted: null,
  })
  registerHttpsRedirect(app)
  await app.ready()
  return app
}

type FactOptions = Parameters<typeof createFactReader>[0]

/** Makes `app` log and count its requests, answer failures, and read the facts of each request. */
function prepareRequests(
  app: FastifyInstance,
  config: Config,
  answers: Answers,
  { log, metrics, tracing }: Lasting,
  options: Omit<FactOptions, 'headerFields' | 'trustedProxies'>,
): void {
  observe(app, { config, log, metrics, tracing })
  handleFailures(app, answers)
  const { limits, trustedProxies } = config
  const facts = createFactReader({ ...options, headerFields: limits.headerFields, trustedProxies })
  giveContext(app, facts, answers, tracing)
}
