import t from 'tap'
import type { Route } from '../../src/config/schema.ts'
import { compileHeaders } from '../../src/gate/headers.ts'
import type { CompiledRoute, Facts, Who } from '../../src/gate/verdict.ts'
import type { Session } from '../../src/session/session.ts'
import { bearerOf, compiled, factsOf, sessionOf } from './request.ts'

const isOwnCookie = (name: string): boolean => name === 'gatehouse' || name.startsWith('gatehouse-login-')

type Sent = {
  readonly facts?: Facts
  readonly routes?: Partial<Route>[]
  readonly session?: Session | null
  readonly token?: string | null
}

const tableOf = (routes: readonly CompiledRoute[]) => ({ routes, dependsOnMethod: () => false })

/** Returns the headers that the upstream of the first route gets, by name as sent, with the values in order. */
const upstream = ({
  facts = factsOf(),
  routes = [{}],
  session = null,
  token = null,
}: Sent): Record<string, string[]> => {
  const table = routes.map((route, index) => ({ ...compiled(route), index }))
  const [first = compiled()] = table
  const flat = compileHeaders(tableOf(table), isOwnCookie).build(facts, first, session, token)
  const headers: Record<string, string[]> = {}
  for (let i = 0; i + 1 < flat.length; i += 2) (headers[flat[i] ?? ''] ??= []).push(flat[i + 1] ?? '')
  return headers
}

const trusted = { address: '192.0.2.7', peer: '10.0.0.1', trusted: true, scheme: 'https' }
const setUser: Partial<Route> = { headers: { set: { 'X-User': '{claims.sub}' }, encoding: 'rfc8187', remove: [] } }

void t.test('an ordinary header passes byte for byte, with its order, case and repetitions', (t) => {
  const rawHeaders = ['X-One', 'a', 'aCCept', '*/*', 'X-One', 'b', 'X-Latin', 'caf\u00e9']
  const flat = compileHeaders(tableOf([compiled()]), isOwnCookie).build(
    { ...factsOf(), rawHeaders },
    compiled(),
    null,
    null,
  )
  t.same(flat.slice(0, rawHeaders.length), rawHeaders)
  t.end()
})

void t.test('a client’s DPoP proof passes where its Authorization does', (t) => {
  const facts = factsOf({ headers: { dpop: 'proof' } })
  const bearer: Partial<Route> = { bearer: bearerOf({ audience: ['api'] }) }
  const proofs = (sent: Sent) => upstream({ facts, ...sent })['dpop'] ?? []
  t.same(proofs({}), ['proof'], 'without a session')
  t.same(proofs({ session: sessionOf(), token: 'access-token' }), [])
  t.same(proofs({ session: sessionOf() }), [], 'a route without a token')
  t.same(proofs({ routes: [bearer] }), [], 'a route on which only verified tokens pass')
  t.end()
})

void t.test('trailer fields pass, except those that the client may not set as headers', (t) => {
  const routes = [
    compiled(setUser),
    { ...compiled({ headers: { set: {}, encoding: 'rfc8187', remove: ['X-Gone'] } }), index: 1 },
  ]
  const compiledHeaders = compileHeaders(tableOf(routes), isOwnCookie, 'gatehouse')
  const [, second = compiled()] = routes
  const facts = factsOf({ headers: { connection: 'close, X-Hop' }, client: trusted })
  const passing = [
    ['X-Checksum', 'caf\u00e9'],
    ['x-checksum', 'twice'],
    ['Content-Digest', 'sha-256=:AA==:'],
    ['grpc-status', '0'],
    ['grpc-message', 'caf%C3%A9'],
    ['grpc-status-details-bin', 'AA=='],
    ['my-metadata-bin', 'AA'],
  ]
  t.same(compiledHeaders.trailers(passing.flat(), facts, second), passing.flat())
  t.same(
    compiledHeaders.trailers(
      passing.flat().map((text) => Buffer.from(text, 'latin1')),
      facts,
      second,
    ),
    passing.flat(),
  )
  const removed = [
    'X-User',
    'x_user',
    'X.User',
    'Authorization',
    'X-Gone',
    'x_gone',
    'X-Hop',
    'Cookie',
    'Set-Cookie',
    'Host',
    'Via',
    'DPoP',
    'Gatehouse',
    'Forwarded',
    'X-Forwarded-For',
    'X-Forwarded-User',
    'X_Forwarded_Proto',
    'X-Real-IP',
    'X-Original-URL',
    'X-HTTP-Method-Override',
    'Content-Length',
    'Content_Length',
    'Transfer-Encoding',
    'Trailer',
    'TE',
    'Connection',
    'Keep-Alive',
    'Proxy-Authorization',
    'Expect',
    'Range',
    'If-None-Match',
    'Cache-Control',
    'Content-Type',
    'Content-Encoding',
    'Content-Range',
  ]
  for (const name of removed)
    for (const spelling of [name, name.toLowerCase()])
      t.same(compiledHeaders.trailers([spelling, 'x'], facts, second), [], spelling)
  t.end()
})

