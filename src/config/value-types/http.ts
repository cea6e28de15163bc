import { quote, type ValueType } from '../value-type.ts'
import { suggest } from '../suggest.ts'
import { text } from './scalar.ts'

/** @see https://www.rfc-editor.org/rfc/rfc9110#section-5.6.2 */
const TOKEN = /^[A-Za-z0-9!#$%&'*+.^_`|~-]+$/

/** @see https://www.rfc-editor.org/rfc/rfc9110#section-5.1 */
export const headerName = text({ name: 'header name', pattern: TOKEN, expected: 'a header name such as X-User' })

/** @see https://www.rfc-editor.org/rfc/rfc6265#section-4.1.1 */
export const cookieName = text({
  name: 'cookie name',
  pattern: TOKEN,
  expected: 'a cookie name of letters, digits, _ and -',
})

/**
 * A cookie's domain, stored in lower case and without a leading dot, which browsers ignore.
 * @see https://www.rfc-editor.org/rfc/rfc6265#section-5.2.3
 */
export const cookieDomain = text({
  name: 'domain',
  pattern: /^\.?([A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?\.)+[A-Za-z]([A-Za-z0-9-]*[A-Za-z0-9])?$/,
  expected: 'a domain such as example.com',
  normalize: (domain) => domain.replace(/^\./, '').toLowerCase(),
})

const HOST = /^([A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?$/

/** The Host that a route matches, with or without a port. */
export const host = text({
  name: 'host',
  pattern: HOST,
  expected: 'a host such as orders.example.com, without scheme or path',
  normalize: (name) => name.toLowerCase(),
})

const UPSTREAM_HOST_WORDS = ['preserve', 'upstream']

const wordOrHost = text({
  name: '`preserve`, `upstream` or host',
  pattern: HOST,
  expected: 'preserve, upstream, or a host such as app.internal or app.internal:8080, without scheme or path',
})

/** The Host that an application receives: a word, or a host that is stored as written. */
export const upstreamHost: ValueType<string> = {
  ...wordOrHost,
  parse(written, context) {
    const value = wordOrHost.parse(written, context)
    const near = value === undefined ? null : suggest(value, UPSTREAM_HOST_WORDS)
    if (near === null || value?.toLowerCase() === near) return near ?? value
    context.warn(`${value} is sent as the Host`, `did you mean ${near}?`)
    return value
  },
}

/** A host name or address without a port, stored in lower case. */
export const hostName = text({
  name: 'host name',
  pattern: /^([A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?|\[[0-9A-Fa-f:.]+\])$/,
  expected: 'a host name such as gatehouse-admin.shop.svc, without port or path',
  normalize: (name) => name.toLowerCase(),
})

/**
 * A secret that clients send in `Authorization: Bearer`.
 * @see https://www.rfc-editor.org/rfc/rfc6750#section-2.1
 */
export const bearerSecret = text({
  name: 'text',
  pattern: /^[A-Za-z0-9\-._~+/]+=*$/,
  expected: 'letters, digits and -._~+/, as `gatehouse keygen` prints them',
  secret: true,
})

const REFUSED_METHODS = new Set(['TRACE', 'TRACK', 'CONNECT'])

/** A request method, stored in upper case. Methods that the gateway never serves are refused. */
export const method: ValueType<string> = {
  name: 'method',
  json: { type: 'string', pattern: '^[A-Za-z-]+$' },
  parse(written, { refuse }) {
    if (typeof written !== 'string' || !/^[A-Za-z-]+$/.test(written)) {
      return refuse(`must be a method such as GET, not ${quote(written)}`)
    }
    const upper = written.toUpperCase()
    return REFUSED_METHODS.has(upper) ? refuse(`must be another method: ${upper} is never served`) : upper
  },
  format: (value) => value,
}

/**
 * Extends a list of methods: adds HEAD to GET, and removes duplicates.
 * @see https://www.rfc-editor.org/rfc/rfc9110#section-9.3.2
 */
export function withHead(methods: ValueType<string[]>): ValueType<string[]> {
  return {
    ...methods,
    parse(written, context) {
      const given = methods.parse(written, context)
      return given && [...new Set(given.flatMap((name) => (name === 'GET' ? ['GET', 'HEAD'] : [name])))]
    },
  }
}

/** The placeholders of a header's value, other than those of claims. */
export const PLACEHOLDERS = ['provider', 'session.id', 'request.id', 'idToken', 'accessToken', 'assertion'] as const

export type Placeholder = (typeof PLACEHOLDERS)[number]

/** A placeholder. The group is its name. */
export const PLACEHOLDER = /\{(claims\.[^{}]+|sub|provider|session\.id|request\.id|idToken|accessToken|assertion)\}/

/** Returns the names of the placeholders in a header's value. */
export function placeholdersIn(template: string): string[] {
  return template.split(PLACEHOLDER).filter((_part, index) => index % 2 === 1)
}

/** Returns whether a header's value is not fixed. */
export function hasPlaceholder(template: string): boolean {
  return PLACEHOLDER.test(template)
}

/** Returns whether a header's value depends on the user. */
export function isAboutUser(template: string): boolean {
  return placeholdersIn(template).some((name) => name !== 'request.id')
}

/** A value that is a token, alone or with its scheme, and is therefore sent without any encoding. */
export const TOKEN_ALONE = /^(?:Bearer )?\{(?:idToken|accessToken|assertion)\}$/

/** A header's value: text that may contain placeholders. */
export const headerTemplate: ValueType<string> = {
  name: 'text with placeholders',
  json: { type: 'string' },
  parse(written, { refuse }) {
    if (typeof written !== 'string') return refuse(`must be text, not ${quote(written)}`, 'put the value in quotes')
    // oxlint-disable-next-line no-control-regex -- a line break would start another header
    const control = /[\u0000-\u0008\u000a-\u001f\u007f]/
    if (control.test(written)) return refuse('must not contain line breaks or control characters')
    const rest = written.split(PLACEHOLDER).filter((_part, index) => index % 2 === 0)
    const wrong = /\{[^}]*\}?/.exec(rest.join(''))?.[0]
    if (wrong !== undefined) {
      // Quotes only what looks like a placeholder. Any other text in braces may be JSON with a credential.
      const shown = /^\{[\w.-]{0,40}\}?$/.test(wrong) ? wrong : '{…}'
      const near = suggest(wrong.replace(/[{}]/g, ''), PLACEHOLDERS)
      const known = ['claims.NAME', 'sub', ...PLACEHOLDERS].map((name) => `{${name}}`).join(', ')
      const instead = near === null ? `only ${known} are filled in` : `did you mean {${near}}?`
      return refuse(`must not contain ${quote(shown)}`, instead)
    }
    const token = placeholdersIn(written).find((name) => name === 'idToken' || name === 'accessToken')
    if (token === undefined || TOKEN_ALONE.test(written)) return written
    return refuse(
      `must not have other text than "Bearer " around {${token}}`,
      `write "{${token}}" or "Bearer {${token}}"`,
    )
  },
  format: (value) => value,
}

/** Extends a map of headers to refuse names that differ only in case. */
export function oncePerName<T>(headers: ValueType<Record<string, T>>): ValueType<Record<string, T>> {
  return {
    ...headers,
    parse(written, context) {
      const given = headers.parse(written, context)
      const seen = new Set<string>()
      for (const name of Object.keys(given ?? {})) {
        const lower = name.toLowerCase()
        if (seen.has(lower))
          return context.refuse('sets the same header twice: header names are case-insensitive', null, [name])
        seen.add(lower)
      }
      return given
    },
  }
}

/** @see https://www.rfc-editor.org/rfc/rfc6749#section-3.3 */
export const scope = text({
  name: 'scope',
  pattern: /^[!#-[\]-~]+$/,
  expected: 'one scope without spaces',
})

/** The name of a query parameter. */
export const parameterName = text({
  name: 'parameter name',
  pattern: /^[\w.~-]+$/,
  expected: 'the name of a query parameter such as ui_locales',
})

/**
 * One authentication context class reference. `acr_values` separates several with spaces, and `WWW-Authenticate` carries
 * them in quotes.
 * @see https://openid.net/specs/openid-connect-core-1_0.html#AuthRequest
 * @see https://www.rfc-editor.org/rfc/rfc9470#section-3
 */
export const acrValue = text({
  name: 'acr value',
  pattern: /^[!#-[\]-~]+$/,
  expected: 'one acr value of printable ASCII, without spaces, quotes and backslashes',
})
