import { publicJwkOf, readPrivateKey } from '../private-key.ts'
import type { Finding } from '../problems.ts'
import type { ResolvedConfig } from '../schema.ts'
import type { Rule } from './rule.ts'

/** Replicas with a key of their own list only that key, so an application cannot verify the assertions of the others. */
function findOwnKeys({ assertion, session }: ResolvedConfig): Finding[] {
  if (assertion?.keys.length !== 0 || session.store.kind === 'memory') return []
  return [
    {
      path: ['assertion', 'keys'],
      part: 'key',
      message: 'is not set: each replica generates a key when it starts, and its jwks lists only this key',
      instead: 'generate one for all replicas with: openssl genpkey -algorithm ed25519',
      warning: true,
    },
  ]
}

function findSameId({ assertion }: ResolvedConfig): Finding[] {
  const ids = (assertion?.keys ?? []).map((text) => publicJwkOf(readPrivateKey(text, 'assert')).kid)
  return ids.flatMap((id, index): Finding[] => {
    const first = ids.indexOf(id)
    if (first === index) return []
    const message = `has the same kid as assertion.keys[${first}]: applications could not distinguish the keys`
    return [{ path: ['assertion', 'keys', index], message, instead: 'remove it, or give it another kid' }]
  })
}

/** The members of an assertion that the gateway writes itself. */
const OWN_CLAIMS = new Set(['iss', 'aud', 'iat', 'exp', 'nbf', 'jti', 'sid', 'provider'])

function findOwnClaims({ assertion }: ResolvedConfig): Finding[] {
  return (assertion?.claims ?? []).flatMap((name, index): Finding[] =>
    OWN_CLAIMS.has(name)
      ? [
          {
            path: ['assertion', 'claims', index],
            message: `${name} cannot be a claim of the user: the gateway sets this claim of the assertion`,
            instead: `remove it, or send it in a header of its own: "{claims.${name}}"`,
          },
        ]
      : [],
  )
}

export const assertionRules: readonly Rule[] = [
  { reads: ['assertion', 'session.store'], find: findOwnKeys },
  { reads: ['assertion'], find: findSameId },
  { reads: ['assertion'], find: findOwnClaims },
]