void t.test('Trailer names the trailer fields that pass, and TE says that the client keeps them', (t) => {
  const trailer = 'X-Checksum, X-User ,,Content-Length,grpc-status, X_User, X-Forwarded-For'
  const sent = (headers: Record<string, string>) => upstream({ facts: factsOf({ headers }), routes: [setUser] })
  t.same(sent({ trailer })['trailer'], ['X-Checksum, grpc-status'])
  t.notOk(sent({ trailer: 'X-User, Content-Length' })['trailer'])
  t.same(sent({ te: 'trailers', connection: 'TE, close' })['TE'], ['trailers'])
  t.same(sent({ te: 'gzip;q=0.5,Trailers' })['TE'], ['trailers'])
  t.notOk(sent({ te: 'gzip' })['TE'])
  t.notOk(sent({ te: 'x-trailers' })['TE'])
  t.notOk(sent({ te: 'trailers', upgrade: 'websocket' })['TE'])
  t.end()
})

void t.test(
  'with authorization: client, the client’s own credentials pass, except a proof beside the gateway’s',
  (t) => {
    const rawHeaders = ['Authorization', 'Bearer own', 'AUTHORIZATION', 'Basic YTpi', 'DPoP', 'own']
    const facts = { ...factsOf(), rawHeaders }
    const route = compiled({ authorization: 'client', token: { ...compiled().token, header: 'X-Token' } })
    const built = compileHeaders(tableOf([route]), isOwnCookie)
    const credentials = (token: string | null, scheme?: 'DPoP'): string[] => {
      const flat = built.build(facts, route, sessionOf(), token, scheme)
      return flat.filter((_, i) => /^(?:authorization|dpop|x-token)$/i.test(flat[i - (i % 2)] ?? ''))
    }
    t.same(credentials(null), rawHeaders)
    t.same(credentials('token'), [...rawHeaders, 'X-Token', 'token'])
    t.same(credentials('token', 'DPoP'), [...rawHeaders.slice(0, 4), 'X-Token', 'token'])
    t.end()
  },
)

void t.test('hop-by-hop headers are not forwarded', (t) => {
  const names = [
    'Connection',
    'Keep-Alive',
    'Proxy-Connection',
    'Proxy-Authorization',
    'Proxy-Authenticate',
    'TE',
    'Transfer-Encoding',
    'Upgrade',
    'Expect',
    'HTTP2-Settings',
  ]
  for (const name of names)
    for (const spelling of [name, name.toLowerCase(), name.toUpperCase()]) {
      t.notOk(upstream({ facts: factsOf({ headers: { [spelling]: 'keep-alive' } }) })[spelling], spelling)
    }
  t.end()
})

void t.test('headers that Connection names are dropped, but never the gateway’s own', (t) => {
  const headers = {
    'Connection': 'close, X-Hop,x-other , X-User, X-Forwarded-For, Host, Authorization',
    'X-Hop': '1',
    'X-OTHER': '2',
    'X-User': 'mallory',
    'X-Stays': '3',
  }
  const sent = upstream({ facts: factsOf({ headers }), routes: [setUser], session: sessionOf(), token: 'access-token' })
  t.same(sent, {
    'X-Stays': ['3'],
    'Host': ['orders.example.com'],
    'X-Forwarded-For': ['192.0.2.7'],
    'X-Forwarded-Proto': ['https'],
    'X-Forwarded-Host': ['orders.example.com'],
    'X-Request-Id': [factsOf().requestId],
    'X-User': ['alice'],
    'Authorization': ['Bearer access-token'],
  })
  t.end()
})

