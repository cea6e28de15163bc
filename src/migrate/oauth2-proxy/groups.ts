import { markRouteSource, type Migration, put, remark, requireClaim } from '../migration.ts'
import { becomes, type Rule } from '../rule.ts'
import { listOf, literal, type Setting, textOf } from '../setting.ts'
import { closedUntilDecided, groupsClaim, providerType } from './access.ts'

const CLAIMS = 'routes[].require.claims'

/** A list of groups, of which the user must have one. */
export function groups(note = ''): Rule {
  return becomes(
    CLAIMS,
    (setting, migration) => {
      if (listOf(setting).length === 0)
        return remark(migration, 'builtin', setting, 'it is empty, and requires nothing')
      const kind = providerType(migration)
      if (kind === 'github') return requireTeams(migration, setting)
      requireClaim(migration, groupsClaim(migration), listOf(setting).map(literal), setting)
      if (setting.key === 'gitlab_groups') put(migration, 'provider.userinfo', true, setting)
      if (kind === 'azure' || kind === 'entra-id') readFromGraph(migration, setting)
      if (kind === 'google') readFromGoogle(migration, setting)
    },
    note,
  )
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

export const googleGroups: Rule = becomes(
  CLAIMS,
  (setting, migration) => {
    if (listOf(setting).length === 0) return remark(migration, 'builtin', setting, 'it is empty, and requires nothing')
    requireClaim(migration, 'groups', listOf(setting).map(literal), setting)
    readFromGoogle(migration, setting)
  },
  GOOGLE,
)

const ORGANIZATION =
  'the claim groups has teams (organization/team), not organizations: list the teams of the organization under ' +
  'require.claims.groups'

export const organization: Rule = becomes(
  CLAIMS,
  (setting, migration) => {
    const team = migration.effective.get('github_team')
    if (team === undefined || textOf(team) === '') closedUntilDecided(ORGANIZATION).apply(setting, migration)
    else markRouteSource(migration, setting)
  },
  `together with github_team, it names the organization of the teams; otherwise no user is let in until you decide: ${ORGANIZATION}`,
)

const TEAM = 'each team becomes organization/team, spelled as in the address of the team at GitHub'

export const teams: Rule = becomes(
  CLAIMS,
  (setting, migration) => {
    if (listOf(setting).length === 0) return remark(migration, 'builtin', setting, 'it is empty, and requires nothing')
    requireTeams(migration, setting)
  },
  TEAM,
)

/** Requires teams that are written as `team` or `organization:team`. */
function requireTeams(migration: Migration, setting: Setting): void {
  const org = migration.effective.get('github_org')
  const owner = org === undefined ? '' : textOf(org)
  const names = listOf(setting).map((team) => (team.includes(':') ? team.replace(':', '/') : `${owner}/${team}`))
  if (names.some((name) => name.startsWith('/')))
    return closedUntilDecided('name the organization of each team: organization/team').apply(setting, migration)
  requireClaim(migration, 'groups', names.map(literal), setting)
  remark(migration, 'differs', setting, TEAM)
}

export const workspace: Rule = becomes(
  CLAIMS,
  (setting, migration) => {
    requireClaim(migration, 'groups', [literal(textOf(setting))], setting)
  },
  'the slug of the workspace becomes a required value of the claim groups',
)

const USERS =
  'without github_org, github_team and github_repo, the names become required values of the claim ' +
  'preferred_username; together with these keys, it let in additional users, who are not let in until ' +
  'you decide'

/** The users that oauth2-proxy lets in although they are in no team. */
export const users: Rule = becomes(
  CLAIMS,
  (setting, migration) => {
    if (listOf(setting).length === 0) return remark(migration, 'builtin', setting, 'it is empty, and requires nothing')
    const others = ['github_org', 'github_team', 'github_repo'].filter((key) => migration.effective.has(key))
    if (others.length === 0) requireClaim(migration, 'preferred_username', listOf(setting).map(literal), setting)
    else remark(migration, 'security', setting, `users who match ${others.join(' and ')} are let in; ${USERS}`)
  },
  USERS,
)
