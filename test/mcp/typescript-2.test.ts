import { setTimeout as sleep } from 'node:timers/promises'
import { Client, DpopSession, StreamableHTTPClientTransport, UnauthorizedError } from '@modelcontextprotocol/client'
import t, { type Test } from 'tap'
import { createBrowser } from '../support/browser.ts'
import type { Answer } from '../support/exchange.ts'
import { eventually } from '../support/eventually.ts'
import { startMcp, type Mcp } from './harness.ts'
import { Login, type LoginOptions } from './login.ts'

type Connected = {
  readonly client: Client
  readonly transport: StreamableHTTPClientTransport
  readonly login: Login
  /** Runs an action that needs a login, logs the user in, and runs the action again. */
  readonly withLogin: <T>(action: () => Promise<T>) => Promise<T>
  readonly call: (name: string, toolArguments?: Record<string, string>) => Promise<string>
}

type How = Partial<LoginOptions> & {
  readonly mode?: 'legacy' | 'auto'
  readonly dpop?: boolean
  readonly fetch?: (login: Login) => typeof fetch
}

class DpopLogin extends Login {
  #session = DpopSession.create()
  async dpop(): Promise<DpopSession> {
    return this.#session
  }
}

/** Connects a client, which logs in. */
const connect = async (t: Test, { logIn, url, callback, idp }: Mcp, how: How = {}): Promise<Connected> => {
  const login = new (how.dpop === true ? DpopLogin : Login)({ callback, ...how }, idp.issuer)
  const browser = createBrowser()
  const open = (): StreamableHTTPClientTransport =>
    new StreamableHTTPClientTransport(url, { authProvider: login, fetch: how.fetch?.(login) ?? login.fetch })
  const client = new Client({ name: 'test', version: '1' }, { versionNegotiation: { mode: how.mode ?? 'legacy' } })
  t.teardown(async () => client.close())
  let transport = open()
  await t.rejects(client.connect(transport), UnauthorizedError)
  await transport.finishAuth(await logIn(login.lastRedirect, browser))
  transport = open()
  await client.connect(transport)
  // With a session, the client also opens a stream for messages of the server.
  if (transport.sessionId !== undefined) await eventually(() => login.requests.includes('GET /mcp 200'))
  return {
    client,
    transport,
    login,
    withLogin: async (action) => {
      await t.rejects(action(), UnauthorizedError)
      await transport.finishAuth(await logIn(login.lastRedirect, browser))
      return action()
    },
    call: async (name, toolArguments = {}) => {
      const { content } = await client.callTool({ name, arguments: toolArguments })
      const [block] = content
      if (block?.type !== 'text') throw new Error(`no text from ${name}`)
      return block.text
    },
  }
}

/** Fails behind the chunk that contains a text, which ends the connection of a response. */
const brokenAt = (text: string): TransformStream<Uint8Array<ArrayBuffer>, Uint8Array<ArrayBuffer>> => {
  let broken = false
  return new TransformStream({
    transform(chunk, controller) {
      if (broken) throw new Error('the connection is lost')
      controller.enqueue(chunk)
      broken = new TextDecoder().decode(chunk).includes(text)
    },
  })
}

/** The scopes that a client has asked the user for. */
const scopesOf = (url: URL): string[] => url.searchParams.get('scope')?.split(' ').toSorted() ?? []

