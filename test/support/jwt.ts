import { decodeJwt, type JWTPayload } from 'jose'
import type { ReceivedRequest } from '../../src/demo/upstream.ts'

/**
 * Returns the claims of the access token in a request's `Authorization`; throws if it is not a JWT.
 */
export const bearerClaims = ({ headers }: Pick<ReceivedRequest, 'headers'>): JWTPayload =>
  decodeJwt((headers.authorization ?? '').replace(/^Bearer /, ''))
