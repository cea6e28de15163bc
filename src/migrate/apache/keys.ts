import {
  allowPlainHttp,
  has,
  markRouteSource,
  type Migration,
  put,
  putEndpoint,
  putMetadataUrl,
  putSessionKey,
  remark,
  secretVariableFor,
} from '../migration.ts'
import { always, becomes, combined, copied, noEquivalent, type Rule, type Rules, unavailable } from '../rule.ts'
import { argumentsOf, duration, flagOf, literal, type Setting, textOf } from '../setting.ts'

const PLAIN_KEYS = 'the keys come from the jwks_uri of the discovery document or from provider.endpoints.jwks'
const ENCRYPTED_TOKENS = "the algorithm is the provider's choice; the keys of OIDCPrivateKeyFiles decrypt the tokens"
const CLIENT_AUTHENTICATIONS = [
  'client_secret_basic',
  'client_secret_post',
  'client_secret_jwt',
  'private_key_jwt',
  'none',
]
const REGISTERED_CLIENT = 'register the client at the provider: set provider.clientId and its secret'
const CACHE = 'sessions are in memory or in Redis (session.store); there is no cache to size'
const INTROSPECTION =
  'only tokens that are not JWTs are sent there; JWTs are verified with the keys of the provider. An answer is kept for a ' +
  'minute'
const CLIENT_CERTIFICATE = 'set provider.clientCertificate, which the gateway presents at each endpoint of the provider'
const VERIFIED_TOKENS =
  'carried over together with OIDCOAuthVerifyAudience if AuthType is oauth20 or auth-openidc and the issuer is not the ' +
  'provider, whose tokens are accepted anyway; without OIDCOAuthVerifyIssuer, add issuer and jwksUri to bearer.issuers'
const ONE_PROVIDER =
  'providers of other files are not carried over: write each as an entry of providers, and register callback/NAME at each ' +
  '(docs/providers.md)'
const LOGIN_STATE =
  'the data of a login is in its encrypted state parameter, and all tabs share one small cookie; nothing to set'

function endpoint(name: string): Rule {
  return becomes(`provider.endpoints.${name}`, (setting, migration) => {
    putEndpoint(migration, name, setting)
  })
}

/** Creates a rule for a key of the resource server, which in Gatehouse is the same client of the same provider. */
function ofResourceServer(sameAs: string, target: string, apply: Rule['apply']): Rule {
  const note = `the gateway uses one client for logins and introspection: the value of ${sameAs} counts if both are given`
  return {
    target,
    note,
    apply(setting, migration) {
      const other = migration.effective.get(sameAs)
      if (other === undefined) apply(setting, migration)
      else if (textOf(other) === textOf(setting)) remark(migration, 'builtin', setting, `it is the value of ${sameAs}`)
      else remark(migration, 'differs', setting, note)
    },
  }
}

