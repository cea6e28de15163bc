import { UNDECIDED_CLAIM } from '../condition.ts'
import { markRouteSource, type Migration, remark } from '../migration.ts'
import { pathsOf } from '../path-regex.ts'
import type { Setting } from '../setting.ts'
import { isWholeSite, type PlacedDirective } from './sections.ts'
import { type ForwardedPath, forwardedSubtree } from './upstreams.ts'

export interface Refusals {
  /** The patterns of paths that no user reached, each with the directive that refused them. */
  readonly closed: ReadonlyMap<string, Setting>
  /** What `RewriteRule` forwards to an application. */
  readonly forwarded: readonly ForwardedPath[]
}

const KEPT_AWAY =
  'it kept requests away from the application, and the gateway does not: keep it in a web server in between, ' +
  'or use require, methods or maxBody on routes'

/** What to do about a directive that refused requests by other means than a login. */
const REFUSING: readonly (readonly [RegExp, string])[] = [
  [
    /^SSLVerifyClient$/i,
    'clients had to present a certificate, and the gateway asks for none: keep it in the web server in front, or let the ' +
      'provider require the certificate',
  ],
  [/^SSLRequire$/i, 'no rule expresses it: use require.claims or require.networks on routes'],
  [/^SSLRequireSSL$/i, 'let the proxy in front accept only https; browsers send the session cookie only with https'],
  [/^LimitRequestBody$/i, 'set maxBody on routes, whose default may be larger'],
  [/^AllowMethods$/i, 'list the methods of each route under methods: a method that no route lists gets a 404'],
  [/^Sec[A-Z]\w*$/, KEPT_AWAY],
  [
    // Modules that authenticate, authorize or limit requests.
    /^(Lua(Hook|Authz|Inherit|Quick|Output|Input)|Auth(Basic|Digest|Form|UserFile|GroupFile|DBM|DBD|LDAP|nz|z|nProvider|zProvider)|Anonymous|OAuth2|STS|Mellon|Shib|CAS|Gssapi|Krb|NTLM|Kerb|QS_|DOS|GeoIP|MaxMind|LimitXMLRequestBody|LimitRequestFields|ScriptInterpreter|Perl|Wasm)/i,
    'it may have decided who gets in, or refused requests, and no route does it: keep it in a web server in between, or ' +
      'use require on routes',
  ],
]

/** Reads the directives that redirected, refused or forwarded requests by their path. */
export function readRefusals(directives: readonly PlacedDirective[], migration: Migration): Refusals {
  const closed = new Map<string, Setting>()
  const forwarded: ForwardedPath[] = []
  directives.forEach((placed, index) => {
    const { setting, directive } = placed
    const text = REFUSING.find(([name]) => name.test(directive.name))?.[1]
    if (text !== undefined) {
      const isOff = /^(SSLVerifyClient)$/i.test(directive.name) && /^none$/i.test(directive.args[0] ?? '')
      remark(migration, isOff ? 'builtin' : 'security', setting, isOff ? 'no client certificate is needed' : text)
    } else if (/^Limit(Except)?$/i.test(directive.name)) markRouteSource(migration, setting)
    else if (/^Redirect(Match|Permanent|Temp)?$/i.test(directive.name)) readRedirect(placed, closed, migration)
    else if (/^RewriteCond$/i.test(directive.name)) {
      const rule = directives.slice(index + 1).find((one) => /^RewriteRule$/i.test(one.directive.name))
      remark(migration, 'builtin', setting, `it is a condition of the RewriteRule in line ${rule?.setting.line ?? 0}`)
    } else if (/^RewriteRule$/i.test(directive.name)) {
      forwarded.push(...readRewrite(placed, conditionsBefore(directives, index), closed, migration))
    }
  })
  return { closed, forwarded }
}

function conditionsBefore(directives: readonly PlacedDirective[], index: number): string[] {
  const conditions: string[] = []
  for (let at = index - 1; at >= 0 && /^RewriteCond$/i.test(directives[at]?.directive.name ?? ''); at -= 1)
    conditions.push(directives[at]?.directive.args.join(' ') ?? '')
  return conditions
}

/** Closes paths whose patterns a route can express. */
function close(
  patterns: readonly string[] | null,
  placed: PlacedDirective,
  what: string,
  closed: Map<string, Setting>,
  migration: Migration,
): void {
  const { setting } = placed
  if (patterns === null || patterns.length === 0) return remark(migration, 'security', setting, KEPT_AWAY)
  for (const pattern of patterns) closed.set(pattern, setting)
  markRouteSource(migration, setting)
  remark(
    migration,
    'security',
    setting,
    `${what}: no user is let in to ${patterns.join(', ')} until you remove the claim ${UNDECIDED_CLAIM}`,
  )
}

