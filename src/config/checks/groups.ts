import { groupSources } from '../presets/apis.ts'
import { groupScopes, groupTokenScope, presetOf, readsGroups, userApiOf } from '../presets/apply.ts'
import type { Finding } from '../problems.ts'
import type { ResolvedConfig, ResolvedRoute } from '../schema.ts'
import type { PlacedRoute, Rule } from './rule.ts'

interface Unavailable {
  readonly path: readonly [string, string]
  readonly isUsed: (config: ResolvedConfig) => boolean
  readonly needs: string
}

/** Keys that have no meaning at a provider without OpenID Connect. */
const UNAVAILABLE: readonly Unavailable[] = [
  {
    path: ['session', 'endWithIdToken'],
    isUsed: ({ session }) => session.endWithIdToken,
    needs: 'ID tokens',
  },
  {
    path: ['provider', 'sessionCheck'],
    isUsed: ({ provider }) => provider.sessionCheck !== null,
    needs: 'OpenID Connect (prompt=none)',
  },
  {
    path: ['provider', 'responseMode'],
    isUsed: ({ provider }) => provider.responseMode !== null && provider.responseMode !== 'query',
    needs: 'response modes',
  },
  {
    path: ['provider', 'pushedAuthorization'],
    isUsed: ({ provider }) => provider.pushedAuthorization === 'on',
    needs: 'pushed authorization requests',
  },
  {
    path: ['provider', 'requestObjects'],
    isUsed: ({ provider }) => provider.requestObjects !== 'off',
    needs: 'request objects',
  },
  { path: ['provider', 'dpop'], isUsed: ({ provider }) => provider.dpop !== 'off', needs: 'DPoP' },
  {
    path: ['provider', 'metadataUrl'],
    isUsed: ({ provider }) => provider.metadataUrl !== null,
    needs: 'a discovery document',
  },
]

const UNAVAILABLE_ON_ROUTES: readonly {
  readonly path: readonly string[]
  readonly isUsed: (route: ResolvedRoute) => boolean
  readonly needs: string
}[] = [
  { path: ['require', 'acr'], isUsed: ({ require }) => require.acr !== null, needs: 'ID tokens with acr' },
  { path: ['require', 'maxAge'], isUsed: ({ require }) => require.maxAge !== null, needs: 'ID tokens with auth_time' },
  { path: ['bearer'], isUsed: ({ bearer }) => bearer !== null, needs: 'access tokens in JWT form' },
]

function findUnavailable(config: ResolvedConfig, routes: readonly PlacedRoute[]): Finding[] {
  const preset = presetOf(config.provider)
  if (preset?.api === undefined) return []
  const finding = (path: Finding['path'], needs: string): Finding => ({
    path,
    part: 'key',
    message: `needs ${needs}, which ${preset.title} does not have`,
    instead: 'remove it',
  })
  const onProvider = UNAVAILABLE.filter(({ isUsed }) => isUsed(config)).map(({ path, needs }) => finding(path, needs))
  const onRoutes = routes.flatMap(({ route, at }) =>
    UNAVAILABLE_ON_ROUTES.filter(({ isUsed }) => isUsed(route)).map(({ path, needs }) =>
      finding([...at, ...path], needs),
    ),
  )
  return [...onProvider, ...onRoutes]
}

/** At a provider without OpenID Connect, a login reads the groups only if its scopes allow it. */
function findUnreadGroups({ provider }: ResolvedConfig, routes: readonly PlacedRoute[]): Finding[] {
  const api = userApiOf(provider)
  if (api === null || readsGroups(api, provider.scopes)) return []
  if (!routes.some(({ route }) => Object.hasOwn(route.require.claims, 'groups'))) return []
  return [
    {
      path: ['provider', 'scopes'],
      message: 'do not allow reading the groups that a route requires: no user can open that route',
      instead: `add ${api.groups.scopes[0] ?? ''}`,
      warning: true,
    },
  ]
}

function findGroupsFrom({ provider }: ResolvedConfig): Finding[] {
  const { groupsFrom, scopes, dpop } = provider
  if (groupsFrom === null) return []
  const { title, hasOwnTokens } = groupSources[groupsFrom]
  const preset = presetOf(provider)
  if (preset?.api !== undefined) {
    const message = `does not apply to ${preset.title}, whose groups the gateway reads anyway`
    return [{ path: ['provider', 'groupsFrom'], message, instead: 'remove it' }]
  }
  if (dpop === 'on')
    return [
      { path: ['provider', 'dpop'], message: `cannot be on with groupsFrom: ${title} accepts bearer tokens only` },
    ]
  const missing = groupScopes(groupsFrom).filter((one) => !hasOwnTokens && scopes?.includes(one) === false)
  if (missing.length > 0) {
    return [
      {
        path: ['provider', 'scopes'],
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
      path: ['provider', 'scopes'],
      message: `are for another API than ${title}: the gateway needs a refresh token to get a token for ${tokenScope}`,
      instead: 'add offline_access',
    },
  ]
}

export const groupRules: readonly Rule[] = [
  {
    reads: ['provider.preset', 'provider.issuer', ...UNAVAILABLE.map(({ path }) => path.join('.'))],
    routeReads: ['require', 'bearer'],
    find: findUnavailable,
  },
  {
    reads: ['provider.preset', 'provider.issuer', 'provider.scopes'],
    routeReads: ['require'],
    find: findUnreadGroups,
  },
  {
    reads: ['provider.preset', 'provider.issuer', 'provider.scopes', 'provider.groupsFrom', 'provider.dpop'],
    find: findGroupsFrom,
  },
]
