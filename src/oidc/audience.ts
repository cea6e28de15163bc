import { decodeJwt } from 'jose'

/**
 * What the `aud` of a JWT access token (RFC 9068, section 2.2) names where it names none of `wanted`; `null` where it
 * names one, where nothing is wanted, and where the token tells nothing. The signature is left to its receiver.
 */
export function missingAudience(accessToken: string, wanted: readonly (string | null)[]): readonly string[] | null {
  const named = wanted.filter((one) => one !== null)
  if (named.length === 0) return null
  try {
    const { aud = [] } = decodeJwt(accessToken)
    const audiences = [aud].flat()
    return audiences.some((one) => named.includes(one)) ? null : audiences
  } catch {
    return null
  }
}
