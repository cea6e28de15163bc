import { writeFileSync } from 'node:fs'
import { connect, type ClientHttp2Session, type OutgoingHttpHeaders } from 'node:http2'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  checkInstalled,
  createHttp2Gateway,
  nginxGrpcCommand,
  upstreamCommand,
  upstreamGrpcCommand,
  type Contestant,
} from './contestants.ts'
import { http2Load, type Http2Load, type Target } from './load.ts'
import { logIn, startProvider } from './login.ts'
import { describeMachine, findProgram, pickCores, pinSelf } from './machine.ts'
import type { Options } from './options.ts'
import { freePorts } from './ports.ts'
import type { PromiseResult } from './promises.ts'
import { alignColumns, describeRun, machineTable, markdownTable, print, promiseLine, promiseTable } from './report.ts'
import type { Subject } from './round.ts'
import { type Command, start } from './processes.ts'
import { startAndWait } from './starts.ts'
import { median } from './statistics.ts'
import { cpuTime, processTree, residentMemory, watchOtherPrograms } from './usage.ts'

/** One load against one subject, in all rounds. `cpu` is in µs per request. */
interface Measured {
  readonly title: string
  readonly subject: Subject
  readonly load: Http2Load
  readonly perSecond: number[]
  readonly cpu: number[]
}

const BODY = 'A small response, typical of an API. '.repeat(29).slice(0, 1024)
/** A gRPC message with the length in front: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md */
const MESSAGE = Buffer.from('\0\0\0\0\x0c\n\nHello you!')
const GRPC_PATH = '/bench.Echo/Say'
const GRPC_HEADERS = ['content-type: application/grpc', 'te: trailers', 'sec-fetch-site: same-origin']
/** What a gRPC server answers to a browser. */
const GRPC_NOT_ACCEPTED = 415
const WARM_UP_SECONDS = 5
const IDLE_CONNECTIONS = 1000
const BATCH_SIZE = 50
const SETTLE_MS = 3000
const START_LIMIT_MS = 5000
const MAX_BYTES_PER_CONNECTION = 60_000

const PLAIN = { path: '/', headers: [] }

const TITLES = {
  http1: 'HTTP/1.1, 32 connections',
  oneConnection: 'HTTP/2, 1 connection with 32 streams',
  fourConnections: 'HTTP/2, 4 connections with 8 streams',
  direct: 'gRPC without a proxy',
  nginx: 'gRPC through nginx',
  grpc: 'gRPC through Gatehouse',
} as const

