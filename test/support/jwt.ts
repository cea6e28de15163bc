import { decodeJwt, type JWTPayload } from 'jose'
import type { ReceivedRequest } from '../../src/demo/upstream.ts'

/**
 * The claims of the access token that a request brought in `Authorization`; throws where there is none that is a JWT.
 */
export const bearerClaims = ({ headers }: Pick<ReceivedRequest, 'headers'>): JWTPayload =>
  decodeJwt((headers.authorization ?? '').replace(/^Bearer /, ''))
