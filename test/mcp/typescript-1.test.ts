import { once } from 'node:events'
import { createServer } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  discoverOAuthMetadata,
  exchangeAuthorization,
  registerClient,
  startAuthorization,
  UnauthorizedError,
} from '@modelcontextprotocol/sdk/client/auth.js'
import { Client } from '@modelcontextprotocol/sdk/client/index.js'
import { SSEClientTransport } from '@modelcontextprotocol/sdk/client/sse.js'
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js'
import { SSEServerTransport } from '@modelcontextprotocol/sdk/server/sse.js'
import t, { type Test } from 'tap'
import { boundPort } from '../../src/demo/bound-port.ts'
import { createBrowser } from '../support/browser.ts'
import { eventually } from '../support/eventually.ts'
import { startMcp, type Mcp } from './harness.ts'
import { clientMetadata, Login, type LoginOptions } from './login.ts'

type Transport = StreamableHTTPClientTransport | SSEClientTransport

type Connected = {
  readonly client: Client
  readonly sessionId: string | undefined
  readonly endSession: () => Promise<void>
  readonly login: Login
  /** Runs an action that needs a login, logs the user in, and runs the action again. */
  readonly withLogin: <T>(action: () => Promise<T>) => Promise<T>
  readonly call: (name: string, toolArguments?: Record<string, string>) => Promise<string>
}

const info = { name: 'test', version: '1' }

/** Checks that an action fails because the user has to log in. */
const asksForLogin = async (t: Test, action: Promise<unknown>): Promise<void> => {
  const error: unknown = await action.catch((reason: unknown) => reason)
  t.ok(error instanceof UnauthorizedError, `a login is required: ${String(error)}`)
}

const streamableHttp = (url: URL, login: Login): StreamableHTTPClientTransport =>
  new StreamableHTTPClientTransport(url, { authProvider: login, fetch: login.fetch })

/** Connects a client, which logs in. */
const connect = async (
  t: Test,
  { logIn, url, callback, idp }: Mcp,
  how: Partial<LoginOptions> = {},
  open: (url: URL, login: Login) => Transport = streamableHttp,
): Promise<Connected> => {
  const login = new Login({ callback, ...how }, idp.issuer)
  const browser = createBrowser()
  const client = new Client(info)
  t.teardown(async () => client.close())
  const logInAt = async (transport: Transport): Promise<void> =>
    transport.finishAuth((await logIn(login.lastRedirect, browser)).get('code') ?? '')
  let transport = open(url, login)
  await asksForLogin(t, new Client(info).connect(transport))
  await logInAt(transport)
  transport = open(url, login)
  await client.connect(transport)
  const streamable = transport instanceof StreamableHTTPClientTransport ? transport : null
  return {
    client,
    sessionId: streamable?.sessionId,
    endSession: async () => streamable?.terminateSession(),
    login,
    withLogin: async (action) => {
      await asksForLogin(t, action())
      await logInAt(transport)
      return action()
    },
    call: async (name, toolArguments = {}) => {
      const { content } = await client.callTool({ name, arguments: toolArguments })
      const [block]: { text?: string }[] = Array.isArray(content) ? content : []
      return block?.text ?? ''
    },
  }
}

/** Starts a server with the SSE transport below `/sse`, and returns its origin. */
const startSseServer = async (t: Test): Promise<string> => {
  const transports = new Map<string, SSEServerTransport>()
  const server = createServer((req, res) => {
    const { pathname, searchParams } = new URL(req.url ?? '/', 'http://localhost')
    const answer = async (): Promise<void> => {
      if (pathname === '/sse/messages') {
        await transports.get(searchParams.get('sessionId') ?? '')?.handlePostMessage(req, res)
        return
      }
      const transport = new SSEServerTransport('/sse/messages', res)
      transports.set(transport.sessionId, transport)
      const served = new McpServer({ name: 'test', version: '1' })
      served.registerTool('greet', {}, () => ({
        content: [{ type: 'text', text: `Hello ${String(req.headers['x-user'])}` }],
      }))
      await served.connect(transport)
    }
    void answer()
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.close()
    server.closeAllConnections()
  })
  return `http://127.0.0.1:${boundPort(server)}`
}

