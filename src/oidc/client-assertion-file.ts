import { readFile } from 'node:fs/promises'
import { isSignedJwt } from './token-set.ts'

/** The file with the client assertion cannot be read or contains no JWT. The provider was not called. */
export class ClientAssertionMissing extends Error {}

/** Returns the JWT in the file that `provider.clientAssertionFile` names. Rejects with `ClientAssertionMissing`. */
export async function readClientAssertion(path: string): Promise<string> {
  const text = await readFile(path, 'utf8').catch((cause: unknown) => {
    throw new ClientAssertionMissing(`provider.clientAssertionFile ${path} cannot be read`, { cause })
  })
  const jwt = text.trim()
  if (isSignedJwt(jwt)) return jwt
  throw new ClientAssertionMissing(
    `provider.clientAssertionFile ${path} ${jwt === '' ? 'is empty' : 'does not contain a JWT'}`,
  )
}
