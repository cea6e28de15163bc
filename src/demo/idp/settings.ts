/** How long what the provider issues lives, in seconds. */
export type Lifetimes = {
  accessToken: number
  idToken: number
  refreshToken: number
  session: number
}

/** What can be changed while the provider runs; it counts from the next token or login on. */
export type IdpSettings = {
  lifetimes: Lifetimes
  /** A refresh consumes its refresh token and brings another; one that comes a second time revokes the whole grant. */
  rotateRefreshTokens: boolean
  /** Changes a successful answer of the token endpoint on its way out, e.g. leaves `expires_in` away. */
  reshapeTokenResponse: ((body: Record<string, unknown>) => Record<string, unknown>) | null
  /** APIs that any refresh token can be redeemed for, one at a time (RFC 8707, section 2.2). */
  resources: readonly string[]
  /**
   * The answer in place of an exchanged token for an audience, e.g. Entra's `interaction_required`; `null` to give it.
   */
  refuseExchange: ((audience: string) => Readonly<Record<string, unknown>> | null) | null
  /** Gives what was asked for whatever `acr_values` and `max_age` say: a provider that does not do step-up. */
  ignoreStepUp: boolean
}

/** Five minutes for tokens, a day for what renews them. */
export const usualLifetimes: Lifetimes = { accessToken: 300, idToken: 300, refreshToken: 86_400, session: 86_400 }
