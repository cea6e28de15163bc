import t from 'tap'
import { migrateFiles } from '../../src/migrate/migrate.ts'
import { writeReport, writeYaml } from '../../src/migrate/write.ts'

/** The directives of mod_auth_openidc 2.4.20. */
const directives = `
  OIDCAuthNHeader OIDCAuthRequestParams OIDCBlackListedClaims OIDCCABundlePath OIDCCacheDir OIDCCacheEncrypt
  OIDCCacheFileCleanInterval OIDCCacheShmEntrySizeMax OIDCCacheShmMax OIDCCacheType OIDCCertBoundAccessTokens
  OIDCClaimDelimiter OIDCClaimPrefix OIDCClientContact OIDCClientID OIDCClientJwksUri OIDCClientName OIDCClientSecret
  OIDCClientTokenEndpointCert OIDCClientTokenEndpointKey OIDCClientTokenEndpointKeyPassword OIDCCookie
  OIDCCookieDomain OIDCCookieHTTPOnly OIDCCookiePath OIDCCookieSameSite OIDCCryptoPassphrase OIDCDPoPMode
  OIDCDebugMaskSecrets OIDCDefaultLoggedOutURL OIDCDefaultURL OIDCDiscoverIssuersAllowed OIDCDiscoverURL
  OIDCFilterClaimsExpr OIDCHTTPTimeoutLong OIDCHTTPTimeoutShort OIDCIDTokenAudValues OIDCIDTokenEncryptedResponseAlg
  OIDCIDTokenEncryptedResponseEnc OIDCIDTokenIatSlack OIDCIDTokenSignedResponseAlg OIDCInfoHook
  OIDCJWKSRefreshInterval OIDCLogoutRequestParams OIDCLogoutXFrameOptions OIDCMemCacheConnectionsHMax
  OIDCMemCacheConnectionsMin OIDCMemCacheConnectionsSMax OIDCMemCacheConnectionsTTL OIDCMemCacheServers
  OIDCMetadataDir OIDCMetricsData OIDCMetricsPublish OIDCOAuthAcceptTokenAs OIDCOAuthClientID OIDCOAuthClientSecret
  OIDCOAuthDecryptSharedKeys OIDCOAuthIntrospectionClientAuthBearerToken OIDCOAuthIntrospectionEndpoint
  OIDCOAuthIntrospectionEndpointAuth OIDCOAuthIntrospectionEndpointCert OIDCOAuthIntrospectionEndpointKey
  OIDCOAuthIntrospectionEndpointKeyPassword OIDCOAuthIntrospectionEndpointMethod OIDCOAuthIntrospectionEndpointParams
  OIDCOAuthIntrospectionTokenParamName OIDCOAuthRemoteUserClaim OIDCOAuthSSLValidateServer OIDCOAuthServerMetadataURL
  OIDCOAuthTokenExpiryClaim OIDCOAuthTokenIntrospectionInterval OIDCOAuthVerifyAudience OIDCOAuthVerifyCertFiles
  OIDCOAuthVerifyIssuer OIDCOAuthVerifyJwksUri OIDCOAuthVerifySharedKeys OIDCOutgoingProxy OIDCPKCEMethod
  OIDCPassAccessToken OIDCPassClaimsAs OIDCPassCookies OIDCPassIDTokenAs OIDCPassRefreshToken OIDCPassUserInfoAs
  OIDCPathAuthRequestParams OIDCPathScope OIDCPreservePost OIDCPreservePostTemplates OIDCPrivateKeyFiles OIDCProfile
  OIDCProviderAuthRequestMethod OIDCProviderAuthorizationEndpoint OIDCProviderBackChannelLogoutSupported
  OIDCProviderCheckSessionIFrame OIDCProviderEndSessionEndpoint OIDCProviderIssuer OIDCProviderJwksUri
  OIDCProviderMetadataRefreshInterval OIDCProviderMetadataURL OIDCProviderPushedAuthorizationRequestEndpoint
  OIDCProviderRegistrationEndpointJson OIDCProviderRevocationEndpoint OIDCProviderSignedJwksUri
  OIDCProviderTokenEndpoint OIDCProviderTokenEndpointAuth OIDCProviderTokenEndpointParams OIDCProviderUserInfoEndpoint
  OIDCProviderVerifyCertFiles OIDCPublicKeyFiles OIDCRedirectURI OIDCRedirectURLsAllowed OIDCRedisCacheConnectTimeout
  OIDCRedisCacheDatabase OIDCRedisCachePassword OIDCRedisCacheServer OIDCRedisCacheTimeout OIDCRedisCacheUsername
  OIDCRefreshAccessTokenBeforeExpiry OIDCRemoteUserClaim OIDCRequestObject OIDCResponseMode OIDCResponseType
  OIDCSSLValidateServer OIDCScope OIDCSessionCacheFallbackToCookie OIDCSessionCookieChunkSize
  OIDCSessionInactivityTimeout OIDCSessionMaxDuration OIDCSessionType OIDCStateCookiePrefix OIDCStateInputHeaders
  OIDCStateMaxNumberOfCookies OIDCStateTimeout OIDCStripCookies OIDCTraceParent OIDCUnAuthAction OIDCUnAutzAction
  OIDCUserInfoClaimsExpr OIDCUserInfoEncryptedResponseAlg OIDCUserInfoEncryptedResponseEnc OIDCUserInfoRefreshInterval
  OIDCUserInfoSignedResponseAlg OIDCUserInfoTokenMethod OIDCValidateIssuer OIDCWhiteListedClaims OIDCXForwardedHeaders
`
  .trim()
  .split(/\s+/)

