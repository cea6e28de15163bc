import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { setTimeout as sleep } from 'node:timers/promises'
import { contestant, expectInstalled, nginxForWebSockets } from './contestants.ts'
import { logIn, startProvider } from './login.ts'
import { describeMachine, pickCores, pinSelf } from './machine.ts'
import type { Options } from './options.ts'
import { freePorts } from './ports.ts'
import { aligned, circumstances, markdownTable, print } from './report.ts'
import { closeSockets, openSockets, pingPong, sendOnce } from './sockets.ts'
import { startAndWait } from './starts.ts'
import { median } from './statistics.ts'
import { cpuTime, processTree, residentMemory, watchOthers } from './usage.ts'

type Subject = { name: string; port: number; cookie: string | null; pid: number | null }
type Round = { perSecond: number; cpuPerMessage: number }
type Measured = { name: string; rounds: Round[]; memoryPerSocket: number }

const TALKING = 64
const OPEN = 2000
const SETTLE_MS = 1500

/** Measures WebSockets through nginx and Gatehouse in turn; resolves with the report. */
export async function measureWebSockets(
  options: Options,
  directory: string,
  progress: (what: string) => void,
): Promise<string> {
  expectInstalled(['nginx', 'gatehouse'])
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
  const place = {
    directory,
    core: cores.gateway,
    upstreamPort,
    issuer: provider.issuer,
    node: options.node,
    stores: new Map(),
  }
  const nginx = await startAndWait(nginxForWebSockets(nginxPort, place), nginxPort)
  const gatehouse = contestant('gatehouse', gatehousePort, place)
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
    const sockets = await openSockets(subject.port, subject.cookie, TALKING)
    await pingPong(sockets, options.seconds)
    closeSockets(sockets)
    progress(`${subject.name}: ${OPEN} open`)
    measured.push({ name: subject.name, rounds: [], memoryPerSocket: await memoryPerSocket(subject) })
  }
  const othersShare = watchOthers([cores.gateway, cores.load])
  for (let round = 1; round <= options.rounds; round++) {
    for (const [index, subject] of subjects.entries()) {
      progress(`round ${round} of ${options.rounds}: ${subject.name}`)
      measured[index]?.rounds.push(await measureRound(subject, options.seconds))
    }
  }
  const date = new Date().toISOString().slice(0, 10)
  const about = { machine, date, others: othersShare(), rounds: options.rounds, seconds: options.seconds }
  return report(measured, circumstances(about), options.markdown)
}

async function memoryPerSocket({ port, cookie, pid }: Subject): Promise<number> {
  if (pid === null) return Number.NaN
  await sleep(SETTLE_MS)
  const before = residentMemory(processTree(pid))
  const sockets = await openSockets(port, cookie, OPEN)
  await sendOnce(sockets)
  await sleep(SETTLE_MS)
  const after = residentMemory(processTree(pid))
  closeSockets(sockets)
  return (after - before) / OPEN
}

async function measureRound({ port, cookie, pid }: Subject, seconds: number): Promise<Round> {
  const sockets = await openSockets(port, cookie, TALKING)
  const before = pid === null ? Number.NaN : cpuTime(pid)
  const { messages, perSecond } = await pingPong(sockets, seconds)
  const used = pid === null ? Number.NaN : cpuTime(pid) - before
  closeSockets(sockets)
  return { perSecond, cpuPerMessage: used / messages }
}

function report(measured: readonly Measured[], about: string, markdown: boolean): string {
  const nginx = measured.find(({ name }) => name === 'nginx')
  const row = (title: string, digits: number, of: (it: Measured) => number[]): string[] => [
    title,
    ...measured.map((it) => print(median(of(it)), digits)),
  ]
  const ratios = (title: string, of: (it: Measured) => number[]): string[] => [
    `${title}, as a multiple of nginx's`,
    ...measured.map((it) =>
      print(
        median(of(it).map((value, i) => value / (nginx === undefined ? Number.NaN : (of(nginx)[i] ?? Number.NaN)))),
        2,
      ),
    ),
  ]
  const perSecond = (it: Measured): number[] => it.rounds.map((round) => round.perSecond)
  const cpu = (it: Measured): number[] => it.rounds.map((round) => round.cpuPerMessage)
  const rows = [
    ['WebSockets', ...measured.map(({ name }) => name)],
    row(`Messages per second and back, ${TALKING} sockets`, 0, perSecond),
    row('CPU time per message and back, µs', 1, cpu),
    row(`Memory per open socket, kB, of ${print(OPEN, 0)}`, 1, (it) => [it.memoryPerSocket / 1000]),
    ratios('Messages per second', perSecond),
    ratios('CPU time', cpu),
    ratios('Memory', (it) => [it.memoryPerSocket]),
  ]
  return markdown ? `${about}\n\n${markdownTable(rows)}\n` : `${about}\n\n${aligned(rows)}\n`
}
