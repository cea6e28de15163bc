import { createCipheriv, createDecipheriv, createSecretKey, hkdfSync, randomBytes, type KeyObject } from 'node:crypto'
import { providersOf, type Config } from '../config/schema.ts'

const ALGORITHM = 'aes-256-gcm'
const IV_BYTES = 12
const TAG_BYTES = 16

/** Creates a random 32-byte data key, base64url. */
export function newDataKey(): string {
  return randomBytes(32).toString('base64url')
}

/**
 * Creates the key for `seal` and `open` from 32 raw bytes. Node.js 24 opens a session five times as fast with a KeyObject
 * as with a Buffer.
 */
export function toKey(raw: Buffer): KeyObject {
  return createSecretKey(raw)
}

/**
 * Derives a key for one purpose from a configured 32-byte key, by HKDF-SHA256.
 * @see https://www.rfc-editor.org/rfc/rfc5869
 */
export function deriveKey(raw: Buffer, purpose: string): KeyObject {
  return createSecretKey(Buffer.from(hkdfSync('sha256', raw, '', `gatehouse ${purpose}`, 32)))
}

/**
 * Derives the session keys of the clients at all providers from the configured keys. A gateway with the same configured
 * keys and another client, issuer or cookie path derives different keys, so that it does not open the cookies of this
 * gateway, which browsers may send to both. The first key seals, and all keys open, so sessions continue when a provider
 * is added.
 */
export function keysOf(config: Config): Buffer[] {
  const { path } = config.session.cookie
  const scope = path === '/' ? [] : [path]
  const owners = providersOf(config).map(({ issuer, clientId }) =>
    JSON.stringify(['gatehouse', issuer, clientId, ...scope]),
  )
  return config.session.keys.flatMap((raw) =>
    owners.map((owner) => Buffer.from(hkdfSync('sha256', raw, '', owner, 32))),
  )
}

/** Returns the first key, which seals. */
export function firstOf(keys: readonly KeyObject[]): KeyObject {
  const [first] = keys
  if (first === undefined) throw new Error('there is no session key')
  return first
}

/** Seals a text or bytes with AES-256-GCM. `open` and `openBytes` need the same `associated` data. */
export function seal(key: KeyObject, associated: string, content: string | Buffer): Buffer {
  const iv = randomBytes(IV_BYTES)
  const cipher = createCipheriv(ALGORITHM, key, iv, { authTagLength: TAG_BYTES })
  cipher.setAAD(Buffer.from(associated))
  const bytes = typeof content === 'string' ? Buffer.from(content) : content
  return Buffer.concat([iv, cipher.update(bytes), cipher.final(), cipher.getAuthTag()])
}

/** Opens a sealed text. Returns `null` if the key or `associated` is different or the text was changed. */
export function open(key: KeyObject, associated: string, sealed: Buffer): string | null {
  return openBytes(key, associated, sealed)?.toString() ?? null
}

/** Opens sealed bytes, like `open`. */
export function openBytes(key: KeyObject, associated: string, sealed: Buffer): Buffer | null {
  if (sealed.length < IV_BYTES + TAG_BYTES) return null
  try {
    const decipher = createDecipheriv(ALGORITHM, key, sealed.subarray(0, IV_BYTES), { authTagLength: TAG_BYTES })
    decipher.setAAD(Buffer.from(associated))
    decipher.setAuthTag(sealed.subarray(sealed.length - TAG_BYTES))
    const body = sealed.subarray(IV_BYTES, sealed.length - TAG_BYTES)
    return Buffer.concat([decipher.update(body), decipher.final()])
  } catch {
    return null
  }
}
