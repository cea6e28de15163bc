/** What a new login must request because the current login is not sufficient. */
export interface StepUp {
  readonly acrValues: readonly string[] | null
  /** In seconds. */
  readonly maxAge: number | null
  /** Scopes to request in addition to the configured ones, space-separated. */
  readonly scope?: string
  /**
   * The `claims` parameter, as JSON.
   * @see https://openid.net/specs/openid-connect-core-1_0.html#ClaimsParameter
   */
  readonly claims?: string
}

export type TokenDenial =
  /** Only another login helps. `clearCookie`: the session has ended for every route, not only for this route. */
  | { readonly reason: 'session-expired'; readonly clearCookie: boolean }
  /** The provider refuses a token for this route, and another request would not help. */
  | { readonly reason: 'token-refused' }
  /** `retryAfter`: seconds until another attempt makes sense. */
  | { readonly reason: 'token-unavailable'; readonly retryAfter: number }
  /** The provider would issue a token after a login with this step-up. */
  | { readonly reason: 'step-up'; readonly stepUp: StepUp }

export interface Denied {
  readonly ok: false
  readonly denial: TokenDenial
}
