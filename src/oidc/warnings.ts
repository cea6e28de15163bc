import type { TokenEndpointResponse } from 'openid-client'
import type { Log } from '../telemetry/log.ts'
import { unverifiedClaims } from './unverified-claims.ts'

/** Clocks that are further apart are worth a line in the log, ms. */
const CLOCKS_APART = 60_000

/** What an operator should know of how the provider answers, each told once. */
export interface Warnings {
  /** An answer that came just now, to a call that no cache answers. */
  answered(answer: Response): void
  /** An ID token that came just now; seconds since the epoch. */
  issued(iat: number): void
  /** What a login brought. */
  granted(response: TokenEndpointResponse): void
}

/** Nothing has been told yet. */
export function createWarnings(log: Log): Warnings {
  let clockIsTold = false
  let offlineIsTold = false

  function compare(theirs: number): void {
    const apart = theirs - Date.now()
    if (clockIsTold || !(Math.abs(apart) > CLOCKS_APART)) return
    clockIsTold = true
    const facts = { event: 'clock_skew', seconds: Math.round(apart / 1000) }
    log.warn(facts, 'the provider’s clock and this machine’s differ: set both by NTP')
  }

  return {
    answered(answer) {
      compare(Date.parse(answer.headers.get('date') ?? ''))
    },
    issued(iat) {
      // An old one may have been handed out again.
      if (iat * 1000 > Date.now()) compare(iat * 1000)
    },
    granted(response) {
      const isOffline =
        response['refresh_expires_in'] === 0 || unverifiedClaims(response.refresh_token ?? '')['typ'] === 'Offline'
      if (offlineIsTold || !isOffline) return
      offlineIsTold = true
      log.warn(
        { event: 'offline_token' },
        'a login brought an offline token, which ends the single sign-on at Keycloak and outlives its logout: take ' +
          'offline_access out of provider.scopes',
      )
    },
  }
}
