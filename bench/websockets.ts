import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { setTimeout as sleep } from 'node:timers/promises'
import { createContestant, checkInstalled, nginxWebSocketCommand } from './contestants.ts'
import { logIn, startProvider } from './login.ts'
import { describeMachine, pickCores, pinSelf } from './machine.ts'
import type { Options } from './options.ts'
import { freePorts } from './ports.ts'
import { alignColumns, describeRun, machineTable, markdownTable, print } from './report.ts'
import { closeSockets, openSockets, pingPong, sendOnce } from './sockets.ts'
import { startAndWait } from './starts.ts'
import { median } from './statistics.ts'
import { cpuTime, processTree, residentMemory, watchOtherPrograms } from './usage.ts'

interface Subject {
  readonly name: string
  readonly port: number
  readonly cookie: string | null
  readonly pid: number | null
}
interface Round {
  readonly perSecond: number
  readonly cpuPerRoundTrip: number
}
interface Measured {
  readonly name: string
  readonly rounds: Round[]
  readonly memoryPerSocket: number
}

const ACTIVE_SOCKETS = 64
const OPEN_SOCKETS = 2000
const SETTLE_MS = 1500

export async function measureWebSockets(
  options: Options,
  directory: string,
  progress: (step: string) => void,
): Promise<string> {
  checkInstalled(['nginx', 'gatehouse'])
  const machine = describeMachine(options.node)
  const cores = pickCores()
  pinSelf(cores.load)
  const [upstreamPort = 0, nginxPort = 0, gatehousePort = 0] = await freePorts(3)
  await startAndWait(
    {
      name: 'the application',
      core: cores.load,
      program: process.execPath,
      args: ['--import=tsx', fileURLToPath(new URL('websocket-upstream.ts', import.meta.url))],
      env: { PORT: String(upstreamPort) },
      errorFile: join(directory, 'application.log'),
    },
    upstreamPort,
  )
  const provider = await startProvider()
  const setup = {
    directory,
    core: cores.gateway,
    upstreamPort,
    issuer: provider.issuer,
    node: options.node,
    stores: new Map(),
  }
  const nginx = await startAndWait(nginxWebSocketCommand(nginxPort, setup), nginxPort)
  const gatehouse = createContestant('gatehouse', gatehousePort, setup)
  if (gatehouse.client)
    await provider.registerClient({ ...gatehouse.client, redirectUris: [gatehouse.client.redirectUri] })
  const { running } = await startAndWait(gatehouse.command, gatehousePort)
  const subjects: Subject[] = [
    { name: 'direct', port: upstreamPort, cookie: null, pid: null },
    { name: 'nginx', port: nginxPort, cookie: null, pid: nginx.running.pid },
    { name: 'gatehouse', port: gatehousePort, cookie: await logIn(gatehouse), pid: running.pid },
  ]
  await provider.close()

  const measured: Measured[] = []
  for (const subject of subjects) {
    progress(`${subject.name}: warming up`)
    const sockets = await openSockets(subject.port, subject.cookie, ACTIVE_SOCKETS)
    await pingPong(sockets, options.seconds)
    closeSockets(sockets)
    progress(`${subject.name}: ${OPEN_SOCKETS} open`)
    measured.push({ name: subject.name, rounds: [], memoryPerSocket: await memoryPerSocket(subject) })
  }
  const otherProgramsShare = watchOtherPrograms([cores.gateway, cores.load])
  for (let round = 1; round <= options.rounds; round++) {
    for (const [index, subject] of subjects.entries()) {
      progress(`round ${round} of ${options.rounds}: ${subject.name}`)
      measured[index]?.rounds.push(await measureRound(subject, options.seconds))
    }
  }
  const date = new Date().toISOString().slice(0, 10)
  const run = { machine, date, otherPrograms: otherProgramsShare(), rounds: options.rounds, seconds: options.seconds }
  const rows = rowsOf(measured)
  return options.markdown
    ? `### WebSockets\n\n${markdownTable(rows)}\n\n## How it was measured\n\n` +
        `${machineTable('WebSockets', 'npm run bench -- --websocket', run)}\n`
    : `${describeRun(run)}\n\n${alignColumns(rows)}\n`
}

async function memoryPerSocket({ port, cookie, pid }: Subject): Promise<number> {
  if (pid === null) return Number.NaN
  await sleep(SETTLE_MS)
  const before = residentMemory(processTree(pid))
  const sockets = await openSockets(port, cookie, OPEN_SOCKETS)
  await sendOnce(sockets)
  await sleep(SETTLE_MS)
  const after = residentMemory(processTree(pid))
  closeSockets(sockets)
  return (after - before) / OPEN_SOCKETS
}

async function measureRound({ port, cookie, pid }: Subject, seconds: number): Promise<Round> {
  const sockets = await openSockets(port, cookie, ACTIVE_SOCKETS)
  const before = pid === null ? Number.NaN : cpuTime(pid)
  const { messages, perSecond } = await pingPong(sockets, seconds)
  const used = pid === null ? Number.NaN : cpuTime(pid) - before
  closeSockets(sockets)
  return { perSecond, cpuPerRoundTrip: used / messages }
}

function rowsOf(measured: readonly Measured[]): string[][] {
  const nginx = measured.find(({ name }) => name === 'nginx')
  const row = (title: string, digits: number, of: (measured: Measured) => number[]): string[] => [
    title,
    ...measured.map((subject) => print(median(of(subject)), digits)),
  ]
  const ratios = (title: string, of: (measured: Measured) => number[]): string[] => [
    `${title}, as a multiple of nginx`,
    ...measured.map((subject) =>
      print(
        median(
          of(subject).map((value, i) => value / (nginx === undefined ? Number.NaN : (of(nginx)[i] ?? Number.NaN))),
        ),
        2,
      ),
    ),
  ]
  const perSecond = (measured: Measured): number[] => measured.rounds.map((round) => round.perSecond)
  const cpu = (measured: Measured): number[] => measured.rounds.map((round) => round.cpuPerRoundTrip)
  return [
    ['WebSockets', ...measured.map(({ name }) => name)],
    row(`Round trips per second, ${ACTIVE_SOCKETS} sockets`, 0, perSecond),
    row('CPU time per round trip, µs', 1, cpu),
    row(`Memory per socket with ${print(OPEN_SOCKETS, 0)} open, kB`, 1, (measured) => [
      measured.memoryPerSocket / 1000,
    ]),
    ratios('Round trips per second', perSecond),
    ratios('CPU time', cpu),
    ratios('Memory per socket', (measured) => [measured.memoryPerSocket]),
  ]
}
