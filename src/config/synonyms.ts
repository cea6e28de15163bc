import { type KeyPath, formatKeyPath } from './key-path.ts'
import { normalize } from './suggest.ts'

interface Synonyms {
  /** The section in which these words are written, with `[]` for each item of a list; empty for the top level. */
  readonly section: string
  /** Keys of other proxies, or words that describe the setting. */
  readonly words: readonly string[]
  /** What to write in this section. */
  readonly instead: string
}

const CLIENT_CERTIFICATE = ['clientCertificate', 'clientCert', 'clientTls', 'mtls', 'sslCertificate']
const GROUPS = ['groups', 'group', 'allowedGroups', 'roles', 'role', 'allowedRoles', 'requiredGroups']

/** The section of a rule, which may be `bearer.require` or a rule of `any` or `not` too. */
const RULE = 'routes[].require'
const INNER_RULE = /^routes\[\](?:\.bearer)?\.require(?:\.any\[\]|\.not)*$/

const KEYS: readonly Synonyms[] = [
  {
    section: 'routes[]',
    words: ['preserveHost', 'passHostHeader', 'hostHeader', 'changeOrigin', 'httpHostHeader', 'hostRewrite', 'setHost'],
    instead: 'upstreamHost: preserve, upstream or a fixed name',
  },
  {
    section: 'routes[]',
    words: ['insecureHTTPParser', 'lenientParser', 'lenient', 'parser'],
    instead: 'upstreamParser: lenient',
  },
  {
    section: 'routes[]',
    words: [...CLIENT_CERTIFICATE, 'certFile', 'keyFile'],
    instead: 'upstreamTls: { certFile: …, keyFile: … }',
  },
  { section: 'routes[]', words: ['tls', 'ssl', 'caFile', 'ca'], instead: 'upstreamTls: { caFile: … }' },
  {
    section: 'routes[]',
    words: ['tlsSkipVerify', 'skipTlsVerify', 'tlsInsecureSkipVerify', 'sslVerify', 'proxySslVerify'],
    instead: 'upstreamTls: { caFile: … }',
  },
  { section: 'routes[]', words: ['sni', 'tlsServerName'], instead: 'upstreamTls: { serverName: … }' },
  { section: 'routes[]', words: [...GROUPS, 'claims'], instead: 'require: { claims: { groups: [ … ] } }' },
  {
    section: 'routes[]',
    words: ['public', 'anonymous', 'allowUnauthenticated', 'allowPublicUnauthenticatedAccess', 'auth', 'skipAuth'],
    instead: 'access: public, optional or required',
  },
  {
    section: 'routes[]',
    words: ['http2', 'h2c', 'h2', 'grpc', 'protocol', 'backendProtocol', 'httpVersion'],
    instead: 'upstreamProtocol: http1, h2 or h2c',
  },
  {
    section: 'routes[]',
    words: ['origins', 'allowedOrigins', 'allowOrigin', 'corsOrigins'],
    instead: 'cors: { origins: [ … ] }',
  },
  {
    section: 'routes[]',
    words: ['passAuthorization', 'passAuthorizationHeader', 'passBasicAuth', 'forwardAuthorization'],
    instead: 'authorization: client',
  },
  {
    section: 'routes[]',
    words: ['target', 'backend', 'to', 'proxyPass', 'url', 'service'],
    instead: 'upstream: http://…',
  },
  { section: 'routes[]', words: ['stripPath', 'stripPathPrefix', 'pathPrefix', 'prefix'], instead: 'stripPrefix: /…' },
  { section: 'routes[]', words: ['rewrite', 'replacePathPrefix'], instead: 'rewritePrefix: { from: /…, to: /… }' },
  { section: 'routes[]', words: ['method'], instead: 'methods: [ … ]' },
  { section: RULE, words: GROUPS, instead: 'claims: { groups: [ … ] }' },
  { section: RULE, words: ['email', 'emails', 'emailDomain', 'emailDomains'], instead: 'claims: { email: [ … ] }' },
  {
    section: RULE,
    words: ['network', 'ip', 'ips', 'address', 'addresses', 'cidr', 'cidrs', 'ipRanges', 'allowedIps', 'trustedIps'],
    instead: 'networks: [ … ]',
  },
  { section: RULE, words: ['anyOf', 'oneOf', 'or', 'some'], instead: 'any: [ … ]' },
  { section: RULE, words: ['none', 'noneOf', 'deny', 'except', 'exclude'], instead: 'not: { … }' },
  // A rule has these keys unless it is already the second level.
  {
    section: RULE,
    words: ['any', 'not'],
    instead: 'a rule with fewer levels: any and not can be nested two levels deep',
  },
  {
    section: 'routes[].upstreamTls',
    words: [...CLIENT_CERTIFICATE, 'cert', 'key', 'clientKey'],
    instead: 'certFile and keyFile',
  },
  { section: 'routes[].upstreamTls', words: ['ca', 'caCert', 'trustedCa', 'rootCa'], instead: 'caFile' },
  { section: 'routes[].upstreamTls', words: ['sni', 'name', 'hostname'], instead: 'serverName' },
  { section: '', words: ['http2', 'h2c', 'h2'], instead: 'listenH2c: true (with tls, clients negotiate HTTP/2)' },
  { section: '', words: ['trustProxy', 'trustedIps', 'realIpFrom'], instead: 'trustedProxies: [ … ]' },
  { section: '', words: ['proxyProtocol', 'acceptProxy', 'useProxyProtocol'], instead: 'listenProxyProtocol: true' },
  {
    section: '',
    words: ['httpRedirect', 'forceHttps', 'redirectHttp', 'redirectFrom', 'httpsRedirect'],
    instead: 'tls.redirectFrom: host:port',
  },
  {
    section: 'tls',
    words: ['minimumVersion', 'tlsMinVersion', 'versions', 'protocols', 'version'],
    instead: 'minVersion',
  },
  { section: 'tls', words: ['cipherSuites', 'ciphersuites', 'cipherList'], instead: 'ciphers' },
  { section: 'tls', words: ['redirect', 'redirectHttp', 'httpListen', 'listen'], instead: 'redirectFrom: host:port' },
  { section: '', words: ['port', 'address', 'bind', 'httpAddress'], instead: 'listen: host:port' },
]

