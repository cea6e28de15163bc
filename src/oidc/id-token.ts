import { decodeProtectedHeader, type JWTPayload } from 'jose'
import type { IDToken } from 'openid-client'
import { numberFrom } from '../config/numbers.ts'
import { quote } from '../errors.ts'
import { issuerOf } from './issuer.ts'
import { idTokenAlgorithms } from './metadata.ts'
import type { Discovered, Provider } from './provider.ts'
import { decodeClaims } from './token-set.ts'

export interface Identity {
  readonly idToken: string
  readonly idTokenClaims: IDToken
}

/** Returns an ID token from a token response, decrypted if it is encrypted. */
export async function decryptedIdToken(received: unknown, { decrypt }: Discovered): Promise<string> {
  if (typeof received !== 'string') throw new Error('the ID token is not a string')
  return decrypt(received)
}

/**
 * Reads an ID token and checks everything except its signature, its times and its `nonce`. Throws an error that names
 * the member, its value and the expected value.
 * @see https://openid.net/specs/openid-connect-core-1_0.html#IDTokenValidation
 */
export function readIdToken(idToken: string, { settings }: Provider, { configuration }: Discovered): Identity {
  const server = configuration.serverMetadata()
  const { alg = 'none' } = decodeProtectedHeader(idToken)
  const allowed = idTokenAlgorithms(server)
  if (!allowed.includes(alg)) throw new Error(`the ID token is signed with ${alg}, not with ${allowed.join(' or ')}`)
  const claims = withNumericAuthTime(decodeClaims(idToken))
  const issuer = issuerOf(server.issuer, claims)
  if (claims.iss !== issuer) throw unexpected('iss', claims.iss, issuer)
  requireAudience(claims, settings.clientId, settings.tolerate.includes('no-azp'))
  if (!isComplete(claims)) throw new Error('the ID token has no sub, exp or iat, or one of the wrong type')
  return { idToken, idTokenClaims: claims }
}

/**
 * Throws if an ID token's `nonce` is not that of the login request. Accepts a missing `nonce` if `isOptional`.
 * @see https://openid.net/specs/openid-connect-core-1_0.html#NonceNotes
 */
export function requireNonce({ nonce }: IDToken, expected: string, isOptional: boolean): void {
  if (nonce === expected || (nonce === undefined && isOptional)) return
  throw new Error(
    nonce === undefined
      ? 'the ID token has no nonce, expected that of the login request: if the provider never returns the nonce, set ' +
          'provider.tolerate: [missing-nonce]'
      : 'the ID token has another nonce than the login request',
  )
}

function requireAudience({ aud, azp }: JWTPayload, clientId: string, isAzpOptional: boolean): void {
  const audience = [aud ?? []].flat()
  if (!audience.includes(clientId)) throw unexpected('aud', aud, clientId)
  if (audience.length === 1 || azp === clientId || (azp === undefined && isAzpOptional)) return
  const error = unexpected('azp', azp, clientId)
  if (azp === undefined)
    error.message += `, because aud is ${quote(aud)}: if the provider never sends azp, set provider.tolerate: [no-azp]`
  throw error
}

function isComplete(claims: JWTPayload): claims is IDToken {
  const { sub, aud, exp, iat } = claims
  const texts: unknown[] = [sub, ...[aud].flat()]
  return texts.every((one) => typeof one === 'string') && typeof exp === 'number' && typeof iat === 'number'
}

/** Some providers send `auth_time` as text. */
function withNumericAuthTime({ auth_time: authTime, ...claims }: JWTPayload): JWTPayload {
  if (authTime === undefined || authTime === null) return claims
  const seconds = numberFrom(authTime)
  if (seconds === null) throw unexpected('auth_time', authTime, 'a number')
  return { ...claims, auth_time: seconds }
}

function unexpected(name: string, got: unknown, expected: string): Error {
  return new Error(
    `the ID token has ${got === undefined ? `no ${name}` : `${name} ${quote(got)}`}, expected ${expected}`,
  )
}
