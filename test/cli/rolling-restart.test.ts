import { once } from 'node:events'
import { Agent, createServer, request as ask, type IncomingMessage, type ServerResponse } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Socket } from 'node:net'
import { text } from 'node:stream/consumers'
import t, { type Test } from 'tap'
import { boundPort } from '../../src/demo/bound-port.ts'
import { cookieOf, startReplicas, type GatewayProcess } from '../support/gateway-process.ts'
import { freePort } from '../support/free-port.ts'
import { startProxyProgram } from '../support/proxy-program.ts'
import { startRedis } from '../support/redis.ts'
import { openWebSocket } from '../support/websocket.ts'
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

/**
 * HAProxy as a load balancer that relies on `/readyz`: it stops using a replica that is not ready, with the delay of its
 * checks, and never tries a request or a connection again.
 */
const startHaproxy = async (
  t: Test,
  replicas: readonly { readonly host: string }[],
  admins: readonly URL[],
): Promise<string> => {
  const port = await freePort()
  const servers = replicas.map(
    ({ host }, i) => `  server replica-${i} ${host} check addr 127.0.0.1 port ${admins[i]?.port ?? ''}`,
  )
  await startProxyProgram(t, port, {
    name: 'haproxy',
    files: {
      'haproxy.cfg': `
defaults
  mode http
  retries 0
  timeout connect 5s
  timeout client 30s
  timeout server 30s
  timeout tunnel 30s
listen front
  bind 127.0.0.1:${port}
  option httpchk GET /readyz
  default-server inter 150ms fall 1 rise 1 init-addr none
${servers.join('\n')}
`,
    },
    args: (folder) => ['-db', '-f', `${folder}/haproxy.cfg`],
  })
  return `http://127.0.0.1:${port}`
}

type Counts = Readonly<Record<string, number>>

type Traffic = {
  readonly counts: Counts
  readonly stop: () => Promise<void>
}

/** Sends requests of all users over kept connections: one in three is a POST, and one in ten takes 400 ms. */
const startTraffic = (t: Test, balancer: string, origin: string, cookies: readonly string[]): Traffic => {
  const agent = new Agent({ keepAlive: true, maxSockets: 40 })
  t.teardown(() => {
    agent.destroy()
  })
  const counts: Record<string, number> = {}
  const count = (what: string): void => {
    counts[what] = (counts[what] ?? 0) + 1
  }
  const underWay = new Set<Promise<void>>()
  const send = async (turn: number): Promise<void> => {
    const isPost = turn % 3 === 0
    const path = turn % 10 === 0 ? '/api/slow?ms=400' : '/api/echo'
    const made = ask(`${balancer}${path}`, {
      agent,
      method: isPost ? 'POST' : 'GET',
      headers: { cookie: cookies[turn % cookies.length] ?? '', ...(isPost ? { origin } : {}) },
    })
    made.end(isPost ? 'a body that must not be sent twice' : undefined)
    const [answer]: IncomingMessage[] = await once(made, 'response')
    if (answer === undefined) return
    await text(answer)
    const { statusCode = 0, headers } = answer
    count(statusCode === 200 ? '200' : `${statusCode} ${String(headers['x-cause'] ?? headers['gatehouse'])}`)
  }
  const load = new AbortController()
  const running = (async () => {
    const begun = Date.now()
    for (let turn = 1; !load.signal.aborted; turn += 1) {
      const mine = send(turn)
        .catch((error: unknown) => {
          count(String(error))
        })
        .finally(() => {
          underWay.delete(mine)
        })
      underWay.add(mine)
      await sleep(Math.max(0, begun + (turn * 1000) / 120 - Date.now()))
    }
    await Promise.all(underWay)
  })()
  return {
    counts,
    async stop() {
      load.abort()
      await running
    },
  }
}

