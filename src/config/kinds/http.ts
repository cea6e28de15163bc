import { type Kind, quote } from '../kind.ts'
import { text } from './scalar.ts'

const token = /^[A-Za-z0-9!#$%&'*+.^_`|~-]+$/

/** A header's name (RFC 9110 section 5.1). */
export const headerName = text({ name: 'header name', pattern: token, expected: 'a header name such as X-User' })

/** A cookie's name (RFC 6265 section 4.1.1). */
export const cookieName = text({
  name: 'cookie name',
  pattern: token,
  expected: 'a cookie name of letters, digits, _ and -',
})

/** A cookie's domain, kept in lower case and without the leading dot that RFC 6265 section 5.2.3 drops. */
export const cookieDomain = text({
  name: 'domain',
  pattern: /^\.?([A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?\.)+[A-Za-z]([A-Za-z0-9-]*[A-Za-z0-9])?$/,
  expected: 'a domain such as example.com',
  normalize: (domain) => domain.replace(/^\./, '').toLowerCase(),
})

/** The Host that a route is for, with or without a port. */
export const host = text({
  name: 'host',
  pattern: /^([A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?$/,
  expected: 'a host such as orders.example.com, without scheme or path',
  normalize: (name) => name.toLowerCase(),
})

/** A host name or address without a port, kept in lower case. */
export const hostName = text({
  name: 'host name',
  pattern: /^([A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?|\[[0-9A-Fa-f:.]+\])$/,
  expected: 'a host name such as gatehouse-admin.shop.svc, without port or path',
  normalize: (name) => name.toLowerCase(),
})

/** A secret that can be sent in `Authorization: Bearer` (RFC 6750 section 2.1). */
export const bearerSecret = text({
  name: 'text',
  pattern: /^[A-Za-z0-9\-._~+/]+=*$/,
  expected: 'letters, digits and -._~+/, as `gatehouse keygen` prints them',
  secret: true,
})

const refusedMethods = new Set(['TRACE', 'TRACK', 'CONNECT'])

/** A request method, kept in upper case; the ones that are never served are refused. */
export const method: Kind<string> = {
  name: 'method',
  json: { type: 'string', pattern: '^[A-Za-z-]+$' },
  parse(written, { refuse }) {
    if (typeof written !== 'string' || !/^[A-Za-z-]+$/.test(written)) {
      return refuse(`must be a method such as GET, not ${quote(written)}`)
    }
    const upper = written.toUpperCase()
    return refusedMethods.has(upper) ? refuse(`must be another method: ${upper} is never served`) : upper
  },
  format: (value) => value,
}

/** Wraps a list of methods so that HEAD comes with GET (RFC 9110 section 9.3.2), each once. */
export function withHead(methods: Kind<string[]>): Kind<string[]> {
  return {
    ...methods,
    parse(written, input) {
      const given = methods.parse(written, input)
      return given && [...new Set(given.flatMap((name) => (name === 'GET' ? ['GET', 'HEAD'] : [name])))]
    },
  }
}

/** A header's value: fixed text, or text with `{claims.NAME}` and `{claims.a.b}` in it. */
export const headerTemplate: Kind<string> = {
  name: 'text with {claims.NAME}',
  json: { type: 'string' },
  parse(written, { refuse }) {
    if (typeof written !== 'string') return refuse(`must be text, not ${quote(written)}`, 'put the value in quotes')
    // oxlint-disable-next-line no-control-regex -- a line break would start another header (RFC 9110 section 5.5)
    const control = /[\u0000-\u0008\u000a-\u001f\u007f]/
    if (control.test(written)) return refuse('must not hold line breaks or control characters')
    const rest = written.replace(/\{claims\.[^{}]+\}/g, '')
    const wrong = /\{[^}]*\}?/.exec(rest)?.[0]
    if (wrong !== undefined) {
      // Longer text in braces is no template but perhaps a credential in JSON.
      const shown = /^\{[\w.-]{0,40}\}?$/.test(wrong) ? wrong : '{…}'
      return refuse(`must not hold ${quote(shown)}`, 'only {claims.NAME} and {claims.a.b} are filled in')
    }
    return written
  },
  format: (value) => value,
}

/** A map of headers whose names differ by more than case. */
export function oncePerName<T>(headers: Kind<Record<string, T>>): Kind<Record<string, T>> {
  return {
    ...headers,
    parse(written, input) {
      const given = headers.parse(written, input)
      const seen = new Set<string>()
      for (const name of Object.keys(given ?? {})) {
        const lower = name.toLowerCase()
        if (seen.has(lower)) return input.refuse('must set a header once: its case does not count', null, [name])
        seen.add(lower)
      }
      return given
    },
  }
}

/** One scope token (RFC 6749 section 3.3). */
export const scope = text({
  name: 'scope',
  pattern: /^[!#-[\]-~]+$/,
  expected: 'one scope without spaces',
})

/** One authentication context class reference; `acr_values` separates them by spaces (OpenID Connect Core 3.1.2.1). */
export const acrValue = text({ name: 'acr value', pattern: /^\S+$/, expected: 'one acr value without spaces' })
