import { once } from 'node:events'
import { createServer, type IncomingMessage } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { boundPort } from '../../src/demo/bound-port.ts'
import { eventually } from '../support/eventually.ts'
import { startGateway } from '../support/gateway.ts'

void t.test('the headers, methods and streams of the protocol pass unchanged', async (t) => {
  const received: IncomingMessage[] = []
  let silent = 0
  const server = createServer((req, res) => {
    received.push(req)
    res.setHeader('Mcp-Session-Id', 'an-id')
    if (req.method !== 'GET') {
      res.end()
      return
    }
    res.setHeader('content-type', 'text/event-stream')
    res.flushHeaders()
    silent += 1
    req.socket.once('close', () => (silent -= 1))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.close()
    server.closeAllConnections()
  })
  const { url, idp } = await startGateway(t, {
    config: {
      upstream: `http://127.0.0.1:${boundPort(server)}`,
      routes: [{ path: '/mcp/**', bearer: { metadata: true }, upstreamHost: 'upstream', timeout: '1s' }],
    },
  })
  const now = Math.floor(Date.now() / 1000)
  const token = await idp.sign(
    { iss: idp.issuer, aud: `${url}/mcp`, sub: 'alice', client_id: 'agent', iat: now, exp: now + 60 },
    { typ: 'at+jwt' },
  )
  const headers = {
    'Authorization': `Bearer ${token}`,
    'Mcp-Session-Id': 'an-id',
    'MCP-Protocol-Version': '2025-11-25',
    'Mcp-Method': 'tools/call',
    'Mcp-Name': 'list_orders',
    'Last-Event-ID': 'event-7',
  }
  for (const method of ['POST', 'DELETE', 'GET']) {
    const abort = new AbortController()
    const response = await fetch(`${url}/mcp`, { method, headers, signal: abort.signal })
    t.equal(response.status, 200, method)
    t.equal(response.headers.get('mcp-session-id'), 'an-id')
    const last = received.at(-1)
    const sent = Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value])
    t.match(last, { method, url: '/mcp', headers: Object.fromEntries(sent) })
    if (method !== 'GET') continue
    await sleep(1500)
    t.equal(silent, 1, 'a stream without events stays open longer than the timeout of the route')
    abort.abort()
    await eventually(() => silent === 0)
  }
})
