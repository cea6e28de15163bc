import type { TokenEndpointResponse } from 'openid-client'
import { causes } from '../errors.ts'
import type { Log } from '../telemetry/log.ts'
import { unverifiedClaims } from './token-set.ts'

/** Clock differences up to this are not logged. */
const LOGGED_SKEW_MS = 60_000

/** Logs problems in the provider's responses, each kind once. */
export interface Warnings {
  /** Compares the clocks by the `Date` of a response that has just arrived and does not come from a cache. */
  checkDate(response: Response): void
  /** Compares the clocks by the `iat` of an ID token that has just arrived, in seconds since the epoch. */
  checkIssuedAt(iat: number): void
  checkOfflineToken(response: TokenEndpointResponse): void
  /** Checks the response to a token request that had a DPoP proof. */
  checkBinding(tokenType: unknown): void
  /** Explains a refusal of the client if the credentials in these headers differ from the ones that are not encoded. */
  checkBasic(headers: Headers): void
  notePushRefused(error: unknown): void
}

export function createWarnings(log: Log): Warnings {
  let isClockLogged = false
  let isOfflineLogged = false
  let isBindingLogged = false
  let isBasicLogged = false
  let isPushLogged = false

  function compareClocks(providerTime: number): void {
    const skewMs = providerTime - Date.now()
    if (isClockLogged || !(Math.abs(skewMs) > LOGGED_SKEW_MS)) return
    isClockLogged = true
    const facts = { event: 'clock_skew', seconds: Math.round(skewMs / 1000) }
    log.warn(facts, 'the clocks of the provider and this machine differ: synchronize both with NTP')
  }

  return {
    checkDate(response) {
      compareClocks(Date.parse(response.headers.get('date') ?? ''))
    },
    checkIssuedAt(iat) {
      // An earlier `iat` proves nothing, because the provider may return a token that it issued before.
      if (iat * 1000 > Date.now()) compareClocks(iat * 1000)
    },
    checkOfflineToken(response) {
      const isOffline =
        response['refresh_expires_in'] === 0 || unverifiedClaims(response.refresh_token ?? '')['typ'] === 'Offline'
      if (isOfflineLogged || !isOffline) return
      isOfflineLogged = true
      log.warn(
        { event: 'offline_token' },
        'a login returned an offline token, which ends the single sign-on at Keycloak and remains valid after a logout: ' +
          'remove offline_access from provider.scopes',
      )
    },
    notePushRefused(error) {
      if (isPushLogged) return
      isPushLogged = true
      log.warn(
        { event: 'push_refused', cause: causes(error) },
        'the provider refuses pushed authorization requests to this client, so logins send the parameters in the URL',
      )
    },
    checkBinding(tokenType) {
      if (isBindingLogged || String(tokenType).toLowerCase() === 'dpop') return
      isBindingLogged = true
      log.warn(
        { event: 'token_not_bound' },
        'provider.dpop is on, but the provider issued a bearer token; it goes upstream without a proof',
      )
    },
    checkBasic(headers) {
      const credentials = /^Basic (.+)$/.exec(headers.get('authorization') ?? '')?.[1] ?? ''
      if (isBasicLogged || !/[%+]/.test(Buffer.from(credentials, 'base64').toString())) return
      isBasicLogged = true
      log.warn(
        { event: 'basic_refused' },
        'the provider has refused the client; the Basic credentials are form-encoded, as RFC 6749 requires, which ' +
          'changes characters of this client ID or secret: if the provider does not decode them, set ' +
          'provider.tolerate: [basic-unencoded]',
      )
    },
  }
}
