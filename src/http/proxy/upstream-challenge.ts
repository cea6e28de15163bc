import type { StepUp } from '../../gate/verdict.ts'

/** What an upstream's 401 asks for (RFC 6750, section 3; RFC 9470; Entra's claims challenge). */
export type UpstreamChallenge =
  /** The access token is not valid any more. */
  | { readonly type: 'invalid-token' }
  /** It is, but not enough. */
  | { readonly type: 'step-up'; readonly stepUp: StepUp }

/** Reads the WWW-Authenticate values of a 401 or 403; `null` for anything that a login would not change. */
export function readUpstreamChallenge(status: number, values: readonly string[]): UpstreamChallenge | null {
  if (status !== 401 && status !== 403) return null
  for (const value of values) {
    const parameters = bearerParameters(value)
    if (parameters === null) continue
    const error = parameters.get('error')
    const scope = parameters.get('scope')
    const claims = parameters.get('claims')
    if (error === 'invalid_token' && status === 401) return { type: 'invalid-token' }
    if (error === 'insufficient_scope' && scope !== undefined)
      return { type: 'step-up', stepUp: { acrValues: null, maxAge: null, scope } }
    if (error === 'insufficient_user_authentication') {
      const acr =
        parameters
          .get('acr_values')
          ?.split(' ')
          .filter((value) => value !== '') ?? []
      const maxAge = Number(parameters.get('max_age') ?? Number.NaN)
      return {
        type: 'step-up',
        stepUp: {
          acrValues: acr.length === 0 ? null : acr,
          maxAge: Number.isInteger(maxAge) && maxAge >= 0 ? maxAge : null,
        },
      }
    }
    const wanted = error === 'insufficient_claims' && claims !== undefined ? readClaims(claims) : null
    if (wanted !== null) return { type: 'step-up', stepUp: { acrValues: null, maxAge: null, claims: wanted } }
  }
  return null
}

/**
 * Entra writes the `claims` parameter in base64; in a request it is plain JSON. `null` for what is no object in either.
 */
function readClaims(value: string): string | null {
  for (const text of [Buffer.from(value, 'base64').toString('utf8'), value]) {
    try {
      const claims: unknown = JSON.parse(text)
      if (typeof claims === 'object' && claims !== null && !Array.isArray(claims)) return text
    } catch {
      // Perhaps in the other way.
    }
  }
  return null
}

/** Begins at the beginning of a name: else a long run of letters would be read anew from each of them. */
const PARAMETER = /(?<![\w-])([\w-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))/g

/** The auth-params of a Bearer challenge (RFC 9110, section 11.6.1), or `null` when there is none in the value. */
function bearerParameters(value: string): Map<string, string> | null {
  const [, rest] = /(?:^|,\s*)Bearer\s+(.*)$/is.exec(value) ?? []
  if (rest === undefined) return null
  const parameters = new Map<string, string>()
  for (const [, name = '', quoted, plain] of rest.matchAll(PARAMETER)) {
    parameters.set(name.toLowerCase(), quoted?.replace(/\\(.)/g, '$1') ?? plain ?? '')
  }
  return parameters
}
