import { randomBytes, randomUUID } from 'node:crypto'
import { TLSSocket } from 'node:tls'
import type { AdapterFactory, Configuration, interactionPolicy, KoaContextWithOIDC } from 'oidc-provider'
import { escapeHtml } from '../html.ts'
import { acrs } from './acr.ts'
import type { ClientAuthentication } from './clients.ts'
import { ENDPOINT_PATHS } from './endpoints.ts'
import { API_SCOPES } from './exchange-grants.ts'
import type { Observed } from './observed.ts'
import { page, showLogout, showSignedOut } from './pages.ts'
import { completeAuthorizationRequest, createInteractionPolicy, grantEverything } from './policy.ts'
import type { IdpSettings, User } from './settings.ts'
import type { SigningKeys } from './signing-keys.ts'
import type { Storage } from './storage.ts'

export type DpopSupport = 'off' | 'on' | 'nonce'

export interface ProviderOptions {
  readonly policy: typeof interactionPolicy
  readonly storage: Storage
  readonly users: ReadonlyMap<string, User>
  readonly settings: IdpSettings
  readonly observed: Observed
  readonly cookieKey: string
  readonly clientAuthentications: readonly ClientAuthentication[]
  /** The origin at which clients may authenticate with a certificate, or `null`. */
  readonly mutualTlsOrigin: string | null
  readonly pushedAuthorization: boolean | 'required'
  readonly dpop: DpopSupport
  readonly fapi: boolean
  readonly selfRegistration: boolean
  readonly defaultResource: string | undefined
  readonly fetch: typeof fetch
}

function claimsOf({ sub, name, email, groups, claims }: User): { sub: string; [claim: string]: unknown } {
  return {
    name,
    email,
    groups,
    ...claims,
    sub,
    preferred_username: sub,
  }
}

/** Reads the resources of a refresh token from the settings when the token is used, because tests change them. */
function withResources(adapter: AdapterFactory, settings: IdpSettings): AdapterFactory {
  return (model) => {
    const original = adapter(model)
    if (model !== 'RefreshToken') return original
    return {
      ...original,
      find: async (id) => {
        const found = await original.find(id)
        return found === undefined || settings.resources.length === 0
          ? found
          : { ...found, resource: [...settings.resources] }
      },
    }
  }
}

function socketOf({ socket }: KoaContextWithOIDC): TLSSocket | null {
  return socket instanceof TLSSocket ? socket : null
}

/** @see https://www.rfc-editor.org/rfc/rfc8705#section-5 */
function aliasesAt(origin: string) {
  return {
    token_endpoint: origin + ENDPOINT_PATHS.token,
    userinfo_endpoint: origin + ENDPOINT_PATHS.userinfo,
    revocation_endpoint: origin + ENDPOINT_PATHS.revocation,
    introspection_endpoint: origin + ENDPOINT_PATHS.introspection,
    pushed_authorization_request_endpoint: origin + ENDPOINT_PATHS.par,
  }
}

function withoutDispatcher(init: RequestInit & { dispatcher?: unknown } = {}): RequestInit {
  const { dispatcher: _dispatcher, ...rest } = init
  return rest
}

