import { withLockIfFree, type Channel } from './channel.ts'
import { isGatewayUrl, readSession, type Gateway } from './gateway.ts'
import { loginSilently, type Renewal } from './renewal.ts'
import type { Expiring, SessionInfo } from './types.ts'

const RETRY_MS = 60_000
/** Timers stop while the computer sleeps, so the clock is read at least this often. */
const TICK_MS = 10_000
/** A logout takes longer on a slow connection, so the session is read after each of these delays. */
const LOGOUT_DELAYS_MS = [500, 2_000, 6_000]
/** The page is warned this long before the session ends, but never in the first half of a short session. */
const WARN_BEFORE_S = 120
/** Tokens are replaced this long before they expire. Short-lived tokens are replaced at half their lifetime. */
const RENEW_BEFORE_S = 30
/** The localStorage key with the state of the provider check, shared by all tabs: `[nextAt, failures, session]`. */
const CHECK_STATE = 'gatehouse:checks'

/** Watches the session: reads it whenever a warning, a renewal or a retry is due. Reading never counts as activity. */
export function watchSession(gateway: Gateway, channel: Channel, renewal: Renewal): void {
  let known: SessionInfo | null = null
  let readAt = 0
  let isFirstRead = true

  const read = async (): Promise<SessionInfo | null> => {
    readAt = Date.now()
    alarm.set(RETRY_MS)
    try {
      const info = await readSession(gateway)
      if (info?.session.user === gateway.user) {
        if (known === null) channel.post(`user ${gateway.user}`)
        known = info
        alarm.set(1000 * Math.min(warn(info), renewTokens(info)))
      } else {
        alarm.set(Infinity)
        if (known !== null) dispatchEvent(new CustomEvent('gatehouse:ended'))
        // A logout that showed no page of the gateway may have led to this page, so tabs with a session read it again.
        else if (isFirstRead) channel.post('look')
        known = null
      }
      isFirstRead = false
    } catch {
      // A gateway that does not respond does not mean that the session has ended.
    }
    return known
  }
  const warn = createWarning(gateway, renewal, read)
  const renewTokens = createTokenRenewal(gateway)
  const checkProvider = createProviderCheck(gateway, channel)
  const alarm = createAlarm(
    () => {
      void read()
    },
    () => {
      if (known !== null) checkProvider(known)
    },
  )
  const readIfStale = (): void => {
    if (Math.abs(Date.now() - readAt) > RETRY_MS) void read()
  }

  channel.listen((message) => {
    if (message.startsWith('user ')) {
      // Another user has signed in, so the session of this page is over.
      if (known !== null && message !== `user ${gateway.user}`) void read()
    } else if (message !== 'look') void read()
    else
      for (const delay of LOGOUT_DELAYS_MS)
        setTimeout(() => {
          if (known !== null) void read()
        }, delay)
  })
  // A page from the back/forward cache has missed all messages.
  addEventListener('pageshow', ({ persisted }) => {
    if (persisted) void read()
  })
  addEventListener('online', readIfStale)
  document.addEventListener('visibilitychange', () => {
    if (document.hidden) return
    readIfStale()
    alarm.check()
  })
  announceLogouts(gateway, channel)
  void read()
}

interface Alarm {
  /** Sets the time until the alarm rings, which replaces an earlier one; `Infinity` for never. */
  set(ms: number): void
  check(): void
}

/** Creates an alarm that notices sleep and clock changes within ten seconds. Calls `tick` each time it reads the clock. */
function createAlarm(ring: () => void, tick: () => void): Alarm {
  let timer: ReturnType<typeof setTimeout> | undefined
  let setAt = 0
  let dueAt = Infinity
  const schedule = (): void => {
    clearTimeout(timer)
    timer = setTimeout(check, Math.max(0, Math.min(TICK_MS, dueAt - Date.now())))
  }
  const check = (): void => {
    const now = Date.now()
    if (now >= dueAt || now < setAt) {
      dueAt = Infinity
      ring()
    }
    tick()
    schedule()
  }
  return {
    set(ms) {
      setAt = Date.now()
      dueAt = setAt + ms
      schedule()
    },
    check,
  }
}

