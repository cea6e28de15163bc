import { createPrivateKey, X509Certificate } from 'node:crypto'
import { createSecureContext } from 'node:tls'
import { type ConfigFile, quote, type ValueType } from '../value-type.ts'

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

/**
 * A private key in PEM without a passphrase.
 * @see https://www.rfc-editor.org/rfc/rfc7468#section-10
 */
export const privateKey: ValueType<string> = {
  name: 'PEM',
  json: { type: 'string', minLength: 1 },
  parse(written, { refuse }) {
    try {
      if (typeof written === 'string') {
        createPrivateKey(written)
        return written
      }
    } catch {
      // The message below is more useful to an operator than the library's.
    }
    return refuse('must be a private key in PEM without a passphrase', 'use ${file:/run/secrets/key.pem}')
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
      if (!contains(what, found.content)) return refuse(`must be a file with a ${what} in PEM: ${found.path} has none`)
      return found
    },
    format: (value) => value.path,
  }
}
