import { METHODS, type IncomingHttpHeaders } from 'node:http'
import { userApiOf } from '../config/presets/apply.ts'
import { compileRanges } from '../config/address-ranges.ts'
import { providersOf, type Config, type ProviderSettings } from '../config/schema.ts'
import { hasPlaceholder } from '../config/value-types/http.ts'
import { challenge, finalAnswer } from '../gate/challenge.ts'
import { classify } from '../gate/classify.ts'
import { allowsOrigin, corsHeaders, preflightHeaders } from '../gate/cors.ts'
import { compileHeaders, passesAuthorization, placeholderValues } from '../gate/headers.ts'
import { hostOf, compileRoutes, type RouteTable } from '../gate/match.ts'
import { carriesToken } from '../gate/authorization.ts'
import { confirmationThumbprint } from '../gate/client-proofs.ts'
import { buildGate } from '../gate/pipeline.ts'
import type { WellKnown } from '../gate/protected-resource.ts'
import { type PublicOrigins, publicOriginsOf } from '../gate/public-origins.ts'
import { upstreamPath } from '../gate/upstream-urls.ts'
import type { Client, CompiledRoute, Facts, Verdict } from '../gate/verdict.ts'
import { cookieNames } from '../http/cookies/names.ts'
import { describedBy, readAuthUrl, type AuthUrl } from '../http/forward-auth/described-request.ts'
import { redirectsProxy, statusForProxy } from '../http/forward-auth/verdict.ts'
import { clientOf } from '../http/facts.ts'
import { viaNameOf } from '../http/loop-detection.ts'
import { readTarget } from '../http/target.ts'
import type { TokenRequirements } from '../oidc/access-token.ts'
import type { VerifiedToken } from '../oidc/token-rules.ts'
import type { Claims } from '../oidc/token-set.ts'
import type { Session } from '../session/session.ts'
import {
  adviceFor,
  headersNotPassed,
  headersNotSent,
  otherKeysOf,
  reasonOf,
  requirementsMet,
  tokenOf,
} from './explanation-text.ts'
import { explainToken, mayIssue, type TokenExplanation } from './explained-token.ts'

/** The request to explain, with the claims of the user who sends it, or `null` if the request is anonymous. */
export interface ExplainedRequest {
  readonly method: string
  readonly url: string
  readonly headers: readonly (readonly [string, string])[]
  readonly claims: Claims | null
  /** The address that the request comes from, or `null` for a proxy of `trustedProxies` or this machine. */
  readonly client?: string | null
  /** The name of the user's provider, or `null` for the one that the claims or the route name. */
  readonly provider?: string | null
  readonly now: number
}

/** Stands for an access token in the explanation. */
const ACCESS_TOKEN = 'ACCESS-TOKEN'

type Line = readonly [name: string, text: string]

/** Runs the gateway's pipeline with a made-up session and returns an explanation, line by line. Makes no network calls. */
export async function explainRequest(
  config: Config,
  { method, url, headers, claims, client = null, provider: named = null, now }: ExplainedRequest,
): Promise<Line[]> {
  const origins = publicOriginsOf(config)
  const { origin, raw } = splitUrl(url, origins)
  const lines: Line[] = [['request', `${method} ${raw} at ${origin}`]]
  if (['TRACE', 'TRACK', 'CONNECT'].includes(method))
    return [...lines, ['answer', '405 method_not_allowed: this method is never forwarded']]
  if (!METHODS.includes(method))
    return [...lines, ['answer', `400 bad_request: ${method} is not an HTTP method; methods are written in capitals`]]
  const target = readTarget(asBytes(raw), origins)
  if (!target.ok) return [...lines, ['answer', `400 bad_request: ${target.problem}`]]

  const routes = compileRoutes(config.routes, config.basePath)
  const found = routes.match(hostOf(origin), method, target.path)
  const provider = named ?? providerOf(config, claims, found === 'endpoint' ? null : found)
  const own = providersOf(config).find(({ name }) => (name ?? null) === provider)
  const idToken = own === undefined || userApiOf(own) === null ? 'ID-TOKEN' : null
  const session = claims === null ? null : sessionOf(claims, provider, idToken, origin, now)
  const sent = headers.map(([name, value]) => [name, asBytes(value)] as const)
  const facts: Facts = {
    requestId: 'REQUEST-ID',
    method,
    httpVersion: '1.1',
    path: target.path,
    query: target.query,
    origin,
    headers: headersFrom(sent),
    rawHeaders: sent.flat(),
    client: clientFrom(headersFrom(sent), client, config.trustedProxies, origin),
    ticket: session?.ticket ?? null,
  }
  const scenario = { config, routes, session, claims, provider, now }
  if (found !== 'endpoint' || routes.conflictingVariant(hostOf(origin), method, target.path, found) !== null)
    return [...lines, ...(await explainVerdict(facts, { ...scenario, authUrl: null }))]
  const document = routes.wellKnown(hostOf(origin), method, target.path)
  if (document !== null) return [...lines, ['answer', wellKnownText(document)]]
  const authUrl = readAuthUrl(facts, config.basePath)
  if (authUrl === null) return [...lines, ['answer', `the gateway itself serves everything under ${config.basePath}`]]
  return [...lines, ...(await explainForwardAuth(facts, authUrl, scenario))]
}

