import { createHash, createHmac } from 'node:crypto'
import { percentEncodeBytes } from '../bytes.ts'
import { causes, Fault } from '../errors.ts'
import { hasKey, readClientProof, type ClientProof, type Unproven } from '../oidc/dpop-proof.ts'
import type { Claims } from '../oidc/token-set.ts'
import { withDeadline } from '../resilience/deadline.ts'
import { deriveKey } from '../session/envelope.ts'
import type { Store } from '../store/store.ts'
import type { Facts } from './verdict.ts'

/** Checks that clients hold the keys to which their access tokens are bound. */
export interface ClientProofs {
  /** Returns the nonce that clients must put into their proofs. */
  nonce(now: number): string
  /** Returns the proof of a request with this token if its claims and its nonce fit. Does not verify the signature. */
  read(facts: Facts, token: string, now: number): ClientProof | Unproven
  /**
   * Returns `null` if the proof is signed with the key of the token, and has not been used before. Rejects with
   * `store_unavailable` if the store has been unavailable for longer than `outageGrace`.
   */
  prove(proof: ClientProof, tokenClaims: Claims, now: number): Promise<Unproven | null>
}

export function createClientProofs(rawKeys: readonly Buffer[], used: UsedProofs): ClientProofs {
  const nonces = createNonces(rawKeys)

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
    async prove(proof, tokenClaims, now) {
      const wanted = boundKey(tokenClaims)
      if (wanted === null) return { error: 'invalid_token', why: 'it is not bound to a key by cnf.jkt alone' }
      try {
        if (!(await hasKey(proof, wanted, now)))
          return { error: 'invalid_token', why: 'it is bound to a different key than that of the proof' }
      } catch (error) {
        return { error: 'invalid_dpop_proof', why: `the proof is not valid: ${causes(error)}` }
      }
      if (await used.claim(JSON.stringify([wanted, proof.jti]), now)) return null
      return { error: 'invalid_dpop_proof', why: 'the proof was used before' }
    },
  }
}

/**
 * Returns the thumbprint of the key to which a token is bound. Returns `null` for an unbound token, and for a token that
 * is bound in another way too, such as to a certificate.
 * @see https://www.rfc-editor.org/rfc/rfc9449#section-6
 */
export function boundKey({ cnf }: Claims): string | null {
  if (typeof cnf !== 'object' || cnf === null || !('jkt' in cnf) || Object.keys(cnf).length !== 1) return null
  return typeof cnf.jkt === 'string' ? cnf.jkt : null
}

/** How long a nonce is issued. It is accepted for twice that time. */
const NONCE_MS = 120_000

interface Nonces {
  current(now: number): string
  has(nonce: unknown, now: number): boolean
}

/**
 * Creates the nonces, which are derived from the session keys and the time, so that all replicas issue and accept the
 * same nonces without storing them. The next nonce is accepted too, because the clock of another replica may be ahead.
 * @see https://www.rfc-editor.org/rfc/rfc9449#section-9
 */
function createNonces(rawKeys: readonly Buffer[]): Nonces {
  const keys = rawKeys.map((raw) => deriveKey(raw, 'DPoP nonce'))
  let slot = Number.NaN
  let accepted: readonly string[] = []

  const at = (time: number): string[] =>
    keys.map((key) => createHmac('sha256', key).update(String(time)).digest('base64url').slice(0, 22))

  function update(now: number): void {
    const wanted = Math.floor(now / NONCE_MS)
    if (wanted === slot) return
    slot = wanted
    accepted = [slot, slot - 1, slot + 1].flatMap(at)
  }

  return {
    current(now) {
      update(now)
      return accepted[0] ?? ''
    },
    has(nonce, now) {
      update(now)
      return accepted.some((one) => one === nonce)
    },
  }
}

/** The proofs that were used while their nonces are accepted. */
export interface UsedProofs {
  /**
   * Returns `true` for the first use of a proof. Rejects with `store_unavailable` if the store has been unavailable for
   * longer than `outageGrace`.
   */
  claim(name: string, now: number): Promise<boolean>
}

/** A nonce is accepted in three periods: the one before its own, its own, and the next. */
const REMEMBERED_MS = 3 * NONCE_MS
const MAX_REMEMBERED = 100_000
const CLAIM_TIMEOUT_MS = 700
/** The pause after the store has failed. */
const PAUSE_MS = 500

function unavailable(): never {
  throw new Fault('store_unavailable')
}

/**
 * Creates the memory of used proofs: this process's own, and the store's if replicas share it. While the store is
 * unavailable, this process's own memory decides for `outageGrace`. It keeps at least the last `max` proofs.
 */
export function createUsedProofs(
  store: Pick<Store, 'claimOnce' | 'size' | 'assuredUntil'>,
  settings: { readonly outageGrace: number },
  max = MAX_REMEMBERED,
): UsedProofs {
  const isShared = store.size() === null
  // Each set is dropped as a whole, so that expired entries need no timers.
  let recent = new Set<string>()
  let earlier = new Set<string>()
  let begunAt = 0
  let claimedAt = performance.now()
  let pausedUntil = Number.NEGATIVE_INFINITY

  function isFirst(id: string, now: number): boolean {
    if (Math.abs(now - begunAt) >= REMEMBERED_MS || recent.size >= max)
      [earlier, recent, begunAt] = [recent, new Set(), now]
    if (recent.has(id) || earlier.has(id)) return false
    recent.add(id)
    return true
  }

  async function claimInStore(id: string): Promise<boolean> {
    if (performance.now() < pausedUntil) unavailable()
    try {
      const first = await withDeadline(store.claimOnce(`DPoP ${id}`, REMEMBERED_MS), CLAIM_TIMEOUT_MS, unavailable)
      claimedAt = performance.now()
      return first
    } catch (error) {
      pausedUntil = performance.now() + PAUSE_MS
      throw error
    }
  }

  return {
    async claim(name, now) {
      const id = createHash('sha256').update(name).digest('base64url').slice(0, 22)
      if (!isFirst(id, now)) return false
      if (!isShared) return true
      try {
        return await claimInStore(id)
      } catch (error) {
        if (performance.now() - store.assuredUntil(claimedAt) >= settings.outageGrace) throw error
        return true
      }
    },
  }
}
