import {
  allOf,
  anyOf,
  claimIn,
  type Condition,
  exactly,
  isMetByEveryUser,
  undecided,
  UNDECIDED_CLAIM,
} from '../condition.ts'
import { markRouteSource, type Migration, put, remark, requireOnAllRoutes } from '../migration.ts'
import { becomes, type Rule } from '../rule.ts'
import { listOf, type Setting } from '../setting.ts'
import { groupsClaim, providerType } from './access.ts'

const CLAIMS = 'routes[].require.claims'

/** Creates a rule for a list from which `migrateMembership` makes a condition. `apply` may set keys of the provider. */
function listed(note: string, apply: Rule['apply'] = () => {}): Rule {
  return becomes(
    CLAIMS,
    (setting, migration) => {
      if (listOf(setting).length === 0)
        return remark(migration, 'builtin', setting, 'it is empty, and requires nothing')
      markRouteSource(migration, setting)
      apply(setting, migration)
    },
    note,
  )
}

/** A list of groups, of which the user must have one. */
export function groups(note = ''): Rule {
  return listed(note, (setting, migration) => {
    const kind = providerType(migration)
    if (setting.key === 'gitlab_groups') put(migration, 'provider.userinfo', true, setting)
    if (kind === 'azure' || kind === 'entra-id') readFromGraph(migration, setting)
    if (kind === 'google') readFromGoogle(migration, setting)
  })
}

const GRAPH =
  'groups are object ids, read from Microsoft Graph with the token of the user (provider.groupsFrom: graph): the ' +
  'application needs the delegated permission User.Read'

function readFromGraph(migration: Migration, setting: Setting): void {
  put(migration, 'provider.groupsFrom', 'graph', setting)
  remark(migration, 'differs', setting, GRAPH)
}

export const GOOGLE =
  'groups are read from Cloud Identity with the token of the user (provider.groupsFrom: google), nested groups included; ' +
  'this needs Google Workspace Enterprise or Cloud Identity Premium, and no service account'

function readFromGoogle(migration: Migration, setting: Setting): void {
  put(migration, 'provider.groupsFrom', 'google', setting)
  remark(migration, 'differs', setting, GOOGLE)
}

export const googleGroups: Rule = listed(GOOGLE, (setting, migration) => {
  readFromGoogle(migration, setting)
})

export const roles: Rule = listed(
  'roles are read from realm_access.roles and resource_access, where Keycloak puts them, and must be in the ID token: add ' +
    'a mapper in Keycloak. One matching group or role is enough',
)

export const organization: Rule = listed(
  'together with github_team, it names the organization of the teams; otherwise it becomes the value organization/* of ' +
    'the claim groups, which only members of a team of the organization have',
)

export const teams: Rule = listed(
  'each team becomes organization/team, spelled as in the address of the team at GitHub',
)

/** Creates a rule for a list that no claim expresses. Users whom only the list lets in are refused until the operator decides. */
export function withoutClaim(note: string): Rule {
  const text = `users who met only this are not let in until you decide and replace the claim ${UNDECIDED_CLAIM}; ${note}`
  return listed(text, (setting, migration) => {
    remark(migration, 'security', setting, text)
  })
}

/** The users that oauth2-proxy lets in although they are in no team and have no access to the repository. */
export const users: Rule = listed('the names become values of the claim preferred_username')

export const workspace: Rule = listed('the slug of the workspace becomes a required value of the claim groups')

/** Requires what the keys about groups, roles, teams and single users require. */
export function migrateMembership(migration: Migration): void {
  const conditions = [groupsOrRoles(migration), teamsOrUsers(migration), workspaceAndRepository(migration)]
  for (const condition of conditions) if (!isMetByEveryUser(condition)) requireOnAllRoutes(migration, condition)
}

function namesOf({ effective }: Migration, key: string): string[] {
  const setting = effective.get(key)
  return setting === undefined ? [] : listOf(setting)
}

/** The lists of groups that replace `allowed_groups` with a type of provider. */
const OWN_LISTS: Readonly<Record<string, string>> = {
  google_group: 'google',
  google_groups: 'google',
  gitlab_groups: 'gitlab',
  keycloak_groups: 'keycloak',
}