function wellKnownText({ about, route }: WellKnown): string {
  const place = `${route.label} (routes[${route.index}])`
  return about === 'resource'
    ? `the gateway itself serves the metadata of ${place} as a protected resource`
    : `the gateway itself serves the metadata of the provider, because of bearer.metadata of ${place}`
}

/** Explains the response of the forward-auth listener. The public listener does not serve this address. */
async function explainForwardAuth(
  facts: Facts,
  authUrl: AuthUrl,
  scenario: Omit<Scenario, 'authUrl'>,
): Promise<Line[]> {
  const { config, routes } = scenario
  if (config.forwardAuth === null) {
    return [
      ['answer', '404 not_found'],
      ['because', 'forward-auth has a listener of its own, and forwardAuth.listen is not set'],
    ]
  }
  const listener: Line = ['listener', 'forwardAuth.listen; on the public listener this address is 404']
  const compiled = compileHeaders(routes, () => false)
  const about = describedBy(authUrl, facts, publicOriginsOf(config), routes)
  if ('reason' in about) {
    const { status, code } = finalAnswer(about)
    return [listener, ['answer', `${status} ${code}`], ['because', 'cause' in about ? about.cause : code]]
  }
  const cause = compiled.deception(about)
  if (cause !== null) return [listener, ['answer', '400 bad_request'], ['because', cause]]
  return [
    listener,
    ['about', `${about.method} ${asText(about.path + about.query)} at ${about.origin}`],
    ...(await explainVerdict(about, { ...scenario, authUrl })),
  ]
}

interface Scenario {
  readonly config: Config
  readonly routes: RouteTable
  readonly session: Session | null
  readonly claims: Claims | null
  /** The name of the user's provider, or `null` if there is only one. */
  readonly provider: string | null
  readonly now: number
  /** The URL of a forward-auth request, or `null` for a request to the gateway itself. */
  readonly authUrl: AuthUrl | null
}