void t.test('a client can’t send a header that any route sets, on any route and in any spelling', (t) => {
  const elsewhere: Partial<Route> = {
    path: '/other',
    headers: { set: { 'X-User.Name': 'x' }, encoding: 'rfc8187', remove: [] },
  }
  const tokenElsewhere: Partial<Route> = {
    path: '/third',
    token: { grant: 'session', audience: null, resource: null, scopes: null, header: 'X-Access-Token' },
  }
  for (const name of [
    'X-User-Name',
    'x-user-name',
    'X_USER_NAME',
    'X.User.Name',
    'x-User_name',
    'X-User.Name',
    'X!User~Name',
    'X-Access-Token',
    'x_access_token',
  ]) {
    const sent = upstream({
      facts: factsOf({ headers: { [name]: 'mallory' } }),
      routes: [{ access: 'public' }, elsewhere, tokenElsewhere],
    })
    t.notOk(sent[name], name)
  }
  t.ok(upstream({ facts: factsOf({ headers: { 'X-User-Names': 'fine' } }), routes: [{}, elsewhere] })['X-User-Names'])
  t.end()
})

void t.test('forwarded headers of untrusted peers are dropped in every spelling', (t) => {
  const names = [
    'Forwarded',
    'X-Real-IP',
    'X-Real_IP',
    'X_Real_Ip',
    'X-Original-URL',
    'X-Original-URI',
    'X-Original-Method',
    'X-Original-Host',
    'X_Original_URL',
    'X-Rewrite-URL',
    'X.Rewrite.URL',
    'X-Forwarded-User',
    'X_Forwarded_User',
    'X-Forwarded-Email',
    'X-Forwarded-Prefix',
    'X-Forwarded-Port',
    'X-Forwarded-Uri',
    'X-Forwarded',
    'x-forwarded-anything-else',
    'X_Forwarded_For',
    'X-Forwarded_Proto',
    'X.Forwarded.Host',
    'X-Original',
    'X-Rewrite',
  ]
  for (const name of names) t.notOk(upstream({ facts: factsOf({ headers: { [name]: 'x' } }) })[name], name)
  const through = upstream({
    facts: factsOf({
      headers: { 'X-Forwarded-Prefix': '/a', 'Forwarded': 'for=x', 'X-Real-IP': '1.2.3.4', 'X-Original-URL': '/x' },
      client: trusted,
    }),
  })
  t.match(through, {
    'X-Forwarded-Prefix': ['/a'],
    'Forwarded': ['for=x'],
    'X-Real-IP': ['1.2.3.4'],
    'X-Original-URL': ['/x'],
  })
  t.end()
})

void t.test('X-Forwarded-For, -Proto and -Host are replaced', (t) => {
  const headers = {
    'X-Forwarded-For': '6.6.6.6',
    'X-Forwarded-Proto': 'gopher',
    'X-Forwarded-Host': 'evil.example',
    'Host': 'evil.example',
  }
  const sent = upstream({ facts: factsOf({ headers }) })
  t.same(sent, {
    'Host': ['orders.example.com'],
    'X-Forwarded-For': ['192.0.2.7'],
    'X-Forwarded-Proto': ['https'],
    'X-Forwarded-Host': ['orders.example.com'],
    'X-Request-Id': [factsOf().requestId],
  })
  t.end()
})

void t.test('behind a trusted proxy, forwarded headers are extended', (t) => {
  const headers = {
    'X-Forwarded-For': '192.0.2.7, 10.0.0.9',
    'X-Forwarded-Proto': 'https',
    'X-Forwarded-Host': 'shop.example.com',
  }
  const sent = upstream({ facts: factsOf({ headers, client: { ...trusted, scheme: 'http' } }) })
  t.same(sent['X-Forwarded-For'], ['192.0.2.7, 10.0.0.9, 10.0.0.1'])
  t.same(sent['X-Forwarded-Proto'], ['https'])
  t.same(sent['X-Forwarded-Host'], ['shop.example.com'])
  t.same(
    upstream({ facts: factsOf({ client: trusted }) })['X-Forwarded-For'],
    ['10.0.0.1'],
    'a proxy without these headers is the first',
  )
  t.end()
})

