import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import { text } from 'node:stream/consumers'
import type { JWTHeaderParameters, JWTPayload } from 'jose'
import type { Provider } from 'oidc-provider'
import { boundPort } from './bound-port.ts'
import { clientMetadata, type ClientAuthentication, type IdpClient } from './idp/clients.ts'
import { providerConfiguration, type DpopSupport, type ProviderOptions } from './idp/configuration.ts'
import { ENDPOINT_PATHS, endpointOf, pathOf } from './idp/endpoints.ts'
import { registerExchangeGrants } from './idp/exchange-grants.ts'
import { createFailures, type Failures } from './idp/failures.ts'
import { answerInteraction } from './idp/interaction.ts'
import { createObserved, observe, type Observed } from './idp/observed.ts'
import { endSessionsOf, type EndedSessions } from './idp/sessions.ts'
import { DEFAULT_LIFETIMES, DEMO_USERS, type IdpSettings, type Lifetimes, type User } from './idp/settings.ts'
import { generateSigningKeys, signJwt } from './idp/signing-keys.ts'
import { createStorage } from './idp/storage.ts'

export interface IdpOptions {
  /** Default 127.0.0.1. */
  host?: string
  /** The host name in the issuer; by default `host`. */
  hostname?: string
  /** Default 0: a free port. */
  port?: number
  /** PEM; the issuer becomes https. */
  tls?: { readonly cert: string; readonly key: string }
  /** PEM; with `tls`, a second listener also accepts certificates of these authorities from clients. */
  clientAuthorities?: string
  clients?: readonly IdpClient[]
  lifetimes?: Partial<Lifetimes>
  /** Default true. */
  rotateRefreshTokens?: boolean
  /** Whether pushed authorization requests are supported or required. Default false. */
  pushedAuthorization?: boolean | 'required'
  /** Whether tokens are bound to the key of a DPoP proof, and whether a proof needs the provider's nonce. Default `off`. */
  dpop?: DpopSupport
  /** Applies the FAPI 2.0 Security Profile to each client. Default false. */
  fapi?: boolean
  /** The methods that discovery announces for the token endpoint. */
  clientAuthentications?: readonly ClientAuthentication[]
  users?: readonly User[]
  /**
   * Whether clients may register themselves at the registration endpoint, or use the URL of their metadata as client ID.
   * Default false.
   * @see https://www.rfc-editor.org/rfc/rfc7591
   * @see https://datatracker.ietf.org/doc/draft-ietf-oauth-client-id-metadata-document/
   */
  selfRegistration?: boolean
  /** The audience of access tokens for which a client names no resource. Default: none, and tokens that are not JWTs. */
  defaultResource?: string
  /** Fetches the metadata of clients and sends back-channel logouts. Default: the global `fetch`. */
  fetch?: typeof fetch
  /** APIs for which any refresh token yields an access token, one API per request. */
  resources?: readonly string[]
}

export interface Idp extends Observed {
  readonly issuer: string
  readonly settings: IdpSettings
  /** The users by `sub`. A change of their claims applies to the next ID token. */
  readonly users: Map<string, User>
  readonly registerClient: (client: IdpClient) => Promise<void>
  readonly fail: Failures['fail']
  /** Starts to sign with new keys; the old keys stay published unless `keepOld` is false. */
  readonly rotateSigningKeys: (options?: { readonly keepOld?: boolean }) => Promise<void>
  /** Signs exactly these claims with the current key, for example to make an invalid logout token. */
  readonly sign: (claims: JWTPayload, header?: Partial<JWTHeaderParameters>) => Promise<string>
  /** Revokes all grants of a user, so a refresh gets `invalid_grant`. Returns the number of grants. */
  readonly revokeGrantsOf: (sub: string) => number
  /** Removes all refresh tokens, so a refresh gets `invalid_grant`. Returns their number. */
  readonly forgetRefreshTokens: () => number
  /** Ends a user's sessions, and sends back-channel logouts unless `notify` is false. */
  readonly endSessionsOf: (sub: string, options?: { readonly notify?: boolean }) => Promise<EndedSessions>
  readonly close: () => Promise<void>
}

async function listen(options: IdpOptions, answer: (req: IncomingMessage, res: ServerResponse) => void) {
  const { host = '127.0.0.1', port = 0, tls } = options
  const server = tls === undefined ? createServer(answer) : createTlsServer(tls, answer)
  server.listen(port, host)
  await once(server, 'listening')
  const hostname = options.hostname ?? (host.includes(':') ? `[${host}]` : host)
  return { server, origin: `${tls === undefined ? 'http' : 'https'}://${hostname}:${boundPort(server)}` }
}

