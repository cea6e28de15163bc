import { latin1 } from '../bytes.ts'
import {
  announcedTrailers,
  cachedByName,
  connectionOptions,
  foldHeaderName,
  FOR_THE_GATEWAY,
  HOP_BY_HOP,
  isAllowedInTrailers,
} from '../header-names.ts'
import type { Route } from '../config/schema.ts'
import type { Claims } from '../oidc/token-set.ts'
import type { Assertions } from './assertion.ts'
import { isBasicAlone, presentedToken } from './authorization.ts'
import { hostOf, type RouteTable } from './match.ts'
import { fillTemplate, parseTemplate, type Template, type Values } from './header-template.ts'
import { prefixOf, upstreamHostOf } from './upstream-urls.ts'
import type { AuthScheme, CompiledRoute, Facts, Who } from './verdict.ts'

const METHOD_OVERRIDES = ['x-http-method-override', 'x-http-method', 'x-method-override']
const REPLACED = ['x-forwarded-for', 'x-forwarded-proto', 'x-forwarded-host']
const FORWARDED_PREFIX = 'x-forwarded-prefix'
const REQUEST_ID = 'x-request-id'
/** A `TE` value that announces support for trailer fields: https://www.rfc-editor.org/rfc/rfc9110#section-10.1.4 */
const KEEPS_TRAILERS = /(?:^|,)\s*trailers\s*(?:,|$)/i
const FORWARDED = /^(?:forwarded|x-real-ip|x-(?:original|rewrite|forwarded)(?:-.*)?)$/

type Treatment =
  | 'pass'
  | 'via'
  | 'drop'
  | 'misspelled'
  | 'forwarded'
  | 'prefix'
  | 'host'
  | 'cookie'
  | 'authorization'
  | 'authorization-variant'
  | 'proof'
  | 'override'
  | 'connection'
  | 'trailer'

export interface UpstreamHeaders {
  /**
   * Returns name, value, name, value …: the client's headers, without those that it may not set, followed by the
   * gateway's own headers.
   */
  build(facts: Facts, route: CompiledRoute, who: Who | null, accessToken: string | null, scheme?: AuthScheme): string[]
  /**
   * Returns the client's trailer fields as name, value, name, value … Drops fields that the client may not set and fields
   * that a recipient needs before the body. Each character of a string is one byte.
   */
  trailers(raw: readonly (Buffer | string)[], facts: Facts, route: CompiledRoute): string[]
  /**
   * Returns the headers that a forward-auth proxy sets on the request: name, value, name, value … The client's own
   * Authorization is one of them if it passes, because the proxy would otherwise remove it. So is Cookie, without the
   * gateway's cookies, if there are others.
   */
  forProxy(
    facts: Facts,
    route: CompiledRoute,
    who: Who | null,
    accessToken: string | null,
    scheme?: AuthScheme,
  ): string[]
  /**
   * Returns why the headers of a described request would deceive the application, or `null`. Reasons are another spelling
   * of a header that some route sets and a method override that selects another route, which `build` drops and a
   * forward-auth proxy passes on. Another reason is a cookie of the gateway after a comma.
   */
  deception(facts: Facts): string | null
  /** Returns the names, in lower case, of the headers that some verdict can have and these headers of `forProxy` lack. */
  missingFrom(forProxy: readonly string[]): string[]
}

interface SetHeader {
  readonly name: string
  readonly template: Template
}

interface RouteRules {
  /** The headers that are filled in once for each claims object, which changes only with a login or a refresh. */
  readonly perUser: readonly SetHeader[]
  /** The headers that are filled in for each request. */
  readonly perRequest: readonly SetHeader[]
  readonly hasAssertion: boolean
  readonly remove: ReadonlySet<string>
  readonly setsAuthorization: boolean
  /** Whether the gateway sends the id of the request as `X-Request-Id`. */
  readonly sendsId: boolean
  /** The prefix for `X-Forwarded-Prefix`, or `null`. */
  readonly prefix: string | null
  readonly filled: WeakMap<Claims, readonly string[]>
}

