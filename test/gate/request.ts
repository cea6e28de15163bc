import type { Route } from '../../src/config/schema.ts'
import type { CompiledRoute, Facts } from '../../src/gate/verdict.ts'
import type { Session } from '../../src/session/session.ts'

/** The public origin of these requests. */
export const origin = 'https://orders.example.com'

/** The time of these requests, ms since the epoch. */
export const now = Date.UTC(2030, 0, 1)

/** Returns what a route requires: nothing, with these changes. */
export const requirement = (require: Partial<Route['require']> = {}): Route['require'] => ({
  claims: {},
  networks: null,
  any: null,
  not: null,
  acr: null,
  maxAge: null,
  ...require,
})

type BearerSettings = NonNullable<Route['bearer']>

/** Returns the settings of a route for clients with tokens, with these changes. */
export const bearerOf = (bearer: Partial<BearerSettings> = {}): BearerSettings => ({
  audience: null,
  clientIds: null,
  issuers: [],
  introspection: 'auto',
  scopes: [],
  require: null,
  dpop: 'off',
  token: 'pass',
  metadata: false,
  ...bearer,
})

/** Returns a route with the default values and these changes. */
export const routeOf = (route: Partial<Route> = {}): Route => ({
  path: '/**',
  host: null,
  methods: null,
  access: 'required',
  provider: null,
  upstream: { origin: 'http://127.0.0.1:3000', socketPath: null },
  upstreamHost: 'preserve',
  upstreamProtocol: 'http1',
  upstreamParser: 'strict',
  upstreamConnectionAge: 300_000,
  stripPrefix: null,
  rewritePrefix: null,
  prefixHeaders: true,
  challenge: 'auto',
  require: requirement(),
  token: { grant: 'session', audience: null, resource: null, scopes: null, header: 'Authorization' },
  authorization: 'token',
  headers: { set: {}, encoding: 'rfc8187', remove: [] },
  bearer: null,
  loginRedirects: [],
  preservePost: true,
  maxBody: null,
  csrf: 'origin',
  cors: null,
  timeout: 60_000,
  upstreamTls: { caFile: null, serverName: null, certFile: null, keyFile: null, insecureSkipVerify: false },
  ...route,
})

/** Returns the same as the only route of a table. */
export const compiled = (route: Partial<Route> = {}): CompiledRoute => ({
  ...routeOf(route),
  index: 0,
  label: route.path ?? '/**',
  series: route.path ?? '/**',
})

type FactsMade = Partial<Omit<Facts, 'headers' | 'rawHeaders'>> & {
  readonly headers?: Readonly<Record<string, string>>
}

/** Returns the facts of `GET /` without headers, from an untrusted peer, with these changes. */
export const factsOf = ({ headers = {}, ...facts }: FactsMade = {}): Facts => ({
  requestId: '0199a3e4-5b1c-7d20-8f3a-6e2b9c4d1a75',
  method: 'GET',
  httpVersion: '1.1',
  path: '/',
  query: '',
  origin,
  ticket: null,
  client: { address: '192.0.2.7', peer: '192.0.2.7', trusted: false, scheme: 'https' },
  headers: Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value])),
  rawHeaders: Object.entries(headers).flat(),
  ...facts,
})

/** Returns Alice's session, created at `now`, with these changes. */
export const sessionOf = (session: Partial<Session> = {}): Session => ({
  id: 'AAAAAAAAAAAAAAAAAAAAAA',
  ticket: { id: 'AAAAAAAAAAAAAAAAAAAAAA', key: 'A'.repeat(43) },
  version: 1,
  issuer: 'https://idp.example.com',
  subject: 'alice',
  sid: null,
  origin,
  requestedStepUp: null,
  idToken: 'header.payload.signature',
  claims: { sub: 'alice', name: 'Alice Archer', groups: ['staff', 'admin'] },
  tokens: {
    accessToken: 'access-token',
    expiresAt: now + 300_000,
    issuedAt: now,
    refreshToken: 'refresh-token',
    scope: 'openid',
  },
  createdAt: now,
  endsAt: now + 36_000_000,
  refreshedAt: now,
  lastSeenAt: now,
  ...session,
})
