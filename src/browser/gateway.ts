/** The gateway as a page sees it: where its URLs are, and what its answers look like. */
export type Gateway = {
  /** `https://…/oauth2` */
  readonly base: string
  /** The browser's own fetch, whoever has wrapped it since. */
  readonly fetch: typeof fetch
}

/** What `GET session` says. */
export type SessionInfo = {
  readonly session: {
    readonly created_at: string
    readonly ends_at: string
    readonly timeout_at: string | null
    readonly ends_in_seconds: number
    /** -1 without an idle time-out. */
    readonly timeout_in_seconds: number
    readonly active: boolean
  }
  readonly tokens: {
    readonly expire_at: string | null
    readonly expire_in_seconds: number
    readonly refreshed_at: string
    readonly next_auto_refresh_in_seconds: number
    readonly refresh_cooldown: boolean
    readonly refresh_cooldown_seconds: number
    readonly refreshable: boolean
    readonly last_refresh_error: string | null
  }
  readonly provider?: { readonly check_every_seconds: number }
}

const LOGIN_CODES = ['login_required', 'session_expired', 'step_up_required', 'upstream_login_required']

/** Whether a 401 is the gateway's, and a login would help. */
export const wantsLogin = (status: number, header: (name: string) => string | null): boolean => (
  status === 401 && LOGIN_CODES.includes(header('Gatehouse') ?? '')
)

/** The session, or `null` when there is none; rejects when the gateway can't be asked. */
export const readSession = async ({ base, fetch: send }: Gateway): Promise<SessionInfo | null> => {
  const answer = await send(`${base}/session`, { headers: { accept: 'application/json' }, cache: 'no-store', credentials: 'same-origin' })
  if (answer.status === 401) return null
  if (!answer.ok) throw new Error(`the session can’t be read: ${answer.status}`)
  const info: SessionInfo = await answer.json()
  return info
}
