import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { createContestant, checkInstalled, upstreamCommand } from './contestants.ts'
import type { Measured } from './figures.ts'
import { measureHttp2 } from './http2.ts'
import { startProvider } from './login.ts'
import { describeMachine, pickCores, pinSelf } from './machine.ts'
import { HELP, type Options, readOptions } from './options.ts'
import { freePorts } from './ports.ts'
import { killAll, stopAll } from './processes.ts'
import { judge } from './promises.ts'
import { markdownReport, textReport } from './report.ts'
import { measureRound, warmUp } from './round.ts'
import { describeMemory } from './session-memory.ts'
import { compareStarts } from './start-time.ts'
import { measureStarts, startAndWait } from './starts.ts'
import { startStores } from './stores.ts'
import { startSubjects } from './subjects.ts'
import { processTree, residentMemory, watchOtherPrograms } from './usage.ts'
import { measureWebSockets } from './websockets.ts'

const BODY = 'A small response, typical of an API. '.repeat(29).slice(0, 1024)
const IDLE_MS = 2000
/** V8 needs some seconds to compile the larger programs. */
const WARM_UP_SECONDS = 5

async function run(options: Options, directory: string): Promise<boolean> {
  checkInstalled(options.only)
  const machine = describeMachine(options.node)
  const cores = pickCores()

  // The stores are filled before this process is pinned, because filling them with both cores is faster.
  const stores = await startStores(options.only, { directory, core: cores.load, progress })
  pinSelf(cores.load)
  const [upstreamPort = 0, ...ports] = await freePorts(1 + options.only.length)
  const provider = await startProvider()
  const setup = { directory, core: cores.gateway, upstreamPort, issuer: provider.issuer, node: options.node, stores }
  const contestants = options.only.map((name, index) => createContestant(name, ports[index] ?? 0, setup))
  await startAndWait(upstreamCommand(directory, cores.load, upstreamPort, BODY), upstreamPort)

  for (const { client } of contestants) {
    if (client) await provider.registerClient({ ...client, redirectUris: [client.redirectUri] })
  }
  progress(`starting each contestant ${options.starts} times`)
  const starts = await measureStarts(contestants, options.starts)
  const measured = new Map(
    ['direct', ...options.only].map((name): [string, Measured] => [
      name,
      { name, rounds: [], memoryIdle: [], starts: starts.get(name) ?? [] },
    ]),
  )
  const otherProgramsShare = watchOtherPrograms([cores.gateway, cores.load])
  for (let round = 1; round <= options.rounds; round++) {
    const roundProgress = (step: string): void => progress(`round ${round} of ${options.rounds}: ${step}`)
    // Every round starts the programs again, because V8 compiles the same program better or worse in each start.
    const load = { core: cores.load, directory }
    const { subjects, check, stop } = await startSubjects(contestants, upstreamPort, BODY, load)
    await sleep(IDLE_MS)
    for (const { target, pid } of subjects) {
      if (pid !== null) measured.get(target.name)?.memoryIdle.push(residentMemory(processTree(pid)))
    }
    for (const subject of subjects) {
      roundProgress(`${subject.target.name}: warming up`)
      await warmUp(subject, WARM_UP_SECONDS, BODY.length)
    }
    // The order alternates, so that no contestant benefits if the machine becomes slower or faster.
    const order = round % 2 === 1 ? subjects : subjects.toReversed()
    const figures = await measureRound(order, options.seconds, BODY.length, roundProgress)
    order.forEach(({ target }, index) => {
      const values = figures[index]
      if (values !== undefined) measured.get(target.name)?.rounds.push(values)
    })
    await check()
    await stop()
  }
  const otherPrograms = otherProgramsShare()
  await provider.close()

  const all = [...measured.values()]
  const promises = judge(all)
  const report = options.markdown ? markdownReport : textReport
  const date = new Date().toISOString().slice(0, 10)
  const run = { machine, date, otherPrograms, rounds: options.rounds, seconds: options.seconds }
  process.stdout.write(report({ measured: all, promises, run }))
  return promises.every(({ kept }) => kept !== false)
}

async function runStarts(options: Options, directory: string): Promise<boolean> {
  const cores = pickCores()
  pinSelf(cores.load)
  const { report, kept } = await compareStarts(options.starts, directory, cores.gateway)
  process.stdout.write(report)
  return kept
}

function progress(step: string): void {
  process.stderr.write(`${step}\n`)
}

async function main(): Promise<number> {
  const options = readOptions(process.argv.slice(2))
  if (options.help) {
    process.stdout.write(HELP)
    return 0
  }
  const directory = mkdtempSync(join(tmpdir(), 'gatehouse-bench-'))
  // The workers of nginx and Apache run as another user, who must be able to enter the directory.
  chmodSync(directory, 0o711)
  process.on('exit', () => {
    killAll()
    rmSync(directory, { recursive: true, force: true })
  })
  let interrupted = false
  for (const [signal, status] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
    ['SIGHUP', 129],
  ] as const) {
    process.once(signal, () => {
      interrupted = true
      void stopAll().then(() => process.exit(status))
    })
  }
  try {
    if (options.websocket) {
      process.stdout.write(await measureWebSockets(options, directory, progress))
      return 0
    }
    if (options.http2) {
      const { report, kept } = await measureHttp2(options, directory, progress)
      process.stdout.write(report)
      return options.check && !kept ? 1 : 0
    }
    if (options.memory) {
      process.stdout.write(await describeMemory(directory))
      return 0
    }
    const kept = options.start ? await runStarts(options, directory) : await run(options, directory)
    return options.check && !kept ? 1 : 0
  } catch (error) {
    // After an interrupt, the only error is that the programs have been stopped.
    if (interrupted) await new Promise(() => {})
    throw error
  } finally {
    await stopAll()
  }
}

main().then(
  (status) => process.exit(status),
  (error: unknown) => {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`)
    process.exit(1)
  },
)