void t.test('the client of the SDK for TypeScript 2.x', async (t) => {
  const mcp = await startMcp(t, { idp: { dpop: 'on' } })
  const { idp, callback } = mcp

  await t.test('a client learns from the 401 where to log in, registers itself, and calls tools', async (t) => {
    const { client, transport, login, call } = await connect(t, mcp)
    t.same(login.requests.slice(0, 6), [
      'POST /mcp 401',
      'GET /.well-known/oauth-protected-resource/mcp 200',
      'GET idp/.well-known/oauth-authorization-server 200',
      'POST idp/register 201',
      'POST idp/token 200',
      'POST /mcp 200',
    ])
    t.equal(login.lastRedirect.searchParams.get('resource'), mcp.url.href)
    t.same(scopesOf(login.lastRedirect), ['offline_access', 'orders.read'])
    t.match(transport.sessionId, /^[\da-f-]{36}$/)
    const { tools } = await client.listTools()
    t.same(
      tools.map(({ name }) => name),
      ['list_orders', 'export_orders', 'cancel_order'],
    )
    t.match(JSON.parse(await call('list_orders')), { user: 'alice', orders: { 'A-1001': {} } })
  })

  await t.test('a client of revision 2026-07-28 works without sessions', async (t) => {
    const { client, transport, call } = await connect(t, mcp, { mode: 'auto' })
    t.same([transport.sessionId, client.getNegotiatedProtocolVersion()], [undefined, '2026-07-28'])
    t.match(JSON.parse(await call('list_orders')), { user: 'alice' })
    const progress: number[] = []
    const { content } = await client.callTool(
      { name: 'export_orders' },
      { onprogress: (one) => progress.push(one.progress) },
    )
    t.match([progress, content], [[1, 2, 3], [{ text: '3 orders exported' }]])
  })

  await t.test('a client that was registered by hand works', async (t) => {
    await idp.registerClient({
      clientId: 'by-hand',
      redirectUris: [callback],
      // Without the scope `openid` the provider issues no ID token, and thus no `auth_time`.
      metadata: { require_auth_time: false },
    })
    const { login, call } = await connect(t, mcp, { clientId: 'by-hand' })
    t.notOk(login.requests.includes('POST idp/register 201'))
    t.match(await call('list_orders'), 'alice')
  })

  await t.test('a client whose ID is the URL of its metadata document works', async (t) => {
    const { login, call } = await connect(t, mcp, { metadataUrl: mcp.metadataUrl })
    t.equal(login.lastRedirect.searchParams.get('client_id'), mcp.metadataUrl)
    t.notOk(login.requests.includes('POST idp/register 201'))
    t.match(await call('list_orders'), 'alice')
  })

  await t.test('an expired token is refreshed after a 401, and a revoked grant leads to a login', async (t) => {
    idp.settings.lifetimes.accessToken = 2
    const { login, withLogin, call } = await connect(t, mcp)
    await sleep(2100)
    login.requests.length = 0
    t.match(await call('list_orders'), 'alice')
    t.match(login.requests.join(', '), /POST \/mcp 401, .*POST idp\/token 200, POST \/mcp 200$/)
    t.equal(login.redirects.length, 1, 'without another login')

    idp.revokeGrantsOf('alice')
    idp.settings.lifetimes.accessToken = 300
    await sleep(2100)
    t.match(await withLogin(async () => call('list_orders')), 'alice')
    t.equal(login.redirects.length, 2)
  })

  await t.test('a tool that requires a further scope leads to a login that asks for it', async (t) => {
    const { login, withLogin, call } = await connect(t, mcp)
    t.equal(await withLogin(async () => call('cancel_order', { id: 'A-1003' })), 'alice canceled order A-1003')
    t.ok(login.requests.includes('POST /mcp 403'))
    t.same(scopesOf(login.lastRedirect), ['offline_access', 'orders.read', 'orders.write'])
  })

  await t.test('a message of the server arrives on the open GET stream', async (t) => {
    const watcher = await connect(t, mcp)
    const changed: string[] = []
    watcher.client.setNotificationHandler('notifications/resources/updated', ({ params }) => {
      changed.push(params.uri)
    })
    const { withLogin, call } = await connect(t, mcp)
    await withLogin(async () => call('cancel_order', { id: 'A-1002' }))
    await eventually(() => changed.length > 0)
    t.same(changed, ['orders://all'])
  })

  await t.test('a client resumes a stream that broke off', async (t) => {
    let breaks = true
    /** Closes the connection of the first stream that reports progress. */
    const breakingFetch =
      (login: Login): typeof fetch =>
      async (url, init) => {
        const response = await login.fetch(String(url), init)
        const isStream = response.headers.get('content-type') === 'text/event-stream'
        if (!breaks || !isStream || !String(init?.body).includes('export_orders')) return response
        breaks = false
        return new Response(response.body?.pipeThrough(brokenAt('"progress":1,')) ?? null, response)
      }
    const { client, login } = await connect(t, mcp, { fetch: breakingFetch })
    const progress: number[] = []
    const { content } = await client.callTool(
      { name: 'export_orders' },
      { onprogress: (one) => progress.push(one.progress) },
    )
    t.match(content, [{ text: '3 orders exported' }])
    t.same(progress, [1, 2, 3], 'nothing is lost or repeated')
    t.same(login.requests.slice(-2), ['POST /mcp 200', 'GET /mcp 200'])
  })

  await t.test('a page of another origin can use the server', async (t) => {
    const { saved } = (await connect(t, mcp)).login
    const origin = 'http://localhost:6274'
    const browser = createBrowser()
    const request = async (method: string, headers: Record<string, string>, body?: object): Promise<Answer> =>
      browser.request(method, mcp.url.href, {
        kind: 'none',
        headers: { origin, ...headers },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      })

    const wanted = 'authorization,content-type,last-event-id,mcp-protocol-version,mcp-session-id'
    const preflight = await request('OPTIONS', {
      'access-control-request-method': 'POST',
      'access-control-request-headers': wanted,
    })
    t.match(preflight, {
      status: 204,
      headers: { 'access-control-allow-origin': origin, 'access-control-allow-headers': wanted },
    })
    const initialize = {
      jsonrpc: '2.0',
      id: 1,
      method: 'initialize',
      params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'page', version: '1' } },
    }
    const headers = { 'content-type': 'application/json', 'accept': 'application/json, text/event-stream' }
    const readable = {
      'access-control-allow-origin': origin,
      'access-control-expose-headers': 'WWW-Authenticate, Mcp-Session-Id, DPoP-Nonce',
    }
    t.match(await request('POST', headers, initialize), {
      status: 401,
      headers: { ...readable, 'www-authenticate': /resource_metadata="http/ },
    })
    const authorization = `Bearer ${saved?.access_token}`
    t.match(await request('POST', { ...headers, authorization }, initialize), {
      status: 200,
      headers: { ...readable, 'mcp-session-id': String },
    })
  })

  await t.test('a client ends its session with DELETE', async (t) => {
    const { client, transport, login } = await connect(t, mcp)
    await transport.terminateSession()
    t.equal(login.requests.at(-1), 'DELETE /mcp 200')
    await t.rejects(client.listTools(), 'the session is gone')
  })

  await t.test('a scope that the route begins to require leads to a login that asks for it', async (t) => {
    const { login, withLogin, call } = await connect(t, mcp)
    await mcp.reconfigure({ bearer: { metadata: true, scopes: ['orders.read', 'orders.write'] } })
    t.match(await withLogin(async () => call('list_orders')), 'alice')
    t.same(scopesOf(login.lastRedirect), ['offline_access', 'orders.read', 'orders.write'])
  })
  await t.test('a client proves with DPoP that its token is its own', async (t) => {
    await mcp.reconfigure({ bearer: { metadata: true, scopes: ['orders.read'], dpop: 'required' } })
    const { login, call } = await connect(t, mcp, { dpop: true })
    t.equal(login.saved?.token_type.toLowerCase(), 'dpop')
    t.match(await call('list_orders'), 'alice')
    const stolen = await fetch(mcp.url, {
      method: 'POST',
      headers: { authorization: `Bearer ${login.saved?.access_token}` },
    })
    t.equal(stolen.status, 401, 'the token is useless without the key')
  })
})
