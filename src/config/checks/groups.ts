import { groupSources } from '../presets/apis.ts'
import { groupScopes, groupTokenScope, presetOf, readsGroups, userApiOf } from '../presets/apply.ts'
import type { Preset } from '../presets/table.ts'
import type { KeyPath } from '../key-path.ts'
import type { Finding } from '../problems.ts'
import type { ProviderSection, ResolvedConfig, ResolvedRoute } from '../schema.ts'
import { placeholdersIn } from '../value-types/http.ts'
import { requiresClaim } from './requirements.ts'
import { perProvider, routesFor, type PlacedProvider, type PlacedRoute, type Rule } from './rule.ts'

interface Unavailable {
  readonly key: 'sessionCheck' | 'responseMode' | 'pushedAuthorization' | 'requestObjects' | 'dpop' | 'metadataUrl'
  readonly isUsed: (provider: ProviderSection) => boolean
  readonly needs: string
}

/** Keys that have no meaning at a provider without OpenID Connect. */
const UNAVAILABLE: readonly Unavailable[] = [
  {
    key: 'sessionCheck',
    isUsed: ({ sessionCheck }) => sessionCheck !== null,
    needs: 'OpenID Connect (prompt=none)',
  },
  {
    key: 'responseMode',
    isUsed: ({ responseMode }) => responseMode !== null && responseMode !== 'query',
    needs: 'response modes',
  },
  {
    key: 'pushedAuthorization',
    isUsed: ({ pushedAuthorization }) => pushedAuthorization === 'on',
    needs: 'pushed authorization requests',
  },
  { key: 'requestObjects', isUsed: ({ requestObjects }) => requestObjects !== 'off', needs: 'request objects' },
  { key: 'dpop', isUsed: ({ dpop }) => dpop !== 'off', needs: 'DPoP' },
  { key: 'metadataUrl', isUsed: ({ metadataUrl }) => metadataUrl !== null, needs: 'a discovery document' },
]

const UNAVAILABLE_ON_ROUTES: readonly {
  readonly path: readonly string[]
  readonly isUsed: (route: ResolvedRoute) => boolean
  readonly needs: string
  /** Whether the key also has a meaning if only one of the route's providers has what it needs. */
  readonly isForOne?: true
}[] = [
  { path: ['require', 'acr'], isUsed: ({ require }) => require.acr !== null, needs: 'ID tokens with acr' },
  { path: ['require', 'maxAge'], isUsed: ({ require }) => require.maxAge !== null, needs: 'ID tokens with auth_time' },
  {
    path: ['bearer'],
    isUsed: ({ bearer }) => bearer !== null && bearer.issuers.length === 0,
    needs: 'access tokens in JWT form',
    isForOne: true,
  },
  { path: ['token', 'grant'], isUsed: ({ token }) => token.grant === 'id-token', needs: 'ID tokens' },
  {
    path: ['headers', 'set'],
    isUsed: ({ headers }) => Object.values(headers.set).flatMap(placeholdersIn).includes('idToken'),
    needs: 'ID tokens',
    isForOne: true,
  },
]

function findUnavailable(provider: ProviderSection, at: KeyPath): Finding[] {
  const preset = presetOf(provider)
  if (preset?.api === undefined) return []
  return UNAVAILABLE.filter(({ isUsed }) => isUsed(provider)).map(({ key, needs }) =>
    unavailable([...at, key], needs, preset.title),
  )
}

function unavailable(path: KeyPath, needs: string, title: string, instead = 'remove it'): Finding {
  return { path, part: 'key', message: `needs ${needs}, which ${title} does not have`, instead }
}

function findUnavailableOnRoutes(
  _config: ResolvedConfig,
  routes: readonly PlacedRoute[],
  providers: readonly PlacedProvider[] = [],
): Finding[] {
  return routes.flatMap((placed) => {
    const allowed = providers.filter(({ at }) => routesFor(at, [placed]).length > 0)
    const lacking = presetsWithApi(allowed)[0]
    if (lacking === undefined) return []
    const capable = allowed.filter(({ provider }) => userApiOf(provider) === null).map(({ at }) => String(at.at(-1)))
    const instead = capable.length === 0 ? 'remove it' : `set provider: [${capable.join(', ')}] on this route`
    return UNAVAILABLE_ON_ROUTES.filter(
      ({ isUsed, isForOne }) => isUsed(placed.route) && (isForOne !== true || capable.length === 0),
    ).map(({ path, needs }) => unavailable([...placed.at, ...path], needs, lacking.title, instead))
  })
}

