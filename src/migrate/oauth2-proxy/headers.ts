import { enableForwardAuth } from '../forward-auth.ts'
import { markRouteSource, type Migration, remark, sendToken } from '../migration.ts'
import { becomes, combined, type Rule } from '../rule.ts'
import { flagOf, literal, type Setting } from '../setting.ts'
import { emailClaim, groupsClaim, providerType } from './access.ts'
import { withoutOpenId } from './provider.ts'

/** Headers with the user's name, email address and groups for the upstream. */
export const identity: Rule = combined(
  'routes[].headers.set',
  'the claims are sent as X-Forwarded-User, -Email, -Groups and -Preferred-Username',
)

/** The `X-Auth-Request-*` headers in the verdict for a proxy that uses forward-auth. */
export const responseIdentity: Rule = becomes(
  'routes[].headers.set',
  (setting, migration) => {
    if (flagOf(setting) === false) return remark(migration, 'builtin', setting, 'it is off, and nothing is set')
    Object.assign(migration.routeDefaults.set, {
      'X-Auth-Request-User': '{claims.sub}',
      'X-Auth-Request-Email': `{claims.${emailClaim(migration)}}`,
      'X-Auth-Request-Groups': `{claims.${groupsClaim(migration)}}`,
      'X-Auth-Request-Preferred-Username': '{claims.preferred_username}',
    })
    markRouteSource(migration, setting)
  },
  'the headers are sent under the same names to the upstream, and to the proxy in responses of ' +
    'forwardAuth.listen, but never to the browser',
)

export const tokens: Rule = combined(
  'routes[].token, headers.set',
  'the access token is sent as X-Forwarded-Access-Token, and the ID token as Authorization',
)

function isOn(migration: Migration, key: string, defaultValue: boolean): boolean {
  const setting = migration.effective.get(key)
  return setting === undefined ? defaultValue : flagOf(setting) !== false
}

/** Migrates the headers for the upstream. By default user headers are sent, but not with an alpha configuration. */
export function migrateHeaders(migration: Migration, sentByDefault: boolean): void {
  const settings = ['pass_user_headers', 'pass_basic_auth', 'prefer_email_to_user'].flatMap(
    (key) => migration.effective.get(key) ?? [],
  )
  if (isOn(migration, 'pass_user_headers', sentByDefault) || isOn(migration, 'pass_basic_auth', sentByDefault)) {
    const email = `{claims.${emailClaim(migration)}}`
    const preferEmail = isOn(migration, 'prefer_email_to_user', false)
    Object.assign(migration.routeDefaults.set, {
      'X-Forwarded-User': preferEmail ? email : '{claims.sub}',
      ...(preferEmail ? {} : { 'X-Forwarded-Email': email }),
      'X-Forwarded-Groups': `{claims.${groupsClaim(migration)}}`,
      'X-Forwarded-Preferred-Username': '{claims.preferred_username}',
    })
    if (settings.length === 0) {
      remark(
        migration,
        'differs',
        null,
        'pass_user_headers is not given, and on by default: headers.set has X-Forwarded-User and similar headers; ' +
          'remove those that the application does not read',
      )
    }
  }
  markRouteSource(migration, ...settings)
  // The application may read these headers although none is set, and a proxy in front may pass forged values on.
  migration.routeDefaults.remove.push(
    ...['X-Forwarded', 'X-Auth-Request'].flatMap((family) =>
      ['User', 'Email', 'Groups', 'Preferred-Username', 'Access-Token'].map((name) => `${family}-${name}`),
    ),
  )
  const setsAuthorization =
    settingIfOn(migration, 'pass_authorization_header') ?? migration.effective.get('basic_auth_password')
  if (setsAuthorization !== undefined && isOn(migration, 'skip_auth_strip_headers', true))
    migration.routeDefaults.remove.push('Authorization')
  migrateToken(migration)
  for (const key of ['set_xauthrequest', 'set_authorization_header']) {
    const setting = settingIfOn(migration, key)
    if (setting !== null) enableForwardAuth(migration, setting)
  }
}

function migrateToken(migration: Migration): void {
  const access = settingIfOn(migration, 'pass_access_token')
  const authorization =
    settingIfOn(migration, 'pass_authorization_header') ?? settingIfOn(migration, 'set_authorization_header')
  for (const key of ['pass_access_token', 'pass_authorization_header', 'set_authorization_header']) {
    const setting = migration.effective.get(key)
    if (setting !== undefined) markRouteSource(migration, setting)
  }
  if (access !== null) {
    sendToken(migration, 'accessToken', 'X-Forwarded-Access-Token', '')
    if (settingIfOn(migration, 'set_xauthrequest') !== null)
      sendToken(migration, 'accessToken', 'X-Auth-Request-Access-Token', '')
  }
  if (authorization !== null) {
    if (withoutOpenId(providerType(migration)))
      remark(migration, 'builtin', authorization, 'this provider issues no ID token, so none was sent')
    else sendToken(migration, 'idToken', 'Authorization', 'Bearer ')
  }
  migration.routeDefaults.token ??= { grant: 'none' }
}

function settingIfOn(migration: Migration, key: string): Setting | null {
  const setting = migration.effective.get(key)
  return setting !== undefined && flagOf(setting) !== false ? setting : null
}

/** Returns the template for a claim that oauth2-proxy knows by this name; `null` if the gateway has no such claim. */
export function templateOf(migration: Migration, claim: string): string | null {
  if (['access_token', 'id_token', 'refresh_token', 'created_at', 'expires_on'].includes(claim)) return null
  const names: Readonly<Record<string, string>> = {
    user: 'sub',
    email: emailClaim(migration),
    groups: groupsClaim(migration),
  }
  const name = Object.hasOwn(names, claim) ? (names[claim] ?? claim) : claim
  return /^[^{}]+$/.test(name) ? `{claims.${literal(name)}}` : null
}
