import { combined, noEquivalent, type Rule, type Rules } from '../rule.ts'

const OF_FILES =
  'the gateway serves no files: serve them with a server of their own, and name it as the upstream of a route'
const OF_PROGRAMS =
  'it runs the application in the web server: let the application listen on a port, and set it as upstream'
const OF_RESPONSES = 'responses are not changed: let the application do it, or the web server in front'
const OF_PROCESS = 'it is about the web server itself'
const OF_LOGS = 'the log is JSON lines on stdout'
const OF_CONNECTIONS =
  'it is about the connections of the web server: the timeouts and limits have keys of their own (limits)'
const OF_VARIABLES =
  'the gateway has no environment variables per request: RequestHeader says what becomes of headers with their values'
const OF_TLS = 'with TLS of its own, the gateway has keys for it under tls'
const VERIFICATION = 'routes[].upstreamTls'

/** Directives of Apache and its modules that a site with mod_auth_openidc often has, besides those in the rules of the module. */
export const apacheDirectives: Rules = {
  SSLProxyVerify: combined(VERIFICATION, 'none becomes insecureSkipVerify, and is listed under SECURITY'),
  SSLProxyCheckPeerName: combined(VERIFICATION, 'off becomes insecureSkipVerify, and is listed under SECURITY'),
  SSLProxyCheckPeerCN: combined(VERIFICATION, 'off becomes insecureSkipVerify, and is listed under SECURITY'),
  SSLProxyCheckPeerExpire: combined(VERIFICATION, 'off becomes insecureSkipVerify, and is listed under SECURITY'),
  SSLProxyCACertificateFile: combined('routes[].upstreamTls.caFile'),
  SSLProxyMachineCertificateFile: combined('routes[].upstreamTls.certFile, keyFile'),
  ...sameRule(
    [
      'Location',
      'LocationMatch',
      'Proxy',
      'ProxyMatch',
      'Directory',
      'DirectoryMatch',
      'Files',
      'FilesMatch',
      'If',
      'ElseIf',
      'Else',
    ],
    noEquivalent('the section itself requires nothing; its directives are listed one by one', 'builtin'),
  ),
  SSLProxyEngine: noEquivalent('an upstream with https needs no switch', 'builtin'),
  ProxyPassMatch: combined('routes[].upstream', 'only ^/path/(.*)$ with $1 at the end of the URL is carried over'),
  BalancerMember: combined('routes[].upstream', 'a route has one upstream: the first member is used'),
  AuthMerging: combined('routes[].require', 'And and Or combine the requirement with that of the section around'),
  ...sameRule(['Order', 'Allow', 'Deny'], combined('routes[].require.networks', 'a login is needed as well')),
  Satisfy: combined('routes[].access', 'with Any, a login is needed until you open the route'),
  ...sameRule(
    ['Redirect', 'RedirectMatch'],
    combined(
      'routes[].require',
      'a path with the status 4xx lets no user in; other redirects are listed under SECURITY',
    ),
  ),
  RewriteRule: combined(
    'routes[]',
    'P becomes an upstream, and F lets no user in, if a route can express the path exactly; other rules are listed',
  ),
  RewriteEngine: noEquivalent('each RewriteRule is listed', 'builtin'),
  ...sameRule(
    ['RewriteBase', 'RewriteMap', 'RewriteOptions'],
    noEquivalent('routes rewrite prefixes only: stripPrefix and rewritePrefix'),
  ),
  ...sameRule(['Alias', 'AliasMatch', 'ScriptAlias', 'ScriptAliasMatch'], noEquivalent(OF_FILES, 'security')),
  ...sameRule(
    ['DocumentRoot', 'DirectoryIndex', 'FallbackResource', 'Options', 'IndexOptions'],
    noEquivalent(OF_FILES),
  ),
  AllowOverride: {
    target: null,
    note: '.htaccess files are not read: if they protect paths, write routes for them',
    apply(setting, migration) {
      const isNone = /^none$/i.test(String(Array.isArray(setting.value) ? setting.value[0] : setting.value))
      migration.remarks.push({
        grade: isNone ? 'builtin' : 'security',
        setting,
        text: isNone ? 'there are no .htaccess files' : this.note,
      })
      migration.handled.add(setting)
    },
  },
  ...sameRule(
    ['WSGIScriptAlias', 'WSGIDaemonProcess', 'WSGIProcessGroup', 'SetHandler', 'AddHandler', 'PassengerEnabled'],
    noEquivalent(OF_PROGRAMS),
  ),
  ErrorDocument: noEquivalent('set pages for the words and the logo of error pages; the application has its own'),
  ...sameRule(
    [
      'ExpiresActive',
      'ExpiresByType',
      'AddOutputFilterByType',
      'SetOutputFilter',
      'Substitute',
      'AddType',
      'AddDefaultCharset',
    ],
    noEquivalent(OF_RESPONSES),
  ),
  ProxyPassReverse: noEquivalent(
    'redirects get the prefix of the route and, with upstreamHost, the public origin (prefixHeaders)',
    'builtin',
  ),
  ProxyPassReverseCookiePath: noEquivalent('cookie paths get the prefix of the route (prefixHeaders)', 'builtin'),
  ProxyPassReverseCookieDomain: noEquivalent(
    'with upstreamHost, a Domain that names the application is removed, so the cookie belongs to the public host ' +
      '(prefixHeaders)',
    'builtin',
  ),
  Header: noEquivalent(
    'response headers are not changed: set headers in the application, or in the web server in front',
  ),
  ProxyErrorOverride: noEquivalent('error responses of the application are passed on'),
  ProxyRequests: noEquivalent('the gateway is no forward proxy', 'builtin'),
  ProxyTimeout: noEquivalent('set timeout on routes, which is 60s by default'),
  ProxyVia: noEquivalent('Via is always sent', 'builtin'),
  ProxyAddHeaders: noEquivalent('X-Forwarded-For, -Proto and -Host are always sent'),
  ProxyBadHeader: noEquivalent('a malformed response is a 502'),
  AllowEncodedSlashes: noEquivalent('a path passes as the browser sends it, or is refused as ambiguous', 'builtin'),
  MergeSlashes: noEquivalent('a path with several slashes is refused if it would lead to another route', 'builtin'),
  ...sameRule(
    ['SetEnv', 'SetEnvIf', 'SetEnvIfNoCase', 'PassEnv', 'UnsetEnv', 'BrowserMatch'],
    noEquivalent(OF_VARIABLES),
  ),
  ...sameRule(
    [
      'SSLProtocol',
      'SSLCipherSuite',
      'SSLHonorCipherOrder',
      'SSLCACertificateFile',
      'SSLVerifyDepth',
      'SSLOptions',
      'SSLUseStapling',
    ],
    noEquivalent(OF_TLS),
  ),
  SSLEngine: noEquivalent('a proxy in front can keep TLS; otherwise set tls.certFile and tls.keyFile', 'builtin'),
  SSLCertificateChainFile: noEquivalent('the file of tls.certFile has the chain as well', 'todo'),
  Protocols: noEquivalent('HTTP/2 is negotiated with TLS', 'builtin'),
  Listen: noEquivalent('set listen'),
  ...sameRule(['ErrorLog', 'CustomLog', 'TransferLog', 'LogLevel', 'LogFormat'], noEquivalent(OF_LOGS, 'builtin')),
  ...sameRule(
    [
      'LoadModule', 'ServerRoot', 'ServerAdmin', 'ServerSignature', 'ServerTokens', 'PidFile', 'Mutex', 'User', 'Group',
      'UseCanonicalName', 'HostnameLookups', 'DefaultRuntimeDir',
    ], // prettier-ignore
    noEquivalent(OF_PROCESS, 'builtin'),
  ),
  ...sameRule(
    [
      'Timeout',
      'KeepAlive',
      'KeepAliveTimeout',
      'MaxKeepAliveRequests',
      'RequestReadTimeout',
      'LimitRequestFieldSize',
      'LimitRequestLine',
    ],
    noEquivalent(OF_CONNECTIONS),
  ),
}

function sameRule(names: readonly string[], rule: Rule): Rules {
  return Object.fromEntries(names.map((name) => [name, rule]))
}