function readRedirect(placed: PlacedDirective, closed: Map<string, Setting>, migration: Migration): void {
  const { setting, directive, within } = placed
  const [word = ''] = directive.args
  const hasStatus = /^(\d{3}|permanent|temp|seeother|gone)$/i.test(word)
  const status = hasStatus ? word.toLowerCase() : 'temp'
  const rest = hasStatus ? directive.args.slice(1) : directive.args
  const refuses = /^([45]\d\d|gone)$/.test(status)
  // In a section, the path may be left out.
  const path = rest.length > (refuses ? 0 : 1) ? (rest[0] ?? '') : null
  if (refuses) {
    const patterns = path === null ? within.patterns : refusedPaths(path, /Match$/i.test(directive.name), placed)
    return close(patterns, placed, `it answered ${status}`, closed, migration)
  }
  const target = rest.at(-1) ?? ''
  remark(
    migration,
    'security',
    setting,
    `${path ?? within.setting?.written ?? 'it'} was redirected to ${target}, and now goes to the application: let the ` +
      'application or a proxy in front redirect',
  )
}

/** Returns patterns that match at least the paths that a `Redirect` refuses. */
function refusedPaths(path: string, isRegex: boolean, { within }: PlacedDirective): readonly string[] | null {
  if (isRegex) return /^\^?\/?(\.\*)?\$?$/.test(path) ? within.patterns : (pathsOf(path)?.patterns ?? null)
  if (path === '/') return within.patterns
  const bare = path.replace(/\/$/, '')
  return /^(\/[A-Za-z0-9_.~-]+)+$/.test(bare) ? [`${bare}/**`] : null
}

/** Conditions that hold for WebSockets only, and for all other requests. */
const OF_WEBSOCKETS = /%\{HTTP:(Upgrade|Connection)\}/i
const EXCLUDING = /\} "?!/

function readRewrite(
  placed: PlacedDirective,
  conditions: readonly string[],
  closed: Map<string, Setting>,
  migration: Migration,
): ForwardedPath[] {
  const { setting, directive, within } = placed
  const [regex = '', target = '', flagText = ''] = directive.args
  const flags = flagText
    .replace(/^\[|\]$/g, '')
    .split(',')
    .map((flag) => flag.trim())
  const has = (pattern: RegExp): boolean => flags.some((flag) => pattern.test(flag))
  if (has(/^(F|forbidden|G|gone|R=[45]\d\d|redirect=[45]\d\d)$/i)) {
    if (conditions.some((one) => /^%\{REQUEST_METHOD\} \^?\(?(TRACE|TRACK)(\|(TRACE|TRACK))*\)?/i.test(one))) {
      remark(migration, 'builtin', setting, 'the gateway rejects TRACE and TRACK')
      return []
    }
    // With a condition, or in a section, the rule refused some requests to these paths only.
    const patterns = conditions.length === 0 && isWholeSite(within) ? (pathsOf(regex)?.patterns ?? null) : null
    close(patterns, placed, 'it refused requests', closed, migration)
    return []
  }
  if (has(/^(P|proxy)$/i)) {
    if (conditions.some((one) => OF_WEBSOCKETS.test(one) && !EXCLUDING.test(one))) {
      remark(
        migration,
        'differs',
        setting,
        `WebSockets go to the upstream of their route: if that is not ${target.replace(/\/[^/]*\$\d$/, '')}, add a route with this ` +
          'upstream for their path',
      )
      return []
    }
    const others = conditions.filter((one) => !OF_WEBSOCKETS.test(one))
    const found = others.length === 0 ? forwardedSubtree(regex.startsWith('^') ? regex : `^${regex}`, target) : null
    if (found !== null) return [{ ...found, placed }]
    remark(
      migration,
      'security',
      setting,
      'a route cannot express its paths and conditions exactly: add a route with this upstream',
    )
    return []
  }
  if (/^https:\/\/%\{(HTTP_HOST|SERVER_NAME)\}/i.test(target)) {
    remark(migration, 'builtin', setting, TO_HTTPS)
    return []
  }
  const status = flags.map((flag) => /^R(?:edirect)?=([12]\d\d)$/i.exec(flag)?.[1]).find((one) => one !== undefined)
  if (status !== undefined) {
    remark(
      migration,
      'differs',
      setting,
      `the web server answered ${regex} with ${status} itself, and the application answers now: for a health check, use ` +
        'GET /livez of admin.listen',
    )
    return []
  }
  if (target === '-') {
    remark(migration, 'builtin', setting, 'it changes no path: RequestHeader says what its variables become')
    return []
  }
  if (has(/^(R|redirect)(=|$)/i) || /^https?:\/\//i.test(target)) {
    remark(
      migration,
      'security',
      setting,
      `${regex} was redirected to ${target}, and now goes to the application: let the application or a proxy in front ` +
        'redirect',
    )
    return []
  }
  remark(
    migration,
    'security',
    setting,
    `it rewrote the path to ${target} before the sections applied, and the application receives the path of the browser: ` +
      'use rewritePrefix on a route, with the rule for the rewritten path',
  )
  return []
}

export const TO_HTTPS =
  'let the proxy in front redirect http to https; with TLS of its own, the gateway redirects on tls.redirectFrom'