/** Compiles the header rules of all routes. `isOwnCookie` recognizes the gateway's cookies by name. */
export function compileHeaders(
  table: Pick<RouteTable, 'routes' | 'dependsOnMethod'>,
  isOwnCookie: (name: string) => boolean,
  viaName: string | null = null,
  assertions: Pick<Assertions, 'make'> | null = null,
): UpstreamHeaders {
  const own = table.routes.flatMap(({ headers, token }) => [...Object.keys(headers.set), token.header])
  const exact = new Set(own.map((name) => name.toLowerCase()))
  const identity = new Set(own.map(foldHeaderName))
  identity.delete('authorization')
  const rules = table.routes.map((route): RouteRules => {
    const set = Object.entries(route.headers.set).map(([name, value]) => ({ name, template: parseTemplate(value) }))
    return {
      perUser: set.filter(({ template }) => template.isPerUser),
      perRequest: set.filter(({ template }) => !template.isPerUser),
      hasAssertion: set.some(({ template }) => template.parts.includes('assertion')),
      remove: new Set(route.headers.remove.map(foldHeaderName)),
      sendsId: ![...Object.keys(route.headers.set), route.token.header, ...route.headers.remove].some(
        (name) => foldHeaderName(name) === REQUEST_ID,
      ),
      setsAuthorization: Object.keys(route.headers.set).some((name) => foldHeaderName(name) === 'authorization'),
      prefix: route.prefixHeaders ? prefixOf(route) : null,
      filled: new WeakMap(),
    }
  })

  const treatmentOf = cachedByName((name): Treatment => {
    const lower = name.toLowerCase()
    if (lower === 'connection' || lower === 'trailer') return lower
    if (lower === 'via' && viaName !== null) return 'via'
    if (lower === 'dpop') return 'proof'
    if (lower === 'host' || lower === 'cookie' || lower === 'authorization') return lower
    const same = foldHeaderName(name)
    if (identity.has(same)) return exact.has(lower) ? 'drop' : 'misspelled'
    // CGI-like servers treat these spellings as the header itself.
    if (same !== lower && (same === 'content-length' || REPLACED.includes(same))) return 'misspelled'
    if (HOP_BY_HOP.has(same) || FOR_THE_GATEWAY.has(same) || REPLACED.includes(same)) return 'drop'
    if (same === REQUEST_ID) return same === lower ? 'drop' : 'misspelled'
    if (/^-*authorization-*$/.test(same)) return 'authorization-variant'
    if (METHOD_OVERRIDES.includes(same)) return 'override'
    if (same === FORWARDED_PREFIX) return 'prefix'
    return FORWARDED.test(same) ? 'forwarded' : 'pass'
  })

  /** Returns a predicate for the names of the client's trailer fields. */
  function trailerRule(facts: Facts, route: CompiledRoute): (name: string) => boolean {
    const remove = rules[route.index]?.remove
    const { connection } = facts.headers
    const named = connection === undefined ? null : connectionOptions(connection)
    return (name) =>
      treatmentOf(name) === 'pass' &&
      isAllowedInTrailers(foldHeaderName(name)) &&
      named?.has(name.toLowerCase()) !== true &&
      remove?.has(foldHeaderName(name)) !== true
  }

  function pushOwn(
    out: string[],
    facts: Facts,
    route: CompiledRoute,
    who: Who | null,
    accessToken: string | null,
    scheme: AuthScheme,
  ): void {
    const mine = rules[route.index]
    if (mine !== undefined && mine.perUser.length > 0) out.push(...perUserHeaders(mine, route, who))
    if (mine !== undefined && mine.perRequest.length > 0) {
      const assertion =
        !mine.hasAssertion || assertions === null || who === null
          ? null
          : assertions.make(facts.origin, route, who, Date.now())
      pushFilled(out, mine.perRequest, route, who, placeholderValues(facts, route, who, accessToken, assertion))
    }
    if (accessToken === null) return
    out.push(
      route.token.header,
      route.token.header.toLowerCase() === 'authorization' ? `${scheme} ${accessToken}` : accessToken,
    )
  }

  return {
    build(facts, route, who, accessToken, scheme = 'Bearer') {
      const { rawHeaders, client } = facts
      const mine = rules[route.index]
      const { connection } = facts.headers
      const named = connection === undefined ? null : connectionOptions(connection)
      const out: string[] = []
      const { te } = facts.headers
      if (te !== undefined && facts.headers.upgrade === undefined && KEEPS_TRAILERS.test(String(te)))
        out.push('TE', 'trailers')
      let bearerSent = false
      const prefix = mine?.prefix ?? null
      let gateways = ''
      let prefixes = ''
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
          case 'prefix':
            if (!client.trusted) break
            if (prefix === null) out.push(name, value)
            // Drops other spellings, because CGI-like servers treat them as the header itself.
            else if (name.toLowerCase() === FORWARDED_PREFIX) prefixes = append(prefixes, value)
            break
          case 'override':
            if (route.methods === null && !table.dependsOnMethod(hostOf(facts.origin), facts.method, facts.path))
              out.push(name, value)
            break
          case 'authorization': {
            if (mine?.setsAuthorization === true || !passesAuthorization(facts, route, who)) break
            // With several Authorization headers, only the first one has been verified.
            if (who?.bearer !== true) out.push(name, value)
            else if (!bearerSent) out.push(name, asBearer(value))
            bearerSent = true
            break
          }
          case 'proof':
            // The client's proof belongs to the client's Authorization, which passes under the same conditions. A
            // request with two proofs would be rejected: https://www.rfc-editor.org/rfc/rfc9449#section-4.3
            if (scheme === 'DPoP' && accessToken !== null) break
            if (who === null && route.bearer !== null) break
            if (who?.bearer === true && route.bearer?.dpop !== 'off') break
            if (passesAuthorization(facts, route, who)) out.push(name, value)
            break
          case 'authorization-variant':
            if (route.bearer === null) out.push(name, value)
            break
          case 'cookie': {
            const others = withoutOwnCookies(value, isOwnCookie)
            if (others !== '') out.push(name, others)
            break
          }
          case 'via':
            gateways = append(gateways, value)
            break
          case 'trailer': {
            const announced = announcedTrailers(value, trailerRule(facts, route))
            if (announced !== null) out.push(name, announced)
            break
          }
          case 'host':
          case 'connection':
          case 'drop':
          case 'misspelled':
            break
        }
      }
      pushForwarded(out, facts, route)
      if (mine?.sendsId === true) out.push('X-Request-Id', facts.requestId)
      if (prefix !== null) out.push('X-Forwarded-Prefix', append(prefixes, prefix))
      if (viaName !== null) out.push('Via', append(gateways, `${facts.httpVersion} ${viaName}`))
      pushOwn(out, facts, route, who, accessToken, scheme)
      return out
    },
    trailers(raw, facts, route) {
      const passes = trailerRule(facts, route)
      const out: string[] = []
      for (let i = 0; i + 1 < raw.length; i += 2) {
        const name = latin1(raw[i])
        if (passes(name)) out.push(name, latin1(raw[i + 1]))
      }
      return out
    },
    forProxy(facts, route, who, accessToken, scheme = 'Bearer') {
      const out: string[] = []
      if (rules[route.index]?.sendsId === true) out.push('X-Request-Id', facts.requestId)
      pushOwn(out, facts, route, who, accessToken, scheme)
      const { authorization } = facts.headers
      const setsAuthorization = rules[route.index]?.setsAuthorization === true
      if (authorization !== undefined && !setsAuthorization && passesAuthorization(facts, route, who))
        out.push('Authorization', who?.bearer === true ? asBearer(authorization) : authorization)
      const cookies = withoutOwnCookies(facts.headers.cookie ?? '', isOwnCookie)
      if (cookies !== '') out.push('Cookie', cookies)
      return out
    },
    missingFrom(forProxy) {
      const present = new Set(forProxy.filter((_value, i) => i % 2 === 0).map((name) => name.toLowerCase()))
      return [...exact, 'cookie'].filter((name) => !present.has(name))
    },
    deception({ headers, rawHeaders, method, path, origin }) {
      const byMethod = table.dependsOnMethod(hostOf(origin), method, path)
      const names = rawHeaders.filter((_value, i) => i % 2 === 0)
      const spoofed = names.find((name) => {
        const treatment = treatmentOf(name)
        return treatment === 'override' ? byMethod : treatment === 'misspelled'
      })
      if (spoofed !== undefined) return `the application could take ${spoofed} for another header`
      return hidesOwnCookie(headers.cookie ?? '', isOwnCookie) ? 'a comma hides a cookie of the gateway' : null
    },
  }
}

