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
  readonly sharedLabels: Readonly<Record<string, string>>
  readonly value: number
}

interface Observed {
  readonly counts: number[]
  sum: number
}

/**
 * A histogram with at most one label. Each observation only adds to numbers. In prom-client's histogram, each
 * observation creates objects.
 */
export class PlainHistogram extends Histogram {
  readonly #options: Options
  readonly #label: string | null
  readonly #observed = new Map<string, Observed>()

  constructor(options: Options, label: string | null = null) {
    super({ ...options, buckets: [...options.buckets], labelNames: label === null ? [] : [label], registers: [] })
    this.#options = options
    this.#label = label
    if (label === null) this.initialize('')
  }

  /** Makes the figures for a value of the label start at zero. */
  initialize(labelValue: string): Observed {
    const known = this.#observed.get(labelValue)
    if (known !== undefined) return known
    const counts = [...this.#options.buckets, Number.POSITIVE_INFINITY].map(() => 0)
    const observed: Observed = { counts, sum: 0 }
    this.#observed.set(labelValue, observed)
    return observed
  }

  /** Counts a duration in ms; a negative duration, after a change of the clock, counts as zero. */
  observeMs(ms: number, labelValue = ''): void {
    const { buckets } = this.#options
    const observed = this.#observed.get(labelValue) ?? this.initialize(labelValue)
    const seconds = ms > 0 ? ms / 1000 : 0
    let bucket = 0
    while (bucket < buckets.length && seconds > (buckets[bucket] ?? 0)) bucket += 1
    observed.counts[bucket] = (observed.counts[bucket] ?? 0) + 1
    observed.sum += seconds
  }

  /**
   * Returns the figures to prom-client's registry, which calls this undocumented method. Its maintainers declined to
   * make the neighboring `get` public: https://github.com/prometheus/client_js/issues/367
   */
  async getForPromString(): Promise<object> {
    const { name, help } = this.#options
    const values = [...this.#observed].flatMap(([labelValue, observed]) => this.#valuesOf(labelValue, observed))
    return { name, help, type: 'histogram', aggregator: 'sum', values }
  }

  #valuesOf(labelValue: string, { counts, sum }: Observed): Value[] {
    const { name, buckets } = this.#options
    const sharedLabels = this.#label === null ? {} : { [this.#label]: labelValue }
    let count = 0
    const values = counts.map((inBucket, bucket): Value => {
      count += inBucket
      return { metricName: `${name}_bucket`, labels: { le: buckets[bucket] ?? '+Inf' }, sharedLabels, value: count }
    })
    const total = (what: string, value: number): Value => ({
      metricName: `${name}_${what}`,
      labels: {},
      sharedLabels,
      value,
    })
    return [...values, total('sum', sum), total('count', count)]
  }
}