async function listenForCertificates(
  { clientAuthorities, tls, port: _port, ...options }: IdpOptions,
  answer: (req: IncomingMessage, res: ServerResponse) => void,
) {
  if (tls === undefined || clientAuthorities === undefined) return null
  // A provider accepts self-signed certificates, and compares them with those of its clients.
  const certificates = { ca: clientAuthorities, requestCert: true, rejectUnauthorized: false }
  return listen({ ...options, tls: { ...tls, ...certificates } }, answer)
}

export async function startIdp(options: IdpOptions = {}): Promise<Idp> {
  const { Provider: ProviderClass, interactionPolicy } = await loadProvider()
  const observed = createObserved()
  const failures = createFailures()
  const storage = createStorage()
  const users = new Map((options.users ?? DEMO_USERS).map((user) => [user.sub, user]))
  const settings: IdpSettings = {
    lifetimes: { ...DEFAULT_LIFETIMES, ...options.lifetimes },
    rotateRefreshTokens: options.rotateRefreshTokens ?? true,
    reshapeTokenResponse: null,
    resources: options.resources ?? [],
    refuseExchange: null,
    ignoreStepUp: false,
  }
  const answer = async (req: IncomingMessage, res: ServerResponse): Promise<void> => {
    const endpoint = endpointOf(req.url ?? '/')
    if (endpoint !== null) observed.requests[endpoint] += 1
    if (await failures.intercept(req, res)) return
    if (endpoint === 'end_session' && req.method === 'POST') {
      // oidc-provider accepts this POST only with SameSite=None cookies, which need https.
      req.url = `${ENDPOINT_PATHS.end_session}?${await text(req)}`
      req.method = 'GET'
    }
    if (pathOf(req.url ?? '/').startsWith('/interaction/')) await answerInteraction(provider, users, req, res)
    else await handle(req, res)
  }

  const onRequest = (req: IncomingMessage, res: ServerResponse): void => {
    answer(req, res).catch((error: Error) => {
      observed.serverErrors.push(error)
      res.destroy()
    })
  }
  const { server, origin: issuer } = await listen(options, onRequest)
  const mutualTls = await listenForCertificates(options, onRequest)

  const providerOptions: ProviderOptions = {
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
    mutualTlsOrigin: mutualTls?.origin ?? null,
    dpop: options.dpop ?? 'off',
    fapi: options.fapi ?? false,
    selfRegistration: options.selfRegistration ?? false,
    defaultResource: options.defaultResource,
    fetch: options.fetch ?? fetch,
  }

  let signingKeys = await generateSigningKeys()
  const createProvider = (): Provider => {
    const created = new ProviderClass(issuer, providerConfiguration(providerOptions, signingKeys))
    created.use(async (ctx, next) => {
      await next()
      const reshape = settings.reshapeTokenResponse
      const body: unknown = ctx.body
      if (reshape === null || endpointOf(ctx.path) !== 'token' || ctx.status !== 200) return
      if (typeof body === 'object' && body !== null) ctx.body = reshape({ ...body })
    })
    registerExchangeGrants(created, settings)
    observe(created, observed)
    return created
  }
  let provider = createProvider()
  let handle = provider.callback()

  const registerClient = async (client: IdpClient): Promise<void> => {
    await storage.adapter('Client').upsert(client.clientId, clientMetadata(client))
    // `find` validates the client, so a mistake in a test fails here and not during a login.
    await provider.Client.find(client.clientId)
  }
  for (const client of options.clients ?? []) await registerClient(client)

  return Object.assign(observed, {
    issuer,
    settings,
    users,
    registerClient,
    fail: ((endpoint, how) => {
      failures.fail(endpoint, how)
    }) satisfies Failures['fail'],
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
      const servers = mutualTls === null ? [server] : [server, mutualTls.server]
      const closed = servers.map(async (one) => once(one, 'close'))
      for (const one of servers) {
        one.close()
        one.closeAllConnections()
      }
      await Promise.all(closed)
    },
  })
}

function polyfillUrlParse(): void {
  if (typeof URL.parse === 'function') return
  URL.parse = (url, base) => (URL.canParse(url, base) ? new URL(url, base) : null)
}

/* oxlint-disable no-console -- oidc-provider warns through the console */

/** Imports the optional package `oidc-provider`; throws an error with instructions if it is not installed. */
async function loadProvider() {
  polyfillUrlParse()
  const warn = console.warn
  // On Node 20 the package warns that it needs Node 22; with URL.parse, everything used here works.
  console.warn = (...args: unknown[]): void => {
    if (!String(args[0]).includes('Unsupported runtime')) warn(...args)
  }
  try {
    return await import('oidc-provider')
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ERR_MODULE_NOT_FOUND')) throw error
    throw new Error('the demo needs the optional package oidc-provider: run npm install without --omit=optional', {
      cause: error,
    })
  } finally {
    console.warn = warn
  }
}
