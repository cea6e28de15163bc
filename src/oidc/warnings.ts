import type { TokenEndpointResponse } from 'openid-client'
import type { Log } from '../telemetry/log.ts'
import { unverifiedClaims } from './token-set.ts'

/** A larger difference between the clocks is logged. */
const LOGGED_SKEW_MS = 60_000

/** Logs what an operator should know about the provider's responses, each warning once. */
export interface Warnings {
  /** Takes a response that has just arrived and that no cache can have given. */
  answered(answer: Response): void
  /** Takes the `iat` of an ID token that has just arrived, in seconds since the epoch. */
  issued(iat: number): void
  /** Takes the token response of a login. */
  granted(response: TokenEndpointResponse): void
}

/** Creates the warnings for one process. */
export function createWarnings(log: Log): Warnings {
  let isClockLogged = false
  let isOfflineLogged = false

  function compare(theirs: number): void {
    const apart = theirs - Date.now()
    if (isClockLogged || !(Math.abs(apart) > LOGGED_SKEW_MS)) return
    isClockLogged = true
    const facts = { event: 'clock_skew', seconds: Math.round(apart / 1000) }
    log.warn(facts, 'the provider’s clock and this machine’s differ: set both by NTP')
  }

  return {
    answered(answer) {
      compare(Date.parse(answer.headers.get('date') ?? ''))
    },
    issued(iat) {
      // An earlier `iat` proves nothing: the provider may have issued the same token again.
      if (iat * 1000 > Date.now()) compare(iat * 1000)
    },
    granted(response) {
      const isOffline =
        response['refresh_expires_in'] === 0 || unverifiedClaims(response.refresh_token ?? '')['typ'] === 'Offline'
      if (isOfflineLogged || !isOffline) return
      isOfflineLogged = true
      log.warn(
        { event: 'offline_token' },
        'a login brought an offline token, which ends the single sign-on at Keycloak and outlives its logout: take ' +
          'offline_access out of provider.scopes',
      )
    },
  }
}