/** Keeps a WebSocket open that connects again at once when it is closed. `outcomes` has the close codes and errors. */
const keepWebSocket = (
  balancer: string,
  origin: string,
  cookie: string,
): { readonly outcomes: unknown[]; readonly stop: () => Promise<void> } => {
  const outcomes: unknown[] = []
  const ending = new AbortController()
  let open: Socket | null = null
  const running = (async () => {
    while (!ending.signal.aborted) {
      const socket = await openWebSocket(`${balancer}/ws`, { headers: [`Cookie: ${cookie}`, `Origin: ${origin}`] })
      open = socket.socket
      if (socket.status !== 101) {
        outcomes.push(socket.status)
        return
      }
      socket.send('hello')
      await socket.next()
      const code = await socket.closed
      if (!ending.signal.aborted) outcomes.push(code)
    }
  })()
  return {
    outcomes,
    async stop() {
      ending.abort()
      open?.destroy()
      await running.catch((error: unknown) => outcomes.push(error))
    },
  }
}

const expectNoLoss = (t: Test, counts: Counts, requests: readonly { readonly url: string }[]): void => {
  const { 200: served = 0, ...lost } = counts
  t.same(lost, {})
  t.ok(served > 200, `${served} requests`)
  const passed = requests.filter(({ url }) => url.startsWith('/api/echo') || url.startsWith('/api/slow'))
  t.equal(passed.length, served, 'and none came twice')
}

const USERS = ['alice', 'bob', 'carol']

void t.test(
  'a rolling restart loses no request if the balancer tries another replica for a refused connection',
  async (t) => {
    const {
      gateways: [first, second],
      another,
      login,
      upstream,
    } = await startReplicas(t, { store: redis.url })
    const cookies = await Promise.all(USERS.map(async (user) => cookieOf(await login(user), first)))
    const targets: GatewayProcess[] = [first, second]
    const traffic = startTraffic(t, await startBalancer(t, targets), first.url, cookies)
    const restart = async (place: number): Promise<void> => {
      const old = targets[place]
      const before = traffic.counts['200'] ?? 0
      t.equal((await old?.stop())?.status, 0)
      targets[place] = await another()
      await eventually(() => (traffic.counts['200'] ?? 0) > before + 100, { what: 'the new gateway gets requests' })
    }
    await sleep(500)
    await restart(0)
    await restart(1)
    await traffic.stop()
    expectNoLoss(t, traffic.counts, upstream.requests)
  },
)

void t.test(
  'a rolling update behind HAProxy, which relies on /readyz, loses no request and no WebSocket',
  async (t) => {
    const {
      gateways: [first, second],
      another,
      login,
      upstream,
    } = await startReplicas(t, { store: redis.url, shutdown: { wait: '1s' } })
    const cookies = await Promise.all(USERS.map(async (user) => cookieOf(await login(user), first)))
    const free = async () => ({ port: await freePort(), adminPort: await freePort() })
    const [nextFirst, nextSecond] = await Promise.all([free(), free()])
    const ports = [nextFirst, nextSecond]
    const balancer = await startHaproxy(
      t,
      [new URL(first.url), new URL(second.url), ...ports.map(({ port }) => ({ host: `127.0.0.1:${port}` }))],
      [first.admin, second.admin, ...ports.map(({ adminPort }) => `http://127.0.0.1:${adminPort}`)].map(
        (url) => new URL(url),
      ),
    )
    await eventually(async () => (await fetch(`${balancer}/oauth2/session`)).status !== 503, {
      what: 'HAProxy is ready',
    })
    await sleep(400)
    const traffic = startTraffic(t, balancer, first.url, cookies)
    const sockets = cookies.map((cookie) => keepWebSocket(balancer, first.url, cookie))
    await sleep(300)
    for (const [old, place] of [
      [first, nextFirst],
      [second, nextSecond],
    ] as const) {
      const next = await another({ ports: place, shutdown: { wait: '1s' } })
      await eventually(() => next.events('request').length > 20, { what: 'the new gateway gets requests' })
      t.equal((await old.stop()).status, 0)
    }
    await sleep(300)
    await traffic.stop()
    await Promise.all(sockets.map(async ({ stop }) => stop()))
    expectNoLoss(t, traffic.counts, upstream.requests)
    const outcomes = sockets.flatMap((one) => one.outcomes)
    t.ok(outcomes.length >= USERS.length, `${outcomes.length} WebSockets were closed`)
    t.same(new Set(outcomes), new Set([1001]), 'each with 1001, and the next connection was accepted')
  },
)
