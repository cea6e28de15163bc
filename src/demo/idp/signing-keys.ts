import {
  SignJWT,
  calculateJwkThumbprint,
  exportJWK,
  generateKeyPair,
  importJWK,
  type JWK,
  type JWTHeaderParameters,
  type JWTPayload,
} from 'jose'

/** Private keys; the first key of each algorithm signs. */
export type SigningKeys = readonly JWK[]

/** Generates an RSA and a P-256 key. Their key IDs are thumbprints (https://www.rfc-editor.org/rfc/rfc7638). */
export async function generateSigningKeys(): Promise<SigningKeys> {
  return Promise.all(
    ['RS256', 'ES256'].map(async (alg) => {
      const { privateKey } = await generateKeyPair(alg, { extractable: true })
      const jwk = await exportJWK(privateKey)
      return { ...jwk, alg, use: 'sig', kid: await calculateJwkThumbprint(jwk) }
    }),
  )
}

/** Signs exactly these claims with the first key for the algorithm of the header, by default RS256. */
export async function signJwt(
  keys: SigningKeys,
  claims: JWTPayload,
  header: Partial<JWTHeaderParameters> = {},
): Promise<string> {
  const alg = header.alg ?? 'RS256'
  const key = keys.find((candidate) => candidate.alg === alg)
  if (key === undefined) throw new TypeError(`no signing key for ${alg}: use RS256 or ES256`)
  const kid = key.kid === undefined ? {} : { kid: key.kid }
  return new SignJWT(claims).setProtectedHeader({ ...kid, ...header, alg }).sign(await importJWK(key, alg))
}
