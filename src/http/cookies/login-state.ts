import { createHash, createHmac, randomBytes } from 'node:crypto'
import type { LoginRequest } from '../../oidc/login.ts'
import { deriveKey, firstOf, open, seal } from '../../session/envelope.ts'
import type { Session } from '../../session/session.ts'
import { CLOCK_SKEW_MS } from '../../token/clock.ts'
import { LOGIN_SECONDS } from './cookies.ts'

export interface LoginState {
  /** Unique. The nonce and the code verifier are derived from it. */
  readonly id: string
  /** The name of the provider that the login goes to. Missing with the key `provider`. */
  readonly provider?: string
  /** The fingerprint of the browser's binding secret. */
  readonly browser: string
  /** The origin of the login, and of its redirect URI. */
  readonly origin: string
  /**
   * The return URL: path, query and fragment on that origin, or a URL of another public origin. With `longTarget`, the
   * sealed state has only the start page of that origin.
   */
  readonly target: string
  /** Whether the return URL is in cookies, because it would make `state` too long for some providers and proxies. */
  readonly longTarget?: true
  /** The fingerprint of a rejected return URL, by which a loop of such logins is detected. */
  readonly rejectedTarget?: string
  /** The start of the login, in ms since the epoch. */
  readonly at: number
  /** Whether the login runs in a frame with `prompt=none` and ends with a page that reports the outcome. */
  readonly silent: boolean
  /** Whether the login is silent and keeps the session. It may replace the session's tokens, and nothing else. */
  readonly keep: boolean
  /** Whether the login only shows that the user still has a session at the provider. */
  readonly identityOnly?: true
  /** The mark of the user whose page began a silent login. The login must not log in another user. */
  readonly user: string | null
  /** The browser's session at the start of the login. SameSite may keep the session cookie out of the callback. */
  readonly before: { readonly id: string; readonly endsAt: number; readonly user: string } | null
  /** Whether the login requests a prompt, an acr, a maximum age, a scope or claims. */
  readonly particular: boolean
  /** The `stepUpKey` of the requested step-up. */
  readonly stepUp: string
  /** The number of failed logins in a row before this one. */
  readonly tries: number
  /** Whether the provider refused the last login for a temporary reason. */
  readonly afterRefusal?: true
  /** Whether an ordinary login, not a silent one, asks the provider for `prompt=none`. */
  readonly promptNone?: true
  /** Whether the login has `prompt=login`. */
  readonly reauthenticates?: true
  /** Whether the login asks the user to choose an account. */
  readonly chooseAccount?: true
  /** The `loginParameters` in the login's query. */
  readonly parameters?: Readonly<Record<string, string>>
  readonly acrValues: readonly string[] | null
  /** In seconds. */
  readonly maxAge: number | null
}

/**
 * Returns whether a login may still finish at `now`, in ms. A start in the future shows that the clock was set back.
 */
export function isFresh(state: LoginState, now: number): boolean {
  const age = now - state.at
  return age > -CLOCK_SKEW_MS && age < LOGIN_SECONDS * 1000
}

export function newStateId(): string {
  return randomBytes(16).toString('base64url')
}

export function fingerprint(text: string): string {
  return createHash('sha256').update(text).digest('base64url').slice(0, 22)
}

/** Returns a digest that identifies the user of a session. With several providers, each has its own users. */
export function userMark({ provider, issuer, subject }: Pick<Session, 'provider' | 'issuer' | 'subject'>): string {
  return fingerprint(JSON.stringify([issuer, subject, ...(provider === undefined ? [] : [provider])]))
}

/**
 * Derives the secrets of a login from the secret in the browser's cookie. So a leaked `state` is not enough to redeem a
 * code.
 * @see https://www.rfc-editor.org/rfc/rfc7636#section-4.1
 */
export function loginSecrets(
  secret: string,
  stateId: string,
): Pick<LoginRequest, 'nonce' | 'codeVerifier' | 'dpopSecret'> {
  const derive = (use: string): string => createHmac('sha256', secret).update(`${use} ${stateId}`).digest('base64url')
  return { nonce: derive('nonce'), codeVerifier: derive('code verifier'), dpopSecret: derive('DPoP key') }
}

export interface SealedState<T> {
  seal(state: T): string
  /** Returns `null` for a text that was not sealed by this gateway for this purpose. */
  open(sealed: string): T | null
}

/** Creates a seal for states. It seals with the first session key and opens with any of them. */
export function createSealedState<T>(rawKeys: readonly Buffer[], purpose: string): SealedState<T> {
  const keys = rawKeys.map((raw) => deriveKey(raw, purpose))
  return {
    seal: (state) => seal(firstOf(keys), purpose, JSON.stringify(state)).toString('base64url'),
    open(sealed) {
      const bytes = Buffer.from(sealed, 'base64url')
      if (bytes.toString('base64url') !== sealed) return null
      const text = keys.reduce<string | null>((found, key) => found ?? open(key, purpose, bytes), null)
      // Needs no validation: only a state that this gateway sealed opens.
      const state: T | null = text === null ? null : JSON.parse(text)
      return state
    },
  }
}
