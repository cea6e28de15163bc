import { addressRange, callingOrigin, issuer, providerUrl, upstream } from '../value-types/address.ts'
import { duration, orOff, size } from '../value-types/amount.ts'
import { claimName, claimValue, list, map, textual } from '../value-types/collection.ts'
import {
  headerName,
  headerTemplate,
  host,
  method,
  oncePerName,
  withHead,
  acrValue,
  scope,
  upstreamHost,
} from '../value-types/http.ts'
import { newPrefix, pathPattern, pathPrefix, urlPattern } from '../value-types/path.ts'
import { choice, flag, text } from '../value-types/scalar.ts'
import { file } from '../value-types/secret.ts'
import { group, leaf, listOf, optional, optionalListOf } from '../schema-nodes.ts'

/** The keys of a rule that compare the user and the client with values. */
const comparisons = {
  claims: leaf(map(claimName, list(claimValue, { min: 1, single: true })), {
    default: {},
    description:
      'Claims that the user must have, each with one of the values listed. A claim is named directly or by its path, ' +
      'such as `realm_access.roles` or `resource_access."my.app".roles`. If the claim is a list, one matching item is ' +
      'enough. In text, `*` stands for any characters and `\\*` for a star. `email` is compared without case, and ' +
      '`true`, `false` and numbers also match their text.',
  }),
  networks: leaf(list(addressRange, { min: 1, single: true }), {
    default: null,
    description:
      "IP addresses and CIDR ranges, one of which must contain the client's address, as determined by `trustedProxies`. A " +
      'client without an address is in none of them.',
  }),
}

const ANY = 'Rules of which at least one must hold.'
const NOT =
  'A rule that must not hold. If it depends on a claim that the provider left out of the token, it lets no request in.'

/** The deepest rule: `any` and `not` can be nested two levels deep. */
const inner = group('A rule. All its keys must hold.', comparisons)

const middle = group('A rule. All its keys must hold.', {
  ...comparisons,
  any: optionalListOf(inner, ANY),
  not: optional(group(NOT, inner.properties)),
})

const rule = {
  ...comparisons,
  any: optionalListOf(middle, ANY),
  not: optional(group(NOT, middle.properties)),
}

const stepUp = {
  acr: leaf(list(acrValue, { min: 1, single: true }), {
    default: null,
    description:
      'Authentication context classes, one of which the login must have satisfied. Otherwise the user logs ' +
      'in again with them.',
  }),
  maxAge: leaf(duration(), {
    default: null,
    description:
      'The maximum time since the user authenticated at the provider. After that, the user logs in again. If the provider ' +
      'sends no `auth_time`, the time counts from a login with `prompt=login`.',
  }),
}

const requirement = group('What a session must have for the request to be let in. Requires `access: required`.', {
  ...rule,
  ...stepUp,
})

const bearer = group('Lets in clients that send an access token of their own instead of a session cookie.', {
  audience: leaf(list(text(), { min: 1, single: true }), {
    default: null,
    description:
      'The values of `aud` of which an access token must have one. A token of one of `clientIds` needs none of them. ' +
      '`audience`, `clientIds` or `metadata` is required.',
  }),
  clientIds: leaf(list(text(), { min: 1, single: true }), {
    default: null,
    description:
      'The clients whose access tokens are accepted, regardless of their `aud`: the `client_id` of a token, or `azp` if it has ' +
      'none, must be one of them.',
  }),
  issuers: listOf(
    group('An issuer whose JWTs are accepted. The gateway is not registered there as a client.', {
      issuer: leaf(issuer, { default: undefined, description: 'The issuer, exactly as the tokens name it in `iss`.' }),
      audience: leaf(list(text(), { min: 1, single: true }), {
        default: null,
        defaultText: 'that of `bearer.audience`, and `bearer.clientIds`',
        description: 'The values of `aud` of which a token of this issuer must have one.',
      }),
      jwksUri: leaf(providerUrl, {
        default: null,
        defaultText: 'from the metadata of the issuer',
        description: 'The URL of the keys that verify tokens of this issuer, as a JWK set.',
      }),
    }),
    'Further issuers of access tokens, in addition to the provider, such as build services and clusters.',
    [],
  ),
  introspection: leaf(choice(['auto', 'off']), {
    default: 'auto',
    description:
      'How tokens that are not JWTs are verified: `auto` asks the introspection endpoint of the provider (RFC 7662) at most ' +
      'once per token and minute, `off` refuses such tokens.',
  }),
  scopes: leaf(list(scope, { min: 1, single: true }), {
    default: [],
    description:
      'The scopes, all of which an access token must have. Otherwise the client gets a 403 `insufficient_scope`.',
  }),
  require: optional(
    group("What a client's access token must have, in place of the route's `require`.", { ...rule, ...stepUp }),
  ),
  dpop: leaf(choice(['off', 'accepted', 'required']), {
    default: 'off',
    description: 'Whether access tokens that are bound to a key of the client (RFC 9449) are accepted, or required.',
  }),
  token: leaf(choice(['pass', 'exchange']), {
    default: 'pass',
    description:
      "What the application receives: `pass` sends the client's token, `exchange` exchanges it for a token as the " +
      '`token` key of the route says (RFC 8693), whose `grant` must be `token-exchange` or `on-behalf-of`.',
  }),
  metadata: leaf(flag, {
    default: false,
    description:
      'Publishes the metadata of the route as a protected resource (RFC 9728), from which clients such as those of the ' +
      'Model Context Protocol learn where to log in. The URL of the resource is then an accepted audience.',
  }),
})

