/** The body of `GET session`. Seconds are -1 and times are `null` where a value is unknown. */
export interface SessionInfo {
  readonly session: {
    readonly created_at: string
    readonly ends_at: string
    /** `null` without an idle timeout. */
    readonly timeout_at: string | null
    readonly ends_in_seconds: number
    /** -1 without an idle timeout. */
    readonly timeout_in_seconds: number
    readonly active: boolean
    /** An opaque value that differs between users. */
    readonly user: string
  }
  readonly tokens: {
    /** `null` if the expiry is unknown. */
    readonly expire_at: string | null
    /** -1 if the expiry is unknown. */
    readonly expire_in_seconds: number
    readonly refreshed_at: string
    readonly next_auto_refresh_in_seconds: number
    readonly refresh_cooldown: boolean
    readonly refresh_cooldown_seconds: number
    readonly refreshable: boolean
    readonly last_refresh_error: string | null
  }
  /**
   * With several providers, the name of the session's provider. With one provider, an object that is present if
   * `provider.sessionCheck` is set.
   */
  readonly provider?: string | { readonly check_every_seconds: number }
  /** With several providers, present if `sessionCheck` is set for the session's provider. */
  readonly check_every_seconds?: number
}

/** The session ends in `seconds`. `extend` resolves with whether the session could be extended. */
export interface Expiring {
  readonly seconds: number
  readonly extend: () => Promise<boolean>
}
