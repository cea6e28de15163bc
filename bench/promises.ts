import { type Measured, type Reading, ratio } from './figures.ts'

/** A promise about Gatehouse's cost and what a run says of it; `kept` is null when a contestant was left out. */
export type PromiseResult = { text: string; measured: number; kept: boolean | null }

// Without a name it is about gatehouse itself.
type Rule = { text: string; name?: string; peer: string; of: Reading; atLeast?: number; atMost?: number }

const RULES: readonly Rule[] = [
  {
    text: "at least 1.6 times Apache's requests per second",
    peer: 'apache',
    of: (it) => it.rounds.map((round) => round.requestsPerSecond),
    atLeast: 1.6,
  },
  {
    text: "at least 1.2 times http-proxy's requests per second",
    peer: 'http-proxy',
    of: (it) => it.rounds.map((round) => round.requestsPerSecond),
    atLeast: 1.2,
  },
  {
    text: 'at most 1.3 times the p50 that http-proxy adds at one connection',
    peer: 'http-proxy',
    of: (it) => it.rounds.map((round) => round.addedP50),
    atMost: 1.3,
  },
  {
    text: "at 2,000 requests per second a p99 no higher than http-proxy's",
    peer: 'http-proxy',
    of: (it) => it.rounds.map((round) => round.steadyP99),
    atMost: 1,
  },
  {
    text: 'with Redis at least 0.9 of the requests per second with the memory store',
    name: 'gatehouse-redis',
    peer: 'gatehouse',
    of: (it) => it.rounds.map((round) => round.requestsPerSecond),
    atLeast: 0.9,
  },
  {
    text: 'the same with a million other sessions in Redis',
    name: 'gatehouse-million',
    peer: 'gatehouse',
    of: (it) => it.rounds.map((round) => round.requestsPerSecond),
    atLeast: 0.9,
  },
]

/** Holds the promises against what was measured, each by the median of the ratios of single rounds. */
export function judge(all: readonly Measured[]): PromiseResult[] {
  const named = (wanted: string): Measured | undefined => all.find((it) => it.name === wanted)
  return RULES.map(({ text, name = 'gatehouse', peer, of, atLeast = 0, atMost = Number.POSITIVE_INFINITY }) => {
    const measured = ratio(of, named(name), named(peer))
    return { text, measured, kept: Number.isNaN(measured) ? null : measured >= atLeast && measured <= atMost }
  })
}
