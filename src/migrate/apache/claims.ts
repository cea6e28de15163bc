import { type Migration, markRouteSource, put, remark, setHeader } from '../migration.ts'
import { argumentsOf, flagOf, type Setting, textOf } from '../setting.ts'

/** Claims of most providers. */
const CLAIMS = ['sub', 'iss', 'email', 'name', 'preferred_username', 'given_name', 'family_name', 'groups']

/** The headers of mod_auth_openidc that carry no single claim. The module always removes these from client requests. */
const MODULE_HEADERS = [
  'access_token',
  'access_token_expires',
  'id_token',
  'id_token_payload',
  'refresh_token',
  'userinfo_json',
  'userinfo_jwt',
]

export function passClaims(migration: Migration): void {
  const [as, prefix, user, name, access] = [
    'OIDCPassClaimsAs',
    'OIDCClaimPrefix',
    'OIDCRemoteUserClaim',
    'OIDCAuthNHeader',
    'OIDCPassAccessToken',
  ].map((key) => migration.effective.get(key))
  const inHeaders = as === undefined || ['both', 'headers'].includes(textOf(as).toLowerCase())
  for (const setting of [as, prefix, user, name, access]) if (setting !== undefined) markRouteSource(migration, setting)
  const before = prefix === undefined ? 'OIDC_CLAIM_' : textOf(prefix)
  const claims = claimsOf(migration)
  if (inHeaders) for (const claim of claims) setHeader(migration, `${before}${claim}`, `{claims.${claim}}`)
  migration.routeDefaults.remove.push(
    ...MODULE_HEADERS.map((variable) => `OIDC_${variable}`),
    ...claims.map((claim) => `${before}${claim}`),
  )
  remark(
    migration,
    'security',
    as ?? prefix ?? null,
    `mod_auth_openidc removes every header that begins with ${before} or OIDC_ from client requests` +
      `${inHeaders ? ', and passes every claim in such a header' : ''}; the gateway removes only those ` +
      'under headers.set and headers.remove: add each header that the application reads, and delete the others',
  )
  if (as !== undefined && textOf(as).toLowerCase() === 'environment') {
    remark(
      migration,
      'differs',
      as,
      'the gateway sets no environment variables: set headers from claims under headers.set, and let the application read ' +
        'those',
    )
  }
  passTokens(migration, inHeaders)
  passUser(migration, user, name)
  if (as !== undefined) encodeHeaders(migration, as)
  if (inHeaders && (access === undefined || flagOf(access) !== false))
    migration.routeDefaults.token = { header: 'OIDC_access_token' }
  else migration.routeDefaults.token = { grant: 'none' }
}

/** Returns the usual claims and those that the configuration names, which the application may read as well. */
function claimsOf({ settings }: Migration): string[] {
  const required = settings
    .filter(({ key }) => key === 'Require')
    .map(argumentsOf)
    .flatMap((words) => (words.includes('claim') ? words.slice(words.indexOf('claim') + 1) : []))
    .flatMap((spec) => /^([A-Za-z][\w-]*)[:~]/.exec(spec)?.[1] ?? [])
  return [...new Set([...CLAIMS, ...required])]
}

/** Passes the ID token as a whole, and a JWT with the claims that the web server has signed, if the module did. */
function passTokens(migration: Migration, inHeaders: boolean): void {
  const [idToken, userInfo] = ['OIDCPassIDTokenAs', 'OIDCPassUserInfoAs'].map((key) => migration.effective.get(key))
  for (const setting of [idToken, userInfo]) if (setting !== undefined) markRouteSource(migration, setting)
  if (!inHeaders) return
  const forms = idToken === undefined ? [] : argumentsOf(idToken).map((form) => form.toLowerCase())
  if (forms.includes('serialized') && !forms.includes('off')) setHeader(migration, 'OIDC_id_token', '{idToken}')
  if (idToken !== undefined && forms.includes('payload'))
    remark(
      migration,
      'differs',
      idToken,
      'OIDC_id_token_payload is not sent: let the application read single claims, or the ID token ({idToken})',
    )
  if (userInfo === undefined) return
  const signed = argumentsOf(userInfo).find((form) => /^signed_jwt(:|$)/i.test(form))
  const others = argumentsOf(userInfo).filter((form) => form !== signed && form.toLowerCase() !== 'claims')
  if (others.length > 0)
    remark(migration, 'gap', userInfo, `${others.join(' and ')} is not sent: headers.set can send single claims`)
  if (signed === undefined) return
  setHeader(migration, signed.split(':')[1] ?? 'OIDC_signed_jwt', '{assertion}')
  put(
    migration,
    'assertion.claims',
    [...CLAIMS].filter((claim) => claim !== 'sub' && claim !== 'iss'),
    userInfo,
  )
  remark(
    migration,
    'differs',
    userInfo,
    'the JWT is an assertion of the gateway, with the public URL as iss and aud, signed with ES256 or EdDSA: let the ' +
      'application verify it with the keys of /oauth2/jwks, and set assertion.keys',
  )
}

/** Sets the encoding that the module applied to all values, or the nearest one. */
function encodeHeaders(migration: Migration, as: Setting): void {
  const encoding = argumentsOf(as)[1]?.toLowerCase()
  const { routeDefaults } = migration
  if (encoding === 'none') routeDefaults.encoding = 'utf-8'
  if (encoding === 'latin1') {
    routeDefaults.encoding = 'utf-8'
    remark(
      migration,
      'differs',
      as,
      'text that is not ASCII is sent as UTF-8, not as Latin-1 (headers.encoding: utf-8)',
    )
  }
  if (encoding !== 'base64url') return
  if (Object.values(routeDefaults.set).every((template) => /^\{[^{}]+\}$/.test(template))) {
    routeDefaults.encoding = 'base64'
    remark(
      migration,
      'differs',
      as,
      'values are base64, not base64url: let the application accept + and / for - and _, and padding',
    )
  } else
    remark(
      migration,
      'differs',
      as,
      'headers with fixed text were not encoded, and encoding: base64 applies to all headers of a route: set it where ' +
        'the application decodes all of them',
    )
}

/** Passes REMOTE_USER, a variable within the web server, as X-Remote-User unless another header carries the user. */
function passUser(migration: Migration, user: Setting | undefined, name: Setting | undefined): void {
  const claim = user === undefined ? 'sub' : textOf(user).replace(/@$/, '')
  // A header for each claim does not identify the user; a header set by RequestHeader does.
  const carried = Object.entries(migration.routeDefaults.set).some(
    ([header, template]) => template === `{claims.${claim}}` && !CLAIMS.some((one) => header.endsWith(`_${one}`)),
  )
  if (name !== undefined) setHeader(migration, textOf(name), `{claims.${claim}}`)
  else if (user !== undefined && !carried) {
    setHeader(migration, 'X-Remote-User', `{claims.${claim}}`)
    remark(
      migration,
      'differs',
      user,
      'REMOTE_USER is a variable within the web server: the application gets the user as X-Remote-User; let it read ' +
        'that header, or rename the header',
    )
  }
  if (user !== undefined && (argumentsOf(user).length > 1 || textOf(user).endsWith('@'))) {
    remark(
      migration,
      'differs',
      user,
      'the claim is passed unchanged, without the regular expression and without @issuer',
    )
  } else if (user === undefined && name !== undefined) {
    remark(migration, 'differs', name, 'the user was sub@issuer, and is now sub')
  }
}
