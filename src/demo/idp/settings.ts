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
}

/** Five minutes for tokens, a day for what renews them. */
export const usualLifetimes: Lifetimes = { accessToken: 300, idToken: 300, refreshToken: 86_400, session: 86_400 }
