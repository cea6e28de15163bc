import { issuer, logoutUrl, origin, outgoingProxy, providerUrl } from '../value-types/address.ts'
import { duration, orOff } from '../value-types/amount.ts'
import { list, map, textual } from '../value-types/collection.ts'
import { parameterName, scope } from '../value-types/http.ts'
import { choice, flag, text } from '../value-types/scalar.ts'
import { certificate, file, privateKey, privateKeys, rereadFile } from '../value-types/secret.ts'
import { group, leaf, mapOf, optional, replaceableBy } from '../schema-nodes.ts'
import { keyPair } from './key-pair.ts'

/** The names of the rows in `presets/table.ts`, which takes its types from this schema. */
const PRESETS = [
  'entra',
  'entra-multitenant',
  'entra-external',
  'b2c',
  'adfs',
  'google',
  'cognito',
  'auth0',
  'okta',
  'keycloak',
  'gitlab',
  'zitadel',
  'authentik',
  'authelia',
  'dex',
  'ping',
  'onelogin',
  'jumpcloud',
  'apple',
  'slack',
  'linkedin',
  'salesforce',
  'oracle',
  'ory-hydra',
  'github',
  'gitea',
  'bitbucket',
  'discord',
] as const

const CLIENT_AUTHENTICATION = [
  'auto',
  'client_secret_basic',
  'client_secret_post',
  'client_secret_jwt',
  'private_key_jwt',
  'tls_client_auth',
  'self_signed_tls_client_auth',
  'none',
] as const

function endpoint(what: string) {
  return leaf(providerUrl, { default: null, description: `The ${what}.` })
}

const endpoints = group(
  'Endpoints of the provider. Each replaces the one in the discovery document. With `authorization`, `token` and ' +
    '`jwks`, the gateway reads no discovery document.',
  {
    authorization: endpoint('authorization endpoint'),
    token: endpoint('token endpoint'),
    jwks: endpoint("URL of the provider's keys"),
    userinfo: leaf(providerUrl, {
      default: null,
      description:
        'The userinfo endpoint. For a provider without OpenID Connect, such as GitHub, the URL of the user in its API.',
    }),
    groups: leaf(providerUrl, {
      default: null,
      defaultText: 'by `preset` and `groupsFrom`',
      description:
        "The URL of the user's groups in the API that the gateway reads for `groupsFrom`, or for a provider without " +
        'OpenID Connect. All pages of the list must be on the same origin.',
    }),
    endSession: endpoint('end session endpoint'),
    revocation: endpoint('revocation endpoint'),
    introspection: endpoint('introspection endpoint'),
    pushedAuthorization: endpoint('endpoint for pushed authorization requests'),
    backchannelAuthentication: endpoint('endpoint for backchannel authentication'),
  },
)

const logout = group('What a logout does at the provider.', {
  url: leaf(logoutUrl, {
    default: null,
    defaultText: "the provider's `end_session_endpoint`",
    description:
      'The URL to which a logout sends the browser, in place of the `end_session_endpoint`: a template with ' +
      '`{client_id}`, `{post_logout_redirect_uri}`, `{id_token_hint}` and `{state}` in its query. A parameter whose ' +
      'value is missing is left out. `{end_session_endpoint}` at the start is the address of that endpoint.',
  }),
  revoke: leaf(choice(['true', 'false', 'local-too']), {
    default: 'true',
    description:
      'When the gateway revokes refresh tokens: `true` at `logout`, `local-too` also at `logout/local`, `false` never. ' +
      'At some providers, a revocation logs the user out on all devices.',
  }),
})

const clientCertificate = group(
  'The client certificate for mutual TLS with the provider (RFC 8705). The gateway uses the `mtls_endpoint_aliases` of ' +
    'the discovery document, and reloads both files when they change.',
  keyPair,
)