/** Returns what to write in place of a key that no section has, or `null`. */
export function synonymOf(key: string, section: KeyPath): string | null {
  const found = find(key, patternOf(section).replace(INNER_RULE, RULE))
  return found === null ? null : `use ${found}`
}

/** Returns what to write in a route in place of an unknown key at the top level, or `null`. */
export function routeSynonymOf(key: string): string | null {
  const found = find(key, 'routes[]')
  return found === null ? null : `in routes, use ${found}`
}

function find(key: string, section: string): string | null {
  const word = normalize(key)
  const row = KEYS.find((one) => one.section === section && one.words.some((other) => normalize(other) === word))
  return row?.instead ?? null
}

interface ValueSynonyms {
  readonly key: string
  readonly isMeant: (written: unknown) => boolean
  readonly instead: string
}

const VALUES: readonly ValueSynonyms[] = [
  {
    key: 'routes[].upstreamProtocol',
    isMeant: isOneOf('http2', 'http/2', '2', '2.0', 'grpc', 'grpcs', 'tls', 'https'),
    instead: 'use h2 if upstream is https, otherwise h2c',
  },
  { key: 'routes[].upstreamProtocol', isMeant: isOneOf('http', 'http/1.1', '1', '1.1'), instead: 'use http1' },
  { key: 'routes[].upstreamParser', isMeant: isOneOf('insecure', 'relaxed', 'loose', 'true'), instead: 'use lenient' },
  {
    key: 'routes[].access',
    isMeant: isOneOf('anonymous', 'none', 'open', 'allow', 'off', 'false'),
    instead: 'use public',
  },
  {
    key: 'routes[].access',
    isMeant: isOneOf('private', 'authenticated', 'protected', 'login', 'on', 'true'),
    instead: 'use required',
  },
  {
    key: 'routes[].authorization',
    isMeant: isOneOf('pass', 'passthrough', 'preserve', 'forward', 'keep', 'true'),
    instead: 'use client',
  },
  {
    key: 'routes[].token',
    isMeant: isOneOf('none', 'off', 'false'),
    instead: 'write token: { grant: none }',
  },
  {
    key: 'routes[].token',
    isMeant: isOneOf('session', 'token-exchange', 'on-behalf-of', 'client-credentials'),
    instead: 'write token: { grant: … }',
  },
  { key: 'routes[].cors', isMeant: isOneOf('false', 'off', 'none'), instead: 'leave it out' },
  {
    key: 'routes[].cors',
    isMeant: () => true,
    instead: 'write cors: { origins: [https://app.example.org] }',
  },
  { key: 'routes[].bearer', isMeant: isOneOf('false', 'off', 'none'), instead: 'leave it out' },
  { key: 'routes[].bearer', isMeant: () => true, instead: 'write bearer: { audience: … }' },
]

function isOneOf(...words: readonly string[]): (written: unknown) => boolean {
  return (written) => words.includes(String(written).toLowerCase())
}

/** Returns what to write in place of a value that its key or section does not accept, or `null`. */
export function valueSynonymOf(written: unknown, path: KeyPath): string | null {
  const pattern = patternOf(path)
  return VALUES.find(({ key, isMeant }) => key === pattern && isMeant(written))?.instead ?? null
}

function patternOf(path: KeyPath): string {
  return formatKeyPath(path).replace(/\[\d+\]/g, '[]')
}
