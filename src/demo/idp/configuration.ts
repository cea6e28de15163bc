import type { AdapterFactory, Configuration, interactionPolicy } from 'oidc-provider'
import { acrs } from './acr.ts'
import { apiScopes } from './api-scopes.ts'
import { completeAuthorizationRequest } from './authorization-request.ts'
import type { ClientAuthentication } from './clients.ts'
import { endpointPaths } from './endpoints.ts'
import { escapeHtml } from '../escape-html.ts'
import { grantEverything } from './grant-everything.ts'
import { createInteractionPolicy } from './interaction-policy.ts'
import { showLogout, showSignedOut } from './logout-page.ts'
import type { Observed } from './observed.ts'
import { page } from './page.ts'
import type { IdpSettings } from './settings.ts'
import type { SigningKeys } from './signing-keys.ts'
import type { Storage } from './storage.ts'
import type { User } from './users.ts'

/** What the provider's configuration is made of. */
export type Parts = {
  policy: typeof interactionPolicy
  storage: Storage
  users: ReadonlyMap<string, User>
  settings: IdpSettings
  observed: Observed
  cookieKey: string
  clientAuthentications: readonly ClientAuthentication[]
  pushedAuthorization: boolean
}

const claimsOf = ({ sub, name, email, groups, claims }: User): { sub: string; [claim: string]: unknown } => ({
  name,
  email,
  groups,
  ...claims,
  sub,
  preferred_username: sub,
})

/** What a refresh token may be redeemed for is settled when it is: tests change it. */
const withResources =
  (adapter: AdapterFactory, settings: IdpSettings): AdapterFactory =>
  (model) => {
    const plain = adapter(model)
    if (model !== 'RefreshToken') return plain
    return {
      ...plain,
      find: async (id) => {
        const found = await plain.find(id)
        return found === undefined || settings.resources.length === 0
          ? found
          : { ...found, resource: [...settings.resources] }
      },
    }
  }

const withoutDispatcher = (init: RequestInit & { dispatcher?: unknown } = {}): RequestInit => {
  const { dispatcher: _dispatcher, ...rest } = init
  return rest
}

/** The configuration of `oidc-provider` for these parts and keys: none of its development defaults is left. */
export const providerConfiguration = (parts: Parts, signingKeys: SigningKeys): Configuration => {
  const { users, settings, observed } = parts
  const extraClaims = [...users.values()].flatMap(({ claims }) => Object.keys(claims ?? {}))
  return {
    adapter: withResources(parts.storage.adapter, settings),
    jwks: { keys: [...signingKeys] },
    cookies: {
      // Cookies know no ports: on one host these must not be mistaken for the application's or the gateway's.
      names: { session: 'demo_idp_session', interaction: 'demo_idp_interaction', resume: 'demo_idp_resume' },
      keys: [parts.cookieKey],
    },
    routes: {
      authorization: endpointPaths.authorization,
      jwks: endpointPaths.jwks,
      token: endpointPaths.token,
      userinfo: endpointPaths.userinfo,
      revocation: endpointPaths.revocation,
      pushed_authorization_request: endpointPaths.par,
      end_session: endpointPaths.end_session,
    },
    scopes: ['openid', 'offline_access', ...apiScopes],
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
    clientAuthMethods: parts.clientAuthentications,
    clientBasedCORS: () => false,
    pkce: { required: () => true },
    discovery: { frontchannel_logout_supported: true, frontchannel_logout_session_supported: true },
    extraClientMetadata: { properties: ['frontchannel_logout_uri'] },
    extraParams: {
      audience: null,
      domain_hint: null,
      hd: null,
      kc_idp_hint: null,
      // Not a parameter: validators run for every request, present or not, after oidc-provider's own checks.
      demo: (ctx) => {
        completeAuthorizationRequest(ctx, observed)
      },
    },
    // oidc-provider's own dispatcher refuses loopback addresses, where back-channel logout goes here.
    fetch: async (url, init) => fetch(url, withoutDispatcher(init)),
    features: {
      devInteractions: { enabled: false },
      dPoP: { enabled: false },
      claimsParameter: { enabled: true },
      revocation: { enabled: true, allowedPolicy: (_ctx, client, token) => token.clientId === client.clientId },
      userinfo: { enabled: true },
      clientCredentials: { enabled: true },
      backchannelLogout: { enabled: true },
      rpInitiatedLogout: { enabled: true, logoutSource: showLogout, postLogoutSuccessSource: showSignedOut },
      pushedAuthorizationRequests: { enabled: parts.pushedAuthorization },
      resourceIndicators: {
        enabled: true,
        useGrantedResource: () => settings.resources.length === 0,
        getResourceServerInfo: (_ctx, audience) => ({
          audience,
          scope: apiScopes.join(' '),
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
      policy: createInteractionPolicy(parts.policy, settings),
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
