import Histogram from 'prom-client/lib/histogram.js'

interface Options {
  readonly name: string
  readonly help: string
  /** Upper bounds in seconds, ascending. */
  readonly buckets: readonly number[]
}

/** One line of a histogram, as prom-client's registry expects it. */
interface Value {
  readonly metricName: string
  readonly labels: { readonly le?: number | '+Inf' }
  readonly sharedLabels: object
  readonly value: number
}

/**
 * A histogram without labels. Each observation only adds to numbers. In prom-client's histogram, each observation
 * creates objects.
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

  /** Counts a duration in ms; a negative duration, after a change of the clock, counts as zero. */
  observeMs(ms: number): void {
    const { buckets } = this.#options
    const seconds = ms > 0 ? ms / 1000 : 0
    let bucket = 0
    while (bucket < buckets.length && seconds > (buckets[bucket] ?? 0)) bucket += 1
    this.#counts[bucket] = (this.#counts[bucket] ?? 0) + 1
    this.#sum += seconds
  }

  /**
   * Returns the figures to prom-client's registry, which calls this undocumented method. Its maintainers declined to
   * make the neighboring `get` public: https://github.com/prometheus/client_js/issues/367
   */
  async getForPromString(): Promise<object> {
    const { name, help, buckets } = this.#options
    let count = 0
    const cumulative = (le: number | '+Inf', bucket: number): Value => {
      count += this.#counts[bucket] ?? 0
      return { metricName: `${name}_bucket`, labels: { le }, sharedLabels: {}, value: count }
    }
    const values = [...buckets.map(cumulative), cumulative('+Inf', buckets.length)]
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
