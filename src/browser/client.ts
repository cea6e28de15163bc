import { readSession } from './gateway.ts'
import { start } from './start.ts'
import type { Expiring, SessionInfo } from './types.ts'

export type { Expiring, SessionInfo } from './types.ts'

const { gateway, channel, fetch: fetchWithLogin } = start(import.meta.url)

/** Like `window.fetch`. If the gateway requires a login, logs the user in and repeats the request with its body. */
const gatehouseFetch: typeof globalThis.fetch = fetchWithLogin
export { gatehouseFetch as fetch }

/** Returns the body of `GET session`, or `null` without a session. Rejects if the gateway does not answer. */
export function session(): Promise<SessionInfo | null> {
  return readSession(gateway)
}

/** Navigates to the login, which returns to this page. */
export function login(): void {
  location.assign(
    `${gateway.base}/login?redirect=${encodeURIComponent(location.pathname + location.search + location.hash)}`,
  )
}

/** Ends the session in all tabs and at the provider. */
export function logout(): void {
  channel.post('look')
  location.assign(`${gateway.base}/logout`)
}

/** Calls `listener` before the session ends. Returns a function that removes the listener. */
export function onExpiring(listener: (expiring: Expiring) => void): () => void {
  const onEvent = (event: Event): void => {
    if (event instanceof CustomEvent) listener(event.detail)
  }
  addEventListener('gatehouse:expiring', onEvent)
  return () => {
    removeEventListener('gatehouse:expiring', onEvent)
  }
}
