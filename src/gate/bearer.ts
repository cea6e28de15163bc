import type { Facts } from './verdict.ts'

/** The token that a client brings itself in `Authorization: Bearer` (RFC 6750, section 2.1), or `null`. */
export function bearerToken({ headers }: Pick<Facts, 'headers'>): string | null {
  const [, token = null] = /^Bearer +([A-Za-z0-9\-._~+/]+=*) *$/i.exec(headers.authorization ?? '') ?? []
  return token
}

/**
 * Whether any Authorization begins with `Bearer`, well-formed or not: an application may read more leniently than
 * `bearerToken` does, and find a token in it that was not verified.
 */
export function beginsAsBearer(facts: Pick<Facts, 'headers' | 'rawHeaders'>): boolean {
  return authorizationFields(facts).some((value) => /^\W*bearer/i.test(value))
}

/** Whether the only Authorization has Basic credentials (RFC 7617), which can't hold a JWT. */
export function isBasicAlone(facts: Pick<Facts, 'headers' | 'rawHeaders'>): boolean {
  const [only = '', ...others] = authorizationFields(facts)
  return others.length === 0 && /^Basic +[\w+/-]+=*$/i.test(only)
}

function authorizationFields({ headers, rawHeaders }: Pick<Facts, 'headers' | 'rawHeaders'>): string[] {
  if (headers.authorization === undefined) return []
  return rawHeaders.filter((_, i) => i % 2 === 1 && rawHeaders[i - 1]?.toLowerCase() === 'authorization')
}
