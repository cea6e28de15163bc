import { percentEncodeBytes } from '../bytes.ts'
import { causes } from '../errors.ts'
import { verifyProof, readClientProof, type ClientProof, type DpopError } from '../oidc/dpop-proof.ts'
import type { Claims } from '../oidc/token-set.ts'
import { createNonces } from './dpop-nonces.ts'
import type { UsedProofs } from './used-proofs.ts'
import type { Facts } from './verdict.ts'

/** Checks that clients hold the keys to which their access tokens are bound. */
export interface ClientProofs {
  /** Returns the nonce that clients must put into their proofs. */
  nonce(now: number): string
  /** Returns the proof of a request with this token if its claims and its nonce fit. Does not verify the signature. */
  read(facts: Facts, token: string, now: number): ClientProof | DpopError
  /**
   * Returns `null` if the proof is signed with the key of the token, and has not been used before. Rejects with
   * `store_unavailable` if the store has been unavailable for longer than `outageGrace`.
   */
  verify(proof: ClientProof, tokenClaims: Claims, now: number): Promise<DpopError | null>
}

export function createClientProofs(sessionKeys: readonly Buffer[], used: UsedProofs): ClientProofs {
  const nonces = createNonces(sessionKeys)

  return {
    nonce: (now) => nonces.current(now),
    read({ headers, method, origin, path }, accessToken, now) {
      const request = { method, url: origin + percentEncodeBytes(path), accessToken }
      const proof = readClientProof(headers['dpop'], request, now)
      if (typeof proof === 'string') return { error: 'invalid_dpop_proof', why: proof }
      if (nonces.has(proof.nonce, now)) return proof
      const why = proof.nonce === undefined ? 'the proof has no nonce' : 'the nonce of the proof is too old or unknown'
      return { error: 'use_dpop_nonce', why }
    },
    async verify(proof, tokenClaims, now) {
      const wanted = confirmationThumbprint(tokenClaims)
      if (wanted === null) return { error: 'invalid_token', why: 'it is not bound to a key by cnf.jkt alone' }
      try {
        if (!(await verifyProof(proof, wanted, now)))
          return { error: 'invalid_token', why: 'it is bound to a different key than that of the proof' }
      } catch (error) {
        return { error: 'invalid_dpop_proof', why: `the proof is not valid: ${causes(error)}` }
      }
      if (await used.markUsed(JSON.stringify([wanted, proof.jti]), now)) return null
      return { error: 'invalid_dpop_proof', why: 'the proof was used before' }
    },
  }
}

/**
 * Returns the thumbprint of the key to which a token is bound. Returns `null` for an unbound token, and for a token that
 * is bound in another way too, such as to a certificate.
 * @see https://www.rfc-editor.org/rfc/rfc9449#section-6
 */
export function confirmationThumbprint({ cnf }: Claims): string | null {
  if (typeof cnf !== 'object' || cnf === null || !('jkt' in cnf) || Object.keys(cnf).length !== 1) return null
  return typeof cnf.jkt === 'string' ? cnf.jkt : null
}