const token = group('The access token that the application receives.', {
  grant: leaf(choice(['session', 'none', 'id-token', 'token-exchange', 'on-behalf-of', 'client-credentials']), {
    default: 'session',
    defaultText:
      '`session`; `none` where `access` is `public`, or where `headers.set` puts a token into `token.header`',
    description:
      'Where the token that the application receives comes from: `session` sends the access token of the ' +
      'login, `none` sends no token, `id-token` sends the ID token of the login while it is valid, and each other value requests a token with the grant of that name. With a ' +
      "session, the client's own `Authorization` passes only with `authorization: client`.",
  }),
  audience: leaf(text(), { default: null, description: 'The audience to request for the token.' }),
  resource: leaf(text(), { default: null, description: 'The resource to request for the token (RFC 8707).' }),
  scopes: leaf(list(scope, { min: 1 }), { default: null, description: 'The scopes to request for the token.' }),
  header: leaf(headerName, {
    default: 'Authorization',
    description: 'The header that carries the token. `Authorization` carries it with the prefix `Bearer `.',
  }),
})

const headers = group('Changes to the request headers that the application receives.', {
  set: leaf(oncePerName(map(headerName, textual(headerTemplate))), {
    default: {},
    secret: 'constants',
    description:
      'Headers that the gateway sets: text with the placeholders `{claims.NAME}`, `{sub}`, `{provider}`, `{session.id}`, ' +
      '`{request.id}`, `{accessToken}`, `{idToken}` and `{assertion}` (docs/access.md). `{accessToken}` and `{idToken}` ' +
      'stand alone, or behind `Bearer `. The items of a list are joined with commas, and a comma inside an item becomes ' +
      '`%2C`. If a value is missing, the header is not sent. The gateway removes these headers from what clients send on ' +
      'every route.',
  }),
  encoding: leaf(choice(['rfc8187', 'base64', 'utf-8', 'percent']), {
    default: 'rfc8187',
    description:
      'How header values are encoded. `rfc8187` encodes values that are not all printable ASCII as in ' +
      'RFC 8187, `base64` encodes every value, `utf-8` sends the bytes of UTF-8, and `percent` percent-encodes what is ' +
      'not printable ASCII, and `%` itself. Tokens and assertions are sent as they are.',
  }),
  remove: leaf(list(headerName), {
    default: [],
    description: "Headers that the gateway removes from the client's request.",
  }),
})

