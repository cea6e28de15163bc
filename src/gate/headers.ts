import { connectionOptions, foldHeaderName, FOR_THE_GATEWAY, HOP_BY_HOP } from '../header-names.ts'
import type { Claims } from '../oidc/token-set.ts'
import { hostOf, type RouteTable } from './match.ts'
import { isBasicAlone } from './pipeline.ts'
import { fillTemplate, parseTemplate, type Template } from './template.ts'
import type { CompiledRoute, Facts, Who } from './verdict.ts'

const METHOD_OVERRIDES = ['x-http-method-override', 'x-http-method', 'x-method-override']
const WRITTEN_ANEW = ['x-forwarded-for', 'x-forwarded-proto', 'x-forwarded-host']
const FORWARDED = /^(?:forwarded|x-real-ip|x-(?:original|rewrite|forwarded)(?:-.*)?)$/

type Treatment =
  | 'pass'
  | 'via'
  | 'drop'
  | 'respelled'
  | 'forwarded'
  | 'host'
  | 'cookie'
  | 'authorization'
  | 'nearly-authorization'
  | 'override'
  | 'connection'

const MAX_NAMES_KEPT = 1000
const MAX_LENGTH_KEPT = 100

/** Builds the headers that an upstream receives. */
export interface UpstreamHeaders {
  /** Name, value, name, value …: the client's without what only the gateway may say, then the gateway's own. */
  build(facts: Facts, route: CompiledRoute, who: Who | null, accessToken: string | null): string[]
  /** The gateway's own alone: who the user is, and the token. */
  identity(route: CompiledRoute, who: Who | null, accessToken: string | null): string[]
  /**
   * For a request that another proxy passes on: the first header that `build` would have left out and that the proxy
   * does not replace, or `null`. It is another spelling of a header that some route sets, or it names a method that
   * would select another route.
   */
  forged(facts: Facts): string | null
}

interface RouteRules {
  readonly set: readonly { readonly name: string; readonly template: Template }[]
  readonly remove: ReadonlySet<string>
  readonly setsAuthorization: boolean
  readonly filled: WeakMap<Claims, readonly string[]>
}

/**
 * Compiles the header rules of all routes. `isOwnCookie` tells the gateway's cookies by name. A request that would take
 * another route with another method must not name one in a header. `viaName` is what the gateway is called in Via.
 */
export function compileHeaders(
  table: Pick<RouteTable, 'routes' | 'dependsOnMethod'>,
  isOwnCookie: (name: string) => boolean,
  viaName: string | null = null,
): UpstreamHeaders {
  const identity = new Set(
    table.routes.flatMap(({ headers, token }) => [...Object.keys(headers.set), token.header]).map(foldHeaderName),
  )
  identity.delete('authorization')
  const exact = new Set(
    table.routes
      .flatMap(({ headers, token }) => [...Object.keys(headers.set), token.header])
      .map((name) => name.toLowerCase()),
  )
  const rules = table.routes.map(({ headers }): RouteRules => ({
    set: Object.entries(headers.set).map(([name, value]) => ({ name, template: parseTemplate(value) })),
    remove: new Set(headers.remove.map(foldHeaderName)),
    setsAuthorization: Object.keys(headers.set).some((name) => foldHeaderName(name) === 'authorization'),
    filled: new WeakMap(),
  }))
  const treatments = new Map<string, Treatment>()
  const own = viaName === null ? null : `1.1 ${viaName}`

  function treatmentOf(name: string): Treatment {
    const known = treatments.get(name)
    if (known !== undefined) return known
    const treatment = decide(name)
    if (treatments.size < MAX_NAMES_KEPT && name.length <= MAX_LENGTH_KEPT) treatments.set(name, treatment)
    return treatment
  }

  function decide(name: string): Treatment {
    const lower = name.toLowerCase()
    if (lower === 'connection') return 'connection'
    if (lower === 'via' && own !== null) return 'via'
    if (lower === 'host' || lower === 'cookie' || lower === 'authorization') return lower
    const same = foldHeaderName(name)
    if (identity.has(same)) return exact.has(lower) ? 'drop' : 'respelled'
    // CGI and its heirs read other spellings of what is written anew as the real thing.
    if (same !== lower && (same === 'content-length' || WRITTEN_ANEW.includes(same))) return 'respelled'
    if (HOP_BY_HOP.has(same) || FOR_THE_GATEWAY.has(same) || WRITTEN_ANEW.includes(same)) return 'drop'
    if (/^-*authorization-*$/.test(same)) return 'nearly-authorization'
    if (METHOD_OVERRIDES.includes(same)) return 'override'
    return FORWARDED.test(same) ? 'forwarded' : 'pass'
  }

  function pushOwn(out: string[], route: CompiledRoute, who: Who | null, accessToken: string | null): void {
    const mine = rules[route.index]
    if (mine !== undefined && mine.set.length > 0) out.push(...identityHeaders(mine, route, who))
    if (accessToken === null) return
    out.push(
      route.token.header,
      route.token.header.toLowerCase() === 'authorization' ? `Bearer ${accessToken}` : accessToken,
    )
  }

  return {
    build(facts, route, who, accessToken) {
      const { rawHeaders, client } = facts
      const mine = rules[route.index]
      const { connection } = facts.headers
      const named = connection === undefined ? null : connectionOptions(connection)
      const out: string[] = []
      let bearerSent = false
      let before = ''
      for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
        const name = rawHeaders[i] ?? ''
        const value = rawHeaders[i + 1] ?? ''
        if (named !== null && named.has(name.toLowerCase())) continue
        if (mine !== undefined && mine.remove.size > 0 && mine.remove.has(foldHeaderName(name))) continue
        switch (treatmentOf(name)) {
          case 'pass':
            out.push(name, value)
            break
          case 'forwarded':
            if (client.trusted) out.push(name, value)
            break
          case 'override':
            if (route.methods === null && !table.dependsOnMethod(hostOf(facts.origin), facts.method, facts.path))
              out.push(name, value)
            break
          case 'authorization': {
            if (mine?.setsAuthorization === true || (who !== null && who.bearer !== true)) break
            // Applications take tokens out of other schemes, too, and here only verified ones may reach them.
            if (who === null && route.bearer !== null && !isBasicAlone(facts)) break
            // Of several that a client sends, the first has been verified.
            if (who === null || !bearerSent) out.push(name, value)
            bearerSent = true
            break
          }
          case 'nearly-authorization':
            if (route.bearer === null) out.push(name, value)
            break
          case 'cookie': {
            const others = withoutOwnCookies(value, isOwnCookie)
            if (others !== '') out.push(name, others)
            break
          }
          case 'via':
            before = before === '' ? value : `${before}, ${value}`
            break
          case 'host':
          case 'connection':
          case 'drop':
          case 'respelled':
            break
        }
      }
      pushForwarded(out, facts)
      if (own !== null) out.push('Via', before === '' ? own : `${before}, ${own}`)
      pushOwn(out, route, who, accessToken)
      return out
    },
    identity(route, who, accessToken) {
      const out: string[] = []
      pushOwn(out, route, who, accessToken)
      return out
    },
    forged({ rawHeaders, method, path, origin }) {
      const byMethod = table.dependsOnMethod(hostOf(origin), method, path)
      const names = rawHeaders.filter((_value, i) => i % 2 === 0)
      return (
        names.find((name) => {
          const treatment = treatmentOf(name)
          return treatment === 'override' ? byMethod : treatment === 'respelled'
        }) ?? null
      )
    },
  }
}