async function explainVerdict(facts: Facts, scenario: Scenario): Promise<Line[]> {
  const { config, routes, session, claims, provider, now } = scenario
  let token: TokenExplanation = { accepted: [] }
  const gate = buildGate({
    config,
    routes,
    sessions: { load: () => session, hasSuccessor: () => false },
    bearers: {
      verify(_token, demand) {
        token =
          claims === null
            ? { refused: 'the client’s own token would have to be verified: give its claims with --claims' }
            : explainToken(claims, demand, acceptedProviders(config, demand.providers), now)
        return 'refused' in token ? { why: token.refused } : explainedToken(claims ?? {}, demand, provider)
      },
    },
    // Every proof is treated as valid, because a proof is made for one request at one time.
    proofs: {
      nonce: () => 'NONCE',
      read: ({ headers: { dpop } }) =>
        dpop === undefined
          ? { error: 'invalid_dpop_proof', why: 'there is no DPoP header with a proof' }
          : { jwt: '', jwk: {}, jti: '', nonce: '' },
      verify: async (_proof, own) =>
        confirmationThumbprint(own) === null
          ? { error: 'invalid_token', why: 'the token has no cnf.jkt, so no proof fits it' }
          : null,
    },
    tokens: {
      acquire: (current, route) => ({
        ok: true,
        session: current,
        accessToken: route.grant === 'none' ? null : route.grant === 'id-token' ? current.idToken : ACCESS_TOKEN,
        proofKey: null,
      }),
      exchange: () => ({ ok: true, accessToken: ACCESS_TOKEN, proofKey: null }),
    },
  })
  const verdict = await gate(facts, now)
  const bearer = verdict.route !== null && verdict.route.bearer !== null && carriesToken(facts, verdict.route.bearer)
  const claimsJson = JSON.stringify(claims)
  return [
    ['kind', classify(facts.method, facts.headers, config.scripts)],
    [
      'session',
      bearer
        ? `none is read: the request carries a token${claims === null ? '' : ` with ${claimsJson}`}`
        : claims === null
          ? 'none'
          : `a user${provider === null ? '' : ` of ${provider}`} with ${claimsJson}`,
    ],
    [
      'route',
      verdict.route === null
        ? 'none'
        : [`${verdict.route.label} (routes[${verdict.route.index}], ${verdict.route.access})`]
            .concat(otherKeysOf(verdict.route))
            .join(', '),
    ],
    ...(verdict.type === 'forward'
      ? forwarded(verdict, facts, scenario, token)
      : verdict.type === 'preflight'
        ? preflighted(facts, scenario)
        : denied(verdict, facts, scenario, token)),
  ]
}

function preflighted(facts: Facts, { authUrl }: Scenario): Line[] {
  const { origin = '', 'access-control-request-method': method = '' } = facts.headers
  const because: Line = ['because', `cors.origins has ${origin}, whose pages may call this route with ${method}`]
  if (authUrl !== null)
    return [
      ['answer', '401 login_required: the proxy passes the preflight request on to the gateway, which answers it'],
      because,
    ]
  return [['answer', '204 to a CORS preflight request'], because, ...headerLines(preflightHeaders(facts))]
}

function headerLines(headers: Readonly<Record<string, string>>): Line[] {
  return Object.entries(headers).map(([name, value]) => ['tells', `${name}: ${value}`])
}

/** Returns the origin that failed the CSRF check, and the keys that could allow it. */
function foreignOrigin({ headers }: Facts): Line[] {
  const { origin, 'sec-fetch-site': site } = headers
  if (origin === undefined) return [['because', `Sec-Fetch-Site is ${String(site)}, and there is no Origin`]]
  return [['because', `the origin is ${origin}, which is not in publicUrl and not in cors.origins of the route`]]
}

/** Returns a line about a preflight request that the gateway does not answer, because the route does not list its origin. */
function refusedPreflight({ method, path, headers, origin }: Facts, routes: RouteTable): Line[] {
  const wanted = headers['access-control-request-method']
  if (method !== 'OPTIONS' || headers.origin === undefined || wanted === undefined) return []
  const route = routes.match(hostOf(origin), wanted, path)
  if (route === null || route === 'endpoint') return []
  const isListed: boolean = allowsOrigin(route, headers.origin)
  if (isListed) return []
  const text =
    `cors.origins of routes[${route.index}], the route for ${wanted}, does not have ${headers.origin}: ` +
    'the gateway does not answer the preflight request'
  return [['because', text]]
}

/** Returns what a page of another origin may do with the request, and the headers that its response gets. */
function crossOrigin(route: CompiledRoute, facts: Facts): Line[] {
  const { origin } = facts.headers
  if (origin === undefined) return []
  const isListed: boolean = allowsOrigin(route, origin)
  if (!isListed) {
    if (origin === facts.origin || facts.method === 'OPTIONS') return []
    return [
      ['because', `cors.origins of the route does not have ${origin}: the gateway adds no CORS headers for its pages`],
    ]
  }
  return [
    ['because', `cors.origins has ${origin}: csrf lets the request pass, and the page may read the response`],
    ...headerLines(corsHeaders(route, origin)),
  ]
}

