import { type Measured, READINGS, ratio } from './figures.ts'
import type { PromiseResult } from './promises.ts'
import { median } from './statistics.ts'

// `others` is how much of one core went to programs that have no part in it.
type Circumstances = { machine: string; date: string; rounds: number; seconds: number; others: number }

const TOO_NOISY = 0.1
const DOUBT = ', too much to trust these figures: measure again on a quiet machine.'
const PROMISES = 'What Gatehouse promises:\n'

type Table = { heading: string; rows: string[][] }

/** A finished run. */
export type Outcome = { measured: readonly Measured[]; promises: readonly PromiseResult[]; about: Circumstances }

/** Returns the result for a terminal: aligned columns, then the promises. */
export function textReport({ measured, promises, about }: Outcome): string {
  const tables = tablesOf(measured).map(({ heading, rows }) => `${heading}\n\n${aligned(rows)}\n`)
  return [`${circumstances(about)}\n`, ...tables, PROMISES, ...promises.map(promiseLine), ''].join('\n')
}

/** Returns the result as a section of docs/performance.md. */
export function markdownReport({ measured, promises, about }: Outcome): string {
  const tables = tablesOf(measured).map(({ heading, rows }) => `${heading}:\n\n${markdownTable(rows)}\n`)
  const promised = promises.map((promise) => `- ${promiseLine(promise)}`)
  const title = `## Measured on ${about.date}\n`
  return [title, `${circumstances(about)}\n`, ...tables, PROMISES, ...promised, ''].join('\n')
}

function tablesOf(all: readonly Measured[]): Table[] {
  const figures: Table = {
    heading: 'Medians of all rounds',
    rows: [['', ...all.map((it) => it.name)]],
  }
  for (const { title, digits, scale, of } of READINGS) {
    figures.rows.push([title, ...all.map((it) => print(median(of(it)) / scale, digits))])
  }
  const base = all.find((it) => it.name === 'http-proxy')
  if (!base) return [figures]
  const ratios: Table = {
    heading: "As a multiple of http-proxy's in the same round",
    rows: [['', ...all.map((it) => it.name)]],
  }
  for (const { title, of } of READINGS) {
    ratios.rows.push([title.replace(/, (ms|µs|MB|%)$/, ''), ...all.map((it) => print(ratio(of, it, base), 2))])
  }
  return [figures, ratios]
}

/** One line about a run: where, when, how long, and how quiet it was. */
export function circumstances({ machine, date, rounds, seconds, others }: Circumstances): string {
  const noise = `Other programs took ${print(others * 100, 0)} % of a core meanwhile${others > TOO_NOISY ? DOUBT : '.'}`
  return `${machine}; ${date}; ${rounds} rounds, ${seconds} s a measurement. ${noise}`
}

function promiseLine({ text, measured, kept }: PromiseResult): string {
  if (kept === null) return `not measured: ${text}`
  return `${kept ? 'PASS' : 'FAIL'} ${text}: ${print(measured, 2)}`
}

/** Returns a figure with this many decimals, or a dash for NaN. */
export function print(value: number, digits: number): string {
  if (!Number.isFinite(value)) return '–'
  return value.toLocaleString('en', { minimumFractionDigits: digits, maximumFractionDigits: digits })
}

/** Rows as columns of a terminal, the first to the left, all others to the right. */
export function aligned(rows: readonly string[][]): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => (row[column] ?? '').length)))
  return rows
    .map((row) =>
      row
        .map((cell, column) => {
          const width = widths[column] ?? 0
          return column === 0 ? cell.padEnd(width) : cell.padStart(width)
        })
        .join('  '),
    )
    .join('\n')
}

/** Rows as a Markdown table; the first one is its head. */
export function markdownTable([head = [], ...body]: readonly string[][]): string {
  const line = head.map((_, column) => (column === 0 ? '---' : '--:'))
  return [head, line, ...body].map(markdownRow).join('\n')
}

function markdownRow(cells: readonly string[]): string {
  return `| ${cells.join(' | ')} |`
}
