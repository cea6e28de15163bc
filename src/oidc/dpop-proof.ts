import { createHash } from 'node:crypto'
import { EmbeddedJWK, calculateJwkThumbprint, decodeProtectedHeader, jwtVerify, type JWK } from 'jose'
import { quote } from '../errors.ts'
import { decodeClaims, isTooDeep } from './token-set.ts'

/** The algorithms with which clients may sign proofs. None of them is symmetric. */
export const PROOF_ALGORITHMS = [
  'ES256',
  'ES384',
  'ES512',
  'EdDSA',
  'Ed25519',
  'PS256',
  'PS384',
  'PS512',
  'RS256',
  'RS384',
  'RS512',
]

/** How old a proof may be, and how far in the future, for clients whose clocks differ. */
const MAX_SKEW_S = 120
const TYPE = 'dpop+jwt'
const COMPACT = /^[\w-]+\.[\w-]+\.[\w-]+$/
/** Members of a JWK that only a private or symmetric key has: https://www.rfc-editor.org/rfc/rfc7518#section-6 */
const PRIVATE_MEMBERS = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k', 'priv']

interface ProofTarget {
  readonly method: string
  /** The URL that the client used, without query and fragment. */
  readonly url: string
  readonly accessToken: string
}

/** A proof whose claims fit the request. Its signature has not been verified. */
export interface ClientProof {
  readonly jwt: string
  /** The public key that the proof names. */
  readonly jwk: JWK
  readonly jti: string
  readonly nonce: unknown
}

/**
 * Why a proof is not accepted, with the error for the client.
 * @see https://www.rfc-editor.org/rfc/rfc9449#section-7.1
 */
export interface DpopError {
  readonly error: 'invalid_dpop_proof' | 'use_dpop_nonce' | 'invalid_token'
  readonly why: string
}

/**
 * Reads the `DPoP` header of a client's request. Returns the proof if it is for this request, otherwise the reason for
 * the log. Does not check the signature, the nonce or earlier use.
 * @see https://www.rfc-editor.org/rfc/rfc9449#section-4.3
 */
export function readClientProof(header: unknown, request: ProofTarget, now: number): ClientProof | string {
  if (header === undefined) return 'there is no DPoP header'
  // Node.js joins the values of several headers with a comma.
  if (typeof header !== 'string' || !COMPACT.test(header)) return 'the DPoP header is not one JWT'
  const proof = decode(header)
  if (proof === null) return 'the DPoP header is not a JWT'
  const { typ, alg = '', jwk } = proof.header
  if (typ !== TYPE) return `the typ of the proof is ${quote(typ)}, not ${TYPE}`
  if (!PROOF_ALGORITHMS.includes(alg)) return `the proof is signed with ${quote(alg)}`
  if (typeof jwk !== 'object' || jwk === null) return 'the proof has no jwk'
  const secret = PRIVATE_MEMBERS.find((name) => name in jwk)
  if (secret !== undefined) return `the jwk of the proof has the private member ${secret}`
  const { htm, htu, iat, ath, jti, nonce } = proof.claims
  if (htm !== request.method) return `the htm of the proof is ${quote(htm)}, not ${request.method}`
  if (typeof htu !== 'string' || !isSameUrl(htu, request.url))
    return `the htu of the proof is ${quote(htu)}, not ${request.url}`
  if (typeof iat !== 'number' || !(Math.abs(now / 1000 - iat) <= MAX_SKEW_S))
    return `the iat of the proof is ${quote(iat)}, not within ${MAX_SKEW_S} s of now`
  if (ath !== createHash('sha256').update(request.accessToken).digest('base64url'))
    return 'the ath of the proof is not the hash of the token'
  if (typeof jti !== 'string' || jti === '') return 'the proof has no jti'
  return { jwt: header, jwk, jti, nonce }
}

/**
 * Verifies the signature of a proof. Returns `false` if the proof names another key than the one with this thumbprint,
 * whose signature is not verified, because a client may choose a key that takes long. Rejects if the signature or the key
 * is invalid.
 */
export async function verifyProof({ jwt, jwk }: ClientProof, thumbprint: string, now: number): Promise<boolean> {
  if ((await calculateJwkThumbprint(jwk)) !== thumbprint) return false
  await jwtVerify(jwt, EmbeddedJWK, { typ: TYPE, algorithms: PROOF_ALGORITHMS, currentDate: new Date(now) })
  return true
}

function decode(jwt: string) {
  try {
    const header = decodeProtectedHeader(jwt)
    return isTooDeep(header) ? null : { header, claims: decodeClaims(jwt) }
  } catch {
    return null
  }
}

const UNRESERVED = /[\w.~-]/

/**
 * Returns whether two URLs are equal without query and fragment, normalized by syntax and scheme.
 * @see https://www.rfc-editor.org/rfc/rfc3986#section-6.2.2
 */
function isSameUrl(one: string, other: string): boolean {
  return URL.canParse(one) && URL.canParse(other) && normalized(one) === normalized(other)
}

function normalized(url: string): string {
  const { origin, pathname } = new URL(url)
  const path = pathname.replace(/%[0-9a-f]{2}/gi, (encoded) => {
    const character = String.fromCharCode(Number.parseInt(encoded.slice(1), 16))
    return UNRESERVED.test(character) ? character : encoded.toUpperCase()
  })
  return origin + path
}