void t.test('a peer on a Unix socket adds no address', (t) => {
  const client = { ...trusted, peer: '' }
  t.same(upstream({ facts: factsOf({ headers: { 'X-Forwarded-For': '192.0.2.7' }, client }) })['X-Forwarded-For'], [
    '192.0.2.7',
  ])
  t.notOk(upstream({ facts: factsOf({ client }) })['X-Forwarded-For'])
  t.end()
})

void t.test('spellings that CGI reads as a header of the gateway are dropped', (t) => {
  for (const name of ['Content_Length', 'Transfer_Encoding', 'Content.Length'])
    t.notOk(upstream({ facts: factsOf({ headers: { [name]: '1' } }) })[name], name)
  t.end()
})

void t.test('method overrides are dropped on routes for certain methods', (t) => {
  for (const name of [
    'X-HTTP-Method-Override',
    'X-HTTP-Method',
    'X-Method-Override',
    'x_http_method_override',
    'X.Method.Override',
  ]) {
    const facts = factsOf({ method: 'POST', headers: { [name]: 'DELETE' } })
    t.notOk(upstream({ facts, routes: [{ methods: ['GET', 'HEAD', 'POST'] }] })[name], name)
    t.ok(upstream({ facts })[name], `${name} on a route for all methods`)
  }
  t.end()
})

void t.test('the gateway’s own cookies are not forwarded, and all others pass unchanged', (t) => {
  const rows: [cookie: string, up: string[] | undefined][] = [
    ['a=1; gatehouse=ticket; b=2', ['a=1; b=2']],
    ['gatehouse=ticket', undefined],
    ['gatehouse-login-0=x; gatehouse-login-3=y', undefined],
    ['gatehouse=one; gatehouse=two;a=1', ['a=1']],
    [' gatehouse =x; a=1', ['a=1']],
    ['gatehouse; a', ['a']],
    ['gatehouses=1; my-gatehouse=2', ['gatehouses=1; my-gatehouse=2']],
    ['a="x; gatehouse=ticket"', ['a="x']],
    ['Gatehouse=1', ['Gatehouse=1']],
    ['a=1;;b=2;', ['a=1; b=2']],
    ['a=b=c', ['a=b=c']],
  ]
  for (const [cookie, up] of rows)
    t.same(upstream({ facts: factsOf({ headers: { Cookie: cookie } }) })['Cookie'], up, cookie)
  t.end()
})

void t.test('Authorization passes only where no session is used', (t) => {
  const facts = factsOf({ headers: { Authorization: 'Basic YTpi' } })
  t.same(upstream({ facts, routes: [{ access: 'public' }] })['Authorization'], ['Basic YTpi'])
  t.same(upstream({ facts, routes: [{ access: 'optional' }] })['Authorization'], ['Basic YTpi'])
  t.same(upstream({ facts, session: sessionOf(), token: 'access-token' })['Authorization'], ['Bearer access-token'])
  t.notOk(
    upstream({ facts, session: sessionOf(), token: null })['Authorization'],
    'a route without a token does not forward the client’s',
  )
  for (const name of ['Authorization_', 'author-ization'])
    t.ok(upstream({ facts: factsOf({ headers: { [name]: 'x' } }) })[name], name)
  t.end()
})

const tokenIn = (header: string): Partial<Route> => ({
  token: { grant: 'session', audience: null, resource: null, scopes: null, header },
})

void t.test('the token goes into its header, with Bearer only in Authorization', (t) => {
  const sent = upstream({
    facts: factsOf({ headers: { Authorization: 'mine' } }),
    routes: [tokenIn('X-Access-Token')],
    session: sessionOf(),
    token: 'access-token',
  })
  t.same(sent['X-Access-Token'], ['access-token'])
  t.notOk(sent['Authorization'])
  t.same(
    upstream({ routes: [tokenIn('authorization')], session: sessionOf(), token: 'access-token' })['authorization'],
    ['Bearer access-token'],
  )
  t.end()
})

void t.test(
  'a route that sets Authorization never forwards the client’s Authorization, even without a session',
  (t) => {
    const routes: Partial<Route>[] = [
      { access: 'public', headers: { set: { Authorization: 'Basic c2VydmljZQ==' }, encoding: 'rfc8187', remove: [] } },
    ]
    t.same(
      upstream({ facts: factsOf({ headers: { authorization: 'Basic bWFsbG9yeQ==' } }), routes })['Authorization'],
      ['Basic c2VydmljZQ=='],
    )
    t.notOk(upstream({ facts: factsOf({ headers: { authorization: 'x' } }), routes })['authorization'])
    t.end()
  },
)

