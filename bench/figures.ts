import { median } from './statistics.ts'

/** The figures of one contestant in one round: latencies in µs, memory in bytes, `gatewayCore` as a share of its core. */
export interface Figures {
  readonly requestsPerSecond: number
  readonly p50: number
  readonly p99: number
  readonly singleP50: number
  readonly addedP50: number
  readonly steadyP50: number
  readonly steadyP99: number
  readonly cpuPerRequest: number
  readonly gatewayCore: number
  readonly memoryLoaded: number
}

/** All measurements of one contestant. `memoryIdle` (in bytes) has a value for each round, `starts` (in ms) for each start. */
export interface Measured {
  readonly name: string
  readonly rounds: Figures[]
  readonly memoryIdle: number[]
  readonly starts: number[]
}

/** Returns the values of one figure, one for each round or start; NaN where it was not measured. */
export type FigureValues = (measured: Measured) => number[]

export const REPORTED_FIGURES: readonly { title: string; digits: number; scale: number; of: FigureValues }[] = [
  { title: 'Requests per second, 32 connections', digits: 0, scale: 1, of: round('requestsPerSecond') },
  { title: 'p50 at 32 connections, ms', digits: 2, scale: 1000, of: round('p50') },
  { title: 'p99 at 32 connections, ms', digits: 2, scale: 1000, of: round('p99') },
  { title: 'p50 at one connection, µs', digits: 0, scale: 1, of: round('singleP50') },
  { title: "p50 added to the upstream's, µs", digits: 0, scale: 1, of: round('addedP50') },
  { title: 'p50 at 2,000 requests per second, ms', digits: 2, scale: 1000, of: round('steadyP50') },
  { title: 'p99 at 2,000 requests per second, ms', digits: 2, scale: 1000, of: round('steadyP99') },
  { title: 'CPU time per request, µs', digits: 1, scale: 1, of: round('cpuPerRequest') },
  { title: 'CPU core in use at 32 connections, %', digits: 0, scale: 0.01, of: round('gatewayCore') },
  { title: 'Resident memory idle, MB', digits: 0, scale: 1e6, of: (measured) => measured.memoryIdle },
  { title: 'Resident memory under load, MB', digits: 0, scale: 1e6, of: round('memoryLoaded') },
  { title: 'Start to first response, ms', digits: 0, scale: 1, of: (measured) => measured.starts },
]

/** Returns the median ratio of a figure of two contestants in the same round; NaN if a contestant is missing. */
export function ratio(of: FigureValues, measured: Measured | undefined, base: Measured | undefined): number {
  if (!measured || !base) return Number.NaN
  const divisors = of(base)
  return median(of(measured).map((value, index) => value / (divisors[index] ?? Number.NaN)))
}

function round(key: keyof Figures): FigureValues {
  return (measured) => measured.rounds.map((figures) => figures[key])
}
