import type { Route } from '../config/schema.ts'
import { revokeRefreshToken } from '../oidc/logout.ts'
import { refreshTokenBeside } from '../oidc/oauth-answers.ts'
import type { Provider } from '../oidc/provider.ts'
import { grantForRoute } from '../oidc/route-grants.ts'
import type { TokenSet } from '../oidc/token-set.ts'
import type { Session } from '../session/session.ts'
import type { Sessions } from '../session/sessions.ts'
import type { Log } from '../telemetry/log.ts'
import type { Turn } from './turn.ts'

interface Parts {
  readonly provider: Provider
  readonly sessions: Pick<Sessions, 'renew' | 'wasRenewed'>
  readonly log: Log
  /** Waits for this process's turn. */
  readonly takeTurn: (session: Session) => Promise<Turn>
}

/**
 * Redeems the refresh token for another resource or scope (RFC 8707, section 2.2), in turn with the refreshes, and
 * saves the one that replaces it. Rejects like a grant.
 */
export async function redeem(parts: Parts, seen: Session, wanted: Route['token'], now: number): Promise<TokenSet> {
  const { provider, sessions, log, takeTurn } = parts
  const turn = await takeTurn(seen)
  if (turn.type !== 'mine') throw new Error('the session has ended')
  const { session, release, keep } = turn
  let keepLock = false

  /** A provider that rotates has spent the session's own. */
  async function save(refreshToken: string | null): Promise<void> {
    if (refreshToken === null || refreshToken === session.tokens.refreshToken) return
    const tokens = { ...session.tokens, refreshToken }
    const { session: renewed, saved } = await sessions.renew(session, { tokens })
    keepLock = !saved
    if (renewed !== null) return
    // See `save` in refresh.ts.
    if (!(await sessions.wasRenewed(session.id))) await revokeRefreshToken(provider, refreshToken, log)
    throw new Error('the session has ended')
  }

  try {
    const token = await grantForRoute(provider, wanted, session.tokens, now).catch(async (error: unknown) => {
      await save(refreshTokenBeside(error))
      throw error
    })
    await save(token.refreshToken)
    return token
  } finally {
    if (keepLock) keep()
    else await release()
  }
}
