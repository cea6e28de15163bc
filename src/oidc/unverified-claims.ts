import { decodeJwt } from 'jose'
import type { Claims } from './token-set.ts'

/** What a token says where it is a JWT, without looking at its signature: for hints, never for decisions. */
export function unverifiedClaims(token: string): Claims {
  try {
    return decodeJwt(token)
  } catch {
    return {}
  }
}
