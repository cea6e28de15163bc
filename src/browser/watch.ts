import type { Channel } from './channel.ts'
import { isOwn, readSession, type Gateway, type SessionInfo } from './gateway.ts'
import type { Renewal } from './renew.ts'

/** The end is near: seconds that are left, and a way to put it off. */
export type Expiring = { readonly seconds: number, readonly extend: () => Promise<boolean> }

/** How long before the end the page hears of it, s; of short sessions the second half. */
const WARN_BEFORE = 120
/** Tokens that can't be refreshed are renewed through the provider this long before their end, s; short ones at half their life. */
const RENEW_BEFORE = 30
/** The clock on the wall is looked at this often, ms: a closed lid stops timers, not the time. */
const TICK = 10_000
const TRY_AGAIN = 60_000
/** What all tabs know of the checks: when the next one is due, how many have failed in a row, and for which session one has worked. */
const CHECKS = 'gatehouse:checks'

const emit = (name: string, detail?: Expiring): void => { dispatchEvent(new CustomEvent(`gatehouse:${name}`, { detail })) }

const secondsLeft = ({ session: { ends_in_seconds: ends, timeout_in_seconds: idle } }: SessionInfo): number => idle < 0 ? ends : Math.min(ends, idle)

/** Watches the session's end: reads it when something is due, not by the clock. Reading never counts as activity. */
export const watchSession = (gateway: Gateway, channel: Channel, renewal: Renewal): void => {
  let timer: ReturnType<typeof setTimeout> | undefined
  /** When the session is read next, ms since the epoch. */
  let due = 0
  let readAt = 0
  let known: SessionInfo | null = null
  let most = 0
  let tokenTried: string | null = null

  const sleep = (): void => {
    clearTimeout(timer)
    timer = setTimeout(() => { void tick() }, Math.max(0, Math.min(TICK, due - Date.now())))
  }

  const read = async (): Promise<SessionInfo | null> => {
    readAt = Date.now()
    due = readAt + TRY_AGAIN
    try {
      const info = await readSession(gateway)
      if (info?.session.user === gateway.user) {
        known = info
        plan(info)
      } else {
        due = Infinity
        if (known !== null) emit('ended')
        known = null
      }
    } catch {
      // The gateway is away: that is no end.
    }
    sleep()
    return known
  }

  const tick = async (): Promise<void> => {
    if (Date.now() >= due) await read()
    else sleep()
    if (known?.provider === undefined || document.hidden) return
    await checkProvider(known.provider.check_every_seconds, known.session.created_at).catch(() => {})
  }

  /** The idle time-out is put off by being active, the absolute end by a new login. */
  const extend = async ({ session }: SessionInfo, left: number): Promise<boolean> => {
    const idle = session.timeout_in_seconds
    if (idle >= 0 && idle < session.ends_in_seconds) await gateway.fetch(`${gateway.base}/session/refresh`, { method: 'POST' }).catch(() => {})
    else await renewal.login()
    const info = await read()
    return info !== null && secondsLeft(info) > left
  }

  const plan = (info: SessionInfo): void => {
    const { refreshable, expire_in_seconds: token, expire_at: end, refreshed_at: begin } = info.tokens
    const left = secondsLeft(info)
    most = Math.max(most, left)
    let wait = left - Math.min(WARN_BEFORE, most / 2)
    if (wait <= 0) {
      emit('expiring', { seconds: left, extend: () => extend(info, left) })
      // The seconds are whole ones. Meanwhile somebody may have been active.
      wait = left > 20 ? left / 2 : left + 1
    }
    if (!refreshable && end !== null && end !== tokenTried) {
      const before = Math.min(RENEW_BEFORE, (Date.parse(end) - Date.parse(begin)) / 2000)
      if (token <= before) void renewTokens(end)
      else wait = Math.min(wait, token - before)
    }
    due = Date.now() + wait * 1000
  }

  const renewTokens = async (end: string): Promise<void> => {
    tokenTried = end
    await navigator.locks.request('gatehouse:renew', { ifAvailable: true }, async (lock) => lock === null || renewal.silently(true))
  }

  /** Asks the provider whether its own session lives, one tab for all of them. */
  const checkProvider = async (every: number, session: string): Promise<void> => {
    await navigator.locks.request('gatehouse:checks', { ifAvailable: true }, async (lock) => { if (lock !== null) await check(every, session) })
  }

  const check = async (every: number, session: string): Promise<void> => {
    const kept: [number, number, string] = JSON.parse(localStorage.getItem(CHECKS) ?? '[0,0,""]')
    let [next, failures, proven] = kept
    if (Date.now() < next) return
    const store = (): void => {
      next = Date.now() + every * 1000 * (1 + Math.random() / 5) * 2 ** Math.min(failures, 4)
      localStorage.setItem(CHECKS, JSON.stringify([next, failures, proven]))
    }
    store()
    const outcome = await renewal.silently(true)
    // In a browser that keeps the provider's cookies from frames it never knows anybody.
    const ended = outcome === 'login_required' && proven === session
    failures = ended || outcome === 'ok' || outcome === 'interaction_required' ? 0 : failures + 1
    if (outcome === 'ok') proven = session
    store()
    if (!ended) return
    await gateway.fetch(`${gateway.base}/logout/local`, { method: 'POST' })
    channel.say('ended')
  }

  const look = (): void => { if (Date.now() - readAt > TRY_AGAIN) void read() }

  channel.listen((word) => {
    if (word !== 'look') void read()
    // It takes a moment, on a slow line a long one.
    else for (const ms of [500, 2_000, 6_000]) setTimeout(() => { if (known !== null) void read() }, ms)
  })
  addEventListener('pageshow', look)
  addEventListener('online', look)
  document.addEventListener('visibilitychange', () => {
    if (document.hidden) return
    look()
    void tick()
  })
  // Other tabs do not see where this one goes.
  if ('navigation' in window) navigation.addEventListener('navigate', ({ destination }) => { isOwn(gateway, channel, destination.url) })
  else document.addEventListener('click', ({ target }) => {
    const link = target instanceof Element ? target.closest('a') : null
    if (link !== null) isOwn(gateway, channel, link.href)
  }, true)
  void read()
}
