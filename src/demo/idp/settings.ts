/** A user who can sign in. `claims` belong to the scope `profile`, like the name and the groups. */
export interface User {
  readonly sub: string
  readonly name: string
  readonly email: string
  readonly groups: readonly string[]
  readonly claims?: Readonly<Record<string, unknown>>
}

export const DEMO_USERS: readonly User[] = [
  { sub: 'alice', name: 'Alice Archer', email: 'alice@example.com', groups: ['staff', 'admin'] },
  { sub: 'bob', name: 'Bob Baker', email: 'bob@example.com', groups: ['staff'] },
  { sub: 'carol', name: 'Carol Cook', email: 'carol@example.com', groups: [] },
  { sub: 'zoe', name: 'Zoë', email: 'zoe@example.com', groups: ['staff'] },
]

/** Lifetimes in seconds. */
export interface Lifetimes {
  accessToken: number
  idToken: number
  refreshToken: number
  session: number
}

/** Settings that a test may change while the provider runs; they apply to the next token or login. */
export interface IdpSettings {
  lifetimes: Lifetimes
  /** Whether a refresh replaces the refresh token. Reuse of an old refresh token then revokes the grant. */
  rotateRefreshTokens: boolean
  /** Changes successful responses of the token endpoint, for example by removing `expires_in`. */
  reshapeTokenResponse: ((body: Record<string, unknown>) => Record<string, unknown>) | null
  /**
   * APIs for which any refresh token yields an access token, one API per request
   * (https://www.rfc-editor.org/rfc/rfc8707#section-2.2).
   */
  resources: readonly string[]
  /** Returns the error for an exchange, such as Entra's `interaction_required`; `null` to issue the token. */
  refuseExchange: ((audience: string) => Readonly<Record<string, unknown>> | null) | null
  /** Whether to ignore `acr_values` and `max_age`, like a provider without step-up. */
  ignoreStepUp: boolean
}

export const DEFAULT_LIFETIMES: Lifetimes = { accessToken: 300, idToken: 300, refreshToken: 86_400, session: 86_400 }
