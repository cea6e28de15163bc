import { createHash } from 'node:crypto'
import { EmbeddedJWK, calculateJwkThumbprint, jwtVerify } from 'jose'

type ProvenRequest = {
  readonly method?: string | undefined
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
}

type Expected = {
  /** The URL of the request, without query. */
  readonly htu: string
  /** The nonce that the proof must have, or `null` if any or none is accepted. */
  readonly nonce?: string | null
}

export type Proof = {
  /** The thumbprint of the key. */
  readonly jkt: string
  /** The access token in `Authorization: DPoP`, or `null`. */
  readonly token: string | null
  readonly nonce: unknown
}

const MAX_AGE_S = 5

/**
 * Creates a server's check of DPoP proofs, which accepts each `jti` once. Rejects with the reason.
 * @see https://www.rfc-editor.org/rfc/rfc9449#section-4.3
 */
export const createProofCheck = (): ((request: ProvenRequest, expected: Expected) => Promise<Proof>) => {
  const seen = new Set<string>()
  return async ({ method, headers }, { htu, nonce = null }) => {
    const proof = headers['dpop']
    if (typeof proof !== 'string' || proof.includes(',')) throw new Error('not exactly one proof')
    const { payload, protectedHeader } = await jwtVerify(proof, EmbeddedJWK, { typ: 'dpop+jwt', algorithms: ['ES256'] })
    const { jwk = {} } = protectedHeader
    if ('d' in jwk) throw new Error('the proof has the private key')
    const { jti, iat = 0, htm, ath } = payload
    if (typeof jti !== 'string' || jti.length < 16) throw new Error('no jti')
    if (seen.has(jti)) throw new Error('the proof was used before')
    seen.add(jti)
    if (Math.abs(Date.now() / 1000 - iat) > MAX_AGE_S) throw new Error(`iat is ${iat}`)
    if (htm !== method) throw new Error(`htm is ${String(htm)}`)
    if (payload['htu'] !== htu) throw new Error(`htu is ${String(payload['htu'])}, not ${htu}`)
    const [, token = null] = /^DPoP (\S+)$/.exec(String(headers['authorization'] ?? '')) ?? []
    const hash = token === null ? undefined : createHash('sha256').update(token).digest('base64url')
    if (ath !== hash) throw new Error(`ath is ${String(ath)}`)
    if (nonce !== null && payload['nonce'] !== nonce) throw new NonceError()
    return { jkt: await calculateJwkThumbprint(jwk), token, nonce: payload['nonce'] }
  }
}

export class NonceError extends Error {}