/** Makes all tabs read the session again when this page navigates to a URL that signs the user out. */
function announceLogouts(gateway: Gateway, channel: Channel): void {
  const announce = (url: string): void => {
    isGatewayUrl(gateway, channel, url)
  }
  if ('navigation' in window)
    navigation.addEventListener('navigate', ({ destination }) => {
      announce(destination.url)
    })
  else
    document.addEventListener(
      'click',
      ({ target }) => {
        const link = target instanceof Element ? target.closest('a') : null
        if (link !== null) announce(link.href)
      },
      true,
    )
}

/**
 * Creates a function that warns the page before the session ends. That function returns how many seconds to wait before
 * the session is read again.
 */
function createWarning(
  { base, fetch }: Gateway,
  renewal: Renewal,
  read: () => Promise<SessionInfo | null>,
): (info: SessionInfo) => number {
  let longestS = 0

  // Activity extends the idle timeout; only a new login extends the absolute lifetime.
  const extend = async ({ session }: SessionInfo, left: number): Promise<boolean> => {
    const idle = session.timeout_in_seconds
    const endsIdle = idle >= 0 && idle < session.ends_in_seconds
    if (endsIdle) await fetch(`${base}/session/refresh`, { method: 'POST' }).catch(() => {})
    else await renewal.login()
    const info = await read()
    return info !== null && secondsLeft(info) > left
  }

  return (info) => {
    const left = secondsLeft(info)
    longestS = Math.max(longestS, left)
    const wait = left - Math.min(WARN_BEFORE_S, longestS / 2)
    if (wait > 0) return wait
    const detail: Expiring = { seconds: left, extend: () => extend(info, left) }
    dispatchEvent(new CustomEvent('gatehouse:expiring', { detail }))
    // The seconds are rounded down, and activity may extend the session in the meantime.
    return left > 20 ? left / 2 : left + 1
  }
}

function secondsLeft({ session: { ends_in_seconds: ends, timeout_in_seconds: idle } }: SessionInfo): number {
  return idle < 0 ? ends : Math.min(ends, idle)
}

/**
 * Creates a function that replaces tokens that cannot be refreshed. The function logs in silently, once for all tabs,
 * and returns the seconds until the session must be read again.
 */
function createTokenRenewal(gateway: Gateway): (info: SessionInfo) => number {
  let attempted: string | null = null
  return ({ tokens: { refreshable, expire_in_seconds: left, expire_at: end, refreshed_at: begin } }) => {
    if (refreshable || end === null || end === attempted) return Infinity
    const before = Math.min(RENEW_BEFORE_S, (Date.parse(end) - Date.parse(begin)) / 2000)
    if (left > before) return left - before
    attempted = end
    void withLockIfFree('renew', () => loginSilently(gateway, true))
    return Infinity
  }
}

/**
 * Creates a function that checks, when due and once for all tabs, whether the provider's session is alive. If the
 * provider's session has ended, the function ends the gateway's session too.
 */
function createProviderCheck(gateway: Gateway, channel: Channel): (info: SessionInfo) => void {
  const check = async (intervalS: number, session: string): Promise<void> => {
    const stored: [number, number, string] = JSON.parse(localStorage.getItem(CHECK_STATE) ?? '[0,0,""]')
    let [nextAt, failures, provenSession] = stored
    if (Date.now() < nextAt) return
    const store = (): void => {
      nextAt = Date.now() + intervalS * 1000 * (1 + Math.random() / 5) * 2 ** Math.min(failures, 4)
      localStorage.setItem(CHECK_STATE, JSON.stringify([nextAt, failures, provenSession]))
    }
    store()
    const outcome = await loginSilently(gateway, true)
    // A browser that blocks third-party cookies always gets `login_required`, so that outcome counts only after an
    // `ok`.
    const ended = outcome === 'login_required' && provenSession === session
    failures = ended || outcome === 'ok' || outcome === 'interaction_required' ? 0 : failures + 1
    if (outcome === 'ok') provenSession = session
    store()
    if (!ended) return
    await gateway.fetch(`${gateway.base}/logout/local`, { method: 'POST' })
    channel.post('ended')
  }
  return ({ provider, check_every_seconds: ofSeveral, session }) => {
    const seconds = typeof provider === 'object' ? provider.check_every_seconds : ofSeveral
    if (seconds === undefined || document.hidden) return
    // Without localStorage the tabs cannot coordinate, so the check is skipped.
    withLockIfFree('checks', () => check(seconds, session.created_at)).catch(() => {})
  }
}
