/** What a new login has to ask the provider for when the present one is not enough. */
export interface StepUp {
  readonly acrValues: readonly string[] | null
  /** Seconds. */
  readonly maxAge: number | null
  /** Scopes to ask for beside the configured ones, space-separated. */
  readonly scope?: string
  /**
   * The `claims` parameter, as JSON.
   * @see https://openid.net/specs/openid-connect-core-1_0.html#ClaimsParameter
   */
  readonly claims?: string
}

/** Why no access token can go upstream. The denials of the gate include these. */
export type TokenDenial =
  /** Only another login helps. `clearCookie`: the session is over for every route, and not for this one alone. */
  | { readonly reason: 'session-expired'; readonly clearCookie: boolean }
  /** The provider gives no token for this route, and asking it again would not help. */
  | { readonly reason: 'token-refused' }
  /** `retryAfter`: seconds until another attempt makes sense. */
  | { readonly reason: 'token-unavailable'; readonly retryAfter: number }
  /** The provider would give a token after a login that asks for more. */
  | { readonly reason: 'step-up'; readonly stepUp: StepUp }

/** The result of a request for a token that brought none. */
export interface Denied {
  readonly ok: false
  readonly denial: TokenDenial
}