export const modAuthOpenidc: Rules = {
  OIDCProviderMetadataURL: becomes(
    'provider.issuer',
    (setting, migration) => {
      putMetadataUrl(migration, setting, migration.effective.get('OIDCProviderIssuer'))
    },
    'the issuer, without /.well-known/openid-configuration, exactly as the discovery document spells it; a URL that is ' +
      'not below the issuer becomes provider.metadataUrl',
  ),
  OIDCProviderIssuer: becomes('provider.issuer', (setting, migration) => {
    put(migration, 'provider.issuer', literal(textOf(setting)), setting)
    allowPlainHttp(migration, textOf(setting), setting)
  }),
  OIDCProviderAuthorizationEndpoint: endpoint('authorization'),
  OIDCProviderTokenEndpoint: endpoint('token'),
  OIDCProviderUserInfoEndpoint: endpoint('userinfo'),
  OIDCProviderJwksUri: endpoint('jwks'),
  OIDCProviderSignedJwksUri: noEquivalent(PLAIN_KEYS),
  OIDCProviderVerifyCertFiles: noEquivalent(PLAIN_KEYS),
  OIDCProviderCheckSessionIFrame: noEquivalent('provider.sessionCheck: 5m asks the provider with prompt=none'),
  OIDCProviderEndSessionEndpoint: endpoint('endSession'),
  OIDCProviderRevocationEndpoint: endpoint('revocation'),
  OIDCProviderPushedAuthorizationRequestEndpoint: endpoint('pushedAuthorization'),
  OIDCProviderBackChannelLogoutSupported: noEquivalent(
    'back-channel logout is always available: register …/oauth2/logout/backchannel at the provider',
    'builtin',
  ),
  OIDCProviderMetadataRefreshInterval: becomes('provider.metadataAge', (setting, migration) => {
    const ms = millisecondsOf(setting)
    if (ms === null || ms === 0) remark(migration, 'differs', setting, 'the document is read again every 12 hours')
    else put(migration, 'provider.metadataAge', duration(ms), setting)
  }),
  OIDCJWKSRefreshInterval: noEquivalent('keys are fetched when an unknown key is used', 'builtin'),
  OIDCProviderRegistrationEndpointJson: noEquivalent(REGISTERED_CLIENT),
  OIDCClientName: noEquivalent(REGISTERED_CLIENT),
  OIDCClientContact: noEquivalent(REGISTERED_CLIENT),
  OIDCClientJwksUri: noEquivalent('register the public key at the provider; the gateway does not publish it'),
  OIDCMetadataDir: noEquivalent(ONE_PROVIDER, 'security'),
  OIDCDiscoverURL: noEquivalent(ONE_PROVIDER),
  OIDCDiscoverIssuersAllowed: noEquivalent(ONE_PROVIDER),
  OIDCProviderTokenEndpointParams: noEquivalent(
    'the token request has no additional parameters: configure the provider not to need them',
  ),
  OIDCProviderTokenEndpointAuth: becomes('provider.clientAuthentication', (setting, migration) => {
    const [method = '', algorithm = ''] = textOf(setting).split(':')
    if (!CLIENT_AUTHENTICATIONS.includes(method)) {
      const instead = `${CLIENT_AUTHENTICATIONS.join(', ')} are supported: register one of them`
      return remark(migration, 'gap', setting, instead)
    }
    put(migration, 'provider.clientAuthentication', method, setting)
    // A key of another type than RSA has one algorithm.
    if (method === 'private_key_jwt' && /^(?:PS|RS(?!256$))/.test(algorithm)) {
      const what = `a PEM key does not name ${algorithm}: set provider.privateKey to the key as a JWK with this alg`
      remark(migration, 'differs', setting, what)
    }
  }),
  OIDCProviderAuthRequestMethod: becomes('provider.pushedAuthorization', (setting, migration) => {
    if (textOf(setting).toUpperCase() === 'PAR') put(migration, 'provider.pushedAuthorization', 'on', setting)
    else
      remark(
        migration,
        'builtin',
        setting,
        'the browser is redirected to the provider, with a pushed request if the provider announces support',
      )
  }),
  OIDCClientID: copied('provider.clientId'),
  OIDCClientSecret: becomes('provider.clientSecret', (setting, migration) => {
    put(migration, 'provider.clientSecret', secretVariableFor(migration, setting, 'OIDC_CLIENT_SECRET'), setting)
    if (textOf(setting).startsWith('exec:'))
      remark(migration, 'differs', setting, 'programs are not run: set the secret in a variable, or as ${file:/path}')
  }),
  OIDCPrivateKeyFiles: becomes('provider.privateKey', (setting, migration) => {
    const files = keyFilesOf(setting)
    const [signing, ...others] = files.filter(({ use }) => use !== 'enc')
    if (signing !== undefined) {
      put(migration, 'provider.privateKey', `\${file:${signing.file}}`, setting)
      if (signing.id !== null) put(migration, 'provider.keyId', literal(signing.id), setting)
    }
    const decrypting = files.filter(({ use }) => use === 'enc' || (use === null && receivesEncrypted(migration)))
    if (decrypting.length > 0)
      put(
        migration,
        'provider.idTokenKeys',
        decrypting.map(({ file }) => `\${file:${file}}`),
        setting,
      )
    if (others.length > 0) remark(migration, 'differs', setting, 'only the first key signs client assertions')
  }),
  OIDCPublicKeyFiles: becomes(
    'provider.certificate',
    (setting, migration) => {
      const certificate = keyFilesOf(setting).find(
        ({ use, file }) => use !== 'enc' && /\.(?:crt|cer)$|cert/i.test(file),
      )
      const keys = migration.effective.get('OIDCPrivateKeyFiles')
      const signs = keys !== undefined && keyFilesOf(keys).some(({ use }) => use !== 'enc')
      if (certificate === undefined || !signs)
        return remark(migration, 'gap', setting, 'register the public key instead')
      put(migration, 'provider.certificate', `\${file:${certificate.file}}`, setting)
    },
    'carried over if the file is a certificate; client assertions then have its thumbprints, as before',
  ),
  OIDCClientTokenEndpointCert: becomes('provider.clientCertificate', (setting, migration) => {
    putClientCertificate(migration, 'certFile', setting, 'OIDCClientTokenEndpointKey')
  }),
  OIDCClientTokenEndpointKey: becomes('provider.clientCertificate', (setting, migration) => {
    putClientCertificate(migration, 'keyFile', setting, 'OIDCClientTokenEndpointCert')
  }),
  OIDCClientTokenEndpointKeyPassword: noEquivalent('keys with a passphrase are not supported: protect the file'),
  OIDCScope: becomes('provider.scopes', (setting, migration) => {
    const scopes = argumentsOf(setting)
      .join(' ')
      .split(/\s+/)
      .filter((scope) => scope !== '')
    put(migration, 'provider.scopes', [...new Set(['openid', ...scopes.map(literal)])], setting)
    if (!scopes.includes('offline_access')) {
      remark(
        migration,
        'differs',
        setting,
        'without offline_access most providers issue no refresh token, and the session ends with the access token if ' +
          'routes need it',
      )
    }
  }),
  OIDCAuthRequestParams: becomes('provider.authorizationParameters', (setting, migration) => {
    for (const [name, value] of new URLSearchParams(textOf(setting)))
      put(migration, `provider.authorizationParameters.${name}`, literal(value), setting)
  }),
  OIDCPathScope: noEquivalent('let the application answer insufficient_scope, and the gateway requests the scope'),
  OIDCPathAuthRequestParams: noEquivalent(
    'parameters are the same for every login; only require.acr and require.maxAge depend on the route',
  ),
  OIDCRequestObject: becomes('provider.requestObjects', (setting, migration) => {
    const instead = 'use provider.pushedAuthorization, which also hides the request from the browser'
    if (!hasSigningKey(migration)) return remark(migration, 'gap', setting, instead)
    put(migration, 'provider.requestObjects', 'signed', setting)
    remark(migration, 'differs', setting, 'all parameters are in the request object, which provider.privateKey signs')
  }),
  OIDCResponseType: becomes('built in: code', (setting, migration) => {
    remark(
      migration,
      textOf(setting) === 'code' ? 'builtin' : 'security',
      setting,
      'only the code flow with PKCE is supported: allow it for this client',
    )
  }),
  OIDCResponseMode: becomes('provider.responseMode', (setting, migration) => {
    if (['query', 'form_post'].includes(textOf(setting)))
      put(migration, 'provider.responseMode', textOf(setting), setting)
    else remark(migration, 'security', setting, 'a response in the fragment is not supported: query is used')
  }),
  OIDCPKCEMethod: becomes('built in: S256', (setting, migration) => {
    remark(migration, textOf(setting) === 'S256' ? 'builtin' : 'security', setting, 'PKCE is always S256 here')
  }),
  OIDCProfile: noEquivalent('set the keys of the FAPI 2.0 profile yourself: docs/tokens.md has them'),
  OIDCDPoPMode: becomes(
    'provider.dpop',
    (setting, migration) => {
      put(migration, 'provider.dpop', textOf(setting) === 'off' ? 'off' : 'on', setting)
    },
    'a bearer token is accepted if the provider issues one; the application receives a proof with each token',
  ),
  OIDCCertBoundAccessTokens: noEquivalent('tokens are not bound to a certificate', 'security'),
  OIDCValidateIssuer: always(true, 'the issuer is always verified'),
  OIDCIDTokenIatSlack: becomes(
    'provider.clockTolerance',
    (setting, migration) => {
      const ms = millisecondsOf(setting)
      if (ms === null)
        remark(migration, 'gap', setting, 'it is not a number of seconds: provider.clockTolerance stays at 2m')
      else put(migration, 'provider.clockTolerance', duration(ms, 0), setting)
    },
    'the tolerance also applies to exp and nbf',
  ),
  OIDCIDTokenSignedResponseAlg: noEquivalent(
    'signatures are checked with the keys and the algorithm that the provider announces',
  ),
  OIDCIDTokenAudValues: noEquivalent('the audience of an ID token must be this client'),
  OIDCIDTokenEncryptedResponseAlg: noEquivalent(ENCRYPTED_TOKENS),
  OIDCIDTokenEncryptedResponseEnc: noEquivalent(ENCRYPTED_TOKENS),
  OIDCUserInfoSignedResponseAlg: noEquivalent(
    'signatures are checked with the keys and the algorithm that the provider announces',
  ),
  OIDCUserInfoEncryptedResponseAlg: noEquivalent(ENCRYPTED_TOKENS),
  OIDCUserInfoEncryptedResponseEnc: noEquivalent(ENCRYPTED_TOKENS),
  OIDCUserInfoTokenMethod: noEquivalent('the token is in the Authorization header', 'builtin'),
  OIDCUserInfoRefreshInterval: becomes(
    'provider.userinfo',
    (setting, migration) => {
      put(migration, 'provider.userinfo', true, setting)
    },
    'userinfo is called at the login and at each refresh',
  ),
  OIDCUserInfoClaimsExpr: noEquivalent('claims are not filtered: restrict them at the provider'),
  OIDCFilterClaimsExpr: noEquivalent('claims are not filtered: restrict them at the provider'),
  OIDCBlackListedClaims: noEquivalent('claims stay in the gateway; only those in headers.set are sent upstream'),
  OIDCWhiteListedClaims: noEquivalent('claims stay in the gateway; only those in headers.set are sent upstream'),
  OIDCSSLValidateServer: always(true, "the provider's certificate is always verified: set provider.caFile"),
  OIDCOAuthSSLValidateServer: always(true, "the provider's certificate is always verified: set provider.caFile"),
  OIDCCABundlePath: copied('provider.caFile', 'these certificates are trusted in addition to the default ones'),
  OIDCHTTPTimeoutLong: becomes('provider.timeout', (setting, migration) => {
    const ms = millisecondsOf(setting)
    if (ms !== null && ms > 0) put(migration, 'provider.timeout', duration(ms), setting)
    else remark(migration, 'gap', setting, 'it is not a number of seconds: provider.timeout stays at 10s')
  }),
  OIDCHTTPTimeoutShort: noEquivalent('provider.timeout applies to every call'),
  OIDCOutgoingProxy: becomes('provider.proxy', (setting, migration) => {
    const [address = '', credentials] = argumentsOf(setting)
    put(migration, 'provider.proxy', literal(address.includes('://') ? address : `http://${address}`), setting)
    if (credentials !== undefined)
      remark(migration, 'todo', setting, 'add the credentials: http://user:password@host:port, with a variable')
  }),
  OIDCPassCookies: noEquivalent("the browser's cookies are not sent to the provider", 'builtin'),

  OIDCRedirectURI: combined(
    'publicUrl, loginHost',
    'the new redirect URI is …/oauth2/callback: register it at the provider; a host other than that of ServerName ' +
      'becomes loginHost',
  ),
  OIDCDefaultURL: noEquivalent('a login without a return URL ends at /'),
  OIDCDefaultLoggedOutURL: noEquivalent(
    'after logout the gateway shows a page, or redirects to the path in redirect of GET logout',
  ),
  OIDCRedirectURLsAllowed: noEquivalent('redirects stay on their origin', 'builtin'),
  OIDCLogoutRequestParams: noEquivalent('the end_session request has id_token_hint, the return URL and a state'),
  OIDCLogoutXFrameOptions: noEquivalent(
    'front-channel logout works in a frame of the provider; nothing to set',
    'builtin',
  ),
  OIDCInfoHook: noEquivalent('use GET /oauth2/session and GET /oauth2/userinfo; they never return a token'),
  OIDCXForwardedHeaders: becomes(
    'trustedProxies',
    (setting, migration) => {
      if (textOf(setting).toLowerCase() === 'none')
        return remark(migration, 'builtin', setting, 'forwarded headers are ignored')
      if (has(migration, 'trustedProxies')) return markRouteSource(migration, setting)
      put(migration, 'trustedProxies', [], setting)
      remark(
        migration,
        'security',
        setting,
        'mod_auth_openidc trusted these headers of every client; the gateway trusts none until you list the addresses ' +
          'of the proxies in front under trustedProxies',
      )
    },
    'list the addresses of the proxies in front: forwarded headers of other clients are ignored',
  ),

  OIDCCryptoPassphrase: becomes(
    'session.keys',
    (setting, migration) => {
      putSessionKey(migration, setting)
    },
    'a key of 32 bytes in base64: create one with gatehouse keygen; all users log in again',
  ),
  OIDCSessionInactivityTimeout: becomes('session.idleTimeout', (setting, migration) => {
    const ms = millisecondsOf(setting)
    if (ms !== null && ms > 0) put(migration, 'session.idleTimeout', duration(ms), setting)
    else remark(migration, 'gap', setting, 'it is not a number of seconds: session.idleTimeout stays at 30m')
  }),
  OIDCSessionMaxDuration: becomes(
    'session.lifetime',
    (setting, migration) => {
      const ms = millisecondsOf(setting)
      if (ms === 0) put(migration, 'session.endWithIdToken', true, setting)
      else if (ms !== null) put(migration, 'session.lifetime', duration(ms), setting)
      else remark(migration, 'gap', setting, 'it is not a number of seconds: session.lifetime stays at 10h')
    },
    '',
  ),
  OIDCSessionType: becomes('session.store', (setting, migration) => {
    if (textOf(setting).startsWith('client-cookie'))
      remark(migration, 'differs', setting, 'tokens are never in a cookie: sessions are in session.store')
    else remark(migration, 'builtin', setting, 'sessions are in session.store')
    if (!textOf(setting).endsWith(':persistent')) put(migration, 'session.cookie.persistent', false, setting)
  }),
  OIDCSessionCacheFallbackToCookie: unavailable(
    'while Redis is unavailable, sessions in memory stay valid for session.outageGrace',
    'gap',
  ),
  OIDCSessionCookieChunkSize: noEquivalent('there is one small cookie', 'builtin'),
  OIDCCookie: becomes(
    'session.cookie.name',
    (setting, migration) => {
      put(migration, 'session.cookie.name', literal(textOf(setting).replace(/^__(host|secure)-/i, '')), setting)
    },
    'with https, the prefix __Host- is added',
  ),
  OIDCCookieDomain: becomes(
    'session.cookie.domain',
    (setting, migration) => {
      put(migration, 'session.cookie.domain', literal(textOf(setting)), setting)
    },
    'every host under the domain gets the cookie, which loses the __Host- prefix',
  ),
  OIDCCookiePath: becomes(
    'session.cookie.path',
    (setting, migration) => {
      const path = cookiePathOf(migration)
      if (path === null) {
        const plain = textOf(setting) === '/'
        return remark(migration, plain ? 'builtin' : 'gap', setting, plain ? 'it is the default' : PLAIN_PATH)
      }
      put(migration, 'session.cookie.path', path, setting)
      put(migration, 'basePath', `${path}/oauth2`, setting)
    },
    "the gateway's own URLs are below it: basePath is …/oauth2",
  ),
  OIDCCookieHTTPOnly: always(true, 'the cookie is always HttpOnly'),
  OIDCCookieSameSite: becomes('session.cookie.sameSite', (setting, migration) => {
    const given = textOf(setting).toLowerCase()
    if (given === 'disabled') return remark(migration, 'differs', setting, 'the cookie always has SameSite: lax')
    put(
      migration,
      'session.cookie.sameSite',
      given === 'strict' ? 'strict' : ['off', 'none'].includes(given) ? 'none' : 'lax',
      setting,
    )
  }),
  OIDCStripCookies: noEquivalent("the gateway's cookies never reach the upstream", 'builtin'),
  OIDCStateTimeout: noEquivalent(LOGIN_STATE),
  OIDCStateMaxNumberOfCookies: noEquivalent(LOGIN_STATE),
  OIDCStateCookiePrefix: noEquivalent(LOGIN_STATE),
  OIDCStateInputHeaders: noEquivalent(LOGIN_STATE),
  OIDCRefreshAccessTokenBeforeExpiry: becomes('session.refreshBefore', (setting, migration) => {
    const ms = millisecondsOf(setting)
    if (ms !== null && ms > 0) put(migration, 'session.refreshBefore', duration(ms), setting)
    else remark(migration, 'gap', setting, 'it is not a number of seconds: session.refreshBefore stays at 50%')
    if (argumentsOf(setting).length > 1)
      remark(
        migration,
        'differs',
        setting,
        'a failed refresh does not end the session while the token is valid, unless the provider rejects the refresh',
      )
  }),
  OIDCCacheType: combined('session.store', 'redis stays Redis; other types become `memory:`'),
  OIDCRedisCacheServer: combined('session.store'),
  OIDCRedisCacheDatabase: combined('session.store'),
  OIDCRedisCacheUsername: copied('session.redis.username'),
  OIDCRedisCachePassword: becomes('session.redis.password', (setting, migration) => {
    put(migration, 'session.redis.password', secretVariableFor(migration, setting, 'REDIS_PASSWORD'), setting)
  }),
  OIDCRedisCacheConnectTimeout: noEquivalent(CACHE),
  OIDCRedisCacheTimeout: noEquivalent(CACHE),
  OIDCCacheShmMax: noEquivalent('session.store: memory:?max=N'),
  OIDCCacheShmEntrySizeMax: noEquivalent(CACHE),
  OIDCCacheDir: noEquivalent(CACHE),
  OIDCCacheFileCleanInterval: noEquivalent(CACHE),
  OIDCMemCacheServers: noEquivalent(CACHE),
  OIDCMemCacheConnectionsMin: noEquivalent(CACHE),
  OIDCMemCacheConnectionsSMax: noEquivalent(CACHE),
  OIDCMemCacheConnectionsHMax: noEquivalent(CACHE),
  OIDCMemCacheConnectionsTTL: noEquivalent(CACHE),
  OIDCCacheEncrypt: always(true, 'the gateway always encrypts what it stores in Redis'),

  OIDCClaimPrefix: combined('routes[].headers.set', 'the header names start with the prefix'),
  OIDCClaimDelimiter: noEquivalent('items of a list are joined with a comma; a comma inside an item becomes %2C'),
  OIDCPassClaimsAs: combined(
    'routes[].headers.set',
    'claims are passed as headers only; none and latin1 become encoding: utf-8, and base64url becomes encoding: base64',
  ),
  OIDCPassIDTokenAs: combined(
    'routes[].headers.set',
    'serialized becomes {idToken}; payload has no equivalent, because headers.set sends single claims',
  ),
  OIDCPassUserInfoAs: combined(
    'routes[].headers.set, assertion',
    'signed_jwt becomes an assertion of the gateway; json and jwt have no equivalent',
  ),
  OIDCPassAccessToken: combined('routes[].token'),
  OIDCPassRefreshToken: unavailable('the refresh token does not leave the gateway'),
  OIDCRemoteUserClaim: combined(
    'routes[].headers.set',
    'the claim is sent in the header of OIDCAuthNHeader or of a RequestHeader that sets the user, ' +
      'otherwise as X-Remote-User; a regular expression for the claim has no equivalent',
  ),
  OIDCAuthNHeader: combined('routes[].headers.set'),
  OIDCPreservePost: becomes(
    'routes[].preservePost',
    (setting, migration) => {
      migration.routeDefaults.preservePost = flagOf(setting) === true
      markRouteSource(migration, setting)
    },
    'it is on by default; the form is kept in the browser tab',
  ),
  OIDCHTMLErrorTemplate: noEquivalent('set pages for the words, the logo and the colours of the error pages'),
  OIDCReturn401: noEquivalent('set challenge: "401" on routes whose clients want a 401 in place of a redirect'),
  OIDCPreservePostTemplates: noEquivalent("the pages are the gateway's own"),
  OIDCUnAuthAction: combined(
    'routes[].challenge, access',
    'the value pass becomes access: optional if the section only has Require valid-user; an expression ' +
      'has no equivalent, because the kind of request decides between a redirect and a 401',
  ),
  OIDCUnAutzAction: noEquivalent('a user without access gets 403; require.acr requests a stronger login'),
  OIDCTraceParent: noEquivalent('traceparent is sent upstream', 'builtin'),
  OIDCDebugMaskSecrets: always(true, 'logs never contain tokens or secrets'),
  OIDCMetricsData: noEquivalent('use GET /metrics on the admin listener'),
  OIDCMetricsPublish: noEquivalent('use GET /metrics on the admin listener'),

  OIDCOAuthClientID: ofResourceServer('OIDCClientID', 'provider.clientId', (setting, migration) => {
    put(migration, 'provider.clientId', literal(textOf(setting)), setting)
  }),
  OIDCOAuthClientSecret: ofResourceServer('OIDCClientSecret', 'provider.clientSecret', (setting, migration) => {
    put(migration, 'provider.clientSecret', secretVariableFor(migration, setting, 'OIDC_CLIENT_SECRET'), setting)
  }),
  OIDCOAuthServerMetadataURL: ofResourceServer('OIDCProviderMetadataURL', 'provider.issuer', (setting, migration) => {
    putMetadataUrl(migration, setting)
  }),
  OIDCOAuthIntrospectionEndpoint: becomes(
    'provider.endpoints.introspection',
    (setting, migration) => {
      putEndpoint(migration, 'introspection', setting)
      remark(migration, 'differs', setting, INTROSPECTION)
    },
    INTROSPECTION,
  ),
  OIDCOAuthIntrospectionEndpointAuth: noEquivalent(
    'the gateway authenticates there as at the token endpoint: set provider.clientAuthentication',
  ),
  OIDCOAuthIntrospectionEndpointMethod: noEquivalent('the gateway sends a POST, as RFC 7662 requires', 'differs'),
  OIDCOAuthIntrospectionEndpointParams: noEquivalent('the request has no additional parameters'),
  OIDCOAuthIntrospectionEndpointCert: noEquivalent(CLIENT_CERTIFICATE),
  OIDCOAuthIntrospectionEndpointKey: noEquivalent(CLIENT_CERTIFICATE),
  OIDCOAuthIntrospectionEndpointKeyPassword: noEquivalent('decrypt the key, and set provider.clientCertificate'),
  OIDCOAuthIntrospectionClientAuthBearerToken: noEquivalent(
    'the gateway authenticates as its client: register one at the provider that may ask about tokens',
  ),
  OIDCOAuthIntrospectionTokenParamName: noEquivalent('the parameter is token, as RFC 7662 requires'),
  OIDCOAuthTokenIntrospectionInterval: noEquivalent('an answer is kept for a minute, and not past exp', 'differs'),
  OIDCOAuthTokenExpiryClaim: noEquivalent('the expiry is exp, in seconds since 1970, as RFC 7662 requires'),
  OIDCOAuthVerifyJwksUri: combined('routes[].bearer.issuers[].jwksUri', VERIFIED_TOKENS),
  OIDCOAuthVerifySharedKeys: noEquivalent(
    'tokens with a symmetric signature are rejected: let the issuer sign with a key pair',
  ),
  OIDCOAuthVerifyCertFiles: noEquivalent('publish the keys as a JWK set, and set bearer.issuers[].jwksUri'),
  OIDCOAuthDecryptSharedKeys: noEquivalent('encrypted tokens are sent to the introspection endpoint'),
  OIDCOAuthVerifyIssuer: combined('routes[].bearer.issuers', VERIFIED_TOKENS),
  OIDCOAuthVerifyAudience: combined('routes[].bearer.audience', 'carried over if AuthType is oauth20 or auth-openidc'),
  OIDCOAuthAcceptTokenAs: noEquivalent('tokens are accepted only in the Authorization header'),
  OIDCOAuthRemoteUserClaim: noEquivalent(
    'headers.set sends the claims of a token as it sends those of a session: use a claim that both have',
  ),

  AuthType: combined(
    'routes[].access',
    'openid-connect becomes required; oauth20 and auth-openidc also accept bearer tokens',
  ),
  Require: combined(
    'routes[].require',
    'valid-user, user, claim, ip, local, method and all are translated, with not, RequireAll, RequireAny and RequireNone; ' +
      'users who met another requirement, such as claims_expr, host or expr, are not let in until you decide. claim ' +
      'NAME~REGEX becomes values with * if they match the same values or fewer: an unescaped dot counts as a dot',
  ),
  RemoteIPHeader: combined(
    'trustedProxies',
    'only X-Forwarded-For, together with the addresses of the proxies; otherwise no network is carried over',
  ),
  RemoteIPInternalProxy: combined('trustedProxies'),
  RemoteIPTrustedProxy: combined('trustedProxies'),
  RequestHeader: combined(
    'routes[].headers',
    'a header set from claims, the user or fixed text becomes headers.set; any other header is removed from client ' +
      'requests (headers.remove) and listed under SECURITY',
  ),
  AuthName: noEquivalent("the pages are the gateway's own", 'builtin'),
  ServerName: combined('publicUrl'),
  ServerAlias: combined('publicUrl'),
  ProxyPass: combined(
    'routes[].upstream',
    'a different path at the upstream becomes stripPrefix or rewritePrefix; with !, no user is let in to ' +
      'the path until you decide',
  ),
  ProxyPreserveHost: becomes('routes[].upstreamHost', (setting, migration) => {
    if (flagOf(setting) === false) markRouteSource(migration, setting)
    else remark(migration, 'builtin', setting, 'the upstream receives the Host that the browser sends')
  }),
  SSLCertificateFile: noEquivalent(
    'a proxy in front can keep TLS: list its address under trustedProxies; otherwise set tls.certFile',
    'todo',
  ),
  SSLCertificateKeyFile: noEquivalent(
    'a proxy in front can keep TLS: list its address under trustedProxies; otherwise set tls.keyFile',
    'todo',
  ),
}

