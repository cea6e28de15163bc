import type { Channel } from './channel.ts'
import type { Gateway, SessionInfo } from './gateway.ts'
import { unlessDone } from './lock.ts'
import { loginSilently } from './silently.ts'

/** What all tabs know: when a check is due, how many have failed in a row, and for which session one has worked. */
const CHECKS = 'gatehouse:checks'

/**
 * Asks the provider, when that is due, whether its session lives, and ends this one with it; one tab does it for all.
 */
export const createProviderCheck = (gateway: Gateway, channel: Channel): ((info: SessionInfo) => void) => {
  const check = async (every: number, session: string): Promise<void> => {
    const kept: [number, number, string] = JSON.parse(localStorage.getItem(CHECKS) ?? '[0,0,""]')
    let [next, failures, proven] = kept
    if (Date.now() < next) return
    const store = (): void => {
      next = Date.now() + every * 1000 * (1 + Math.random() / 5) * 2 ** Math.min(failures, 4)
      localStorage.setItem(CHECKS, JSON.stringify([next, failures, proven]))
    }
    store()
    const outcome = await loginSilently(gateway, true)
    // In a browser that keeps the provider's cookies from frames it never knows anybody.
    const ended = outcome === 'login_required' && proven === session
    failures = ended || outcome === 'ok' || outcome === 'interaction_required' ? 0 : failures + 1
    if (outcome === 'ok') proven = session
    store()
    if (!ended) return
    await gateway.fetch(`${gateway.base}/logout/local`, { method: 'POST' })
    channel.say('ended')
  }
  return ({ provider, session }) => {
    if (provider === undefined || document.hidden) return
    // A browser that keeps nothing has no tabs that could agree.
    unlessDone('checks', () => check(provider.check_every_seconds, session.created_at)).catch(() => {})
  }
}
