import { median } from './statistics.ts'

/** What a round measured of a contestant: latencies in µs, memory in bytes, `gatewayCore` as a share of its core. */
export type Figures = {
  requestsPerSecond: number
  p50: number
  p99: number
  singleP50: number
  addedP50: number
  steadyP50: number
  steadyP99: number
  cpuPerRequest: number
  gatewayCore: number
  memoryLoaded: number
}

/** Everything known of one contestant: its rounds, its memory when each began (bytes), and its `starts` (ms). */
export type Measured = { name: string; rounds: Figures[]; memoryIdle: number[]; starts: number[] }

/** One figure of one contestant, the median of its rounds or starts; NaN where it was not measured. */
export type Reading = (it: Measured) => number[]

/** Every figure that is reported: what it is called, its unit, how it is printed, and where its values are. */
export const READINGS: readonly { title: string; digits: number; scale: number; of: Reading }[] = [
  { title: 'Requests per second, 32 connections', digits: 0, scale: 1, of: round('requestsPerSecond') },
  { title: 'p50 there, ms', digits: 2, scale: 1000, of: round('p50') },
  { title: 'p99 there, ms', digits: 2, scale: 1000, of: round('p99') },
  { title: 'p50 at one connection, µs', digits: 0, scale: 1, of: round('singleP50') },
  { title: "of which added to the upstream's, µs", digits: 0, scale: 1, of: round('addedP50') },
  { title: 'p50 at 2,000 requests per second, ms', digits: 2, scale: 1000, of: round('steadyP50') },
  { title: 'p99 there, ms', digits: 2, scale: 1000, of: round('steadyP99') },
  { title: 'CPU time per request, µs', digits: 1, scale: 1, of: round('cpuPerRequest') },
  { title: 'Share of its core in use at 32 connections, %', digits: 0, scale: 0.01, of: round('gatewayCore') },
  { title: 'Resident memory idle, MB', digits: 0, scale: 1e6, of: (it) => it.memoryIdle },
  { title: 'Resident memory under load, MB', digits: 0, scale: 1e6, of: round('memoryLoaded') },
  { title: 'Start to first answer, ms', digits: 0, scale: 1, of: (it) => it.starts },
]

/** The median of what one contestant's figure is divided by another's in the same round; NaN when either is missing. */
export function ratio(of: Reading, it: Measured | undefined, base: Measured | undefined): number {
  if (!it || !base) return Number.NaN
  const divisors = of(base)
  return median(of(it).map((value, index) => value / (divisors[index] ?? Number.NaN)))
}

function round(key: keyof Figures): Reading {
  return (it) => it.rounds.map((figures) => figures[key])
}