/** Without making a list of them: this is on the way of every request. */
function withoutOwnCookies(cookies: string, isOwnCookie: (name: string) => boolean): string {
  let others = ''
  for (let at = 0; at < cookies.length;) {
    const semicolon = cookies.indexOf(';', at)
    const end = semicolon === -1 ? cookies.length : semicolon
    const pair = withoutBlanks(cookies, at, end)
    const equals = pair.indexOf('=')
    const name = equals === -1 ? pair : pair.slice(0, equals).trim()
    if (pair !== '' && !isOwnCookie(name)) others = others === '' ? pair : `${others}; ${pair}`
    at = end + 1
  }
  return others
}

/** `trim` would also take the byte A0, with which many a letter ends in UTF-8. */
function withoutBlanks(text: string, from: number, to: number): string {
  let [start, end] = [from, to]
  while (start < end && isBlank(text.charCodeAt(start))) start += 1
  while (end > start && isBlank(text.charCodeAt(end - 1))) end -= 1
  return text.slice(start, end)
}

function isBlank(code: number): boolean {
  return code === 0x20 || code === 0x09
}

/** Written anew; what a trusted proxy said before is continued. */
function pushForwarded(out: string[], { client, headers, origin }: Facts): void {
  const host = hostOf(origin)
  const { address: before, proto, name } = client.trusted ? said(headers) : NOTHING_SAID
  out.push('Host', host)
  // A peer on a unix socket has no address to add.
  const chain = before === '' || client.peer === '' ? before + client.peer : `${before}, ${client.peer}`
  if (chain !== '') out.push('X-Forwarded-For', chain)
  out.push('X-Forwarded-Proto', proto === '' ? client.scheme : proto, 'X-Forwarded-Host', name === '' ? host : name)
}

const NOTHING_SAID = { address: '', proto: '', name: '' }

function said(headers: Facts['headers']): typeof NOTHING_SAID {
  return {
    address: String(headers['x-forwarded-for'] ?? ''),
    proto: String(headers['x-forwarded-proto'] ?? ''),
    name: String(headers['x-forwarded-host'] ?? ''),
  }
}

/** The same for every request of a session on a route until its claims change. */
function identityHeaders(rules: RouteRules, route: CompiledRoute, who: Who | null): readonly string[] {
  const known = who === null ? undefined : rules.filled.get(who.claims)
  if (known !== undefined) return known
  const filled = rules.set.flatMap(({ name, template }) => {
    const value = fillTemplate(template, who?.claims ?? {}, route.headers.encoding)
    return value === null ? [] : [name, value]
  })
  if (who !== null) rules.filled.set(who.claims, filled)
  return filled
}