/** The flags of Wonderwall. */
const flags = `
  auto-login auto-login-ignore-paths bind-address cookie.prefix cookie.same-site cookie.secure encryption-key ingress
  log-format log-level metrics-bind-address openid.acr-values openid.audiences openid.client-id openid.client-jwk
  openid.client-secret openid.domain-hint openid.jwks-fallback-alg openid.new-client-auth-jwt-type
  openid.post-logout-redirect-uri openid.provider openid.resource-indicator openid.scopes openid.ui-locales
  openid.well-known-url otel.enabled otel.service-name pprof-enabled probe-bind-address ratelimit.enabled
  ratelimit.logins ratelimit.window redis.address redis.connection-idle-timeout redis.password redis.tls redis.uri
  redis.username session.forward-auth session.forward-auth-set-headers session.inactivity session.inactivity-timeout
  session.max-lifetime shutdown-graceful-period shutdown-wait-before-period sso.domain sso.enabled sso.mode
  sso.server-default-redirect-url sso.server-url sso.session-cookie-name upstream-access-logs upstream-host
  upstream-include-id-token upstream-ip upstream-port
`
  .trim()
  .split(/\s+/)

/** Returns the keys that neither the configuration nor the report names with their lines. */
function unnamed(name: string, lines: readonly string[], keys: readonly string[]): string[] {
  const migration = migrateFiles([{ name, text: lines.join('\n') }])
  const [yaml, report] = [writeYaml(migration), writeReport(migration)]
  t.notMatch(report, /that this command knows/, 'each key has a rule')
  return keys.filter((key) => {
    const line = lines.findIndex((text) => text.includes(key)) + 1
    return !yaml.includes(`${key} (${line})`) && !report.includes(`:${line}: ${key}: `)
  })
}

void t.test('each directive of mod_auth_openidc is carried over, or the report says what happens to it', (t) => {
  t.equal(new Set(directives).size, 146)
  const lines = directives.map((name) => `${name} value`)
  t.same(unnamed('a.conf', lines, directives), [])
  t.end()
})

void t.test('each flag of Wonderwall is carried over, or the report says what happens to it', (t) => {
  t.equal(new Set(flags).size, 56)
  const variables = flags.map((flag) => `WONDERWALL_${flag.toUpperCase().replace(/[^A-Z0-9]/g, '_')}`)
  t.same(
    unnamed(
      'w.env',
      variables.map((name) => `${name}=https://value.example`),
      variables,
    ),
    [],
    'as variables',
  )
  const words = flags.map((flag) => `--${flag}`)
  t.same(
    unnamed(
      'w.sh',
      words.map((word) => `${word}=https://value.example`),
      words,
    ),
    [],
    'as flags',
  )
  t.end()
})
