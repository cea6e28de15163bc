import type { Client, Provider } from 'oidc-provider'
import type { Storage } from './storage.ts'

/** How many sessions of a user ended, and which clients took the back-channel logout and which did not. */
export type EndedSessions = { sessions: number; notified: string[]; failed: string[] }

// The method is missing in the package's types.
type Notifiable = Client & { backchannelLogout: (sub: string, sid: string) => Promise<void> }

const isNotifiable = (client: Client | undefined): client is Notifiable =>
  client?.backchannelLogoutUri !== undefined && typeof client.backchannelLogout === 'function'

/** Ends a user's sessions at the provider and tells every client in them (OpenID Connect Back-Channel Logout 1.0). */
export const endSessionsOf = async (
  sub: string,
  { provider, storage, notify }: { provider: Provider; storage: Storage; notify: boolean },
): Promise<EndedSessions> => {
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
