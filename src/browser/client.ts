import { readSession, type SessionInfo } from './gateway.ts'
import { start } from './start.ts'
import type { Expiring } from './expiring.ts'

const { gateway, channel, fetch } = start(import.meta.url)

/** Like `window.fetch`; when a login is needed it gets one, then repeats the request with its body. */
export { fetch }

/** What `GET session` says, or `null` without a session. Rejects when the gateway can't be asked. */
export const session = (): Promise<SessionInfo | null> => readSession(gateway)

/** Leaves for the login and comes back to this page. */
export const login = (): void => {
  location.assign(
    `${gateway.base}/login?redirect=${encodeURIComponent(location.pathname + location.search + location.hash)}`,
  )
}

/** Ends the session, in all tabs and at the provider. */
export const logout = (): void => {
  channel.say('look')
  location.assign(`${gateway.base}/logout`)
}

/** Calls back before the session ends, with the seconds left and a way to extend it. Returns how to stop. */
export const onExpiring = (listener: (expiring: Expiring) => void): (() => void) => {
  const heard = (event: Event): void => {
    if (event instanceof CustomEvent) listener(event.detail)
  }
  addEventListener('gatehouse:expiring', heard)
  return () => {
    removeEventListener('gatehouse:expiring', heard)
  }
}