export const route = group('Which requests the route applies to, who may send them, and what the application gets.', {
  path: leaf(pathPattern, {
    default: undefined,
    description:
      'The path: an exact path, or a pattern in which `*` stands for one segment and a final `**` for the ' +
      'path itself and everything below it. The most specific route wins, regardless of order.',
  }),
  host: leaf(host, { default: null, defaultText: 'any', description: 'The only `Host` that the route applies to.' }),
  methods: leaf(withHead(list(method, { min: 1 })), {
    default: null,
    defaultText: 'all',
    description:
      'The only methods that the route applies to. `GET` includes `HEAD`. If set, the gateway removes ' +
      'headers that override the method.',
  }),
  access: leaf(choice(['required', 'optional', 'public']), {
    default: 'required',
    description:
      '`required` lets in only requests with a session. `optional` acts as `required` for a request with a ' +
      'session, and as `public` for one without. `public` ignores the session and adds no headers about ' +
      'the user.',
  }),
  provider: leaf(list(text(), { min: 1, single: true }), {
    default: null,
    defaultText: 'all',
    description:
      'The names of the `providers` that users of the route log in at. A request with a session of another ' +
      'provider counts as one without a session.',
  }),
  upstream: leaf(upstream, {
    default: null,
    defaultText: 'the top-level `upstream`',
    description: 'The application that receives the requests of the route.',
  }),
  upstreamHost: leaf(upstreamHost, {
    default: 'preserve',
    description:
      'The `Host` that the application receives: `preserve` sends the host of the public URL, `upstream` sends the ' +
      'host of `upstream` (`localhost` for a Unix socket), and any other value is sent as it is. `X-Forwarded-Host` ' +
      'always has the public host.',
  }),
  upstreamProtocol: leaf(choice(['http1', 'h2c', 'h2']), {
    default: 'http1',
    description:
      'The protocol that the application speaks: HTTP/1.1, HTTP/2 without TLS (`h2c`, for an `http` upstream or a Unix ' +
      'socket), or HTTP/2 with TLS (`h2`, for an `https` upstream). gRPC needs one of the last two.',
  }),
  upstreamParser: leaf(choice(['strict', 'lenient']), {
    default: 'strict',
    description:
      'How responses of the application are parsed. `lenient` also accepts lines that end with a bare LF, spaces after ' +
      'chunk sizes, and the same Content-Length more than once.',
  }),
  upstreamConnectionAge: leaf(duration({ timer: true }), {
    default: '5m',
    description:
      'How long the gateway uses a connection to the application for new requests. New connections look up the host name, so ' +
      'a change in DNS takes effect within this time.',
  }),
  stripPrefix: leaf(pathPrefix, {
    default: null,
    description: 'The prefix of the path that the gateway removes before it forwards the request.',
  }),
  rewritePrefix: optional(
    group('The prefix of the path that the gateway replaces before it forwards the request.', {
      from: leaf(pathPrefix, { default: undefined, description: 'The prefix of the path that the gateway replaces.' }),
      to: leaf(newPrefix, { default: undefined, description: 'The prefix that the gateway puts in its place.' }),
    }),
  ),
  prefixHeaders: leaf(flag, {
    default: true,
    description:
      'With `stripPrefix` or `rewritePrefix`, sends the prefix to the application in `X-Forwarded-Prefix`, and adds it to ' +
      "`Location`, `Content-Location` and cookie paths in the application's responses. With `upstreamHost`, replaces the " +
      'host of the application in these URLs with the public host, and removes a cookie `Domain` that names it.',
  }),
  challenge: leaf(choice(['auto', 'redirect', '401']), {
    default: 'auto',
    description:
      'The response to a request without a session. `redirect` sends it to the login, `401` rejects it, and ' +
      '`auto` redirects navigations and rejects all other requests.',
  }),
  require: requirement,
  token,
  authorization: leaf(choice(['token', 'client']), {
    default: 'token',
    description:
      'Whose `Authorization` the application receives on a route with a session: `token` sends the access token of ' +
      "the session, if any, and `client` passes the client's own header. `client` requires `token.grant: none` or " +
      'another `token.header`, and cannot be combined with `bearer`.',
  }),
  headers,
  bearer: optional(bearer),
  loginRedirects: leaf(list(urlPattern), {
    default: [],
    description:
      'Redirects of the application that mean a login is needed: URLs, or paths on the application, with the ' +
      'wildcards `*` and `**`. Scripts get a 401 instead of such a redirect.',
  }),
  preservePost: leaf(flag, {
    default: true,
    description: 'Keeps a form that was posted without a session, and posts it after the login.',
  }),
  maxBody: leaf(orOff(size), {
    default: 'off',
    description: 'The maximum size of a request body. A larger body gets a 413.',
  }),
  csrf: leaf(choice(['origin', 'off']), {
    default: 'origin',
    description:
      '`origin` rejects unsafe requests with a session, and WebSocket handshakes, if they come from another ' +
      'origin that is not in `cors.origins`. `off` lets them through.',
  }),
  cors: optional(
    group('Lets pages of other origins call the route with the cookies of the user (CORS).', {
      origins: leaf(list(callingOrigin, { min: 1, single: true }), {
        default: undefined,
        description:
          'The origins whose pages may call the route. The gateway answers their preflight requests, adds the CORS headers to its own ' +
          'responses and to those of the application that have none, and lets the requests and WebSockets of these ' +
          'origins pass `csrf`. `*` is not possible.',
      }),
    }),
  ),
  timeout: leaf(duration({ min: 1, timer: true }), {
    default: '60s',
    description: 'How long the application may take until the first byte of its response. Streams may last longer.',
  }),
  upstreamTls: group('TLS settings for connections to the application. The gateway reloads files when they change.', {
    caFile: leaf(file('certificate'), {
      default: null,
      description:
        'A PEM file with the CA certificates that the gateway trusts for the application, instead of the default ' +
        'ones.',
    }),
    serverName: leaf(text({ pattern: /^[A-Za-z0-9_.-]+$/, expected: 'a host name', name: 'host name' }), {
      default: null,
      description: 'The name that the certificate of the application must have, if it is not the host of `upstream`.',
    }),
    certFile: leaf(file('certificate'), {
      default: null,
      description:
        'A PEM file with the client certificate that the gateway presents to the application, and its chain. Requires ' +
        '`keyFile`.',
    }),
    keyFile: leaf(file('private key'), {
      default: null,
      description: 'A PEM file with the private key of the client certificate. Requires `certFile`.',
    }),
    insecureSkipVerify: leaf(flag, {
      default: false,
      description: 'Accepts any certificate. An attacker on the network path can then read and change all traffic.',
    }),
  }),
})