/** Returns a client's verified Authorization with the scheme `Bearer`. The gateway has checked the proof of `DPoP`. */
function asBearer(authorization: string): string {
  return authorization.replace(/^DPoP(?= )/i, 'Bearer')
}

/** Allocates no array, because this runs for every request. */
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

/**
 * Returns whether a cookie of the gateway follows a comma. Envoy joins several Cookie fields with commas, so the
 * gateway's cookie would reach the application in the value of another cookie.
 */
function hidesOwnCookie(cookies: string, isOwnCookie: (name: string) => boolean): boolean {
  const [, ...afterCommas] = cookies.split(',')
  return afterCommas.some((text) => isOwnCookie(text.split(/[=;]/, 1).join('').trim()))
}

/** Trims spaces and tabs. `trim` would also remove the byte A0, with which many UTF-8 sequences end. */
function withoutBlanks(text: string, from: number, to: number): string {
  let [start, end] = [from, to]
  while (start < end && isBlank(text.charCodeAt(start))) start += 1
  while (end > start && isBlank(text.charCodeAt(end - 1))) end -= 1
  return text.slice(start, end)
}

function isBlank(code: number): boolean {
  return code === 0x20 || code === 0x09
}

/** Appends an item to a list in a header's value. */
function append(list: string, item: string): string {
  return list === '' ? item : `${list}, ${item}`
}