const PLAIN_PATH = 'a path of the cookie has only letters, digits, ., _, ~ and -: the cookie has the path /'

/** Returns the path of the cookie without a trailing slash, or `null` if it is `/` or cannot be carried over. */
export function cookiePathOf(migration: Migration): string | null {
  const setting = migration.effective.get('OIDCCookiePath')
  const path = setting === undefined ? '' : textOf(setting).replace(/\/$/, '')
  return /^(\/[\w.~-]+)+$/.test(path) ? path : null
}

function millisecondsOf(setting: Setting): number | null {
  return /^\d+$/.test(textOf(setting)) ? Number(textOf(setting)) * 1000 : null
}

interface KeyFile {
  readonly use: 'sig' | 'enc' | null
  readonly id: string | null
  readonly file: string
}

/** Reads a list of key files, each `[sig:|enc:][<kid>#]<file>`. */
function keyFilesOf(setting: Setting): KeyFile[] {
  return argumentsOf(setting).map((argument) => {
    const [, use, id, file = ''] = /^(?:(sig|enc):)?(?:[^@#]*@)?(?:([^#]*)#)?(.*)$/.exec(argument) ?? []
    return { use: use === 'sig' || use === 'enc' ? use : null, id: id === undefined || id === '' ? null : id, file }
  })
}

function hasSigningKey({ effective }: Migration): boolean {
  const setting = effective.get('OIDCPrivateKeyFiles')
  return setting !== undefined && keyFilesOf(setting).some(({ use }) => use !== 'enc')
}

function receivesEncrypted({ effective }: Migration): boolean {
  return effective.has('OIDCIDTokenEncryptedResponseAlg') || effective.has('OIDCUserInfoEncryptedResponseAlg')
}

function putClientCertificate(migration: Migration, name: string, setting: Setting, other: string): void {
  if (migration.effective.has(other))
    put(migration, `provider.clientCertificate.${name}`, literal(textOf(setting)), setting)
  else remark(migration, 'gap', setting, `a client certificate needs ${other} as well`)
}
