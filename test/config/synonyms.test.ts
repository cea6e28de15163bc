import t from 'tap'
import { loadText, least, problemsOf, brief } from './configuration.ts'

const folder = t.testdir({})

/** Returns the problems with these lines of a configuration, without their places. */
const problemsWith = (lines: string): string[] =>
  problemsOf(() => loadText(folder, `${least}${lines}\n`)).map((problem) => brief(problem).replace(/^\S+ /, ''))

const unknown = 'is not a key of the configuration'

void t.test('a key in the wrong section is refused with its section', (t) => {
  for (const [line, expected] of [
    ['upstreamTls: { caFile: x }', `upstreamTls: ${unknown} | it belongs to routes[]`],
    ['upstreamHost: upstream', `upstreamHost: ${unknown} | it belongs to routes[]`],
    ['stripPrefix: /a', `stripPrefix: ${unknown} | it belongs to routes[]`],
    [
      'audience: x',
      `audience: ${unknown} | it belongs to assertion, routes[].token, routes[].bearer or routes[].bearer.issuers[]`,
    ],
    ['routes: [{ path: /a, publicUrl: x }]', `routes[0].publicUrl: ${unknown} | it belongs to the top level`],
    ['routes: [{ path: /a, rateLimit: x }]', `routes[0].rateLimit: ${unknown} | it belongs to the top level`],
    ['routes: [{ path: /a, grant: none }]', `routes[0].grant: ${unknown} | it belongs to routes[].token`],
    ['routes: [{ path: /a, header: x }]', `routes[0].header: ${unknown} | did you mean headers?`],
    ['routes: [{ path: /a, upsteamHost: x }]', `routes[0].upsteamHost: ${unknown} | did you mean upstreamHost?`],
  ] as const)
    t.same(problemsWith(line), [expected], line)
  t.end()
})

void t.test('a key of another proxy is refused with the key to use', (t) => {
  for (const [key, instead] of [
    ['clientCertificate: { certFile: x }', 'upstreamTls: { certFile: …, keyFile: … }'],
    ['certFile: x', 'upstreamTls: { certFile: …, keyFile: … }'],
    ['preserveHost: true', 'upstreamHost: preserve, upstream or a fixed name'],
    ['passHostHeader: false', 'upstreamHost: preserve, upstream or a fixed name'],
    ['pass_host_header: false', 'upstreamHost: preserve, upstream or a fixed name'],
    ['hostHeader: x', 'upstreamHost: preserve, upstream or a fixed name'],
    ['insecureHTTPParser: true', 'upstreamParser: lenient'],
    ['groups: [admin]', 'require: { claims: { groups: [ … ] } }'],
    ['public: true', 'access: public, optional or required'],
    ['http2: true', 'upstreamProtocol: http1, h2 or h2c'],
    ['allowedOrigins: [x]', 'cors: { origins: [ … ] }'],
  ] as const) {
    const name = key.slice(0, key.indexOf(':'))
    t.same(problemsWith(`routes: [{ path: /a, ${key} }]`), [`routes[0].${name}: ${unknown} | use ${instead}`], key)
  }
  for (const [lines, expected] of [
    ['routes: [{ path: /a, require: { groups: x } }]', 'routes[0].require.groups: | use claims: { groups: [ … ] }'],
    ['routes: [{ path: /a, upstreamTls: { ca: x } }]', 'routes[0].upstreamTls.ca: | use caFile'],
    ['preserveHost: true', 'preserveHost: | in routes, use upstreamHost: preserve, upstream or a fixed name'],
    ['proxyProtocol: true', 'proxyProtocol: | use listenProxyProtocol: true'],
    ['h2c: true', 'h2c: | use listenH2c: true (with tls, clients negotiate HTTP/2)'],
  ] as const)
    t.same(problemsWith(lines), [expected.replace('|', `${unknown} |`)], lines)
  t.end()
})

void t.test('a value of another proxy is refused with the value to use', (t) => {
  for (const [line, instead] of [
    ['upstreamProtocol: http2', 'use h2 if upstream is https, otherwise h2c'],
    ['upstreamProtocol: grpc', 'use h2 if upstream is https, otherwise h2c'],
    ['upstreamProtocol: HTTP/1.1', 'use http1'],
    ['upstreamProtocol: h2cc', 'did you mean h2c?'],
    ['token: none', 'write token: { grant: none }'],
    ['token: token-exchange', 'write token: { grant: … }'],
    ['cors: ["https://app.example.org"]', 'write cors: { origins: [https://app.example.org] }'],
    ['cors: "*"', 'write cors: { origins: [https://app.example.org] }'],
    ['cors: false', 'leave it out'],
    ['access: none', 'use public'],
    ['access: true', 'use required'],
    ['upstreamParser: insecure', 'use lenient'],
    ['authorization: passthrough', 'use client'],
    ['bearer: true', 'write bearer: { audience: … }'],
    ['require: true', 'keys: claims, networks, any, not, acr, maxAge'],
  ] as const) {
    const problems = problemsWith(`routes: [{ path: /a, ${line} }]`)
    t.equal(problems.length, 1, line)
    t.equal(problems[0]?.split(' | ')[1], instead, line)
  }
  t.end()
})

void t.test('authorization: client on a public route is a warning', (t) => {
  const { warnings } = loadText(folder, `${least}routes: [{ path: /a, access: public, authorization: client }]\n`)
  t.equal(warnings.length, 1)
  t.match(warnings[0], /routes\[0\]\.authorization: has no effect: the route is public, .*; leave it out/)
  t.end()
})
