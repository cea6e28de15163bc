import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type JsonWebKeyInput,
  type KeyObject,
} from 'node:crypto'
import { isMapping } from './key-path.ts'

/** `assert`: signing assertions, for which the algorithms are few. */
export type KeyUse = 'sign' | 'decrypt' | 'assert'

export interface PrivateKey {
  readonly key: KeyObject
  /** The `kid` of a JWK, or `null`. */
  readonly id: string | null
  /** The algorithms of the key: the `alg` of a JWK, or all that fit the key. Empty if the key fits none. */
  readonly algorithms: readonly string[]
}

const RSA_SIGNATURES = ['RS256', 'PS256', 'RS384', 'PS384', 'RS512', 'PS512']
const RSA_ENCRYPTIONS = ['RSA-OAEP', 'RSA-OAEP-256', 'RSA-OAEP-384', 'RSA-OAEP-512']
const ECDH = ['ECDH-ES', 'ECDH-ES+A128KW', 'ECDH-ES+A192KW', 'ECDH-ES+A256KW']
const ECDSA_BY_CURVE: Readonly<Record<string, string>> = {
  prime256v1: 'ES256',
  secp384r1: 'ES384',
  secp521r1: 'ES512',
}

/** @see https://www.rfc-editor.org/rfc/rfc7518#section-3.3 */
const MIN_RSA_BITS = 2048

/**
 * Parses a private key: PEM without a passphrase, or the JSON of a JWK. Throws if the text is neither.
 * @see https://www.rfc-editor.org/rfc/rfc7468#section-10
 * @see https://www.rfc-editor.org/rfc/rfc7517#section-4
 */
export function readPrivateKey(text: string, use: KeyUse): PrivateKey {
  if (!text.trimStart().startsWith('{')) {
    const key = createPrivateKey(text)
    return { key, id: null, algorithms: algorithmsOf(key, use) }
  }
  const jwk: unknown = JSON.parse(text)
  if (!isMapping(jwk)) throw new TypeError('a JWK is a JSON object')
  const input: JsonWebKeyInput = { key: jwk, format: 'jwk' }
  const key = createPrivateKey(input)
  const fitting = algorithmsOf(key, use)
  const { kid, alg } = jwk
  return {
    key,
    id: typeof kid === 'string' && kid !== '' ? kid : null,
    algorithms: typeof alg === 'string' ? fitting.filter((name) => name === alg) : fitting,
  }
}

function algorithmsOf({ asymmetricKeyType: type, asymmetricKeyDetails: details = {} }: KeyObject, use: KeyUse) {
  const ecdsa = ECDSA_BY_CURVE[details.namedCurve ?? '']
  if (use === 'assert') return ecdsa === 'ES256' ? [ecdsa] : type === 'ed25519' ? ['EdDSA', 'Ed25519'] : []
  if (type === 'rsa' && (details.modulusLength ?? 0) >= MIN_RSA_BITS)
    return use === 'sign' ? RSA_SIGNATURES : RSA_ENCRYPTIONS
  if (type === 'ec' && ecdsa !== undefined) return use === 'sign' ? [ecdsa] : ECDH
  if (type === 'ed25519' && use === 'sign') return ['EdDSA', 'Ed25519']
  return type === 'x25519' && use === 'decrypt' ? ECDH : []
}

/** Creates a private key for assertions, as PEM. */
export function newAssertionKey(): string {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  return privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
}

export interface PublicJwk {
  readonly kty: string
  readonly crv: string
  readonly x: string
  readonly y?: string
  /** The `kid` of the private JWK, otherwise the thumbprint: https://www.rfc-editor.org/rfc/rfc7638 */
  readonly kid: string
  readonly use: 'sig'
  readonly alg: 'ES256' | 'EdDSA'
}

/** Returns the public part of a private key for assertions. */
export function publicJwkOf({ key, id }: PrivateKey): PublicJwk {
  const { kty = '', crv = '', x = '', y } = createPublicKey(key).export({ format: 'jwk' })
  // The thumbprint covers these members in this order.
  const members = { crv, kty, x, ...(y === undefined ? {} : { y }) }
  const kid = id ?? createHash('sha256').update(JSON.stringify(members)).digest('base64url')
  return { ...members, kid, use: 'sig', alg: kty === 'EC' ? 'ES256' : 'EdDSA' }
}
