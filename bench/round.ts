import type { Figures } from './figures.ts'
import { constantRate, fullLoad, type Target } from './load.ts'
import type { RateResult } from './rate.ts'
import { median } from './statistics.ts'
import { cpuTime, processTree, residentMemory } from './usage.ts'

/** A program under test: the target of the load, and its process id, or null for the upstream itself. */
export interface Subject {
  readonly target: Target
  readonly pid: number | null
}

const CONNECTIONS = 32
const PER_SECOND = 2000
const STEADY_TURNS = 4
const MEMORY_SAMPLE_MS = 250

/** Measures all subjects once. Each kind of load runs against all subjects in turn, so compared figures are close in time. */
export async function measureRound(
  subjects: readonly Subject[],
  seconds: number,
  bodyBytes: number,
  progress: (step: string) => void,
): Promise<Figures[]> {
  const full: Partial<Figures>[] = []
  for (const subject of subjects) {
    progress(`${subject.target.name}: full load`)
    full.push(await measureFullLoad(subject, seconds, bodyBytes))
  }
  const single: number[] = []
  for (const { target } of subjects) {
    progress(`${target.name}: one connection`)
    single.push((await fullLoad(target, 1, seconds, bodyBytes)).p50)
  }
  const steady = await measureSteady(subjects, seconds, progress)
  const direct = single[subjects.findIndex((subject) => subject.pid === null)] ?? Number.NaN
  return subjects.map((subject, index) => {
    const singleP50 = single[index] ?? Number.NaN
    const addedP50 = subject.pid === null ? Number.NaN : singleP50 - direct
    return { ...NO_FIGURES, ...full[index], ...steady[index], singleP50, addedP50 }
  })
}

/**
 * Returns the medians of several turns of each subject, in alternating order. At 2,000 requests per second, twenty slow
 * requests decide the p99, and other work of the machine can delay that many in a single turn.
 */
async function measureSteady(
  subjects: readonly Subject[],
  seconds: number,
  progress: (step: string) => void,
): Promise<Partial<Figures>[]> {
  const all = subjects.map(({ target }) => ({ target, turns: new Array<RateResult>() }))
  for (let turn = 1; turn <= STEADY_TURNS; turn++) {
    for (const { target, turns } of turn % 2 === 1 ? all : all.toReversed()) {
      progress(`${target.name}: 2,000 requests per second, turn ${turn} of ${STEADY_TURNS}`)
      turns.push(await constantRate(target, PER_SECOND, seconds))
    }
  }
  return all.map(({ turns }) => ({
    steadyP50: median(turns.map(({ p50 }) => p50)),
    steadyP99: median(turns.map(({ p99 }) => p99)),
  }))
}

/** Loads a subject without measuring it, because V8 first compiles the program. */
export async function warmUp({ target }: Subject, seconds: number, bodyBytes: number): Promise<void> {
  await fullLoad(target, CONNECTIONS, seconds, bodyBytes)
}

const NO_FIGURES: Figures = {
  requestsPerSecond: Number.NaN,
  p50: Number.NaN,
  p99: Number.NaN,
  singleP50: Number.NaN,
  addedP50: Number.NaN,
  steadyP50: Number.NaN,
  steadyP99: Number.NaN,
  cpuPerRequest: Number.NaN,
  gatewayCore: Number.NaN,
  memoryLoaded: Number.NaN,
}

async function measureFullLoad(subject: Subject, seconds: number, bodyBytes: number): Promise<Partial<Figures>> {
  const { target, pid } = subject
  const before = pid === null ? 0 : cpuTime(pid)
  const watch = pid === null ? null : watchMemory(pid)
  const result = await fullLoad(target, CONNECTIONS, seconds, bodyBytes).finally(() => watch?.stop())
  const { requests, duration, p50, p99 } = result
  const latency = { requestsPerSecond: requests / (duration / 1_000_000), p50, p99 }
  if (pid === null || watch === null) return latency
  const used = cpuTime(pid) - before
  return { ...latency, cpuPerRequest: used / requests, gatewayCore: used / duration, memoryLoaded: watch.highest() }
}

function watchMemory(pid: number): { highest: () => number; stop: () => void } {
  const pids = processTree(pid)
  let highest = 0
  const timer = setInterval(() => {
    highest = Math.max(highest, residentMemory(pids))
  }, MEMORY_SAMPLE_MS)
  return { highest: () => highest, stop: () => clearInterval(timer) }
}
