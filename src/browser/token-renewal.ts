import type { Gateway, SessionInfo } from './gateway.ts'
import { unlessDone } from './lock.ts'
import { loginSilently } from './silently.ts'

/** Tokens are renewed this long before their end, s; short ones at half their life. */
const RENEW_BEFORE = 30

/**
 * Renews through the provider what can't be refreshed, shortly before its end and once for all tabs. Given what was
 * read of the session, it says after how many seconds that is to be read again.
 */
export const createTokenRenewal = (gateway: Gateway): ((info: SessionInfo) => number) => {
  let tried: string | null = null
  return ({ tokens: { refreshable, expire_in_seconds: left, expire_at: end, refreshed_at: begin } }) => {
    if (refreshable || end === null || end === tried) return Infinity
    const before = Math.min(RENEW_BEFORE, (Date.parse(end) - Date.parse(begin)) / 2000)
    if (left > before) return left - before
    tried = end
    void unlessDone('renew', () => loginSilently(gateway, true))
    return Infinity
  }
}
