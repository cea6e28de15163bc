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

/** Private keys, the one to sign with first for each algorithm. */
export type SigningKeys = readonly JWK[]

/** A fresh RSA and a fresh P-256 key, named by their thumbprints (RFC 7638). */
export const generateSigningKeys = async (): Promise<SigningKeys> =>
  Promise.all(
    ['RS256', 'ES256'].map(async (alg) => {
      const { privateKey } = await generateKeyPair(alg, { extractable: true })
      const jwk = await exportJWK(privateKey)
      return { ...jwk, alg, use: 'sig', kid: await calculateJwkThumbprint(jwk) }
    }),
  )

/** A JWT of exactly these claims by the first key of the header's algorithm (RS256 where it names none). */
export const signJwt = async (
  keys: SigningKeys,
  claims: JWTPayload,
  header: Partial<JWTHeaderParameters> = {},
): Promise<string> => {
  const alg = header.alg ?? 'RS256'
  const key = keys.find((candidate) => candidate.alg === alg)
  if (key === undefined) throw new TypeError(`no signing key for ${alg}: say RS256 or ES256`)
  const kid = key.kid === undefined ? {} : { kid: key.kid }
  return new SignJWT(claims).setProtectedHeader({ ...kid, ...header, alg }).sign(await importJWK(key, alg))
}