function findUnendable(
  { session }: ResolvedConfig,
  _routes: readonly PlacedRoute[],
  providers: readonly PlacedProvider[] = [],
): Finding[] {
  const lacking = presetsWithApi(providers)
  const [first] = lacking
  if (!session.endWithIdToken || first === undefined) return []
  const path = ['session', 'endWithIdToken']
  if (lacking.length === providers.length) return [unavailable(path, 'ID tokens', first.title)]
  const message = `has no effect on sessions of ${first.title}, which has no ID tokens`
  return [{ path, part: 'key', message, instead: 'use session.lifetime for these sessions', warning: true }]
}

/** Returns the presets of those providers that have no OpenID Connect. */
function presetsWithApi(providers: readonly PlacedProvider[]): Preset[] {
  return providers
    .map(({ provider }) => presetOf(provider))
    .filter((preset) => preset !== null)
    .filter(({ api }) => api !== undefined)
}

/** At a provider without OpenID Connect, a login reads the groups only if its scopes allow it. */
function findUnreadGroups(
  provider: ProviderSection,
  at: KeyPath,
  _config: ResolvedConfig,
  routes: readonly PlacedRoute[],
): Finding[] {
  const api = userApiOf(provider)
  if (api === null || readsGroups(api, provider.scopes)) return []
  if (!routesFor(at, routes).some(({ route }) => requiresClaim(route.require, 'groups'))) return []
  return [
    {
      path: [...at, 'scopes'],
      message: 'do not allow reading the groups that a route requires: no user can open that route',
      instead: `add ${api.groups.scopes[0] ?? ''}`,
      warning: true,
    },
  ]
}

function findGroupsFrom(provider: ProviderSection, at: KeyPath): Finding[] {
  const { groupsFrom, scopes, dpop } = provider
  if (groupsFrom === null) return []
  const { title, hasOwnTokens } = groupSources[groupsFrom]
  const preset = presetOf(provider)
  if (preset?.api !== undefined) {
    const message = `does not apply to ${preset.title}, whose groups the gateway reads anyway`
    return [{ path: [...at, 'groupsFrom'], message, instead: 'remove it' }]
  }
  if (dpop === 'on')
    return [{ path: [...at, 'dpop'], message: `cannot be on with groupsFrom: ${title} accepts bearer tokens only` }]
  const missing = groupScopes(groupsFrom).filter((one) => !hasOwnTokens && scopes?.includes(one) === false)
  if (missing.length > 0) {
    return [
      {
        path: [...at, 'scopes'],
        message: `lack the scope with which ${title} shows the groups: every login will fail`,
        instead: `add ${missing.join(' ')}`,
        warning: true,
      },
    ]
  }
  const tokenScope = groupTokenScope(provider)
  if (tokenScope === null || scopes?.includes('offline_access') !== false) return []
  return [
    {
      path: [...at, 'scopes'],
      message: `are for another API than ${title}: the gateway needs a refresh token to get a token for ${tokenScope}`,
      instead: 'add offline_access',
    },
  ]
}

export const groupRules: readonly Rule[] = [
  {
    reads: [],
    providerReads: ['preset', 'issuer', ...UNAVAILABLE.map(({ key }) => key)],
    find: perProvider(findUnavailable),
  },
  {
    reads: [],
    providerReads: ['preset', 'issuer'],
    routeReads: ['require', 'bearer', 'provider', 'token.grant', 'headers.set'],
    find: findUnavailableOnRoutes,
  },
  { reads: ['session.endWithIdToken'], providerReads: ['preset', 'issuer'], find: findUnendable },
  {
    reads: [],
    providerReads: ['preset', 'issuer', 'scopes'],
    routeReads: ['require', 'provider'],
    find: perProvider(findUnreadGroups),
  },
  {
    reads: [],
    providerReads: ['preset', 'issuer', 'scopes', 'groupsFrom', 'dpop'],
    find: perProvider(findGroupsFrom),
  },
]