void t.test('the client of the SDK for TypeScript 1.x', async (t) => {
  const mcp = await startMcp(t, {
    // Clients of revision 2025-03-26 send no `resource`, so the provider issues their tokens for its usual audience.
    idp: { defaultResource: 'urn:orders' },
    route: (route) => ({ ...route, bearer: { ...(route['bearer'] as object), audience: ['urn:orders'] } }),
    moreRoutes: [
      {
        path: '/sse/**',
        upstream: await startSseServer(t),
        bearer: { metadata: true, scopes: ['orders.read'] },
        headers: { set: { 'X-User': '{claims.sub}' } },
      },
    ],
  })
  const { idp, callback } = mcp

  await t.test('a client learns from the 401 where to log in, registers itself, and calls tools', async (t) => {
    const { client, sessionId, login, call } = await connect(t, mcp)
    t.same(login.requests.slice(0, 6), [
      'POST /mcp 401',
      'GET /.well-known/oauth-protected-resource/mcp 200',
      'GET idp/.well-known/oauth-authorization-server 200',
      'POST idp/register 201',
      'POST idp/token 200',
      'POST /mcp 200',
    ])
    t.equal(login.lastRedirect.searchParams.get('resource'), mcp.url.href)
    t.equal(login.lastRedirect.searchParams.get('scope'), 'orders.read')
    t.match(sessionId, /^[\da-f-]{36}$/)
    const { tools } = await client.listTools()
    t.equal(tools.length, 3)
    t.match(JSON.parse(await call('list_orders')), { user: 'alice', orders: { 'A-1001': {} } })
  })

  await t.test('progress arrives while the tool runs, and the session ends with DELETE', async (t) => {
    const { client, endSession, login } = await connect(t, mcp)
    const arrived: number[] = []
    await client.callTool({ name: 'export_orders' }, undefined, { onprogress: () => arrived.push(Date.now()) })
    t.equal(arrived.length, 3)
    t.ok(Date.now() - (arrived[0] ?? 0) > 300, 'the first report arrived long before the result')
    await endSession()
    t.equal(login.requests.at(-1), 'DELETE /mcp 200')
  })

  await t.test('a client that was registered by hand works', async (t) => {
    await idp.registerClient({
      clientId: 'by-hand',
      redirectUris: [callback],
      metadata: { require_auth_time: false },
    })
    const { login, call } = await connect(t, mcp, { clientId: 'by-hand' })
    t.notOk(login.requests.includes('POST idp/register 201'))
    t.match(await call('list_orders'), 'alice')
  })

  await t.test('a client whose ID is the URL of its metadata document works', async (t) => {
    const { login, call } = await connect(t, mcp, { metadataUrl: mcp.metadataUrl })
    t.equal(login.lastRedirect.searchParams.get('client_id'), mcp.metadataUrl)
    t.match(await call('list_orders'), 'alice')
  })

  await t.test('an expired token is refreshed after a 401, and a revoked grant leads to a login', async (t) => {
    idp.settings.lifetimes.accessToken = 2
    const { login, withLogin, call } = await connect(t, mcp)
    await eventually(() => login.requests.includes('GET /mcp 200'))
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

  await t.test('a further scope leads to a login only if the client has no refresh token', async (t) => {
    const refreshing = await connect(t, mcp)
    await t.rejects(refreshing.call('cancel_order', { id: 'A-1001' }), { code: 403 })
    t.equal(refreshing.login.redirects.length, 1, 'the SDK refreshes the token, gets the same scopes, and gives up')

    const { login, withLogin, call } = await connect(t, mcp, { grantTypes: ['authorization_code'] })
    t.equal(await withLogin(async () => call('cancel_order', { id: 'A-1001' })), 'alice canceled order A-1001')
    t.equal(login.lastRedirect.searchParams.get('scope'), 'orders.read orders.write')
  })

  await t.test('a client of revision 2025-03-26 finds the provider at the origin of the MCP server', async (t) => {
    const metadata = await discoverOAuthMetadata(mcp.origin)
    if (metadata === undefined) throw new Error('there is no metadata')
    t.equal(metadata.issuer, mcp.idp.issuer)
    const clientInformation = await registerClient(mcp.origin, {
      metadata,
      clientMetadata: clientMetadata(mcp.callback),
    })
    const { authorizationUrl, codeVerifier } = await startAuthorization(mcp.origin, {
      metadata,
      clientInformation,
      redirectUrl: mcp.callback,
      scope: 'orders.read',
    })
    const query = await mcp.logIn(authorizationUrl)
    const tokens = await exchangeAuthorization(mcp.origin, {
      metadata,
      clientInformation,
      authorizationCode: query.get('code') ?? '',
      codeVerifier,
      redirectUri: mcp.callback,
    })
    const client = new Client(info)
    t.teardown(async () => client.close())
    const transport = new StreamableHTTPClientTransport(mcp.url, {
      requestInit: { headers: { authorization: `Bearer ${tokens.access_token}` } },
    })
    await client.connect(transport)
    t.equal((await client.listTools()).tools.length, 3)
  })

  await t.test('a server with the SSE transport of revision 2024-11-05 works', async (t) => {
    const { login, call } = await connect(
      t,
      { ...mcp, url: new URL('/sse', mcp.origin) },
      {},
      (url, login) => new SSEClientTransport(url, { authProvider: login, fetch: login.fetch }),
    )
    t.equal(await call('greet'), 'Hello alice')
    t.ok(login.requests.includes('POST /sse/messages 202'))
  })
})