function groupsOrRoles(migration: Migration): Condition {
  const kind = providerType(migration)
  // The first list counts. oauth2-proxy ignores the lists of other providers, which are required here if nothing else is.
  const keys = [
    ...Object.keys(OWN_LISTS).filter((key) => OWN_LISTS[key] === kind),
    'allowed_groups',
    ...Object.keys(OWN_LISTS).filter((key) => OWN_LISTS[key] !== kind),
  ].filter((key) => namesOf(migration, key).length > 0)
  for (const key of keys.slice(1)) {
    const setting = migration.effective.get(key)
    if (setting !== undefined)
      remark(
        migration,
        'differs',
        setting,
        `it has no effect together with ${keys[0] ?? ''}, and is left out, as before`,
      )
  }
  const names = namesOf(migration, keys[0] ?? '')
  const roleNames = namesOf(migration, 'allowed_roles')
  const inGroups = names.map((name) => groupCondition(name, kind, migration))
  const inRoles = roleNames.map(roleCondition)
  if (kind === 'gitlab' && namesOf(migration, 'gitlab_projects').length > 0) inGroups.push(undecided('gitlab_projects'))
  if (kind === 'keycloak-oidc') return orEveryUser([...inGroups, ...inRoles])
  return allOf([orEveryUser(inGroups), orEveryUser(inRoles)])
}

function orEveryUser(conditions: readonly Condition[]): Condition {
  return conditions.length === 0 ? allOf([]) : anyOf(conditions)
}

function groupCondition(name: string, kind: string, migration: Migration): Condition {
  if (kind === 'github') return claimIn('groups', [name.includes(':') ? teamValue(name) : `${exactly(name)}/*`])
  const role = kind === 'keycloak-oidc' ? /^role:(.+)$/s.exec(name)?.[1] : undefined
  return role === undefined ? claimIn(groupsClaim(migration), [exactly(name)]) : roleCondition(role)
}

function teamValue(name: string): string {
  return exactly(name.replace(':', '/'))
}

/** Returns the condition for a role `name` of the realm, or `client:name`. */
function roleCondition(role: string): Condition {
  const [, client, name = role] = /^(.+):([^:]+)$/s.exec(role) ?? []
  if (client === undefined) return claimIn('realm_access.roles', [exactly(name)])
  const member = /[.]/.test(client) && !client.includes('"') ? `"${client}"` : client
  return claimIn(`resource_access.${member}.roles`, [exactly(name)])
}

function teamsOrUsers(migration: Migration): Condition {
  const [owner = ''] = namesOf(migration, 'github_org')
  const teamNames = namesOf(migration, 'github_team')
  const userNames = namesOf(migration, 'github_users')
  const hasRepository = namesOf(migration, 'github_repo').length > 0
  // Without an organization and a repository, only the users count.
  const hasRestriction = owner !== '' || hasRepository || (userNames.length === 0 && teamNames.length > 0)
  const alternatives = [
    ...(userNames.length === 0 ? [] : [claimIn('preferred_username', userNames.map(exactly))]),
    ...(hasRestriction
      ? [allOf([inTeams(owner, teamNames, migration), ...(hasRepository ? [undecided('github_repo')] : [])])]
      : []),
  ]
  return orEveryUser(alternatives)
}

function inTeams(owner: string, names: readonly string[], migration: Migration): Condition {
  if (names.length === 0) return owner === '' ? allOf([]) : claimIn('groups', [`${exactly(owner)}/*`])
  const values = names.flatMap((name) =>
    owner === ''
      ? name.includes(':')
        ? [teamValue(name)]
        : []
      : name.includes(':')
        ? []
        : [exactly(`${owner}/${name}`)],
  )
  const setting = migration.effective.get('github_team')
  if (values.length < names.length && setting !== undefined) {
    const text =
      owner === ''
        ? 'a team without its organization lets no user in: write organization:team'
        : 'with github_org, a team of another organization lets no user in, as before'
    remark(migration, 'security', setting, text)
  }
  return values.length === 0 ? undecided('github_team') : claimIn('groups', values)
}

function workspaceAndRepository(migration: Migration): Condition {
  const slugs = namesOf(migration, 'bitbucket_team')
  return allOf([
    ...(slugs.length === 0 ? [] : [claimIn('groups', slugs.map(exactly))]),
    ...['bitbucket_repository', ...(providerType(migration) === 'gitlab' ? [] : ['gitlab_projects'])]
      .filter((key) => namesOf(migration, key).length > 0)
      .map(undecided),
  ])
}
