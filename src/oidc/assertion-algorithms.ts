import { ResponseBodyError, type ClientAuth, type CustomFetch } from 'openid-client'

export interface ClientAuthentication {
  readonly auth: ClientAuth
  /** Returns a `fetch` for the requests that `auth` has authenticated. */
  readonly wrap: (fetch: CustomFetch) => CustomFetch
}

/** The errors with which providers refuse an assertion because of its algorithm. */
const REFUSALS = new Set(['invalid_client', 'unauthorized_client', 'invalid_request'])

/**
 * Creates a client authentication that signs assertions with a second algorithm if the provider refuses the first one,
 * because a provider announces the algorithms that it supports, but not the one that it accepts from this client. The
 * algorithm of the first request that succeeds stays.
 */
export function withSecondAlgorithm(first: ClientAuth, second: ClientAuth): ClientAuthentication {
  // openid-client's type omits that the result may be a promise.
  const signAgain: (...request: Parameters<ClientAuth>) => unknown = second
  let current = first
  let isKnown = false
  let latest: Parameters<ClientAuth> | null = null

  return {
    auth: (...request) => {
      latest = request
      return current(...request)
    },
    wrap: (fetch) => async (url, options) => {
      const { body } = options
      if (isKnown || latest === null || !(body instanceof URLSearchParams) || !body.has('client_assertion'))
        return fetch(url, options)
      const [server, client, , headers] = latest
      try {
        const response = await fetch(url, options)
        isKnown = response.ok
        return response
      } catch (error) {
        if (!isRefusal(error)) throw error
        const again = new URLSearchParams(body)
        await signAgain(server, client, again, headers)
        try {
          const response = await fetch(url, { ...options, body: again })
          current = second
          isKnown = true
          return response
        } catch (secondError) {
          throw isRefusal(secondError) ? error : secondError
        }
      }
    },
  }
}

function isRefusal(error: unknown): boolean {
  return error instanceof ResponseBodyError && REFUSALS.has(error.error)
}