export function providerConfiguration(options: ProviderOptions, signingKeys: SigningKeys): Configuration {
  const { users, settings, observed, mutualTlsOrigin } = options
  const extraClaims = [...users.values()].flatMap(({ claims }) => Object.keys(claims ?? {}))
  return {
    adapter: withResources(options.storage.adapter, settings),
    jwks: { keys: [...signingKeys] },
    cookies: {
      // Cookies are shared by all ports of a host, so the names must differ from those of the gateway and application.
      names: { session: 'demo_idp_session', interaction: 'demo_idp_interaction', resume: 'demo_idp_resume' },
      keys: [options.cookieKey],
    },
    routes: {
      authorization: ENDPOINT_PATHS.authorization,
      jwks: ENDPOINT_PATHS.jwks,
      token: ENDPOINT_PATHS.token,
      userinfo: ENDPOINT_PATHS.userinfo,
      revocation: ENDPOINT_PATHS.revocation,
      introspection: ENDPOINT_PATHS.introspection,
      pushed_authorization_request: ENDPOINT_PATHS.par,
      registration: ENDPOINT_PATHS.registration,
      end_session: ENDPOINT_PATHS.end_session,
    },
    scopes: ['openid', 'offline_access', ...API_SCOPES],
    claims: {
      openid: ['sub'],
      profile: ['name', 'preferred_username', 'groups', ...extraClaims],
      email: ['email'],
      groups: ['groups'],
      acr: null,
      amr: null,
      auth_time: null,
      iss: null,
      sid: null,
    },
    conformIdTokenClaims: false,
    acrValues: Object.values(acrs),
    responseTypes: ['code'],
    clientAuthMethods: options.clientAuthentications,
    clientBasedCORS: () => false,
    pkce: { required: () => true },
    discovery: {
      frontchannel_logout_supported: true,
      frontchannel_logout_session_supported: true,
      ...(mutualTlsOrigin === null ? {} : { mtls_endpoint_aliases: aliasesAt(mutualTlsOrigin) }),
    },
    extraClientMetadata: { properties: ['frontchannel_logout_uri'] },
    extraParams: {
      audience: null,
      domain_hint: null,
      hd: null,
      kc_idp_hint: null,
      // No client sends `demo`. oidc-provider calls this validator for every request, after the built-in checks.
      demo: (ctx) => {
        completeAuthorizationRequest(ctx, observed)
      },
    },
    // The dispatcher of oidc-provider rejects loopback addresses, but the demo sends back-channel logouts to them.
    fetch: async (url, init) => options.fetch(url, withoutDispatcher(init)),
    // `offline_access` is a scope of OpenID Connect, so clients that use only OAuth do not request it.
    issueRefreshToken: (_ctx, client, { scopes }) =>
      client.grantTypeAllowed('refresh_token') && (scopes.has('offline_access') || !scopes.has('openid')),
    features: {
      devInteractions: { enabled: false },
      mTLS: {
        enabled: mutualTlsOrigin !== null,
        certificateBoundAccessTokens: true,
        selfSignedTlsClientAuth: true,
        tlsClientAuth: true,
        getCertificate: (ctx) => socketOf(ctx)?.getPeerX509Certificate(),
        certificateAuthorized: (ctx) => socketOf(ctx)?.authorized === true,
        certificateSubjectMatches: (ctx, _property, expected) =>
          socketOf(ctx)?.getPeerX509Certificate()?.subjectAltName === `DNS:${expected}`,
      },
      dPoP: {
        enabled: options.dpop !== 'off',
        nonceSecret: randomBytes(32),
        requireNonce: () => options.dpop === 'nonce',
      },
      fapi: { enabled: options.fapi, profile: '2.0' },
      claimsParameter: { enabled: true },
      revocation: { enabled: true, allowedPolicy: (_ctx, client, token) => token.clientId === client.clientId },
      // A public client cannot prove that it is an API, so it learns about its own tokens only.
      introspection: {
        enabled: true,
        allowedPolicy: (_ctx, client, token) =>
          client.clientAuthMethod !== 'none' || token.clientId === client.clientId,
      },
      userinfo: { enabled: true },
      jwtUserinfo: { enabled: true },
      requestObjects: { enabled: true },
      jwtResponseModes: { enabled: true },
      encryption: { enabled: true },
      clientCredentials: { enabled: true },
      backchannelLogout: { enabled: true },
      rpInitiatedLogout: { enabled: true, logoutSource: showLogout, postLogoutSuccessSource: showSignedOut },
      pushedAuthorizationRequests: {
        enabled: options.pushedAuthorization !== false,
        requirePushedAuthorizationRequests: options.pushedAuthorization === 'required',
      },
      registration: {
        enabled: options.selfRegistration,
        initialAccessToken: false,
        idFactory: ({ oidc }) => {
          // Clients register the scopes of their first request, and oidc-provider would refuse all others later.
          delete oidc.body?.['scope']
          return randomUUID()
        },
      },
      clientIdMetadataDocument: { enabled: options.selfRegistration, ack: 'draft-02' },
      resourceIndicators: {
        enabled: true,
        defaultResource: (_ctx, _client, oneOf) => oneOf ?? options.defaultResource,
        useGrantedResource: () => settings.resources.length === 0,
        getResourceServerInfo: (_ctx, audience) => ({
          audience,
          scope: API_SCOPES.join(' '),
          accessTokenFormat: 'jwt',
          jwt: { sign: { alg: 'RS256' } },
        }),
      },
    },
    extraTokenClaims: (_ctx, token) => {
      const user = 'accountId' in token ? users.get(token.accountId) : undefined
      return user === undefined ? undefined : { groups: user.groups }
    },
    ttl: {
      AccessToken: () => settings.lifetimes.accessToken,
      AuthorizationCode: 60,
      ClientCredentials: () => settings.lifetimes.accessToken,
      Grant: 30 * 86_400,
      IdToken: () => settings.lifetimes.idToken,
      Interaction: 3600,
      RefreshToken: () => settings.lifetimes.refreshToken,
      Session: () => settings.lifetimes.session,
    },
    rotateRefreshToken: () => settings.rotateRefreshTokens,
    interactions: {
      policy: createInteractionPolicy(options.policy, settings),
      url: (_ctx, interaction) => `/interaction/${interaction.uid}`,
    },
    loadExistingGrant: async (ctx) => grantEverything(ctx, settings.resources),
    findAccount: (_ctx, sub) => {
      const user = users.get(sub)
      return user === undefined ? undefined : { accountId: sub, claims: () => claimsOf(user) }
    },
    renderError: (ctx, out) => {
      const lines = Object.entries(out).map(([name, value]) => `<p>${escapeHtml(`${name}: ${String(value)}`)}</p>`)
      ctx.type = 'html'
      ctx.body = page('The demo provider refuses this', lines.join('\n'))
    },
  }
}
