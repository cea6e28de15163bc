import type { KeyObject } from 'node:crypto'
import { deriveKey, open, seal } from '../session/envelope.ts'

/** Seals what travels through the browser and other sites in a `state` parameter (RFC 6749, section 10.12). */
export interface SealedState<T> {
  seal(state: T): string
  /** `null` for anything that this gateway has not sealed for this purpose. */
  open(sealed: string): T | null
}

/** Sealed with the first of the session keys, opened with any of them. */
export function createSealedState<T>(rawKeys: readonly Buffer[], purpose: string): SealedState<T> {
  const keys = rawKeys.map((raw) => deriveKey(raw, purpose))
  return {
    seal: (state) => seal(firstOf(keys), purpose, JSON.stringify(state)).toString('base64url'),
    open(sealed) {
      const bytes = Buffer.from(sealed, 'base64url')
      if (bytes.toString('base64url') !== sealed) return null
      const text = keys.reduce<string | null>((found, key) => found ?? open(key, purpose, bytes), null)
      // What opens was sealed here, so it has the type that was sealed.
      const state: T | null = text === null ? null : JSON.parse(text)
      return state
    },
  }
}

function firstOf(keys: readonly KeyObject[]): KeyObject {
  const [first] = keys
  if (first === undefined) throw new Error('there is no session key')
  return first
}
