/** What is kept of a user, a provider's session or a logout is kept by its name; a longer one is none, characters. */
const MAX_LENGTH = 1_000

/**
 * Whether a claim can be the name of one user, one session of the provider's or one logout: `sub`, `sid`, `jti`. An
 * empty one would be the same for all.
 */
export function isName(value: unknown): value is string {
  return typeof value === 'string' && value !== '' && value.length <= MAX_LENGTH
}
