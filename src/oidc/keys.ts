import { createRemoteJWKSet, customFetch, errors, jwtVerify, type JWTPayload, type JWTVerifyOptions } from 'jose'
import type { CustomFetch } from 'openid-client'

const ALGORITHMS = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519']

/** How often, at most, a key that nobody knows makes the gateway ask for the key set again, ms. */
const UNKNOWN_KEY_PAUSE = 10_000

/** The provider can't give its keys just now. */
export class KeysUnavailable extends Error {}

/** The provider's signing keys. */
export interface SigningKeys {
  /**
   * Verifies a JWT's signature and the given claims (RFC 7519). A key that is not known is looked for at the provider
   * at once, then at most every 10 s. Rejects with jose's errors, or with the network's when the keys can't be had.
   */
  verify(jwt: string, checks: JWTVerifyOptions, now?: number): Promise<JWTPayload>
}

/** The keys behind `jwksUri`, fetched when they are needed first. */
export function createSigningKeys(jwksUri: string, fetch: CustomFetch, timeout: number): SigningKeys {
  const keySet = createRemoteJWKSet(new URL(jwksUri), {
    async [customFetch](url, options) {
      const answer = await fetch(url, { ...options, body: undefined, headers: Object.fromEntries(options.headers) })
      if (answer.status >= 500 || answer.status === 429)
        throw new KeysUnavailable(`the key set’s address answers ${answer.status}`)
      return answer
    },
    timeoutDuration: timeout,
    // jose would count its pause from any fetch, also the first; ours counts from the last search for an unknown key.
    cooldownDuration: Number.MAX_SAFE_INTEGER,
  })
  let searchedAt = Number.NEGATIVE_INFINITY
  let search: Promise<void> | null = null
  let searches = 0

  /** Whether the keys are others now than before search number `after`: who meets a search under way waits for it. */
  async function searched(after: number, now: number): Promise<boolean> {
    if (search === null && searches === after && now - searchedAt >= UNKNOWN_KEY_PAUSE) {
      searchedAt = now
      search = keySet.reload().finally(() => {
        searches += 1
        search = null
      })
    }
    await search
    return searches > after
  }

  return {
    async verify(jwt, checks, now = Date.now()) {
      const options = { ...checks, algorithms: ALGORITHMS }
      const before = searches
      try {
        return (await jwtVerify(jwt, keySet, options)).payload
      } catch (error) {
        const worthAnother =
          error instanceof errors.JWKSNoMatchingKey || error instanceof errors.JWSSignatureVerificationFailed
        if (!worthAnother || !(await searched(before, now))) throw error
        return (await jwtVerify(jwt, keySet, options)).payload
      }
    },
  }
}
