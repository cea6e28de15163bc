import type { ProviderSection } from '../schema.ts'

/** Where an API is, by the issuer: the first pattern that matches, and what replaces the match. */
export type ApiBases = readonly (readonly [issuer: RegExp, base: string])[]

interface ListApi {
  readonly query?: Readonly<Record<string, string>>
  /** The member that contains the list. Without this member, the body is the list. */
  readonly items?: string
  /** Whether the API leaves out an empty list. */
  readonly omitsEmpty?: true
  /** Where a page names the next page: in the header Link, as a URL in a member, or as a token for a parameter. */
  readonly next: 'link' | { readonly url: string } | { readonly token: string; readonly parameter: string }
}

/** The user's groups in an API. */
export interface GroupsApi extends ListApi {
  readonly headers?: Readonly<Record<string, string>>
  /** Templates of a group's name. The first one is used whose placeholders all have a value in the group's JSON object. */
  readonly group: readonly string[]
  /** Scopes that allow reading the groups. One of them is enough. */
  readonly scopes: readonly string[]
}

/** The user's email addresses in an API. The members other than `path` name a member of each item. */
export interface EmailsApi extends ListApi {
  /** The path below the user. */
  readonly path: string
  readonly address: string
  readonly primary: string
  readonly verified: string
}

/** The user in the API of a provider without OpenID Connect. */
export interface UserApi {
  /** Templates with members of the user, such as `{id}`, by claim. A claim without a value is left out. */
  readonly claims: Readonly<Record<string, string>> & { readonly sub: string }
  /** The member that says whether the user's email address is verified. */
  readonly emailVerified?: string
  readonly emails?: EmailsApi
  readonly groups: GroupsApi
}

/** An API with the groups of an OpenID Connect provider's users, for `groupsFrom`. */
export interface GroupSource extends GroupsApi {
  readonly title: string
  readonly bases: ApiBases
  /** The path of the groups below the base. */
  readonly path: string
  /** A query parameter with the user, as a template of claims. */
  readonly user?: { readonly parameter: string; readonly value: string }
  /** Whether an access token is valid for one API only, so that the groups may need a token of their own. */
  readonly hasOwnTokens: boolean
}

type GroupsFrom = NonNullable<ProviderSection['groupsFrom']>

export const groupSources: Readonly<Record<GroupsFrom, GroupSource>> = {
  graph: {
    title: 'Microsoft Graph',
    bases: [
      [/^https:\/\/login\.microsoftonline\.us(?:\/.*)?$/, 'https://graph.microsoft.us'],
      [
        /^https:\/\/(?:login\.partner\.microsoftonline|sts\.chinacloudapi)\.cn(?:\/.*)?$/,
        'https://microsoftgraph.chinacloudapi.cn',
      ],
      [/^.*$/, 'https://graph.microsoft.com'],
    ],
    path: '/v1.0/me/transitiveMemberOf/microsoft.graph.group',
    query: { $select: 'id', $top: '999', $count: 'true' },
    // Graph restricts a list to one type only with this header and $count.
    headers: { consistencylevel: 'eventual' },
    items: 'value',
    next: { url: '@odata.nextLink' },
    group: ['{id}'],
    scopes: ['User.Read'],
    hasOwnTokens: true,
  },
  google: {
    title: 'Cloud Identity',
    bases: [[/^.*$/, 'https://cloudidentity.googleapis.com']],
    path: '/v1/groups/-/memberships:searchTransitiveGroups',
    query: { pageSize: '1000' },
    user: {
      parameter: 'query',
      value: "member_key_id == '{email}' && 'cloudidentity.googleapis.com/groups.discussion_forum' in labels",
    },
    items: 'memberships',
    omitsEmpty: true,
    next: { token: 'nextPageToken', parameter: 'pageToken' },
    group: ['{groupKey.id}'],
    scopes: ['https://www.googleapis.com/auth/cloud-identity.groups.readonly'],
    hasOwnTokens: false,
  },
}

/** Returns the base URL of an API for an issuer. */
export function apiBase(bases: ApiBases, issuer: string): string {
  const [pattern, base] = bases.find(([candidate]) => candidate.test(issuer)) ?? [/$/, '']
  return issuer.replace(pattern, base)
}