function forwarded(
  verdict: Extract<Verdict, { type: 'forward' }>,
  facts: Facts,
  { config, routes, session, now, authUrl }: Scenario,
  token: TokenExplanation,
): Line[] {
  const byProxy = authUrl !== null
  const { route, accessToken } = verdict
  const who = verdict.who?.bearer === true ? { ...verdict.who, tokens: { accessToken: ACCESS_TOKEN } } : verdict.who
  const cookies = cookieNames(config).all
  const assertion = who === null ? null : 'ASSERTION'
  const compiled = compileHeaders(routes, (name) => cookies.has(name), viaNameOf(config), { make: () => 'ASSERTION' })
  const own = providersOf(config).find(({ name }) => name === session?.provider)
  const scheme = own?.dpop === 'on' ? 'DPoP' : 'Bearer'
  const headers = byProxy
    ? compiled.forProxy(facts, route, who, accessToken, scheme)
    : compiled.build(facts, route, who, accessToken, scheme)
  if (scheme === 'DPoP' && accessToken !== null) headers.push('DPoP', 'PROOF')
  const constants = constantHeaders(route)
  const pairs = headers.flatMap((name, i) =>
    i % 2 === 0 ? [`${name}: ${constants.has(name.toLowerCase()) ? '********' : asText(headers[i + 1] ?? '')}`] : [],
  )
  const upstream = route.upstream.socketPath === null ? route.upstream.origin : `unix:${route.upstream.socketPath}:`
  const reason =
    route.access === 'public'
      ? 'the route is public: no session is looked at'
      : who?.bearer === true
        ? 'the client’s own token may use this route'
        : session === null
          ? 'the route’s session is optional, and there is none'
          : 'the session may use this route'
  const reasons = who === null ? [] : requirementsMet(route, who, facts.client.address, now)
  const accepted = 'accepted' in token ? token.accepted : []
  const websocket: Line[] =
    classify(facts.method, facts.headers, config.scripts) !== 'websocket' || byProxy
      ? []
      : [
          [
            'websocket',
            'the application’s own answer to the upgrade ' +
              `decides${verdict.session === null ? '' : '; closed with 4401 when the session ends'}`,
          ],
        ]
  return [
    ['answer', byProxy ? `200 with the headers for the application: ${reason}` : `passes: ${reason}`],
    ...[...accepted, ...reasons].map((text): Line => ['because', text]),
    ...refusedPreflight(facts, routes),
    ...crossOrigin(route, facts),
    ...(byProxy
      ? []
      : [['upstream', `${facts.method} ${upstream}${asText(upstreamPath(route, facts.path) + facts.query)}`] as const]),
    ...websocket,
    ['token', tokenOf(verdict, passesAuthorization(facts, route, who))],
    ...pairs.map((pair): Line => ['header', pair]),
    ...(byProxy ? [] : headersNotPassed(facts.rawHeaders, headers)),
    ...headersNotSent(route, who, placeholderValues(facts, route, who, accessToken, assertion)),
  ]
}

/** Returns the lower-case names of headers with a fixed value, which is masked because it may be a secret. */
function constantHeaders({ headers }: CompiledRoute): Set<string> {
  const constants = Object.entries(headers.set).filter(([, template]) => !hasPlaceholder(template))
  return new Set(constants.map(([name]) => name.toLowerCase()))
}

function denied(
  verdict: Extract<Verdict, { type: 'deny' }>,
  facts: Facts,
  { config, routes, claims, authUrl }: Scenario,
  token: TokenExplanation,
): Line[] {
  const { denial, kind, route } = verdict
  const answer = challenge(denial, kind, facts, route, config)
  const byProxy = authUrl !== null && !redirectsProxy(authUrl, kind, answer)
  const status = byProxy ? statusForProxy(answer.status) : answer.status
  const loginUrl = byProxy ? (answer.location ?? answer.loginUrl) : answer.loginUrl
  const loginLines: Line[] =
    answer.location !== undefined && !byProxy
      ? [['location', answer.location]]
      : loginUrl !== undefined
        ? [['login_url', loginUrl]]
        : []
  const authenticate: Line[] =
    answer.authenticate === undefined || answer.authenticate === 'Bearer'
      ? []
      : [['tells', `WWW-Authenticate: ${answer.authenticate}`]]
  return [
    ['answer', `${status} ${answer.code}`],
    ['because', 'refused' in token ? token.refused : reasonOf(denial)],
    ...adviceFor(denial, claims).map((text): Line => ['because', text]),
    ...(denial.reason === 'cross-origin' ? foreignOrigin(facts) : []),
    ...refusedPreflight(facts, routes),
    ...loginLines,
    ...authenticate,
    ...headerLines(route === null ? {} : corsHeaders(route, facts.headers.origin)),
  ]
}