/** Measures HTTP/2 from clients and gRPC. `kept`: no promise is broken. */
export async function measureHttp2(
  options: Options,
  directory: string,
  progress: (step: string) => void,
): Promise<{ report: string; kept: boolean }> {
  checkInstalled(['nginx', 'gatehouse'])
  findProgram('h2load', 'nghttp2-client')
  const machine = describeMachine(options.node)
  const cores = pickCores()
  pinSelf(cores.load)
  const [plainPort = 0, grpcPort = 0, nginxPort = 0, http2Port = 0, gatewayPort = 0, idlePort = 0] = await freePorts(6)
  const load = { core: cores.load, directory }
  await startAndWait(upstreamCommand(directory, cores.load, plainPort, BODY), plainPort)
  const upstream = await startGrpc(upstreamGrpcCommand(grpcPort, GRPC_PATH, load), {
    ...load,
    name: 'direct',
    port: grpcPort,
    cookie: null,
  })
  const provider = await startProvider()
  const setup = { directory, core: cores.gateway, issuer: provider.issuer, node: options.node, stores: new Map() }
  const plain = createHttp2Gateway('gatehouse-http2', 'http1', http2Port, { ...setup, upstreamPort: plainPort })
  const grpc = createHttp2Gateway('gatehouse-grpc', 'h2c', gatewayPort, { ...setup, upstreamPort: grpcPort })
  const idle = createHttp2Gateway('gatehouse-idle', 'http1', idlePort, { ...setup, upstreamPort: plainPort })
  for (const { client } of [plain, grpc, idle])
    if (client) await provider.registerClient({ ...client, redirectUris: [client.redirectUri] })
  progress(`${IDLE_CONNECTIONS} idle connections`)
  const memory = await memoryPerConnection(idle)
  const gateway = await startGateway(plain, load)
  const grpcGateway = await startGateway(grpc, load, GRPC_NOT_ACCEPTED)
  await provider.close()
  const { cookie } = grpcGateway.target
  const direct = { target: { ...upstream.target, cookie }, pid: null }
  const nginx = await startGrpc(nginxGrpcCommand(nginxPort, { ...setup, upstreamPort: grpcPort }), {
    ...load,
    name: 'nginx',
    port: nginxPort,
    cookie,
  })

  const body = join(directory, 'request.bin')
  writeFileSync(body, MESSAGE)
  const unary = { connections: 4, streams: 8, path: GRPC_PATH, headers: GRPC_HEADERS, body }
  const measured: Measured[] = [
    [TITLES.http1, gateway, { ...PLAIN, http1: true, connections: 32, streams: 1 }] as const,
    [TITLES.oneConnection, gateway, { ...PLAIN, connections: 1, streams: 32 }] as const,
    [TITLES.fourConnections, gateway, { ...PLAIN, connections: 4, streams: 8 }] as const,
    [TITLES.direct, direct, unary] as const,
    [TITLES.nginx, nginx, unary] as const,
    [TITLES.grpc, grpcGateway, unary] as const,
  ].map(([title, subject, load]) => ({ title, subject, load, perSecond: [], cpu: [] }))
  for (const { target } of [direct, nginx, grpcGateway]) await checkGrpc(target)

  for (const { title, subject, load } of measured) {
    progress(`${title}: warming up`)
    await http2Load(subject.target, load, WARM_UP_SECONDS)
  }
  const otherProgramsShare = watchOtherPrograms([cores.gateway, cores.load])
  for (let round = 1; round <= options.rounds; round++) {
    for (const one of round % 2 === 1 ? measured : measured.toReversed()) {
      progress(`round ${round} of ${options.rounds}: ${one.title}`)
      await measure(one, options.seconds)
    }
  }
  for (const { target } of [direct, nginx, grpcGateway]) await checkGrpc(target)

  const date = new Date().toISOString().slice(0, 10)
  const run = { machine, date, otherPrograms: otherProgramsShare(), rounds: options.rounds, seconds: options.seconds }
  const promises = judgeHttp2(measured, memory)
  return {
    report: describe({ measured, memory, promises, run }, options.markdown),
    kept: promises.every(({ kept }) => kept !== false),
  }
}

type Load = Pick<Target, 'core' | 'directory'>

/** Starts a program that speaks only HTTP/2, and waits until it answers gRPC requests. */
async function startGrpc(command: Command, target: Target): Promise<Subject> {
  const running = start(command)
  const exitedEarly = running.output.then(() => {
    throw new Error(`${running.name} exited before it answered`)
  })
  for (const since = performance.now(); ; await sleep(20)) {
    try {
      await Promise.race([checkGrpc(target), exitedEarly])
      return { target, pid: running.pid }
    } catch (error) {
      if (performance.now() - since > START_LIMIT_MS) throw error
    }
  }
}

async function startGateway(contestant: Contestant, load: Load, status = 200): Promise<Subject> {
  const { running } = await startAndWait(contestant.command, contestant.port)
  const target = { ...load, name: contestant.name, port: contestant.port, cookie: await logIn(contestant, status) }
  return { target, pid: running.pid }
}

async function measure({ subject, load, perSecond, cpu }: Measured, seconds: number): Promise<void> {
  const before = subject.pid === null ? Number.NaN : cpuTime(subject.pid)
  const requests = await http2Load(subject.target, load, seconds)
  perSecond.push(requests / seconds)
  cpu.push(((subject.pid === null ? Number.NaN : cpuTime(subject.pid)) - before) / requests)
}

/** Throws unless a gRPC request gets the upstream's message and a status in the trailers. */
async function checkGrpc({ name, port, cookie }: Target): Promise<void> {
  const session = connect(`http://127.0.0.1:${port}`)
  // The request fails with the connection.
  session.on('error', () => {})
  const headers = Object.fromEntries(GRPC_HEADERS.map((line) => line.split(': ')))
  const { body, status } = await ask(
    session,
    { ':method': 'POST', ':path': GRPC_PATH, 'cookie': cookie ?? '', ...headers },
    MESSAGE,
  )
  session.destroy()
  if (!body.equals(MESSAGE) || status !== '0')
    throw new Error(`${name} answered a gRPC request with ${body.length} bytes and the status ${status}`)
}

async function ask(
  session: ClientHttp2Session,
  headers: OutgoingHttpHeaders,
  message: Buffer | null,
): Promise<{ body: Buffer; status: string }> {
  const stream = session.request(headers, { endStream: message === null })
  if (message !== null) stream.end(message)
  let status = 'none'
  stream.on('trailers', ({ 'grpc-status': received }) => {
    status = String(received)
  })
  const chunks: Buffer[] = []
  for await (const chunk of stream) chunks.push(chunk)
  return { body: Buffer.concat(chunks), status }
}