void t.test('headers.remove removes the client’s headers in every spelling, and none of the gateway’s headers', (t) => {
  const routes: Partial<Route>[] = [
    { headers: { set: { 'X-User': '{claims.sub}' }, encoding: 'rfc8187', remove: ['X-Internal', 'X-User', 'Cookie'] } },
  ]
  const facts = factsOf({
    headers: { 'X-Internal': '1', 'x_internal': '2', 'X.INTERNAL': '3', 'Cookie': 'a=1', 'X-Other': '4' },
  })
  const sent = upstream({ facts, routes, session: sessionOf() })
  for (const name of ['X-Internal', 'x_internal', 'X.INTERNAL', 'Cookie']) t.notOk(sent[name], name)
  t.same(sent['X-Other'], ['4'])
  t.same(sent['X-User'], ['alice'])
  t.end()
})

void t.test('without a session only headers without claims are set', (t) => {
  const routes: Partial<Route>[] = [
    {
      access: 'optional',
      headers: { set: { 'X-User': '{claims.sub}', 'X-Gateway': 'yes' }, encoding: 'rfc8187', remove: [] },
    },
  ]
  t.same(upstream({ routes })['X-Gateway'], ['yes'])
  t.notOk(upstream({ routes })['X-User'])
  t.same(upstream({ routes, session: sessionOf() })['X-User'], ['alice'])
  t.end()
})

void t.test('new claims take effect at once', (t) => {
  const route = compiled(setUser)
  const built = compileHeaders(tableOf([route]), isOwnCookie)
  t.match(built.build(factsOf(), route, sessionOf(), null).join(), /X-User,alice/)
  t.match(built.build(factsOf(), route, sessionOf({ claims: { sub: 'bob' } }), null).join(), /X-User,bob/)
  t.end()
})

void t.test('thousands of random names do not affect the next request', (t) => {
  const route = compiled(setUser)
  const built = compileHeaders(tableOf([route]), isOwnCookie)
  const rawHeaders = Array.from({ length: 6000 }, (_, i) => (i % 2 === 0 ? `X-Made-Up-${i}` : 'x'))
  built.build({ ...factsOf(), rawHeaders }, route, null, null)
  t.notMatch(
    built.build(factsOf({ headers: { 'x_user': 'mallory', 'X-Real-IP': '6.6.6.6' } }), route, null, null).join(),
    /mallory|6\.6\.6\.6/,
  )
  t.end()
})

const setHeaders = (set: Record<string, string>, more: Partial<Route> = {}): CompiledRoute =>
  compiled({ ...more, headers: { set, encoding: 'rfc8187', remove: [] } })

const valueOf = (flat: readonly string[], name: string): string | null => {
  const at = flat.findIndex((one, i) => i % 2 === 0 && one === name)
  return at === -1 ? null : (flat[at + 1] ?? null)
}

void t.test('headers from claims are filled in once for each claims object, all others for each request', (t) => {
  const route = setHeaders({
    'X-User': '{claims.sub}',
    'X-Request': '{request.id}',
    'X-Session': '{session.id}',
    'X-Token': 'Bearer {accessToken}',
    'X-Id-Token': '{idToken}',
    'X-Both': '{sub} {request.id}',
  })
  const built = compileHeaders(tableOf([route]), isOwnCookie)
  let reads = 0
  const claims = {
    get sub() {
      reads += 1
      return 'alice'
    },
  }
  const send = (session: Session, requestId: string, token: string) => {
    const flat = built.build({ ...factsOf(), requestId }, route, session, token)
    return ['X-User', 'X-Request', 'X-Session', 'X-Token', 'X-Id-Token', 'X-Both'].map((name) => valueOf(flat, name))
  }
  const session = sessionOf({ claims })
  t.same(send(session, 'r1', 'one'), ['alice', 'r1', session.id, 'Bearer one', 'header.payload.signature', 'alice r1'])
  t.equal(reads, 2)
  const refreshed = sessionOf({ claims, idToken: 'new.id.token' })
  t.same(send(refreshed, 'r2', 'two'), ['alice', 'r2', session.id, 'Bearer two', 'new.id.token', 'alice r2'])
  t.equal(reads, 3, 'X-User is that of before, because the claims are')
  t.end()
})

