import { createAlarm } from './alarm.ts'
import type { Channel } from './channel.ts'
import { createWarning } from './expiring.ts'
import { readSession, type Gateway, type SessionInfo } from './gateway.ts'
import { createProviderCheck } from './provider-check.ts'
import type { Renewal } from './renew.ts'
import { announceSignOuts } from './sign-outs.ts'
import { createTokenRenewal } from './token-renewal.ts'

/** ms */
const TRY_AGAIN = 60_000

/** Watches the session: reads it when something is due, not by the clock. Reading never counts as activity. */
export const watchSession = (gateway: Gateway, channel: Channel, renewal: Renewal): void => {
  let known: SessionInfo | null = null
  let readAt = 0
  let isFirst = true

  const read = async (): Promise<SessionInfo | null> => {
    readAt = Date.now()
    alarm.set(TRY_AGAIN)
    try {
      const info = await readSession(gateway)
      if (info?.session.user === gateway.user) {
        if (known === null) channel.say(`user ${gateway.user}`)
        known = info
        alarm.set(1000 * Math.min(warn(info), renewTokens(info)))
      } else {
        alarm.set(Infinity)
        if (known !== null) dispatchEvent(new CustomEvent('gatehouse:ended'))
        // A logout without a page of ours may have led here: other tabs that know of a session look what became of it.
        else if (isFirst) channel.say('look')
        known = null
      }
      isFirst = false
    } catch {
      // The gateway is away: that is no end.
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

  const look = (): void => {
    if (Math.abs(Date.now() - readAt) > TRY_AGAIN) void read()
  }

  channel.listen((word) => {
    if (word.startsWith('user ')) {
      // Somebody else has signed in: this page's session is over.
      if (known !== null && word !== `user ${gateway.user}`) void read()
    } else if (word !== 'look') void read()
    // It takes a moment, on a slow line a long one.
    else
      for (const ms of [500, 2_000, 6_000])
        setTimeout(() => {
          if (known !== null) void read()
        }, ms)
  })
  // What the browser has kept of a page knows nothing of what has happened since.
  addEventListener('pageshow', ({ persisted }) => {
    if (persisted) void read()
  })
  addEventListener('online', look)
  document.addEventListener('visibilitychange', () => {
    if (document.hidden) return
    look()
    alarm.look()
  })
  announceSignOuts(gateway, channel)
  void read()
}