const keys = {
  issuer: leaf(issuer, {
    default: null,
    defaultText: 'required, unless the preset has one',
    description: 'The issuer identifier, exactly as in the discovery document. Changing it requires a restart.',
  }),
  preset: leaf(choice(['auto', 'none', ...PRESETS]), {
    default: 'auto',
    description:
      'What is known about the provider beyond its metadata (docs/providers.md). `auto` recognizes the provider by the ' +
      'host of the issuer, and after the discovery self-hosted products such as Keycloak, AD FS and Dex by the path of ' +
      'the token endpoint. Other keys take precedence over the preset.',
  }),
  metadataUrl: leaf(providerUrl, {
    default: null,
    defaultText: '`issuer` and `/.well-known/openid-configuration`',
    description: 'The URL of the discovery document. The issuer in the document must still be `issuer`.',
  }),
  endpoints,
  browserIssuerUrl: leaf(origin, {
    default: null,
    description:
      'The origin at which browsers reach the provider, if the discovery document names an internal one. It replaces ' +
      'the origin of the authorization and end session endpoints.',
  }),
  metadataAge: leaf(duration({ timer: true }), {
    default: '12h',
    description: 'The age at which the gateway reads the discovery document again.',
  }),
  proxy: leaf(outgoingProxy, {
    default: 'env',
    secret: 'password',
    description:
      'The proxy for requests to the provider: a URL, which may have credentials, `off`, or `env` for the one that ' +
      '`HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` name. Requests to applications use no proxy.',
  }),
  clockTolerance: leaf(duration({ min: 0 }), {
    default: '2m',
    description:
      "How far the provider's clock may differ: the tolerance for `exp`, `nbf` and `iat` of ID tokens, logout tokens " +
      "and clients' access tokens.",
  }),
  clientId: leaf(text(), {
    default: undefined,
    description: 'The client ID registered for the gateway. Changing it requires a restart.',
  }),
  clientSecret: leaf(text({ secret: true }), {
    default: null,
    secret: 'whole',
    description: 'The client secret registered for the gateway.',
  }),
  clientAuthentication: leaf(choice(CLIENT_AUTHENTICATION), {
    default: 'auto',
    description:
      'How the gateway authenticates to the provider. `auto` selects `private_key_jwt` if `privateKey` or ' +
      '`clientAssertionFile` is set, `tls_client_auth` if only `clientCertificate` is set, otherwise the method of the ' +
      'preset, otherwise `client_secret_post` if the provider supports it, otherwise `client_secret_basic`. With ' +
      '`preset: apple`, `privateKey` makes a client secret instead. `none` makes the gateway a public client.',
  }),
  privateKey: leaf(privateKey('sign'), {
    default: null,
    secret: 'whole',
    description:
      'The private key for `private_key_jwt` and `requestObjects`: PEM without a passphrase, or a JWK. The `kid` and ' +
      '`alg` of a JWK apply.',
  }),
  keyId: leaf(text(), {
    default: null,
    defaultText: 'the `kid` of a JWK',
    description:
      'The `kid` that names `privateKey` in client assertions and request objects, if the provider expects one.',
  }),
  certificate: leaf(certificate, {
    default: null,
    description:
      'The certificate of `privateKey` as PEM. Client assertions then have `x5t`, `x5t#S256` and `typ: JWT`, as ' +
      'Microsoft Entra ID requires.',
  }),
  teamId: leaf(text(), {
    default: null,
    description:
      'The team ID of an Apple developer account, for `preset: apple`. With `privateKey` and `keyId`, the gateway makes ' +
      'its own client secrets.',
  }),
  clientAssertionFile: leaf(rereadFile, {
    default: null,
    description:
      'A file with a JWT that authenticates the gateway, such as a projected service account token of Kubernetes or a ' +
      'JWT-SVID of SPIFFE. The gateway reads it for each call, so the token may rotate without a reload.',
  }),
  clientCertificate: optional(clientCertificate),
  dpop: leaf(choice(['off', 'on']), {
    default: 'off',
    description:
      "Binds each session's tokens to a key of that session (RFC 9449), from the next login on. The application then " +
      'receives a DPoP proof with each access token.',
  }),
  requestObjects: leaf(choice(['off', 'signed']), {
    default: 'off',
    description: '`signed` sends the authorization request as a JWT that `privateKey` signs (RFC 9101).',
  }),
  idTokenKeys: leaf(privateKeys('decrypt'), {
    default: [],
    secret: 'whole',
    description:
      'Private keys that decrypt ID tokens, userinfo responses and logout tokens: PEM without a ' +
      'passphrase, or JWKs. The token inside the encrypted one must be signed.',
  }),
  responseMode: leaf(choice(['query', 'form_post', 'query.jwt', 'form_post.jwt']), {
    default: null,
    defaultText: '`query`, unless the preset has another',
    description:
      'How the provider sends the authorization response to the callback. With `.jwt`, the response is a signed JWT ' +
      '(JARM), and the gateway rejects a code that is not in one. `form_post` and `form_post.jwt` require an https ' +
      '`publicUrl`, because the login cookie is then `SameSite=None`.',
  }),
  logout,
  tolerate: leaf(list(choice(['missing-nonce', 'no-pkce', 'scope-list', 'no-azp', 'basic-unencoded'])), {
    default: [],
    description:
      'Deviations from the specifications that the gateway accepts: ID tokens without a `nonce` (`missing-nonce`), no ' +
      'PKCE (`no-pkce`), a list as `scope` (`scope-list`), several audiences without `azp` (`no-azp`), and Basic ' +
      'credentials that are not form-encoded (`basic-unencoded`).',
  }),
  groupsFrom: leaf(choice(['graph', 'google']), {
    default: null,
    description:
      "Where the gateway reads the user's groups, with the user's own token, for the claim `groups`: `graph` is " +
      'Microsoft Graph, `google` is Cloud Identity. The gateway reads the groups at login and at each refresh. If the ' +
      'groups cannot be read, the login fails.',
  }),
  scopes: leaf(list(scope, { min: 1 }), {
    default: null,
    defaultText: '`openid profile email`, and `offline_access` if needed',
    description:
      'The scopes that a login requests, exactly as written. `openid` must be one of them, except at a provider ' +
      'without OpenID Connect. The default adds `offline_access` if the provider lists it in `scopes_supported`. ' +
      'Keycloak is an exception: it issues refresh tokens without that scope, and a login with that scope ends single ' +
      'sign-on.',
  }),
  authorizationParameters: leaf(map(text(), textual(text())), {
    default: {},
    description: 'Additional parameters of the authorization request.',
  }),
  loginParameters: leaf(list(parameterName), {
    default: ['ui_locales', 'kc_idp_hint', 'organization'],
    description:
      'The query parameters of the login endpoint that the gateway passes on to the provider. Any link can ' +
      'set them, so parameters of the same name in `authorizationParameters` take precedence. ' +
      'No other parameter of the protocols than `ui_locales` may be listed.',
  }),
  pushedAuthorization: leaf(choice(['auto', 'on', 'off']), {
    default: 'auto',
    description:
      'Whether the gateway uses pushed authorization requests (RFC 9126). `auto` uses them if the provider ' +
      'supports them, except for logins with a parameter that the provider ignores there, such as ' +
      '`acr_values` with Keycloak.',
  }),
  caFile: leaf(file('certificate'), {
    default: null,
    description:
      'A PEM file with CA certificates that the gateway trusts for the provider, in addition to the default ones and those in ' +
      'the variable `NODE_EXTRA_CA_CERTS`.',
  }),
  allowHttp: leaf(flag, {
    default: false,
    description:
      'Allows plain http for the issuer, the discovery document and the endpoints on hosts other than loopback. Tokens ' +
      'and secrets then travel unencrypted.',
  }),
  timeout: leaf(duration({ min: 1, timer: true }), {
    default: '10s',
    description: 'How long each request to the provider may take.',
  }),
  userinfo: leaf(flag, {
    default: false,
    description: 'Adds the claims of the userinfo endpoint to those of the ID token, at login and at each refresh.',
  }),
  sessionCheck: leaf(orOff(duration({ timer: true })), {
    default: 'off',
    description:
      'How often the browser scripts check with `prompt=none` that the user still has a session at the provider.',
  }),
}

export const provider = replaceableBy(
  'providers',
  group('The OpenID provider that users log in at, and how the gateway is registered there.', keys),
)

export const providers = mapOf(
  { pattern: /^[a-z0-9-]+$/, expected: 'lower-case letters, digits and hyphens' },
  group('One of several providers.', {
    title: leaf(text(), {
      default: null,
      defaultText: 'the name',
      description: 'The name of the provider on the page on which users choose one.',
    }),
    ...keys,
  }),
  'Several providers by name, in place of `provider` (docs/providers.md). Adding or removing one requires a restart.',
)
