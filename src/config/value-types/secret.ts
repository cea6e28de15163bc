import { createPrivateKey, createPublicKey, sign, verify, X509Certificate } from 'node:crypto'
import { createSecureContext } from 'node:tls'
import { isMapping } from '../key-path.ts'
import { type KeyUse, type PrivateKey, readPrivateKey } from '../private-key.ts'
import { type ConfigFile, quote, type ValueType } from '../value-type.ts'
import { list } from './collection.ts'

/**
 * A 32-byte key in base64 or base64url.
 * @see https://www.rfc-editor.org/rfc/rfc4648#section-4
 */
export const sessionKey: ValueType<Buffer> = {
  name: 'key',
  json: { type: 'string', pattern: '^[A-Za-z0-9+/_-]{43}=?$' },
  parse(written, { refuse }) {
    const instead = 'generate one with: gatehouse keygen'
    if (typeof written !== 'string' || !/^[A-Za-z0-9+/_-]*={0,2}$/.test(written)) {
      return refuse('must be 32 bytes in base64', instead)
    }
    const key = Buffer.from(written, 'base64')
    if (key.length !== 32) return refuse(`must be 32 bytes in base64, not ${key.length}`, instead)
    return key
  },
  format: (value) => value.toString('base64'),
}

const ABILITIES: Readonly<Record<KeyUse, string>> = { sign: 'sign', decrypt: 'decrypt', assert: 'sign assertions' }

const KEYS: Readonly<Record<KeyUse, string>> = {
  sign: 'RSA of at least 2048 bits, EC (P-256, P-384, P-521) or Ed25519',
  decrypt: 'RSA of at least 2048 bits, EC (P-256, P-384, P-521) or X25519',
  assert: 'EC P-256 (ES256) or Ed25519 (EdDSA)',
}

/** A private key as text: PEM without a passphrase, or a JWK. Its `alg` must fit the use. */
export function privateKey(use: KeyUse): ValueType<string> {
  return {
    name: 'PEM or JWK',
    json: { type: 'string', minLength: 1 },
    parse(written, { refuse }) {
      const found = privateKeyIn(written, use)
      if (found === null) {
        return refuse(
          'must be a private key in PEM without a passphrase, or the JSON of a private JWK',
          'use ${file:/run/secrets/key.pem}',
        )
      }
      return found.algorithms.length > 0
        ? String(written)
        : refuse(
            `has a key that cannot ${ABILITIES[use]}, or a JWK whose alg does not fit`,
            `use a key of ${KEYS[use]}`,
          )
    },
    format: (value) => value,
  }
}

function privateKeyIn(written: unknown, use: KeyUse): PrivateKey | null {
  try {
    return typeof written === 'string' ? readPrivateKey(written, use) : null
  } catch {
    // The message of `parse` is more useful to an operator than the library's.
    return null
  }
}

/** A list of private keys. An environment variable holds one key, because PEM has line breaks and a JWK has commas. */
export function privateKeys(use: KeyUse): ValueType<string[]> {
  return oneInVariable(list(privateKey(use), { single: true }))
}

function oneInVariable({ shape: _shape, ...keys }: ValueType<string[]>): ValueType<string[]> {
  return keys
}

const assertionKeyText = privateKey('assert')

/** A private key for assertions: PEM, or a JWK as a map or as JSON. */
const assertionKey: ValueType<string> = {
  ...assertionKeyText,
  json: { anyOf: [assertionKeyText.json, { type: 'object' }] },
  parse(written, context) {
    const text = assertionKeyText.parse(isMapping(written) ? JSON.stringify(written) : written, context)
    if (text === undefined || isConsistent(readPrivateKey(text, 'assert'))) return text
    return context.refuse('is a JWK whose x and y do not belong to d', 'export the key again')
  },
}

/** Returns whether a key verifies its own signatures. Node.js does not compare the members of a JWK. */
function isConsistent({ key }: PrivateKey): boolean {
  const hash = key.asymmetricKeyType === 'ec' ? 'sha256' : null
  const data = Buffer.from('gatehouse')
  return verify(hash, data, createPublicKey(key), sign(hash, data, key))
}

/** The private keys for assertions. An environment variable holds one key. */
export const assertionKeys = oneInVariable(list(assertionKey, { single: true, singleMap: true }))

/** A certificate as PEM text. */
export const certificate: ValueType<string> = {
  name: 'PEM',
  json: { type: 'string', minLength: 1 },
  parse(written, { refuse }) {
    return typeof written === 'string' && contains('certificate', Buffer.from(written))
      ? written
      : refuse('must be a certificate in PEM', 'use ${file:/run/secrets/certificate.pem}')
  },
  format: (value) => value,
}

function contains(what: 'certificate' | 'private key', content: Buffer): boolean {
  try {
    if (what === 'private key') createPrivateKey(content)
    else if (new X509Certificate(content).raw.length === 0) return false
    return true
  } catch {
    return false
  }
}

/** Returns whether a private key is that of a certificate; both are PEM. */
export function belongTogether(certificate: Buffer, key: Buffer): boolean {
  try {
    createSecureContext({ cert: certificate, key })
    return true
  } catch {
    return false
  }
}

/** The label of an encrypted key in PKCS #8, and the header of the older formats of OpenSSL. */
const ENCRYPTED_KEY = /^-----BEGIN ENCRYPTED PRIVATE KEY-----|^Proc-Type: 4,ENCRYPTED/m

/** The path of a PEM file, which is read and must contain a certificate or a private key. */
export function file(what: 'certificate' | 'private key'): ValueType<ConfigFile> {
  return {
    name: 'file',
    json: { type: 'string', minLength: 1 },
    parse(written, { refuse, read }) {
      if (typeof written !== 'string' || written === '') {
        return refuse(`must be the path of a file, not ${quote(written)}`)
      }
      const found = read(written)
      if (typeof found === 'string') return refuse(`cannot be read: ${found}`, 'give the path of a readable PEM file')
      if (what === 'private key' && ENCRYPTED_KEY.test(found.content.toString('latin1')))
        return refuse(
          `must have no passphrase: ${found.path} is encrypted`,
          'decrypt it: openssl pkey -in KEY -out DECRYPTED',
        )
      if (!contains(what, found.content)) return refuse(`must be a file with a ${what} in PEM: ${found.path} has none`)
      return found
    },
    format: (value) => value.path,
  }
}

/** The path of a file that the gateway reads whenever it needs the content. A missing file is a warning. */
export const rereadFile: ValueType<string> = {
  name: 'file',
  json: { type: 'string', minLength: 1 },
  parse(written, { refuse, warn, locate }) {
    if (typeof written !== 'string' || written === '') {
      return refuse(`must be the path of a file, not ${quote(written)}`)
    }
    const { path, problem } = locate(written)
    if (problem !== null) warn(`cannot be read: ${problem}`, `${path} must exist when the gateway needs it`)
    return path
  },
  format: (value) => value,
}
