import { once } from 'node:events'
import { Agent, createServer, request as ask, type IncomingMessage, type ServerResponse } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { text } from 'node:stream/consumers'
import t, { type Test } from 'tap'
import { boundPort } from '../../src/demo/bound-port.ts'
import { cookieOf, startReplicas, type GatewayProcess } from '../support/gateway-process.ts'
import { startRedis } from '../support/redis.ts'
import { eventually } from '../support/eventually.ts'

const redis = await startRedis(t)

/**
 * A load balancer as they are: it keeps its connections open, tries another one where none can be made, and never sends
 * a request twice once a connection has taken it.
 */
const startBalancer = async (t: Test, targets: readonly { readonly url: string }[]): Promise<string> => {
  const agent = new Agent({ keepAlive: true })
  let turn = 0

  const pass = (req: IncomingMessage, body: string, res: ServerResponse, place: number, tries: number): void => {
    const target = new URL(targets[place % targets.length]?.url ?? '')
    const { url: path = '/', headers, method = 'GET' } = req
    const upstream = ask({ host: target.hostname, port: target.port, path, method, headers, agent }, (answer) => {
      const { connection: _hop, ...rest } = answer.headers
      res.writeHead(answer.statusCode ?? 502, rest)
      answer.pipe(res)
      answer.on('error', () => {
        res.destroy()
      })
    })
    upstream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ECONNREFUSED' && tries > 0) pass(req, body, res, place + 1, tries - 1)
      else res.writeHead(599, { 'x-cause': error.code ?? error.message }).end()
    })
    upstream.end(body)
  }

  const server = createServer((req, res) => {
    turn += 1
    const place = turn
    void text(req).then((body) => {
      pass(req, body, res, place, targets.length)
    })
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.close()
    server.closeAllConnections()
    agent.destroy()
  })
  return `http://127.0.0.1:${boundPort(server)}`
}

void t.test('a rolling restart under load loses no request', async (t) => {
  const {
    gateways: [first, second],
    another,
    login,
    upstream,
  } = await startReplicas(t, { store: redis.url })
  const cookies = await Promise.all(['alice', 'bob', 'carol'].map(async (user) => cookieOf(await login(user), first)))
  const targets: GatewayProcess[] = [first, second]
  const balancer = await startBalancer(t, targets)
  const agent = new Agent({ keepAlive: true, maxSockets: 40 })
  t.teardown(() => {
    agent.destroy()
  })

  const counts: Record<string, number> = {}
  const underWay = new Set<Promise<void>>()
  const send = async (turn: number): Promise<void> => {
    const isPost = turn % 3 === 0
    const path = turn % 10 === 0 ? '/api/slow?ms=400' : '/api/echo'
    const made = ask(`${balancer}${path}`, {
      agent,
      method: isPost ? 'POST' : 'GET',
      headers: { cookie: cookies[turn % 3] ?? '', ...(isPost ? { origin: first.url } : {}) },
    })
    made.end(isPost ? 'a body that must not be sent twice' : undefined)
    const [answer]: IncomingMessage[] = await once(made, 'response')
    if (answer === undefined) return
    await text(answer)
    const what =
      answer.statusCode === 200
        ? '200'
        : `${answer.statusCode ?? ''} ${String(answer.headers['x-cause'] ?? answer.headers['gatehouse'])}`
    counts[what] = (counts[what] ?? 0) + 1
  }
  const load = new AbortController()
  const running = (async () => {
    const begun = Date.now()
    for (let turn = 1; !load.signal.aborted; turn += 1) {
      const mine = send(turn)
        .catch((error: unknown) => {
          const what = String(error)
          counts[what] = (counts[what] ?? 0) + 1
        })
        .finally(() => {
          underWay.delete(mine)
        })
      underWay.add(mine)
      await sleep(Math.max(0, begun + (turn * 1000) / 120 - Date.now()))
    }
    await Promise.all(underWay)
  })()

  const restart = async (place: number): Promise<void> => {
    const old = targets[place]
    const before = counts['200'] ?? 0
    t.equal((await old?.stop())?.status, 0)
    targets[place] = await another()
    await eventually(() => (counts['200'] ?? 0) > before + 100, { what: 'it gets requests' })
  }
  await sleep(500)
  await restart(0)
  await restart(1)
  load.abort()
  await running
  const { 200: served = 0, ...lost } = counts
  t.same(lost, {})
  t.ok(served > 200, `${served} requests`)
  t.equal(
    upstream.requests.filter(({ url }) => url.startsWith('/api/echo') || url.startsWith('/api/slow')).length,
    served,
    'and none came twice',
  )
})
