import type { Client, Provider } from 'oidc-provider'
import type { Storage } from './storage.ts'

export interface EndedSessions {
  readonly sessions: number
  readonly notified: string[]
  readonly failed: string[]
}

// The types of oidc-provider lack this method.
type Notifiable = Client & { backchannelLogout: (sub: string, sid: string) => Promise<void> }

function isNotifiable(client: Client | undefined): client is Notifiable {
  return client?.backchannelLogoutUri !== undefined && typeof client.backchannelLogout === 'function'
}

/**
 * Ends a user's sessions at the provider and, with `notify`, sends back-channel logouts to their clients.
 *
 * @see https://openid.net/specs/openid-connect-backchannel-1_0.html
 */
export async function endSessionsOf(
  sub: string,
  { provider, storage, notify }: { provider: Provider; storage: Storage; notify: boolean },
): Promise<EndedSessions> {
  const authorizations = storage
    .entries('Session')
    .filter(({ accountId }) => accountId === sub)
    .flatMap((session) => Object.entries(session.authorizations ?? {}))
  const ended: EndedSessions = {
    sessions: storage.remove('Session', ({ accountId }) => accountId === sub),
    notified: [],
    failed: [],
  }
  if (!notify) return ended
  await Promise.all(
    authorizations.map(async ([clientId, { sid }]) => {
      const client = await provider.Client.find(clientId)
      if (!isNotifiable(client) || sid === undefined) return
      await client.backchannelLogout(sub, sid).then(
        () => ended.notified.push(clientId),
        () => ended.failed.push(clientId),
      )
    }),
  )
  return ended
}
