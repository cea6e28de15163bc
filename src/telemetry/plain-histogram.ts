import Histogram from 'prom-client/lib/histogram.js'

interface Options {
  readonly name: string
  readonly help: string
  /** Upper bounds in seconds, ascending. */
  readonly buckets: readonly number[]
}

/** How prom-client's registry writes one line of a histogram. */
interface Value {
  readonly metricName: string
  readonly labels: { readonly le?: number | '+Inf' }
  readonly sharedLabels: object
  readonly value: number
}

/**
 * A histogram without labels that only adds to plain numbers until somebody collects it: prom-client's own makes
 * objects for each observation, which is too much where every request comes by.
 */
export class PlainHistogram extends Histogram {
  readonly #options: Options
  readonly #counts: number[]
  #sum = 0

  constructor(options: Options) {
    super({ ...options, buckets: [...options.buckets], registers: [] })
    this.#options = options
    this.#counts = [...options.buckets, Number.POSITIVE_INFINITY].map(() => 0)
  }

  /** Counts one duration, in ms; one that the clock makes negative counts as none. */
  note(ms: number): void {
    const { buckets } = this.#options
    const seconds = ms > 0 ? ms / 1000 : 0
    let at = 0
    while (at < buckets.length && seconds > (buckets[at] ?? 0)) at += 1
    this.#counts[at] = (this.#counts[at] ?? 0) + 1
    this.#sum += seconds
  }

  /** What prom-client's registry and its own `get` ask for the figures; its types don't know it. */
  async getForPromString(): Promise<object> {
    const { name, help, buckets } = this.#options
    let count = 0
    const upTo = (le: number | '+Inf', at: number): Value => {
      count += this.#counts[at] ?? 0
      return { metricName: `${name}_bucket`, labels: { le }, sharedLabels: {}, value: count }
    }
    const values = [...buckets.map(upTo), upTo('+Inf', buckets.length)]
    const total = (what: string, value: number): Value => ({
      metricName: `${name}_${what}`,
      labels: {},
      sharedLabels: {},
      value,
    })
    return {
      name,
      help,
      type: 'histogram',
      aggregator: 'sum',
      values: [...values, total('sum', this.#sum), total('count', count)],
    }
  }
}
