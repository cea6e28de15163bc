import type { Gatehouse } from '../../src/app.ts'

type Sample = { readonly name: string; readonly labels: Readonly<Record<string, string>>; readonly value: number }

export type Scrape = {
  readonly text: string
  readonly types: ReadonlyMap<string, string>
  readonly samples: readonly Sample[]
  /** The sum of the samples of this name that have these labels; `NaN` if there are none. */
  readonly value: (name: string, labels?: Readonly<Record<string, string>>) => number
}

/** Reads the text format (version 0.0.4); throws for a malformed line. */
export const readMetrics = (text: string): Scrape => {
  const types = new Map<string, string>()
  const samples: Sample[] = []
  for (const line of text.split('\n').filter((text) => text !== '')) {
    const [, typed, type] = /^# TYPE (\S+) (counter|gauge|histogram|summary)$/.exec(line) ?? []
    if (typed !== undefined && type !== undefined) types.set(typed, type)
    if (line.startsWith('# ')) continue
    const [, name, inBraces = '', value] = /^([a-z_][a-z0-9_]*)(?:\{(.*)\})? (\S+)$/i.exec(line) ?? []
    if (name === undefined) throw new Error(`not a line of the text format: ${line}`)
    const labels = Object.fromEntries(
      [...inBraces.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map(([, label = '', text = '']) => [label, text]),
    )
    samples.push({ name, labels, value: value === '+Inf' ? Number.POSITIVE_INFINITY : Number(value) })
  }
  return {
    text,
    types,
    samples,
    value(name, labels = {}) {
      const found = samples.filter(
        (sample) =>
          sample.name === name && Object.entries(labels).every(([label, wanted]) => sample.labels[label] === wanted),
      )
      return found.length === 0 ? Number.NaN : found.reduce((sum, { value }) => sum + value, 0)
    },
  }
}

export const scrape = async (admin: string): Promise<Scrape> => {
  const answer = await fetch(`${admin}/metrics`)
  if (answer.status !== 200) throw new Error(`/metrics answers ${answer.status}`)
  return readMetrics(await answer.text())
}

export const countOf = async ({ metrics }: Gatehouse, labels: Readonly<Record<string, string>>): Promise<number> => {
  const found = readMetrics(await metrics.registry.metrics()).value('gatehouse_requests_total', labels)
  return Number.isNaN(found) ? 0 : found
}
