import { createHash, createHmac, randomBytes, type KeyObject } from 'node:crypto'
import { deriveKey, open, seal } from '../../session/envelope.ts'
import { CLOCK_SKEW_MS } from '../../token/clock.ts'
import { LOGIN_SECONDS } from './cookies.ts'

/** What a login carries to the provider and back, sealed in `state`. */
export interface LoginState {
  /** Unique; also what makes the nonce and the code verifier this login's own. */
  readonly id: string
  /** Fingerprint of the browser's binding secret. */
  readonly browser: string
  readonly origin: string
  /** Path, query and fragment on that origin. */
  readonly target: string
  /** Fingerprint of the target that was asked for, where that is not it; a login that goes round in circles asks for the same each time. */
  readonly asked?: string
  /** ms since the epoch. */
  readonly at: number
  /** With `prompt=none`, in a frame: it ends in a page that reports the outcome. */
  readonly silent: boolean
  /** A silent login that leaves the session the one that it is, and at most renews its tokens. */
  readonly keep: boolean
  /** The mark of the user whose page began a silent login: it must not become another user's. */
  readonly user: string | null
  /** The session that this browser had: not every callback comes with its cookie (SameSite). */
  readonly before: { readonly id: string; readonly endsAt: number; readonly user: string } | null
  /** It asks for more than that somebody is signed in: a prompt, an acr, an age, a scope. */
  readonly particular: boolean
  /** The step-up that it asks for, as `stepUpMark` names it. */
  readonly stepUp: string
  /** How many logins in a row have come to nothing before this one. */
  readonly tries: number
  /** The one before was refused by the provider, in words that promised more of this one. */
  readonly afterRefusal?: true
  /** It asks for `prompt=none` though it is not in a frame. */
  readonly promptNone?: true
  readonly acrValues: readonly string[] | null
  /** Seconds. */
  readonly maxAge: number | null
}

/** Whether a login may still be finished at `now` (ms). One that is to begin later was begun before the clock was set. */
export function isFresh(state: LoginState, now: number): boolean {
  const age = now - state.at
  return age > -CLOCK_SKEW_MS && age < LOGIN_SECONDS * 1000
}

/** A fresh state id, 128 random bits. */
export function newStateId(): string {
  return randomBytes(16).toString('base64url')
}

/** What a state may know of a secret or of a user: enough to recognize it, no more. */
export function fingerprint(text: string): string {
  return createHash('sha256').update(text).digest('base64url').slice(0, 22)
}

/** A user as a state knows them. */
export function userMark({ issuer, subject }: { readonly issuer: string; readonly subject: string }): string {
  return fingerprint(JSON.stringify([issuer, subject]))
}

/**
 * The nonce and the PKCE code verifier (RFC 7636, section 4.1) of one login. They follow from the secret that only this
 * browser's cookie holds, so the state alone, wherever it is seen, redeems nothing.
 */
export function loginSecrets(secret: string, stateId: string): { nonce: string; codeVerifier: string } {
  const derive = (use: string): string => createHmac('sha256', secret).update(`${use} ${stateId}`).digest('base64url')
  return { nonce: derive('nonce'), codeVerifier: derive('code verifier') }
}

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
