/** What `session()` gives. Seconds are -1 and times `null` where something is not known. */
export type SessionInfo = {
  readonly session: {
    readonly created_at: string
    readonly ends_at: string
    /** `null` without an idle time-out. */
    readonly timeout_at: string | null
    readonly ends_in_seconds: number
    readonly timeout_in_seconds: number
    readonly active: boolean
    /** Another one for another user; says nothing else. */
    readonly user: string
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
  /** Where the gateway is configured to check the provider's session. */
  readonly provider?: { readonly check_every_seconds: number }
}

/** The end is near: seconds that are left, and a way to put it off; it resolves with whether that worked. */
export type Expiring = { readonly seconds: number; readonly extend: () => Promise<boolean> }

declare const gatehouseFetch: typeof globalThis.fetch
/** Like `window.fetch`; when a login is needed it gets one, then repeats the request with its body. */
export { gatehouseFetch as fetch }

/** What `GET session` says, or `null` without a session. Rejects when the gateway can't be asked. */
export declare const session: () => Promise<SessionInfo | null>

/** Leaves for the login and comes back to this page. */
export declare const login: () => void

/** Ends the session, in all tabs and at the provider. */
export declare const logout: () => void

/** Calls back before the session ends, with the seconds left and a way to extend it. Returns how to stop. */
export declare const onExpiring: (listener: (expiring: Expiring) => void) => () => void
