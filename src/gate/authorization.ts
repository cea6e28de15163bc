import type { AuthScheme, CompiledRoute, Facts } from './verdict.ts'

type BearerRoute = NonNullable<CompiledRoute['bearer']>

export interface PresentedToken {
  readonly scheme: AuthScheme
  readonly token: string
}

/**
 * Returns the token in the client's own Authorization, or `null`. The scheme `DPoP` counts on routes that accept proofs.
 * @see https://www.rfc-editor.org/rfc/rfc6750#section-2.1
 * @see https://www.rfc-editor.org/rfc/rfc9449#section-7.1
 */
export function presentedToken(
  { headers }: Pick<Facts, 'headers'>,
  { dpop }: Pick<BearerRoute, 'dpop'>,
): PresentedToken | null {
  const [, scheme = '', token = null] =
    /^(Bearer|DPoP) +([A-Za-z0-9\-._~+/]+=*) *$/i.exec(headers.authorization ?? '') ?? []
  if (token === null) return null
  if (scheme.toLowerCase() === 'bearer') return { scheme: 'Bearer', token }
  return dpop === 'off' ? null : { scheme: 'DPoP', token }
}

/**
 * Returns whether any Authorization header begins with `Bearer`, or with `DPoP` where proofs are accepted, well-formed or
 * not. An application with a more lenient parser than `presentedToken` would accept an unverified token from such a header.
 */
export function carriesToken(
  facts: Pick<Facts, 'headers' | 'rawHeaders'>,
  { dpop }: Pick<BearerRoute, 'dpop'>,
): boolean {
  const begins = dpop === 'off' ? /^\W*bearer/i : /^\W*(?:bearer|dpop)/i
  return authorizationFields(facts).some((value) => begins.test(value))
}

/** Returns whether there is a single Authorization header with Basic credentials, which cannot contain a JWT. */
export function isBasicAlone(facts: Pick<Facts, 'headers' | 'rawHeaders'>): boolean {
  const [only = '', ...others] = authorizationFields(facts)
  return others.length === 0 && /^Basic +[\w+/-]+=*$/i.test(only)
}

function authorizationFields({ headers, rawHeaders }: Pick<Facts, 'headers' | 'rawHeaders'>): string[] {
  if (headers.authorization === undefined) return []
  return rawHeaders.filter((_, i) => i % 2 === 1 && rawHeaders[i - 1]?.toLowerCase() === 'authorization')
}
