import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { JWTHeaderParameters, JWTPayload } from 'jose'
import type { Provider } from 'oidc-provider'
import { boundPort } from './bound-port.ts'
import { clientMetadata, type ClientAuthentication, type IdpClient } from './idp/clients.ts'
import { providerConfiguration, type Parts } from './idp/configuration.ts'
import { endpointOf, pathOf } from './idp/endpoints.ts'
import { registerExchangeGrants } from './idp/exchange-grants.ts'
import { createFailures, type Failures } from './idp/failures.ts'
import { answerInteraction } from './idp/interaction.ts'
import { loadProvider } from './idp/load-provider.ts'
import { createObserved, observe, type Observed } from './idp/observed.ts'
import { endSessionsOf, type EndedSessions } from './idp/sessions.ts'
import { usualLifetimes, type IdpSettings, type Lifetimes } from './idp/settings.ts'
import { generateSigningKeys, signJwt } from './idp/signing-keys.ts'
import { createStorage } from './idp/storage.ts'
import { demoUsers, type User } from './idp/users.ts'
import { isRecord } from './is-record.ts'

/** How to start the provider; nothing is required. */
export type IdpOptions = {
  /** Default 127.0.0.1. */
  host?: string
  /** What browsers call it, where that is not `host`. The issuer is made of it. */
  hostname?: string
  /** Default 0: any free port. */
  port?: number
  /** PEM; with it the issuer is https. */
  tls?: { cert: string; key: string }
  clients?: readonly IdpClient[]
  lifetimes?: Partial<Lifetimes>
  /** Default true. */
  rotateRefreshTokens?: boolean
  /** Announces and serves pushed authorization requests (RFC 9126). Default false. */
  pushedAuthorization?: boolean
  /** What discovery announces for the token endpoint. */
  clientAuthentications?: readonly ClientAuthentication[]
  users?: readonly User[]
  /** APIs that any refresh token can be redeemed for, one at a time (RFC 8707, section 2.2). */
  resources?: readonly string[]
}

/** A running provider, and what a test may do to it. */
export type Idp = Observed & {
  issuer: string
  settings: IdpSettings
  /** Who can sign in, by `sub`; changed claims are in the next ID token. */
  users: Map<string, User>
  /** Adds a client, or replaces the one of that name. */
  registerClient: (client: IdpClient) => Promise<void>
  fail: Failures['fail']
  /** Signs with new keys from now on; the old ones stay published unless `keepOld` is false. */
  rotateSigningKeys: (options?: { keepOld?: boolean }) => Promise<void>
  /** A JWT of exactly these claims, signed with the current key: e.g. a logout token that is wrong in one point. */
  sign: (claims: JWTPayload, header?: Partial<JWTHeaderParameters>) => Promise<string>
  /** Takes back all that a user granted: the tokens are gone, a refresh gets `invalid_grant`. Tells how many grants. */
  revokeGrantsOf: (sub: string) => number
  /** A refresh with any refresh token issued so far gets `invalid_grant`. Tells how many there were. */
  forgetRefreshTokens: () => number
  /** Ends a user's sessions here, and tells the clients over the back channel unless `notify` is false. */
  endSessionsOf: (sub: string, options?: { notify?: boolean }) => Promise<EndedSessions>
  close: () => Promise<void>
}

const listen = async (options: IdpOptions, answer: (req: IncomingMessage, res: ServerResponse) => void) => {
  const { host = '127.0.0.1', port = 0, tls } = options
  const server = tls === undefined ? createServer(answer) : createTlsServer(tls, answer)
  server.listen(port, host)
  await once(server, 'listening')
  const hostname = options.hostname ?? (host.includes(':') ? `[${host}]` : host)
  return { server, issuer: `${tls === undefined ? 'http' : 'https'}://${hostname}:${boundPort(server)}` }
}