/** Splits a URL into the public URL that it names and the raw request target, which is not normalized. */
function splitUrl(url: string, origins: PublicOrigins): { origin: string; raw: string } {
  const [, authority = '', rest = ''] = /^(https?:\/\/[^/?#\\]*)(.*)$/is.exec(url) ?? []
  if (authority === '') return { origin: origins.fallback, raw: url }
  const origin = URL.canParse(authority) ? origins.find(new URL(authority).host) : null
  return { origin: origin ?? origins.fallback, raw: rest.startsWith('/') ? rest : `/${rest}` }
}

/** Returns the UTF-8 bytes of a text, one character for each byte, as Node.js reads targets and headers. */
function asBytes(text: string): string {
  return Buffer.from(text).toString('latin1')
}

function asText(bytes: string): string {
  return Buffer.from(bytes, 'latin1').toString()
}

/**
 * Returns the client of a request from `address`. Without an address, a request with X-Forwarded-For comes from the first
 * of the trusted proxies, and any other from this machine.
 */
function clientFrom(
  headers: IncomingHttpHeaders,
  address: string | null,
  trustedProxies: readonly string[],
  origin: string,
): Client {
  const [proxy = LOOPBACK] = trustedProxies.map((range) => range.replace(/\/.*/, ''))
  const trusted = compileRanges(trustedProxies)
  const peer = address ?? (headers['x-forwarded-for'] === undefined ? LOOPBACK : proxy)
  return clientOf(headers, peer, trusted.contains(peer), origin, (one) => trusted.contains(one))
}

const LOOPBACK = '127.0.0.1'

function headersFrom(pairs: readonly (readonly [string, string])[]): IncomingHttpHeaders {
  return Object.fromEntries(pairs.map(([name, value]) => [name.toLowerCase(), value]))
}

function providerOf(config: Config, claims: Claims | null, route: CompiledRoute | null): string | null {
  const accepted = acceptedProviders(config, route?.provider ?? null)
  const { iss } = claims ?? {}
  const issuers = providersOf(config).filter((one) => iss !== undefined && mayIssue(one, { ...claims, iss }))
  const likely = issuers.find((one) => accepted.includes(one)) ?? issuers[0] ?? accepted[0]
  return likely?.name ?? null
}

function acceptedProviders(config: Config, names: readonly string[] | null): ProviderSettings[] {
  return providersOf(config).filter(({ name }) => names?.includes(name ?? '') ?? true)
}

/** Returns the token of these claims, as if it had been verified. Tokens of other issuers belong to no provider. */
function explainedToken(claims: Claims, { settings }: TokenRequirements, provider: string | null): VerifiedToken {
  const isOfOther = settings.issuers.some(({ issuer }) => issuer === claims['iss'])
  return { claims, ...named(isOfOther ? null : provider), bearer: true, digest: '', owner: '' }
}

function named(provider: string | null): { provider?: string } {
  return provider === null ? {} : { provider }
}

function sessionOf(
  claims: Claims,
  provider: string | null,
  idToken: string | null,
  origin: string,
  now: number,
): Session {
  const ticket = { id: 'SESSION-ID', key: '' }
  return {
    id: ticket.id,
    ticket,
    version: 1,
    ...named(provider),
    issuer: '',
    subject: typeof claims['sub'] === 'string' ? claims['sub'] : '',
    sid: null,
    origin,
    claims,
    requestedStepUp: null,
    idToken,
    tokens: { accessToken: ACCESS_TOKEN, expiresAt: null, issuedAt: now, refreshToken: null, scope: null },
    createdAt: now,
    endsAt: Number.POSITIVE_INFINITY,
    refreshedAt: now,
    lastSeenAt: now,
  }
}
