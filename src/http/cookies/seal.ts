import secureSession from '@fastify/secure-session'
import type { FastifyInstance } from 'fastify'

type Kind = 'ticket' | 'login'

export interface CookieSeal {
  seal(kind: Kind, data: Record<string, string>): string
  /** Returns `null` for a value that no key opens, that has expired, or that is not in the canonical encoding. */
  open(kind: Kind, value: string): { get(name: string): unknown } | null
}

/**
 * Creates the seal from @fastify/secure-session. Does not use the plugin's hooks, because the hooks would choose one of
 * two cookies with the same name and write cookies by their own rules. Rewrites the plugin's `base64;base64` values as
 * `base64url.base64url`, which needs no escaping and has a canonical form.
 */
export async function createCookieSeal(
  app: FastifyInstance,
  keys: Buffer[],
  seconds: Readonly<Record<Kind, number>>,
): Promise<CookieSeal> {
  const holder: { seal?: CookieSeal } = {}
  await app.register(async (scope) => {
    await scope.register(secureSession, [
      { sessionName: 'ticket', key: keys, expiry: seconds.ticket },
      { sessionName: 'login', key: keys, expiry: seconds.login },
    ])
    holder.seal = {
      seal: (kind, data) => toUrlSafe(scope.encodeSecureSession(scope.createSecureSession(data), kind)),
      open(kind, value) {
        const sealed = fromUrlSafe(value)
        return sealed === null ? null : scope.decodeSecureSession(sealed, scope.log, kind)
      },
    }
  })
  await app.after()
  if (holder.seal === undefined) throw new Error('@fastify/secure-session could not be set up')
  return holder.seal
}

function toUrlSafe(sealed: string): string {
  return sealed
    .split(';')
    .map((part) => Buffer.from(part, 'base64').toString('base64url'))
    .join('.')
}

const SEALED = /^([A-Za-z0-9_-]{22,2048})\.([A-Za-z0-9_-]{32})$/

function fromUrlSafe(value: string): string | null {
  const [, cipher, nonce] = SEALED.exec(value) ?? []
  if (cipher === undefined || nonce === undefined) return null
  const bytes = Buffer.from(cipher, 'base64url')
  // The unused bits of the last character would allow several encodings of the same cookie.
  return bytes.toString('base64url') === cipher
    ? `${bytes.toString('base64')};${nonce.replaceAll('-', '+').replaceAll('_', '/')}`
    : null
}
