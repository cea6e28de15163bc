import {
  createECDH,
  createHash,
  createPrivateKey,
  hkdfSync,
  randomBytes,
  randomUUID,
  sign,
  type KeyObject,
} from 'node:crypto'
import { calculateJwkThumbprint, importJWK, type CryptoKey, type JWK } from 'jose'
import {
  ResponseBodyError,
  getDPoPHandle,
  modifyAssertion,
  type Configuration,
  type CustomFetchOptions,
  type DPoPOptions,
} from 'openid-client'

/** A private P-256 key, as the members of its JWK. It is stored in the sealed session and must not leave the gateway. */
export interface DpopKey {
  readonly x: string
  readonly y: string
  readonly d: string
}

/** The order of P-256: https://csrc.nist.gov/pubs/sp/800/186/final */
const ORDER = BigInt('0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551')

/**
 * Derives a key from a secret, so that a login has its key before and after the redirect without storing it. The 64 extra
 * bits make every key about equally likely.
 * @see https://nvlpubs.nist.gov/nistpubs/FIPS/NIST.FIPS.186-5.pdf
 */
export function deriveDpopKey(secret: string): DpopKey {
  const bits = Buffer.from(hkdfSync('sha256', secret, '', 'gatehouse DPoP key', 40)).toString('hex')
  const scalar = (BigInt(`0x${bits}`) % (ORDER - 1n)) + 1n
  const d = Buffer.from(scalar.toString(16).padStart(64, '0'), 'hex')
  const curve = createECDH('prime256v1')
  curve.setPrivateKey(d)
  const point = curve.getPublicKey()
  return {
    x: point.subarray(1, 33).toString('base64url'),
    y: point.subarray(33).toString('base64url'),
    d: d.toString('base64url'),
  }
}

/** Returns the value of `dpop_jkt`: https://www.rfc-editor.org/rfc/rfc9449#section-10 */
export async function thumbprintOf(key: DpopKey): Promise<string> {
  return calculateJwkThumbprint(publicJwk(key))
}

function publicJwk({ x, y }: DpopKey): JWK & { kty: string } {
  return { kty: 'EC', crv: 'P-256', x, y }
}

interface Signer {
  readonly header: string
  readonly privateKey: KeyObject
}

const signers = new WeakMap<DpopKey, Signer>()

function signerOf(key: DpopKey): Signer {
  const known = signers.get(key)
  if (known !== undefined) return known
  const header = encode({ typ: 'dpop+jwt', alg: 'ES256', jwk: publicJwk(key) })
  const privateKey = createPrivateKey({ key: { ...publicJwk(key), d: key.d }, format: 'jwk' })
  const signer = { header, privateKey }
  signers.set(key, signer)
  return signer
}

function encode(value: object): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url')
}

interface ProofFor {
  readonly method: string
  /** Without query and fragment. */
  readonly url: string
  /** The access token that the request carries, or `null`. */
  readonly accessToken: string | null
  readonly nonce: string | undefined
}

/**
 * Creates the value of a `DPoP` header for one request, with one signature. Synchronous, so that a request to an upstream
 * waits for no promise.
 * @see https://www.rfc-editor.org/rfc/rfc9449#section-4.2
 */
export function createProof(key: DpopKey, { method, url, accessToken, nonce }: ProofFor): string {
  const { header, privateKey } = signerOf(key)
  const claims = {
    jti: randomUUID(),
    htm: method,
    htu: url,
    iat: Math.floor(Date.now() / 1000),
    ath: accessToken === null ? undefined : createHash('sha256').update(accessToken).digest('base64url'),
    nonce,
  }
  const input = `${header}.${encode(claims)}`
  const signature = sign('sha256', Buffer.from(input), { key: privateKey, dsaEncoding: 'ieee-p1363' })
  return `${input}.${signature.toString('base64url')}`
}

/** The proofs for requests to the provider. */
export interface ProviderProofs {
  /** The key of tokens that belong to the gateway's client, not to a session. */
  readonly clientKey: () => DpopKey
  /** Returns the option with which openid-client proves possession of `key`, or no option without a key. */
  optionsFor(configuration: Configuration, key: DpopKey | null): Promise<DPoPOptions>
  /** Keeps the nonce that a response of the provider asks for. */
  noteNonce(url: string, response: Response): void
  /**
   * Makes a call that revokes a token, with a proof in its request. openid-client sends none, but Keycloak requires one.
   */
  revoking(token: string, key: DpopKey | null, call: () => Promise<void>): Promise<void>
  /** Adds the proof to the request of a call that `revoking` makes. Returns the options of other requests unchanged. */
  withProof(url: string, options: CustomFetchOptions): CustomFetchOptions
}

export function createProviderProofs(): ProviderProofs {
  // openid-client keeps a nonce for each key. Without the latest nonce of the origin, the first request with each new key
  // would take a second round trip.
  const nonces = new Map<string, string>()
  const revocations = new Map<string, DpopKey>()
  let clientKey: DpopKey | null = null

  return {
    clientKey: () => (clientKey ??= deriveDpopKey(randomBytes(32).toString('base64url'))),
    async optionsFor(configuration, key) {
      if (key === null) return {}
      const [privateKey, publicKey] = await Promise.all([
        importKey({ ...publicJwk(key), d: key.d }),
        importKey(publicJwk(key)),
      ])
      const handle = getDPoPHandle(
        configuration,
        { privateKey, publicKey },
        {
          [modifyAssertion]: (_header, claims) => {
            const { htu } = claims
            claims['nonce'] ??= typeof htu === 'string' ? nonces.get(new URL(htu).origin) : undefined
          },
        },
      )
      return { DPoP: handle }
    },
    noteNonce(url, response) {
      const nonce = response.headers.get('dpop-nonce')
      if (nonce !== null) nonces.set(new URL(url).origin, nonce)
    },
    async revoking(token, key, call) {
      if (key === null) return call()
      revocations.set(token, key)
      try {
        await call().catch((error: unknown) => {
          if (!(error instanceof ResponseBodyError) || error.error !== 'use_dpop_nonce') throw error
          return call()
        })
      } finally {
        revocations.delete(token)
      }
    },
    withProof(url, options) {
      if (revocations.size === 0 || !(options.body instanceof URLSearchParams)) return options
      const key = revocations.get(options.body.get('token') ?? '')
      if (key === undefined) return options
      const { origin, pathname } = new URL(url)
      const dpop = createProof(key, {
        method: options.method,
        url: origin + pathname,
        accessToken: null,
        nonce: nonces.get(origin),
      })
      return { ...options, headers: { ...options.headers, dpop } }
    },
  }
}

async function importKey(jwk: JWK): Promise<CryptoKey> {
  const key = await importJWK(jwk, 'ES256', { extractable: jwk.d === undefined })
  if (key instanceof Uint8Array) throw new TypeError('not an asymmetric key')
  return key
}
