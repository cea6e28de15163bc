import type { Channel } from './channel.ts'

/** The gateway as a page sees it. */
export type Gateway = {
  /** `https://…/oauth2` */
  readonly base: string
  /** The browser's own fetch, whoever has wrapped it since. */
  readonly fetch: typeof fetch
  /** Whose page this is: the mark of the first session that it has met. */
  user: string
}

/** What `GET session` says. */
export type SessionInfo = {
  readonly session: {
    readonly created_at: string
    readonly ends_at: string
    /** `null` without an idle time-out. */
    readonly timeout_at: string | null
    readonly ends_in_seconds: number
    /** -1 without an idle time-out. */
    readonly timeout_in_seconds: number
    readonly active: boolean
    /** Another one for another user; says nothing else. */
    readonly user: string
  }
  readonly tokens: {
    /** `null` when the provider does not say. */
    readonly expire_at: string | null
    /** -1 when the provider does not say. */
    readonly expire_in_seconds: number
    readonly refreshed_at: string
    readonly next_auto_refresh_in_seconds: number
    readonly refresh_cooldown: boolean
    readonly refresh_cooldown_seconds: number
    readonly refreshable: boolean
    readonly last_refresh_error: string | null
  }
  /** With `provider.sessionCheck` alone. */
  readonly provider?: { readonly check_every_seconds: number }
}

const LOGIN_CODES = /^(?:login_required|session_expired|step_up_required|upstream_login_required)$/

/** The code of a 401 that is the gateway's and that a login would help against, else nothing. */
export const loginCode = (status: number, header: (name: string) => string | null): string => {
  const code = status === 401 ? (header('Gatehouse') ?? '') : ''
  return LOGIN_CODES.test(code) ? code : ''
}

/**
 * Whether a URL is one of the gateway's own. When it is one that signs out, the tabs look what has become of the
 * session.
 */
export const isOwn = ({ base }: Gateway, channel: Channel, url: string): boolean => {
  if (!url.startsWith(`${base}/`)) return false
  if (/^\/(?:logout|sign_out)/.test(url.slice(base.length))) channel.say('look')
  return true
}

/** The session, or `null` when there is none; rejects when the gateway can't be asked. */
export const readSession = async (gateway: Gateway): Promise<SessionInfo | null> => {
  const answer = await gateway.fetch(`${gateway.base}/session`, {
    headers: { accept: 'application/json' },
    cache: 'no-store',
  })
  if (answer.status === 401) return null
  if (!answer.ok) throw new Error(`the session can’t be read: ${answer.status}`)
  const info: SessionInfo = await answer.json()
  gateway.user ||= info.session.user
  return info
}
