import { createHmac } from 'node:crypto'
import { deriveKey } from '../session/envelope.ts'

/** How long a nonce is issued. It is accepted for twice that time. */
export const NONCE_MS = 120_000

export interface Nonces {
  current(now: number): string
  has(nonce: unknown, now: number): boolean
}

/**
 * Creates the nonces, which are derived from the session keys and the time, so that all replicas issue and accept the
 * same nonces without storing them. The next nonce is accepted too, because the clock of another replica may be ahead.
 * @see https://www.rfc-editor.org/rfc/rfc9449#section-9
 */
export function createNonces(sessionKeys: readonly Buffer[]): Nonces {
  const keys = sessionKeys.map((raw) => deriveKey(raw, 'DPoP nonce'))
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
