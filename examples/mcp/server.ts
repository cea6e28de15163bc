// An MCP server for orders, without any code for OAuth: it trusts the headers of the gateway in front of it, so it
// listens only on loopback. It serves clients of all revisions of the protocol.
import { randomUUID } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { json } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  localhostHostValidation,
  localhostOriginValidation,
  NodeStreamableHTTPServerTransport,
  toNodeHandler,
  toWebRequest,
} from '@modelcontextprotocol/node'
import {
  createMcpHandler,
  fromJsonSchema,
  isInitializeRequest,
  isLegacyRequest,
  McpServer,
  requireScopes,
  type AuthInfo,
  type CallToolResult,
  type EventStore,
  type JSONRPCMessage,
} from '@modelcontextprotocol/server'

const PORT = Number(process.env['PORT'] ?? 3000)
const URI = 'orders://all'
const STEP_MS = 200

const orders = new Map([
  ['A-1001', { item: 'Espresso beans, 1 kg', state: 'packed' }],
  ['A-1002', { item: 'Oat milk', state: 'shipped' }],
  ['A-1003', { item: 'Paper filters', state: 'waiting' }],
])

function text(value: unknown): CallToolResult {
  return { content: [{ type: 'text', text: typeof value === 'string' ? value : JSON.stringify(value) }] }
}

/** Creates the server of one session, or of one request of a client that uses no sessions. */
function createOrders(): McpServer {
  const server = new McpServer(
    { name: 'orders', version: '1.0.0' },
    { capabilities: { resources: { subscribe: true } } },
  )

  server.registerTool('list_orders', { description: 'Lists all orders.' }, ({ http }) =>
    text({ user: http?.authInfo?.clientId, orders: Object.fromEntries(orders) }),
  )

  server.registerTool(
    'export_orders',
    { description: 'Exports all orders, and reports progress.' },
    async (context) => {
      const { _meta: { progressToken } = {}, notify } = context.mcpReq
      for (const [index, id] of [...orders.keys()].entries()) {
        await sleep(STEP_MS)
        if (progressToken === undefined) continue
        const params = { progressToken, progress: index + 1, total: orders.size, message: `exported ${id}` }
        await notify({ method: 'notifications/progress', params })
      }
      return text(`${orders.size} orders exported`)
    },
  )

  server.registerTool(
    'cancel_order',
    {
      description: 'Cancels an order.',
      inputSchema: fromJsonSchema<{ id: string }>({
        type: 'object',
        properties: { id: { type: 'string' } },
        required: ['id'],
      }),
      // A call without this scope gets a 403 that asks the client for it.
      scopeChallenge: requireScopes('orders.read', 'orders.write'),
    },
    ({ id }, { http }) => {
      const order = orders.get(id)
      if (order === undefined) return { ...text(`there is no order ${id}`), isError: true }
      order.state = 'canceled'
      announceChange()
      return text(`${http?.authInfo?.clientId} canceled order ${id}`)
    },
  )

  server.registerResource('orders', URI, { description: 'All orders.' }, () => ({
    contents: [{ uri: URI, text: JSON.stringify(Object.fromEntries(orders)) }],
  }))
  server.server.setRequestHandler('resources/subscribe', () => ({}))
  return server
}

/** Returns the user and the scopes of the token, which the gateway has verified. */
function userOf({ headers }: IncomingMessage): AuthInfo {
  return { token: '', clientId: String(headers['x-user']), scopes: String(headers['x-scopes']).split(' ') }
}

interface Session {
  readonly user: string
  readonly server: McpServer
  readonly transport: NodeStreamableHTTPServerTransport
}

const sessions = new Map<string, Session>()

/** Tells all clients that the orders have changed, on their open GET streams. */
function announceChange(): void {
  for (const { server } of sessions.values()) void server.server.sendResourceUpdated({ uri: URI })
  withoutSessions.notify.resourceUpdated(URI)
}

/** Keeps the events of a session, so that a client whose stream broke off can resume it. */
function createEvents(): EventStore {
  const events: { readonly id: string; readonly streamId: string; readonly message: JSONRPCMessage }[] = []
  return {
    async storeEvent(streamId, message) {
      const id = randomUUID()
      events.push({ id, streamId, message })
      if (events.length > 1000) events.shift()
      return id
    },
    async replayEventsAfter(lastEventId, { send }) {
      const at = events.findIndex(({ id }) => id === lastEventId)
      const streamId = events[at]?.streamId
      if (streamId === undefined) throw new Error(`no event ${lastEventId}`)
      for (const { id, message } of events.slice(at + 1).filter((event) => event.streamId === streamId)) {
        await send(id, message)
      }
      return streamId
    },
  }
}

async function startSession(user: string): Promise<Session> {
  const server = createOrders()
  const transport = new NodeStreamableHTTPServerTransport({
    sessionIdGenerator: randomUUID,
    eventStore: createEvents(),
    retryInterval: 500,
    onsessioninitialized: (id) => void sessions.set(id, session),
    onsessionclosed: (id) => void sessions.delete(id),
  })
  const session = { user, server, transport }
  await server.connect(transport)
  return session
}

/** Serves revision 2026-07-28, which has no sessions. */
const withoutSessions = createMcpHandler(createOrders, { legacy: 'reject' })
const answerWithoutSession = toNodeHandler(withoutSessions)

function refuse(res: ServerResponse, status: number, message: string): void {
  res.writeHead(status, { 'content-type': 'application/json' })
  res.end(JSON.stringify({ jsonrpc: '2.0', error: { code: -32_600, message }, id: null }))
}

const allowsHost = localhostHostValidation()
const allowsOrigin = localhostOriginValidation()

async function answer(request: IncomingMessage, res: ServerResponse): Promise<void> {
  if (!allowsHost(request, res) || !allowsOrigin(request, res)) return
  if (request.url !== '/mcp') return refuse(res, 404, 'the server is at /mcp')
  const auth = userOf(request)
  const req = Object.assign(request, { auth, method: request.method ?? 'GET', url: request.url })
  const body: unknown = req.method === 'POST' ? await json(req) : undefined
  if (!(await isLegacyRequest(await toWebRequest(req, body)))) return answerWithoutSession(req, res, body)

  const id = req.headers['mcp-session-id']
  const known = typeof id === 'string' ? sessions.get(id) : undefined
  // The id of a session does not prove who sends it, so the session of another user counts as missing.
  const session = known?.user === auth.clientId ? known : undefined
  if (session !== undefined) return session.transport.handleRequest(req, res, body)
  if (id !== undefined || !isInitializeRequest(body)) return refuse(res, 404, 'there is no such session')
  const { transport } = await startSession(auth.clientId)
  return transport.handleRequest(req, res, body)
}

const server = createServer((req, res) => {
  answer(req, res).catch((error: unknown) => {
    if (res.headersSent) res.destroy()
    else refuse(res, 400, String(error))
  })
})
server.listen(PORT, '127.0.0.1', () => {
  const address = server.address()
  const port = typeof address === 'object' && address !== null ? address.port : PORT
  process.stdout.write(`MCP server: http://127.0.0.1:${port}/mcp\n`)
})
