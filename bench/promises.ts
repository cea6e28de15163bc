import { type Measured, type FigureValues, ratio } from './figures.ts'

/** The result of a performance promise. `kept` is null if a contestant was not measured. */
export interface PromiseResult {
  readonly text: string
  readonly measured: number
  readonly kept: boolean | null
}

interface Rule {
  readonly text: string
  /** The contestant that makes the promise; `gatehouse` by default. */
  readonly name?: string
  readonly peer: string
  readonly of: FigureValues
  readonly atLeast?: number
  readonly atMost?: number
}

const RULES: readonly Rule[] = [
  {
    text: 'at least 1.6 times the requests per second of Apache',
    peer: 'apache',
    of: ({ rounds }) => rounds.map((round) => round.requestsPerSecond),
    atLeast: 1.6,
  },
  {
    text: 'at least 1.2 times the requests per second of bare @fastify/http-proxy',
    peer: 'http-proxy',
    of: ({ rounds }) => rounds.map((round) => round.requestsPerSecond),
    atLeast: 1.2,
  },
  {
    text: 'at most 1.3 times what http-proxy adds to the p50 at one connection',
    peer: 'http-proxy',
    of: ({ rounds }) => rounds.map((round) => round.addedP50),
    atMost: 1.3,
  },
  {
    text: 'a p99 at 2,000 requests per second no higher than that of http-proxy',
    peer: 'http-proxy',
    of: ({ rounds }) => rounds.map((round) => round.steadyP99),
    atMost: 1,
  },
  {
    text: 'with Redis, at least 0.9 times the requests per second of the memory store',
    name: 'gatehouse-redis',
    peer: 'gatehouse',
    of: ({ rounds }) => rounds.map((round) => round.requestsPerSecond),
    atLeast: 0.9,
  },
  {
    text: 'with a million other sessions in Redis, at least 0.9 times the requests per second of the memory store',
    name: 'gatehouse-million',
    peer: 'gatehouse',
    of: ({ rounds }) => rounds.map((round) => round.requestsPerSecond),
    atLeast: 0.9,
  },
]

/** Checks the promises. Each compares two contestants by the median of their ratios in the same round. */
export function judge(all: readonly Measured[]): PromiseResult[] {
  const find = (name: string): Measured | undefined => all.find((measured) => measured.name === name)
  return RULES.map(({ text, name = 'gatehouse', peer, of, atLeast = 0, atMost = Number.POSITIVE_INFINITY }) => {
    const measured = ratio(of, find(name), find(peer))
    return { text, measured, kept: Number.isNaN(measured) ? null : measured >= atLeast && measured <= atMost }
  })
}
