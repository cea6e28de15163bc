import { randomBytes } from 'node:crypto'
import type { Idp } from '../../src/demo/idp.ts'
import { createBrowser } from './browser.ts'
import type { Answer } from './exchange.ts'

/** Sends a request with a token, as a client that is no browser. */
export const callWith = async (
  gateway: { readonly url: string },
  token: string,
  path = '/api/echo',
  headers: Readonly<Record<string, string>> = {},
): Promise<Answer> =>
  createBrowser().request('GET', gateway.url + path, {
    kind: 'none',
    headers: { authorization: `Bearer ${token}`, ...headers },
  })

/** Returns the request headers that the sample application received, from its answer at `/api/echo`. */
export const receivedHeaders = (answer: Answer): Record<string, string> => {
  const { headers }: { headers?: Record<string, string> } = answer.json()
  return headers ?? {}
}

/** Registers a confidential client, and returns a function that gets access tokens for it by client credentials. */
export const registerRobot = async (idp: Idp, clientId = 'robot') => {
  const clientSecret = randomBytes(16).toString('hex')
  await idp.registerClient({ clientId, clientSecret, redirectUris: ['https://robot.example/callback'] })
  return async (parameters: Readonly<Record<string, string>> = {}): Promise<string> => {
    const response = await fetch(`${idp.issuer}/token`, {
      method: 'POST',
      body: new URLSearchParams({
        grant_type: 'client_credentials',
        client_id: clientId,
        client_secret: clientSecret,
        ...parameters,
      }),
    })
    const answer = (await response.json()) as { access_token: string }
    return answer.access_token
  }
}
