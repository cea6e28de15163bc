/** The parameters for the return URL of a login: the gateway's own, and those of oauth2-proxy and OpenID Connect. */
export const TARGET_NAMES = ['redirect', 'rd', 'target_link_uri'] as const

/** The parameters that a login keeps when it continues elsewhere. */
export const PASSED_ON = ['provider', 'prompt', 'login_hint', 'acr_values', 'max_age', 'scope', 'claims'] as const

/**
 * The parameters of a login that restarts automatically: the number of tries, and whether the provider refused the last
 * login.
 */
export const TRIES = 'tries'
export const AFTER_REFUSAL = 'refused'

/**
 * Marks a login that asks the user to choose an account, because a logout has not ended the session at the provider.
 */
export const CHOOSE_ACCOUNT = 'choose_account'

/** Marks the second request of a login, whose return URL includes the fragment. */
export const FRAGMENT_KEPT = 'fragment'

/** Marks a login that was redirected to the login host. */
export const MOVED = 'moved'

/** All query parameters that the login endpoint reads itself. */
export const LOGIN_QUERY: readonly string[] = [
  ...TARGET_NAMES,
  ...PASSED_ON,
  'iss',
  TRIES,
  AFTER_REFUSAL,
  CHOOSE_ACCOUNT,
  FRAGMENT_KEPT,
  MOVED,
]
