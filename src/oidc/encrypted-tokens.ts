import { compactDecrypt, decodeProtectedHeader, errors } from 'jose'
import { readPrivateKey } from '../config/private-key.ts'
import { isSignedJwt } from './token-set.ts'

/**
 * Returns a token as it is, unless it is encrypted: then returns the signed JWT inside. Rejects if no key decrypts the
 * token, or if there is no signed JWT in it. Does not verify the signature.
 * @see https://www.rfc-editor.org/rfc/rfc7519#section-5.2
 */
export type TokenDecryption = (token: string) => Promise<string>

/** A compact JWE. @see https://www.rfc-editor.org/rfc/rfc7516#section-7.1 */
const JWE = /^[\w-]+(?:\.[\w-]*){4}$/

/** Creates a decryption with these private keys, each PEM or JWK. */
export function createTokenDecryption(texts: readonly string[]): TokenDecryption {
  const keys = texts.map((text) => readPrivateKey(text, 'decrypt'))

  return async (token) => {
    if (!JWE.test(token)) return token
    const { kid, alg = '' } = decodeProtectedHeader(token)
    if (keys.length === 0)
      throw new Error(`the token is encrypted (${alg}): set provider.idTokenKeys to the private key that decrypts it`)
    const fitting = keys.filter(({ algorithms }) => algorithms.includes(alg))
    const named = fitting.filter(({ id }) => id !== null && id === kid)
    for (const { key } of named.length > 0 ? named : fitting) {
      try {
        const jws = new TextDecoder().decode((await compactDecrypt(token, key)).plaintext)
        if (isSignedJwt(jws)) return jws
      } catch (error) {
        if (error instanceof errors.JWEDecryptionFailed || error instanceof errors.JWEInvalid) continue
        throw error
      }
      throw new Error('the encrypted token contains no signed JWT')
    }
    throw new Error(
      `no key of provider.idTokenKeys decrypts the token (${alg}${kid === undefined ? '' : `, kid ${kid}`})`,
    )
  }
}