/**
 * Starts a gateway and returns the growth of its resident memory for each open connection that has carried one request.
 * The growth includes garbage. The gateway is a new one, because the heap of one that has been under load may shrink
 * meanwhile.
 */
async function memoryPerConnection(contestant: Contestant): Promise<number> {
  const { running } = await startAndWait(contestant.command, contestant.port)
  const cookie = await logIn(contestant)
  // The first connections fill what the process then reuses.
  const first = await openConnections(contestant.port, cookie, IDLE_CONNECTIONS / 5)
  for (const session of first) session.destroy()
  await sleep(SETTLE_MS)
  const before = residentMemory(processTree(running.pid))
  const sessions = await openConnections(contestant.port, cookie, IDLE_CONNECTIONS)
  await sleep(SETTLE_MS)
  const after = residentMemory(processTree(running.pid))
  if (sessions.some((session) => session.closed || session.destroyed)) throw new Error('an idle connection was closed')
  for (const session of sessions) session.destroy()
  await running.stop()
  return (after - before) / IDLE_CONNECTIONS
}

async function openConnections(port: number, cookie: string | null, count: number): Promise<ClientHttp2Session[]> {
  const sessions: ClientHttp2Session[] = []
  while (sessions.length < count) {
    const batch = Array.from({ length: Math.min(BATCH_SIZE, count - sessions.length) }, () =>
      connect(`http://127.0.0.1:${port}`),
    )
    const answers = await Promise.all(
      batch.map(async (session) => ask(session, { ':path': '/', 'cookie': cookie ?? '' }, null)),
    )
    if (answers.some(({ body }) => body.toString() !== BODY)) throw new Error('a connection did not get the response')
    sessions.push(...batch)
  }
  return sessions
}

/** Checks the promises about HTTP/2. Each ratio is the median of the rounds' ratios; `memory` is in bytes. */
export function judgeHttp2(
  measured: readonly Pick<Measured, 'title' | 'perSecond'>[],
  memory: number,
): PromiseResult[] {
  const perSecond = (title: string): readonly number[] => measured.find((one) => one.title === title)?.perSecond ?? []
  const ratio = (title: string, base: string): number =>
    median(perSecond(title).map((value, i) => value / (perSecond(base)[i] ?? Number.NaN)))
  const one = ratio(TITLES.oneConnection, TITLES.http1)
  const four = ratio(TITLES.fourConnections, TITLES.http1)
  return [
    atLeast(0.8, one, 'with HTTP/2 over one connection, at least 0.8 times the requests per second of HTTP/1.1'),
    atLeast(0.8, four, 'with HTTP/2 over four connections, at least 0.8 times the requests per second of HTTP/1.1'),
    atLeast(0.5, ratio(TITLES.grpc, TITLES.nginx), 'with gRPC, at least 0.5 times the requests per second of nginx'),
    {
      text: 'less than 60 kB of memory per idle HTTP/2 connection',
      measured: memory / 1000,
      kept: memory < MAX_BYTES_PER_CONNECTION,
    },
  ]
}

function atLeast(least: number, measured: number, text: string): PromiseResult {
  return { text, measured, kept: measured >= least }
}

interface Results {
  readonly measured: readonly Measured[]
  readonly memory: number
  readonly promises: readonly PromiseResult[]
  readonly run: Parameters<typeof describeRun>[0]
}

function describe({ measured, memory, promises, run }: Results, markdown: boolean): string {
  const rows = [
    ['HTTP/2', 'requests per second', 'CPU time per request, µs'],
    ...measured.map(({ title, perSecond, cpu }) => [title, print(median(perSecond), 0), print(median(cpu), 1)]),
  ]
  const idle = `Memory per idle connection with ${print(IDLE_CONNECTIONS, 0)} open, kB: ${print(memory / 1000, 1)}`
  return markdown
    ? [
        `### HTTP/2 and gRPC\n\n${markdownTable(rows)}\n`,
        `${promiseTable(promises)}\n`,
        `## How it was measured\n\n${machineTable('HTTP/2 and gRPC', 'npm run bench -- --http2', run)}\n`,
      ].join('\n')
    : [`${describeRun(run)}\n`, `${alignColumns(rows)}\n`, `${idle}\n`, ...promises.map(promiseLine), ''].join('\n')
}
