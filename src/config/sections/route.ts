import { upstream } from '../value-types/address.ts'
import { duration, orOff, size } from '../value-types/amount.ts'
import { claimValue, list, map, textual } from '../value-types/collection.ts'
import {
  headerName,
  headerTemplate,
  host,
  method,
  oncePerName,
  withHead,
  acrValue,
  scope,
} from '../value-types/http.ts'
import { newPrefix, pathPattern, pathPrefix, urlPattern } from '../value-types/path.ts'
import { choice, flag, text } from '../value-types/scalar.ts'
import { file } from '../value-types/secret.ts'
import { group, leaf, optional } from '../schema-nodes.ts'

const requirement = group('What a session must have to be let in. Only with `access: required`.', {
  claims: leaf(map(text(), list(claimValue, { min: 1, single: true })), {
    default: {},
    description:
      'Claims that must all be there, each with one of the values listed. A claim is named outright ' +
      'or by its path, such as `realm_access.roles`; where the claim is a list, one common value is enough.',
  }),
  acr: leaf(list(acrValue, { min: 1, single: true }), {
    default: null,
    description: 'Authentication contexts of which the login must have had one; else the user logs in again with them.',
  }),
  maxAge: leaf(duration(), {
    default: null,
    description: 'How long ago the user may have logged in at the provider; else they log in again.',
  }),
})

const token = group('Which access token goes upstream.', {
  grant: leaf(choice(['session', 'none', 'token-exchange', 'on-behalf-of', 'client-credentials']), {
    default: 'session',
    defaultText: '`session`; `none` where `access` is `public`',
    description: 'Where the token comes from: the login itself, nowhere, or another grant made with it.',
  }),
  audience: leaf(text(), { default: null, description: 'The audience to ask for.' }),
  resource: leaf(text(), { default: null, description: 'The resource to ask for (RFC 8707).' }),
  scopes: leaf(list(scope, { min: 1 }), { default: null, description: 'The scopes to ask for.' }),
  header: leaf(headerName, {
    default: 'Authorization',
    description: 'The header that carries the token, with `Bearer ` in front when it is `Authorization`.',
  }),
})

const headers = group('Changes to the request headers that the upstream sees.', {
  set: leaf(oncePerName(map(headerName, textual(headerTemplate))), {
    default: {},
    secret: 'constants',
    description:
      'Headers to set; `{claims.NAME}` is filled in. Lists are joined with a comma, a comma inside an item ' +
      'is `%2C`, and with a claim that is missing there is no header. ' +
      'What clients send under these names is removed on every route.',
  }),
  encoding: leaf(choice(['rfc8187', 'base64']), {
    default: 'rfc8187',
    description: 'How values are written that are not all printable ASCII: as in RFC 8187, or every value in base64.',
  }),
  remove: leaf(list(headerName), { default: [], description: 'Headers of the client to remove.' }),
})

/** One route: which requests it is for, who is let in, and what goes upstream. */
export const route = group('Which requests it is for, who is let in, and what goes upstream.', {
  path: leaf(pathPattern, {
    default: undefined,
    description:
      'The path: exact, `*` for one segment, `**` at its end for the rest and for the path itself. ' +
      'The most specific route wins, whatever the order.',
  }),
  host: leaf(host, { default: null, defaultText: 'any', description: 'The only Host it is for.' }),
  methods: leaf(withHead(list(method, { min: 1 })), {
    default: null,
    defaultText: 'all',
    description:
      'The only methods it is for; GET brings HEAD. ' +
      'Where it is given, headers that override the method are removed.',
  }),
  access: leaf(choice(['required', 'optional', 'public']), {
    default: 'required',
    description:
      '`required`: with a session only. ' +
      '`optional`: as `required` where there is a session, else as `public`. ' +
      '`public`: no session is looked at and nothing is injected.',
  }),
  upstream: leaf(upstream, {
    default: null,
    defaultText: 'the top-level `upstream`',
    description: 'Where its requests go.',
  }),
  stripPrefix: leaf(pathPrefix, {
    default: null,
    description: 'The beginning of the path that the upstream does not see.',
  }),
  rewritePrefix: optional(
    group('Another beginning of the path for the upstream.', {
      from: leaf(pathPrefix, { default: undefined, description: 'The beginning that is replaced.' }),
      to: leaf(newPrefix, { default: undefined, description: 'What stands there instead.' }),
    }),
  ),
  challenge: leaf(choice(['auto', 'redirect', '401']), {
    default: 'auto',
    description: 'What a request without a session gets. `auto`: what it is, a navigation or a script, decides.',
  }),
  require: requirement,
  token,
  headers,
  bearer: optional(
    group('Lets clients in with a JWT access token of their own.', {
      audience: leaf(list(text(), { min: 1, single: true }), {
        default: undefined,
        description: 'The audiences of which the token must have one.',
      }),
    }),
  ),
  loginRedirects: leaf(list(urlPattern), {
    default: [],
    description:
      'Where redirects of the upstream mean that a login is needed: URLs, or paths of its own, ' +
      'with `*` and `**`. Scripts get a 401 for them.',
  }),
  preservePost: leaf(flag, {
    default: true,
    description: 'Keeps a form that was posted without a session through the login.',
  }),
  maxBody: leaf(orOff(size), {
    default: 'off',
    description: 'How large a request body may be; a larger one is a 413.',
  }),
  csrf: leaf(choice(['origin', 'off']), {
    default: 'origin',
    description:
      'Refuses unsafe requests with a session that come from another origin, and WebSockets opened from one.',
  }),
  timeout: leaf(duration({ min: 1, timer: true }), {
    default: '60s',
    description: 'How long the first byte of the answer may take. Streams are not cut.',
  }),
  upstreamTls: group('TLS to the upstream.', {
    caFile: leaf(file('certificate'), {
      default: null,
      description: 'Certificates in PEM that are trusted for the upstream in place of the usual ones.',
    }),
    serverName: leaf(text({ pattern: /^[A-Za-z0-9_.-]+$/, expected: 'a host name', name: 'host name' }), {
      default: null,
      description: 'The name that its certificate must have, when not the host of `upstream`.',
    }),
    insecureSkipVerify: leaf(flag, {
      default: false,
      description: 'Takes any certificate. Whoever is on the way can then read and change everything.',
    }),
  }),
})