/** Starts a real OpenID provider, made of `oidc-provider`, for demo and tests only; it listens once this settles. */
export const startIdp = async (options: IdpOptions = {}): Promise<Idp> => {
  const { Provider: ProviderClass, interactionPolicy } = await loadProvider()
  const observed = createObserved()
  const failures = createFailures()
  const storage = createStorage()
  const users = new Map((options.users ?? demoUsers).map((user) => [user.sub, user]))
  const settings: IdpSettings = {
    lifetimes: { ...usualLifetimes, ...options.lifetimes },
    rotateRefreshTokens: options.rotateRefreshTokens ?? true,
    reshapeTokenResponse: null,
    resources: options.resources ?? [],
    refuseExchange: null,
    ignoreStepUp: false,
  }
  const parts: Parts = {
    policy: interactionPolicy,
    storage,
    users,
    settings,
    observed,
    cookieKey: randomBytes(32).toString('base64url'),
    clientAuthentications: options.clientAuthentications ?? [
      'client_secret_basic',
      'client_secret_post',
      'private_key_jwt',
      'none',
    ],
    pushedAuthorization: options.pushedAuthorization ?? false,
  }

  const answer = async (req: IncomingMessage, res: ServerResponse): Promise<void> => {
    const endpoint = endpointOf(req.url ?? '/')
    if (endpoint !== null) observed.requests[endpoint] += 1
    if (await failures.intercept(req, res)) return
    if (pathOf(req.url ?? '/').startsWith('/interaction/')) await answerInteraction(provider, users, req, res)
    else await handle(req, res)
  }

  const { server, issuer } = await listen(options, (req, res) => {
    answer(req, res).catch((error: Error) => {
      observed.serverErrors.push(error)
      res.destroy()
    })
  })

  let signingKeys = await generateSigningKeys()
  const createProvider = (): Provider => {
    const created = new ProviderClass(issuer, providerConfiguration(parts, signingKeys))
    created.use(async (ctx, next) => {
      await next()
      const reshape = settings.reshapeTokenResponse
      const body: unknown = ctx.body
      if (reshape !== null && endpointOf(ctx.path) === 'token' && ctx.status === 200 && isRecord(body)) {
        ctx.body = reshape(body)
      }
    })
    registerExchangeGrants(created, settings)
    observe(created, observed)
    return created
  }
  let provider = createProvider()
  let handle = provider.callback()

  const registerClient = async (client: IdpClient): Promise<void> => {
    await storage.adapter('Client').upsert(client.clientId, clientMetadata(client))
    // Finding it validates it: a mistake in a test's client shows here and not in the middle of a login.
    await provider.Client.find(client.clientId)
  }
  for (const client of options.clients ?? []) await registerClient(client)

  return Object.assign(observed, {
    issuer,
    settings,
    users,
    registerClient,
    fail: failures.fail,
    rotateSigningKeys: async ({ keepOld = true }: { keepOld?: boolean } = {}) => {
      const fresh = await generateSigningKeys()
      signingKeys = keepOld ? [...fresh, ...signingKeys] : fresh
      provider = createProvider()
      handle = provider.callback()
    },
    sign: async (claims: JWTPayload, header?: Partial<JWTHeaderParameters>) => signJwt(signingKeys, claims, header),
    revokeGrantsOf: (sub: string) => {
      for (const model of ['AccessToken', 'RefreshToken', 'AuthorizationCode']) {
        storage.remove(model, ({ accountId }) => accountId === sub)
      }
      return storage.remove('Grant', ({ accountId }) => accountId === sub)
    },
    forgetRefreshTokens: () => storage.remove('RefreshToken', () => true),
    endSessionsOf: async (sub: string, { notify = true }: { notify?: boolean } = {}) =>
      endSessionsOf(sub, { provider, storage, notify }),
    close: async () => {
      const closed = once(server, 'close')
      server.close()
      server.closeAllConnections()
      await closed
    },
  })
}
