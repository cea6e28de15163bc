import { type Draft, has, put, remark, routed, secret, secretOf, setHeader } from '../draft.ts'
import { duration, type Entry, flagOf, literal, textOf } from '../entry.ts'
import { always, never, none, type Rule, type Rules, text, to, together } from '../rule.ts'

const discovery = "the endpoints and keys come from the provider's discovery document; nothing to set"
const encrypted = 'encrypted tokens are not read: let the provider sign them only'
const registered = 'the client is registered by hand: set provider.clientId and its secret'
const cache = 'sessions are in memory or in Redis (session.store); there is no cache to size'
const token = "clients' own tokens are JWTs of the same provider, verified with its keys: bearer on a route"
const many = 'there is one provider: run a gateway for each, or let one provider broker the others'
const login = 'each login has a sealed state bound to one small cookie; nothing to set'

const args = ({ value }: Entry): string[] => (Array.isArray(value) ? value.map(String) : [String(value)])

const seconds = (entry: Entry): number | null => (/^\d+$/.test(textOf(entry)) ? Number(textOf(entry)) * 1000 : null)

const query = (name: string): Rule =>
  to(name, (entry, draft) => {
    for (const [key, value] of new URLSearchParams(textOf(entry))) put(draft, `${name}.${key}`, literal(value), entry)
  })

