import { readFile } from 'node:fs/promises'

/** @see https://www.rfc-editor.org/rfc/rfc7515#section-7.1 */
const JWT = /^[\w-]+\.[\w-]+\.[\w-]+$/

/** The file with the client assertion cannot be read or contains no JWT. The provider was not called. */
export class ClientAssertionMissing extends Error {}

/** Returns the JWT in the file that `provider.clientAssertionFile` names. Rejects with `ClientAssertionMissing`. */
export async function readClientAssertion(path: string): Promise<string> {
  const text = await readFile(path, 'utf8').catch((cause: unknown) => {
    throw new ClientAssertionMissing(`provider.clientAssertionFile ${path} cannot be read`, { cause })
  })
  const jwt = text.trim()
  if (JWT.test(jwt)) return jwt
  throw new ClientAssertionMissing(
    `provider.clientAssertionFile ${path} ${jwt === '' ? 'is empty' : 'does not contain a JWT'}`,
  )
}
