import { createRemoteJWKSet, customFetch, errors, jwtVerify, type JWTPayload, type JWTVerifyOptions } from 'jose'
import type { CustomFetch } from 'openid-client'

const ALGORITHMS = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519']

/** How often, at most, a key that nobody knows makes the gateway ask for the key set again, ms. */
const UNKNOWN_KEY_PAUSE = 10_000

/** The provider's signing keys. */
export interface SigningKeys {
  /**
   * Verifies a JWT's signature and the given claims (RFC 7519). A key that is not known is looked for at the provider at
   * once, then at most every 10 s. Rejects with jose's errors, or with the network's when the keys can't be had.
   */
  verify(jwt: string, checks: JWTVerifyOptions, now?: number): Promise<JWTPayload>
}

/** The keys behind `jwksUri`, fetched when they are needed first. */
export function createSigningKeys(jwksUri: string, fetch: CustomFetch, timeout: number): SigningKeys {
  const keySet = createRemoteJWKSet(new URL(jwksUri), {
    [customFetch]: (url, options) => fetch(url, { ...options, body: undefined, headers: Object.fromEntries(options.headers) }),
    timeoutDuration: timeout,
    // jose would count its pause from any fetch, also the first; ours counts from the last search for an unknown key.
    cooldownDuration: Number.MAX_SAFE_INTEGER,
  })
  let searchedAt = Number.NEGATIVE_INFINITY

  return {
    async verify(jwt, checks, now = Date.now()) {
      const options = { ...checks, algorithms: ALGORITHMS }
      try {
        return (await jwtVerify(jwt, keySet, options)).payload
      } catch (error) {
        const worthAnother = error instanceof errors.JWKSNoMatchingKey || error instanceof errors.JWSSignatureVerificationFailed
        if (!worthAnother || now - searchedAt < UNKNOWN_KEY_PAUSE) throw error
        searchedAt = now
        await keySet.reload()
        return (await jwtVerify(jwt, keySet, options)).payload
      }
    },
  }
}