/** What becomes of mod_auth_openidc's directives, and of Apache's own that decide who gets in. */
export const modAuthOpenidc: Rules = {
  OIDCProviderMetadataURL: to(
    'provider.issuer',
    (entry, draft) => {
      const issuer = textOf(entry).replace(/\/\.well-known\/.*$/, '')
      put(draft, 'provider.issuer', literal(issuer), entry)
      allowHttp(draft, issuer, entry)
    },
    'the issuer, without /.well-known/openid-configuration, exactly as the discovery document spells it',
  ),
  OIDCProviderIssuer: to('provider.issuer', (entry, draft) => {
    put(draft, 'provider.issuer', literal(textOf(entry)), entry)
    allowHttp(draft, textOf(entry), entry)
  }),
  OIDCProviderAuthorizationEndpoint: none(discovery),
  OIDCProviderTokenEndpoint: none(discovery),
  OIDCProviderUserInfoEndpoint: none(discovery),
  OIDCProviderJwksUri: none(discovery),
  OIDCProviderSignedJwksUri: none(discovery),
  OIDCProviderVerifyCertFiles: none(discovery),
  OIDCProviderCheckSessionIFrame: none('sessionCheck: 5m asks the provider with prompt=none'),
  OIDCProviderEndSessionEndpoint: none(discovery),
  OIDCProviderRevocationEndpoint: none(discovery),
  OIDCProviderPushedAuthorizationRequestEndpoint: none(discovery),
  OIDCProviderBackChannelLogoutSupported: none(
    'back-channel logout is always there: register …/oauth2/logout/backchannel at the provider',
    'builtin',
  ),
  OIDCProviderMetadataRefreshInterval: none(discovery),
  OIDCJWKSRefreshInterval: none('keys are fetched when an unknown one is met', 'builtin'),
  OIDCProviderRegistrationEndpointJson: none(registered),
  OIDCClientName: none(registered),
  OIDCClientContact: none(registered),
  OIDCClientJwksUri: none('register the public key at the provider; nobody fetches it from here'),
  OIDCMetadataDir: none(many, 'security'),
  OIDCDiscoverURL: none(many),
  OIDCDiscoverIssuersAllowed: none(many),
  OIDCProviderTokenEndpointParams: none(
    'the token request has no parameters of its own: ask the provider for another way',
  ),
  OIDCProviderTokenEndpointAuth: to('provider.clientAuthentication', (entry, draft) => {
    const [method = ''] = textOf(entry).split(':')
    if (['client_secret_basic', 'client_secret_post', 'private_key_jwt', 'none'].includes(method))
      put(draft, 'provider.clientAuthentication', method, entry)
    else
      remark(
        draft,
        'gap',
        entry,
        'client_secret_basic, client_secret_post, private_key_jwt and none are spoken: register one of them',
      )
  }),
  OIDCProviderAuthRequestMethod: to('provider.pushedAuthorization', (entry, draft) => {
    if (textOf(entry).toUpperCase() === 'PAR') put(draft, 'provider.pushedAuthorization', 'on', entry)
    else
      remark(
        draft,
        'builtin',
        entry,
        'the browser goes to the provider by GET, with a pushed request where the provider announces it',
      )
  }),
  OIDCClientID: text('provider.clientId'),
  OIDCClientSecret: to('provider.clientSecret', (entry, draft) => {
    put(draft, 'provider.clientSecret', secretOf(draft, entry, 'OIDC_CLIENT_SECRET'), entry)
    if (textOf(entry).startsWith('exec:'))
      remark(draft, 'differs', entry, 'no program is run for it: give the secret in a variable, or as ${file:/path}')
  }),
  OIDCPrivateKeyFiles: to('provider.privateKey', (entry, draft) => {
    const [file = ''] = args(entry).map((arg) =>
      arg
        .replace(/^(sig:|enc:)/, '')
        .replace(/^[^@]*@/, '')
        .replace(/^[^#]*#/, ''),
    )
    put(draft, 'provider.privateKey', `\${file:${file}}`, entry)
    if (args(entry).length > 1) remark(draft, 'differs', entry, 'one key is used, the first')
  }),
  OIDCPublicKeyFiles: none(registered),
  OIDCClientTokenEndpointCert: none('mutual TLS with the provider is not spoken: use private_key_jwt'),
  OIDCClientTokenEndpointKey: none('mutual TLS with the provider is not spoken: use private_key_jwt'),
  OIDCClientTokenEndpointKeyPassword: none('keys have no passphrase here: keep the file safe'),
  OIDCScope: to('provider.scopes', (entry, draft) => {
    const scopes = args(entry)
      .join(' ')
      .split(/\s+/)
      .filter((scope) => scope !== '')
    put(draft, 'provider.scopes', [...new Set(['openid', ...scopes.map(literal)])], entry)
    if (!scopes.includes('offline_access')) {
      remark(
        draft,
        'differs',
        entry,
        'without offline_access most providers give no refresh token, and the session ends with the access ' +
          'token where routes need it',
      )
    }
  }),
  OIDCAuthRequestParams: query('provider.authorizationParameters'),
  OIDCPathScope: none(
    'a scope for some paths: let the application answer insufficient_scope, and the gateway asks for more',
  ),
  OIDCPathAuthRequestParams: none(
    'parameters are the same for every login; require.acr and require.maxAge are by route',
  ),
  OIDCRequestObject: none('use pushedAuthorization, which keeps the request from the browser as well'),
  OIDCResponseType: to('built in: code', (entry, draft) => {
    remark(
      draft,
      textOf(entry) === 'code' ? 'builtin' : 'security',
      entry,
      'the code flow with PKCE is the only one: allow it for this client',
    )
  }),
  OIDCResponseMode: to('provider.responseMode', (entry, draft) => {
    if (['query', 'form_post'].includes(textOf(entry))) put(draft, 'provider.responseMode', textOf(entry), entry)
    else remark(draft, 'security', entry, 'an answer in the fragment is not taken: query is used')
  }),
  OIDCPKCEMethod: to('built in: S256', (entry, draft) => {
    remark(draft, textOf(entry) === 'S256' ? 'builtin' : 'security', entry, 'PKCE is always S256 here')
  }),
  OIDCProfile: none('FAPI 2.0 is not claimed; PKCE, pushed requests and private_key_jwt are there'),
  OIDCDPoPMode: none('tokens are not bound to a key (DPoP): keep them inside, as the gateway does', 'security'),
  OIDCCertBoundAccessTokens: none('tokens are not bound to a certificate', 'security'),
  OIDCValidateIssuer: always(true, 'the issuer is always verified'),
  OIDCIDTokenIatSlack: none('clocks may differ by a little; run NTP'),
  OIDCIDTokenSignedResponseAlg: none(
    'signatures are checked with the keys and the algorithm that the provider announces',
  ),
  OIDCIDTokenAudValues: none('an ID token has to name this client as audience'),
  OIDCIDTokenEncryptedResponseAlg: none(encrypted),
  OIDCIDTokenEncryptedResponseEnc: none(encrypted),
  OIDCUserInfoSignedResponseAlg: none(encrypted),
  OIDCUserInfoEncryptedResponseAlg: none(encrypted),
  OIDCUserInfoEncryptedResponseEnc: none(encrypted),
  OIDCUserInfoTokenMethod: none('the token is in the Authorization header', 'builtin'),
  OIDCUserInfoRefreshInterval: to(
    'provider.userinfo',
    (entry, draft) => {
      put(draft, 'provider.userinfo', true, entry)
    },
    'its claims are asked for at the login and at each refresh of the tokens',
  ),
  OIDCUserInfoClaimsExpr: none('claims are taken as they come; narrow them at the provider'),
  OIDCFilterClaimsExpr: none('claims are taken as they come; narrow them at the provider'),
  OIDCBlackListedClaims: none('claims are kept inside; only what headers.set names goes upstream'),
  OIDCWhiteListedClaims: none('claims are kept inside; only what headers.set names goes upstream'),
  OIDCSSLValidateServer: always(true, "the provider's certificate is always verified: give provider.caFile"),
  OIDCOAuthSSLValidateServer: always(true, "the provider's certificate is always verified: give provider.caFile"),
  OIDCCABundlePath: text('provider.caFile', 'these certificates are trusted beside the usual ones'),
  OIDCHTTPTimeoutLong: to('provider.timeout', (entry, draft) => {
    const ms = seconds(entry)
    if (ms !== null && ms > 0) put(draft, 'provider.timeout', duration(ms), entry)
    else remark(draft, 'gap', entry, 'it is no number of seconds: provider.timeout stays at 10s')
  }),
  OIDCHTTPTimeoutShort: none('provider.timeout is for every call'),
  OIDCOutgoingProxy: none('calls to the provider go straight: let the network route them', 'gap'),
  OIDCPassCookies: none('cookies of the browser are not sent to the provider', 'builtin'),

  OIDCRedirectURI: together('publicUrl', 'the redirect URI is …/oauth2/callback here: register it at the provider'),
  OIDCDefaultURL: none('a login without a target ends at /'),
  OIDCDefaultLoggedOutURL: none('after logout there is a page, or redirect of GET logout'),
  OIDCRedirectURLsAllowed: none('redirects stay on their own origin', 'builtin'),
  OIDCLogoutRequestParams: none('the end_session request has id_token_hint, the return URL and a state'),
  OIDCLogoutXFrameOptions: none('front-channel logout works in a frame of the provider; nothing to set', 'builtin'),
  OIDCInfoHook: none('GET /oauth2/session and GET /oauth2/userinfo; no token is ever told'),
  OIDCXForwardedHeaders: to(
    'trustedProxies',
    (entry, draft) => {
      if (textOf(entry).toLowerCase() === 'none')
        return remark(draft, 'builtin', entry, 'forwarded headers of nobody are believed')
      put(draft, 'trustedProxies', [], entry)
      remark(
        draft,
        'security',
        entry,
        "the peer believes every client's headers; here nobody's are believed until you list the addresses of " +
          'the proxies in front ' +
          'under trustedProxies',
      )
    },
    'list the addresses of the proxies in front: nobody is believed without',
  ),

  OIDCCryptoPassphrase: to(
    'session.keys',
    (entry, draft) => {
      put(draft, 'session.keys', [secret(draft, 'SESSION_KEY', 'a new key: gatehouse keygen prints one')], entry)
    },
    'a key of 32 bytes in base64: make a new one with gatehouse keygen; everybody logs in once',
  ),
  OIDCSessionInactivityTimeout: to('session.idleTimeout', (entry, draft) => {
    const ms = seconds(entry)
    if (ms !== null && ms > 0) put(draft, 'session.idleTimeout', duration(ms), entry)
    else remark(draft, 'gap', entry, 'it is no number of seconds: session.idleTimeout stays at 30m')
  }),
  OIDCSessionMaxDuration: to(
    'session.lifetime',
    (entry, draft) => {
      const ms = seconds(entry)
      if (ms === 0) put(draft, 'session.endWithIdToken', true, entry)
      else if (ms !== null) put(draft, 'session.lifetime', duration(ms), entry)
      else remark(draft, 'gap', entry, 'it is no number of seconds: session.lifetime stays at 10h')
    },
    '',
  ),
  OIDCSessionType: to('session.store', (entry, draft) => {
    if (textOf(entry).startsWith('client-cookie'))
      remark(draft, 'differs', entry, 'tokens are never in a cookie: sessions are in session.store')
    else remark(draft, 'builtin', entry, 'sessions are in session.store')
    if (textOf(entry).includes('persistent')) remark(draft, 'differs', entry, 'the cookie lasts as long as the session')
  }),
  OIDCSessionCacheFallbackToCookie: never(
    'when Redis is away, sessions that are known go on for session.outageGrace',
    'gap',
  ),
  OIDCSessionCookieChunkSize: none('the cookie is small, and one', 'builtin'),
  OIDCCookie: to(
    'session.cookie.name',
    (entry, draft) => {
      put(draft, 'session.cookie.name', literal(textOf(entry).replace(/^__(host|secure)-/i, '')), entry)
    },
    'on https it gets the prefix __Host-',
  ),
  OIDCCookieDomain: to(
    'session.cookie.domain',
    (entry, draft) => {
      put(draft, 'session.cookie.domain', literal(textOf(entry)), entry)
    },
    'every host under it gets the cookie, which loses the __Host- prefix',
  ),
  OIDCCookiePath: none('the cookie is for the whole origin'),
  OIDCCookieHTTPOnly: always(true, 'the cookie is always HttpOnly'),
  OIDCCookieSameSite: to('session.cookie.sameSite', (entry, draft) => {
    const given = textOf(entry).toLowerCase()
    if (given === 'disabled') return remark(draft, 'differs', entry, 'the cookie always has SameSite: lax')
    put(
      draft,
      'session.cookie.sameSite',
      given === 'strict' ? 'strict' : ['off', 'none'].includes(given) ? 'none' : 'lax',
      entry,
    )
  }),
  OIDCStripCookies: none("the gateway's cookies never reach the upstream", 'builtin'),
  OIDCStateTimeout: none(login),
  OIDCStateMaxNumberOfCookies: none(login),
  OIDCStateCookiePrefix: none(login),
  OIDCStateInputHeaders: none(login),
  OIDCRefreshAccessTokenBeforeExpiry: to('session.refreshBefore', (entry, draft) => {
    const ms = seconds(entry)
    if (ms !== null && ms > 0) put(draft, 'session.refreshBefore', duration(ms), entry)
    else remark(draft, 'gap', entry, 'it is no number of seconds: session.refreshBefore stays at 50%')
    if (args(entry).length > 1)
      remark(
        draft,
        'differs',
        entry,
        "a refresh that fails ends nothing while the token lives; only the provider's no does",
      )
  }),
  OIDCCacheType: together('session.store', 'redis as it is, others become memory:'),
  OIDCRedisCacheServer: together('session.store'),
  OIDCRedisCacheDatabase: together('session.store'),
  OIDCRedisCacheUsername: text('session.redis.username'),
  OIDCRedisCachePassword: to('session.redis.password', (entry, draft) => {
    put(draft, 'session.redis.password', secretOf(draft, entry, 'REDIS_PASSWORD'), entry)
  }),
  OIDCRedisCacheConnectTimeout: none(cache),
  OIDCRedisCacheTimeout: none(cache),
  OIDCCacheShmMax: none('session.store: memory:?max=N'),
  OIDCCacheShmEntrySizeMax: none(cache),
  OIDCCacheDir: none(cache),
  OIDCCacheFileCleanInterval: none(cache),
  OIDCMemCacheServers: none(cache),
  OIDCMemCacheConnectionsMin: none(cache),
  OIDCMemCacheConnectionsSMax: none(cache),
  OIDCMemCacheConnectionsHMax: none(cache),
  OIDCMemCacheConnectionsTTL: none(cache),
  OIDCCacheEncrypt: always(true, 'what is in Redis is always sealed'),

  OIDCClaimPrefix: together('routes[].headers.set', 'the names there begin with it'),
  OIDCClaimDelimiter: none('items of a list are joined with a comma; a comma inside one is %2C'),
  OIDCPassClaimsAs: together(
    'routes[].headers.set',
    'headers only; what is not ASCII is written as in RFC 8187, or encoding: base64',
  ),
  OIDCPassIDTokenAs: none('the ID token does not leave the gateway; its claims are for headers.set', 'security'),
  OIDCPassUserInfoAs: none('its claims are for headers.set, one by one'),
  OIDCPassAccessToken: together('routes[].token'),
  OIDCPassRefreshToken: never('the refresh token does not leave the gateway'),
  OIDCRemoteUserClaim: together(
    'routes[].headers.set',
    'under the name of OIDCAuthNHeader or of a RequestHeader that has it, else as X-Remote-User; a claim as it is, a ' +
      'regular expression over it has no equal',
  ),
  OIDCAuthNHeader: together('routes[].headers.set'),
  OIDCPreservePost: to(
    'routes[].preservePost',
    (entry, draft) => {
      draft.shared.preservePost = flagOf(entry) === true
      routed(draft, entry)
    },
    'it is on unless a route says otherwise; the form is kept sealed',
  ),
  OIDCPreservePostTemplates: none("the pages are the gateway's own"),
  OIDCUnAuthAction: together(
    'routes[].challenge, access',
    'pass becomes access: optional, where nothing more is asked for; an expression has no equal: ' +
      'what a request is decides',
  ),
  OIDCUnAutzAction: none('a user who may not gets 403; a stronger login is asked for with require.acr'),
  OIDCTraceParent: none('traceparent goes on to the upstream', 'builtin'),
  OIDCDebugMaskSecrets: always(true, 'no token or secret is ever in a log'),
  OIDCMetricsData: none('GET /metrics on the admin listener'),
  OIDCMetricsPublish: none('GET /metrics on the admin listener'),

  OIDCOAuthClientID: none(token),
  OIDCOAuthClientSecret: none(token),
  OIDCOAuthServerMetadataURL: none(token),
  OIDCOAuthIntrospectionEndpoint: none(token, 'security'),
  OIDCOAuthIntrospectionEndpointAuth: none(token),
  OIDCOAuthIntrospectionEndpointMethod: none(token),
  OIDCOAuthIntrospectionEndpointParams: none(token),
  OIDCOAuthIntrospectionEndpointCert: none(token),
  OIDCOAuthIntrospectionEndpointKey: none(token),
  OIDCOAuthIntrospectionEndpointKeyPassword: none(token),
  OIDCOAuthIntrospectionClientAuthBearerToken: none(token),
  OIDCOAuthIntrospectionTokenParamName: none(token),
  OIDCOAuthTokenIntrospectionInterval: none(token),
  OIDCOAuthTokenExpiryClaim: none(token),
  OIDCOAuthVerifyJwksUri: none(token),
  OIDCOAuthVerifySharedKeys: none(token),
  OIDCOAuthVerifyCertFiles: none(token),
  OIDCOAuthDecryptSharedKeys: none(token),
  OIDCOAuthVerifyIssuer: none(token),
  OIDCOAuthVerifyAudience: together('routes[].bearer.audience', 'where AuthType is oauth20 or auth-openidc'),
  OIDCOAuthAcceptTokenAs: none('tokens are taken from the Authorization header only'),
  OIDCOAuthRemoteUserClaim: none(token),

  AuthType: together('routes[].access', 'openid-connect: required; oauth20 and auth-openidc: with bearer'),
  Require: together(
    'routes[].require',
    'valid-user, claim NAME:VALUE and all granted; whatever else is asked for lets nobody in until you decide',
  ),
  RequestHeader: together(
    'routes[].headers',
    'set from claims, the user or fixed text becomes headers.set; the header of everything else is removed from what ' +
      'clients send (headers.remove) and named under SECURITY',
  ),
  Header: none('answers pass as the application makes them: set their headers there, or in the web server in front'),
  AuthName: none("the pages are the gateway's own", 'builtin'),
  ServerName: together('publicUrl'),
  ServerAlias: together('publicUrl'),
  ProxyPass: together(
    'routes[].upstream',
    'another path at the upstream becomes stripPrefix or rewritePrefix; with ! the path is closed until you decide',
  ),
  ProxyPassReverse: none(
    'redirects of the upstream pass as they are: let it know its public URL from X-Forwarded-Host and -Proto',
  ),
  ProxyPreserveHost: always(true, 'the upstream gets the Host that the browser sees', 'differs'),
  SSLCertificateFile: none(
    'TLS can stay in front, with its address under trustedProxies; else give tls.certFile',
    'todo',
  ),
  SSLCertificateKeyFile: none(
    'TLS can stay in front, with its address under trustedProxies; else give tls.keyFile',
    'todo',
  ),
}

function allowHttp(draft: Draft, issuer: string, entry: Entry): void {
  if (!issuer.startsWith('http:') || /^http:\/\/(localhost|127\.|\[::1\])/.test(issuer)) return
  put(draft, 'provider.allowHttp', true, entry)
  remark(
    draft,
    'security',
    entry,
    'the issuer is plain http: tokens travel in clear, as before; provider.allowHttp lets it be',
  )
}

/** Reads together what single directives do not say. */
export function finishDirectives(draft: Draft): void {
  const given = (key: string): Entry | undefined => draft.given.get(key)
  const [server, database] = [given('OIDCRedisCacheServer'), given('OIDCRedisCacheDatabase')]
  const type = given('OIDCCacheType')
  if (type !== undefined && textOf(type).toLowerCase() === 'redis') {
    const host = server === undefined ? 'redis.change-me.invalid' : textOf(server)
    if (server === undefined) remark(draft, 'todo', type, 'no server is given: set session.store')
    put(
      draft,
      'session.store',
      literal(`redis://${host}${database === undefined ? '' : `/${textOf(database)}`}`),
      ...[type, server, database].filter((one) => one !== undefined),
    )
  } else if (!has(draft, 'session.store')) {
    put(draft, 'session.store', 'memory:', ...(type === undefined ? [] : [type]))
    remark(
      draft,
      'differs',
      type ?? null,
      "sessions are kept in this process's memory: a restart ends them, and several replicas need " +
        'session.store: redis://…',
    )
  }
  if (!has(draft, 'provider.userinfo')) put(draft, 'provider.userinfo', true)
  if (!has(draft, 'session.idleTimeout')) put(draft, 'session.idleTimeout', '5m')
  if (!has(draft, 'session.lifetime') && !has(draft, 'session.endWithIdToken')) put(draft, 'session.lifetime', '8h')
  if (!has(draft, 'provider.scopes')) {
    put(draft, 'provider.scopes', ['openid'])
    remark(
      draft,
      'differs',
      null,
      'OIDCScope is not given, and openid alone is asked for, as before: add profile, email and offline_access ' +
        'as needed',
    )
  }
  finishHeaders(draft)
  if (!has(draft, 'session.keys'))
    put(draft, 'session.keys', [secret(draft, 'SESSION_KEY', 'a new key: gatehouse keygen prints one')])
  if (!has(draft, 'provider.issuer')) {
    put(draft, 'provider.issuer', 'https://issuer.change-me.invalid')
    remark(draft, 'todo', null, 'OIDCProviderMetadataURL is not given: set provider.issuer')
  }
  if (!has(draft, 'provider.clientId')) {
    put(draft, 'provider.clientId', 'change-me')
    remark(draft, 'todo', null, 'OIDCClientID is not given: set provider.clientId')
  }
  const none = draft.parts.some(
    ({ path, value }) => path.join('.') === 'provider.clientAuthentication' && value === 'none',
  )
  const key = draft.parts.some(
    ({ path, value }) => path.join('.') === 'provider.clientAuthentication' && value === 'private_key_jwt',
  )
  if (key && !has(draft, 'provider.privateKey'))
    put(draft, 'provider.privateKey', secret(draft, 'OIDC_PRIVATE_KEY', 'the private key as PEM'))
  if (!none && !key && !has(draft, 'provider.clientSecret')) {
    put(
      draft,
      'provider.clientSecret',
      secret(draft, 'OIDC_CLIENT_SECRET', 'the client secret, which this file does not have'),
    )
  }
}

const usualClaims = ['sub', 'iss', 'email', 'name', 'preferred_username', 'given_name', 'family_name', 'groups']

/** What else the module sets, and takes from clients whether it sets it or not. */
const usualVariables = ['access_token', 'access_token_expires', 'id_token', 'id_token_payload', 'refresh_token']
const moreVariables = ['userinfo_json', 'userinfo_jwt']

function finishHeaders(draft: Draft): void {
  const [as, prefix, user, name, access] = [
    'OIDCPassClaimsAs',
    'OIDCClaimPrefix',
    'OIDCRemoteUserClaim',
    'OIDCAuthNHeader',
    'OIDCPassAccessToken',
  ].map((key) => draft.given.get(key))
  const headers = as === undefined || ['both', 'headers'].includes(textOf(as).toLowerCase())
  for (const entry of [as, prefix, user, name, access]) if (entry !== undefined) routed(draft, entry)
  const before = prefix === undefined ? 'OIDC_CLAIM_' : textOf(prefix)
  if (headers) for (const claim of usualClaims) setHeader(draft, `${before}${claim}`, `{claims.${claim}}`)
  draft.shared.remove.push(
    ...[...usualVariables, ...moreVariables].map((variable) => `OIDC_${variable}`),
    ...usualClaims.map((claim) => `${before}${claim}`),
  )
  remark(
    draft,
    'security',
    as ?? prefix ?? null,
    `the peer takes every header that begins with ${before} or OIDC_ from clients` +
      `${headers ? ', and passes every claim as one' : ''}; here it is those under headers.set and headers.remove: ` +
      'add each that the application reads, take out what it does not',
  )
  if (as !== undefined && textOf(as).toLowerCase() === 'environment') {
    remark(
      draft,
      'differs',
      as,
      'there is no environment of a request here: name the claims under headers.set, and let the application ' +
        'read those',
    )
  }
  if (as !== undefined && args(as).length > 1) {
    remark(
      draft,
      'differs',
      as,
      'what is not ASCII is written as in RFC 8187; encoding: base64 is there, latin1 is not',
    )
  }
  finishUser(draft, user, name)
  if (headers && (access === undefined || flagOf(access) !== false))
    draft.shared.token = { header: 'OIDC_access_token' }
  else draft.shared.token = { grant: 'none' }
}

/** REMOTE_USER is a variable within the web server; where nothing carries it on, X-Remote-User does. */
function finishUser(draft: Draft, user: Entry | undefined, name: Entry | undefined): void {
  const claim = user === undefined ? 'sub' : textOf(user).replace(/@$/, '')
  // As a claim among others it is no user; a RequestHeader says what the application takes for one.
  const carried = Object.entries(draft.shared.set).some(
    ([header, template]) => template === `{claims.${claim}}` && !usualClaims.some((one) => header.endsWith(`_${one}`)),
  )
  if (name !== undefined) setHeader(draft, textOf(name), `{claims.${claim}}`)
  else if (user !== undefined && !carried) {
    setHeader(draft, 'X-Remote-User', `{claims.${claim}}`)
    remark(
      draft,
      'differs',
      user,
      'REMOTE_USER is a variable within the web server: the application gets the user as X-Remote-User; let it read ' +
        'that, or give the header the name that it reads',
    )
  }
  if (user !== undefined && (args(user).length > 1 || textOf(user).endsWith('@'))) {
    remark(
      draft,
      'differs',
      user,
      'the claim goes as it is, without an expression over it and without @ and the issuer behind it',
    )
  } else if (user === undefined && name !== undefined) {
    remark(draft, 'differs', name, 'the user was sub@issuer, and is sub alone')
  }
}
