import type { Channel } from './channel.ts'
import { readSession, type Gateway, type SessionInfo } from './gateway.ts'
import type { Renewal } from './renew.ts'

/** The end is near: seconds that are left, and a way to put it off. */
export type Expiring = { readonly seconds: number, readonly extend: () => Promise<boolean> }

/** How long before the end the page hears of it, s. */
const WARN_BEFORE = 120
/** Tokens that can't be refreshed are renewed through the provider this long before their end, s. */
const RENEW_BEFORE = 30
/** The session is not read more often than this, ms. */
const READ_PAUSE = 5_000
const MOST = 3_600_000
const CHECKED_AT = 'gatehouse:checked-at'

const emit = (name: string, detail?: Expiring): void => { dispatchEvent(new CustomEvent(`gatehouse:${name}`, { detail })) }

/** Watches the session's end: reads it when something is due, not by the clock; reading never counts as activity. */
export const watchSession = (gateway: Gateway, channel: Channel, renewal: Renewal): { readonly look: () => void } => {
  let timer: ReturnType<typeof setTimeout> | undefined
  let readAt = 0
  let alive: boolean | null = null
  let failures = 0

  const at = (ms: number): void => {
    clearTimeout(timer)
    timer = setTimeout(() => { void read() }, Math.min(MOST, Math.max(READ_PAUSE, ms)))
  }

  const ended = (): void => {
    if (alive === true) emit('ended')
    alive = false
    clearTimeout(timer)
  }

  /** The idle time-out is put off by being active; the absolute end by a new session. */
  const extend = async (info: SessionInfo): Promise<boolean> => {
    const idle = info.session.timeout_in_seconds
    const ok = idle >= 0 && idle < info.session.ends_in_seconds
      ? (await gateway.fetch(`${gateway.base}/session/refresh`, { method: 'POST', credentials: 'same-origin' })).ok
      : await renewal.silently() === 'ok'
    void read()
    return ok
  }

  const plan = (info: SessionInfo): void => {
    const { ends_in_seconds: ends, timeout_in_seconds: idle } = info.session
    const left = idle < 0 ? ends : Math.min(ends, idle)
    const { refreshable, expire_in_seconds: token } = info.tokens
    if (left <= WARN_BEFORE) {
      emit('expiring', { seconds: left, extend: () => extend(info) })
      at(left * 1000 + 1_000)
      return
    }
    const waits = [left - WARN_BEFORE]
    if (!refreshable && token >= 0) {
      if (token <= RENEW_BEFORE) void renewTokens()
      else waits.push(token - RENEW_BEFORE)
    }
    at(Math.min(...waits) * 1000)
  }

  const renewTokens = (): Promise<void> => navigator.locks.request('gatehouse:renew', { ifAvailable: true }, async (lock) => {
    if (lock !== null && await renewal.silently() === 'ok') channel.say('renewed')
  })

  /** Asks the provider whether its own session lives, for all tabs together: whoever is due first, with jitter. */
  const checkProvider = async (every: number): Promise<void> => {
    await navigator.locks.request('gatehouse:check', { ifAvailable: true }, async (lock) => {
      const last = Number(localStorage.getItem(CHECKED_AT) ?? '0')
      if (lock === null || Date.now() - last < every * 900) return
      localStorage.setItem(CHECKED_AT, String(Date.now()))
      const outcome = await renewal.silently()
      failures = outcome === 'error' ? failures + 1 : 0
      if (outcome !== 'login_required') return
      await gateway.fetch(`${gateway.base}/logout/local`, { method: 'POST', credentials: 'same-origin' })
      channel.say('ended')
      ended()
    })
    planCheck(every)
  }

  let check: ReturnType<typeof setTimeout> | undefined
  const planCheck = (every: number): void => {
    clearTimeout(check)
    check = setTimeout(() => { void checkProvider(every) }, every * 1000 * (1 + Math.random() * 0.2) * 2 ** Math.min(failures, 4))
  }

  const read = async (): Promise<void> => {
    readAt = Date.now()
    try {
      const info = await readSession(gateway)
      if (info === null) {
        ended()
        return
      }
      if (alive !== true && info.provider !== undefined) planCheck(info.provider.check_every_seconds)
      alive = true
      plan(info)
    } catch {
      // The gateway is away: that is no end.
      at(60_000)
    }
  }

  const look = (): void => { if (Date.now() - readAt >= READ_PAUSE) void read() }

  channel.listen((word) => {
    if (word === 'ended') ended()
    else if (word === 'renewed') void read()
    else setTimeout(() => { void read() }, 1_500)
  })
  // A closed lid stops the timers, not the time.
  document.addEventListener('visibilitychange', () => { if (document.visibilityState === 'visible') look() })
  addEventListener('pageshow', look)
  addEventListener('online', look)
  // Other tabs do not see where this one goes.
  document.addEventListener('click', (event) => {
    const link = event.target instanceof Element ? event.target.closest('a[href]') : null
    if (link instanceof HTMLAnchorElement && (link.href.startsWith(`${gateway.base}/logout`) || link.href.startsWith(`${gateway.base}/sign_out`))) channel.say('look')
  }, true)
  void read()
  return { look }
}
