import type { Gateway, SessionInfo } from './gateway.ts'
import type { Renewal } from './renew.ts'

/** The end is near: seconds that are left, and a way to put it off. */
export type Expiring = { readonly seconds: number; readonly extend: () => Promise<boolean> }

/** How long before the end the page hears of it, s; of short sessions the second half. */
const WARN_BEFORE = 120

const secondsLeft = ({ session: { ends_in_seconds: ends, timeout_in_seconds: idle } }: SessionInfo): number =>
  idle < 0 ? ends : Math.min(ends, idle)

/**
 * Tells the page when the end is near. Given what was read of the session, it says after how many seconds that is to be
 * read again.
 */
export const createWarning = (
  { base, fetch }: Gateway,
  renewal: Renewal,
  read: () => Promise<SessionInfo | null>,
): ((info: SessionInfo) => number) => {
  let most = 0

  /** The idle time-out is put off by being active, the absolute end by a new login. */
  const extend = async ({ session }: SessionInfo, left: number): Promise<boolean> => {
    const idle = session.timeout_in_seconds
    const isIdle = idle >= 0 && idle < session.ends_in_seconds
    if (isIdle) await fetch(`${base}/session/refresh`, { method: 'POST' }).catch(() => {})
    else await renewal.login()
    const info = await read()
    return info !== null && secondsLeft(info) > left
  }

  return (info) => {
    const left = secondsLeft(info)
    most = Math.max(most, left)
    const wait = left - Math.min(WARN_BEFORE, most / 2)
    if (wait > 0) return wait
    const detail: Expiring = { seconds: left, extend: () => extend(info, left) }
    dispatchEvent(new CustomEvent('gatehouse:expiring', { detail }))
    // The seconds are whole ones. Meanwhile somebody may have been active.
    return left > 20 ? left / 2 : left + 1
  }
}