void t.test('{accessToken} is the token of the route, otherwise that of the session or of the client', (t) => {
  const tokenSent = (grant: Route['token']['grant'], token: string | null, who: Session | Who = sessionOf()) => {
    const route = setHeaders(
      { 'X-Token': '{accessToken}' },
      { token: { ...compiled().token, grant }, bearer: bearerOf() },
    )
    const facts = factsOf({ headers: { authorization: 'Bearer of-the-client' } })
    return valueOf(compileHeaders(tableOf([route]), isOwnCookie).build(facts, route, who, token), 'X-Token')
  }
  const client: Who = { claims: { sub: 'robot' }, bearer: true }
  t.equal(tokenSent('session', 'of-the-route'), 'of-the-route')
  t.equal(tokenSent('token-exchange', 'exchanged'), 'exchanged')
  t.equal(tokenSent('none', null), 'access-token')
  t.equal(tokenSent('id-token', 'header.payload.signature'), 'access-token')
  t.equal(tokenSent('session', null, client), 'of-the-client')
  t.equal(tokenSent('token-exchange', 'exchanged', client), 'exchanged')
  t.end()
})

void t.test('a client with a token of its own has a sub, but no session and no ID token', (t) => {
  const route = setHeaders(
    { 'X-Sub': '{sub}', 'X-Session': '{session.id}', 'X-Id-Token': '{idToken}', 'X-Request': '{request.id}' },
    { bearer: bearerOf() },
  )
  const client: Who = { claims: { sub: 'robot' }, bearer: true }
  for (const list of [
    compileHeaders(tableOf([route]), isOwnCookie).build(factsOf(), route, client, null),
    compileHeaders(tableOf([route]), isOwnCookie).forProxy(factsOf(), route, client, null),
  ]) {
    t.same(
      ['X-Sub', 'X-Session', 'X-Id-Token', 'X-Request'].map((name) => valueOf(list, name)),
      ['robot', null, null, factsOf().requestId],
    )
  }
  t.end()
})

void t.test('a public route can send the id of the request', (t) => {
  const route = setHeaders({ 'X-Correlation': 'req-{request.id}' }, { access: 'public' })
  const flat = compileHeaders(tableOf([route]), isOwnCookie).build({ ...factsOf(), requestId: 'r1' }, route, null, null)
  t.equal(valueOf(flat, 'X-Correlation'), 'req-r1')
  t.end()
})

void t.test('an assertion is made only for a user, and only on routes that send it', (t) => {
  const asked: string[] = []
  const assertions = {
    make(origin: string, { index }: Pick<CompiledRoute, 'index'>, who: Who) {
      asked.push(`${origin} ${index} ${who.id ?? ''}`)
      return 'signed'
    },
  }
  const routes = [
    setHeaders({ 'X-Assertion': '{assertion}' }, { access: 'optional' }),
    { ...compiled(setUser), index: 1 },
  ]
  const built = compileHeaders(tableOf(routes), isOwnCookie, null, assertions)
  const [first = compiled(), second = compiled()] = routes
  t.equal(valueOf(built.build(factsOf(), first, null, null), 'X-Assertion'), null)
  t.equal(valueOf(built.build(factsOf(), second, sessionOf(), null), 'X-Assertion'), null)
  t.same(asked, [])
  t.equal(valueOf(built.build(factsOf(), first, sessionOf(), null), 'X-Assertion'), 'signed')
  t.equal(valueOf(built.forProxy(factsOf(), first, sessionOf(), null), 'X-Assertion'), 'signed')
  t.same(
    asked,
    Array.from({ length: 2 }, () => `${factsOf().origin} 0 ${sessionOf().id}`),
  )
  const forged = factsOf({ headers: { 'X-Assertion': 'forged', 'x_assertion': 'forged', 'X.Assertion': 'forged' } })
  t.notMatch(built.build(forged, second, sessionOf(), null).join(), /forged/)
  t.match(built.deception(factsOf({ headers: { x_assertion: 'forged' } })), 'x_assertion')
  t.end()
})