/**
 * Returns whether the client's own Authorization goes to the application. On a route with `bearer`, only Basic
 * credentials pass without a session, because applications also accept tokens in other schemes.
 */
export function passesAuthorization(
  facts: Pick<Facts, 'headers' | 'rawHeaders'>,
  { authorization, bearer }: Pick<Route, 'authorization' | 'bearer'>,
  who: Who | null,
): boolean {
  if (who !== null) return (who.bearer === true && bearer?.token !== 'exchange') || authorization === 'client'
  return bearer === null || isBasicAlone(facts)
}

/** Sets Host, replaces the forwarded headers, and appends to those of a trusted proxy. */
function pushForwarded(out: string[], { client, headers, origin }: Facts, route: CompiledRoute): void {
  const host = hostOf(origin)
  const { address: before, proto, name } = client.trusted ? forwardedIn(headers) : NOT_FORWARDED
  out.push('Host', upstreamHostOf(route, host))
  // A peer on a Unix socket has no address.
  const chain = before === '' || client.peer === '' ? before + client.peer : `${before}, ${client.peer}`
  if (chain !== '') out.push('X-Forwarded-For', chain)
  out.push('X-Forwarded-Proto', proto === '' ? client.scheme : proto, 'X-Forwarded-Host', name === '' ? host : name)
}

const NOT_FORWARDED = { address: '', proto: '', name: '' }

function forwardedIn(headers: Facts['headers']): typeof NOT_FORWARDED {
  return {
    address: String(headers['x-forwarded-for'] ?? ''),
    proto: String(headers['x-forwarded-proto'] ?? ''),
    name: String(headers['x-forwarded-host'] ?? ''),
  }
}

function pushFilled(
  out: string[],
  headers: readonly SetHeader[],
  route: CompiledRoute,
  who: Who | null,
  values: Values,
): void {
  for (const { name, template } of headers) {
    const value = fillTemplate(template, who?.claims ?? {}, route.headers.encoding, values)
    if (value !== null) out.push(name, value)
  }
}

function perUserHeaders(rules: RouteRules, route: CompiledRoute, who: Who | null): readonly string[] {
  const known = who === null ? undefined : rules.filled.get(who.claims)
  if (known !== undefined) return known
  const filled: string[] = []
  pushFilled(filled, rules.perUser, route, who, { provider: who?.provider ?? null })
  if (who !== null) rules.filled.set(who.claims, filled)
  return filled
}

/** Returns the values of placeholders for a request. `accessToken` is the token that `token.header` carries. */
export function placeholderValues(
  facts: Facts,
  route: CompiledRoute,
  who: Who | null,
  accessToken: string | null,
  assertion: string | null,
): Values {
  return new PlaceholderValues(facts, route, who, accessToken, assertion)
}

/** Computes only the values that a template uses. */
class PlaceholderValues implements Values {
  readonly #facts: Facts
  readonly #route: CompiledRoute
  readonly #who: Who | null
  readonly #accessToken: string | null
  readonly 'assertion': string | null

  'constructor'(
    facts: Facts,
    route: CompiledRoute,
    who: Who | null,
    accessToken: string | null,
    assertion: string | null,
  ) {
    this.#facts = facts
    this.#route = route
    this.#who = who
    this.#accessToken = accessToken
    this.assertion = assertion
  }

  get 'provider'(): string | null {
    return this.#who?.provider ?? null
  }

  get 'session.id'(): string | null {
    return this.#who?.id ?? null
  }

  get 'request.id'(): string {
    return this.#facts.requestId
  }

  get 'idToken'(): string | null {
    return this.#who?.idToken ?? null
  }

  get 'accessToken'(): string | null {
    // With `id-token`, `token.header` carries no access token.
    return (this.#route.token.grant === 'id-token' ? null : this.#accessToken) ?? this.#ownToken()
  }

  #ownToken(): string | null {
    const { bearer } = this.#route
    const presented = this.#who?.bearer === true && bearer !== null ? presentedToken(this.#facts, bearer) : null
    return this.#who?.tokens?.accessToken ?? presented?.token ?? null
  }
}
