import { REPORTED_FIGURES, ratio, type Measured } from './figures.ts'
import type { PromiseResult } from './promises.ts'
import { median } from './statistics.ts'

/** The machine, date and length of a run. `otherPrograms` is the share of one core that other programs used. */
interface Run {
  readonly machine: string
  readonly date: string
  readonly rounds: number
  readonly seconds: number
  readonly otherPrograms: number
}

export interface Results {
  readonly measured: readonly Measured[]
  readonly promises: readonly PromiseResult[]
  readonly run: Run
}

const MAX_OTHER_PROGRAMS = 0.1
const RATIO_HEADING = 'The same figures as multiples of those of http-proxy in the same round'

export function textReport({ measured, promises, run }: Results): string {
  const ratios = ratioTable(measured)
  return [
    `${describeRun(run)}\n`,
    `Medians of all rounds:\n\n${alignColumns(figureTable(measured))}\n`,
    ...(ratios === null ? [] : [`${RATIO_HEADING}:\n\n${alignColumns(ratios)}\n`]),
    'Promises:\n',
    ...promises.map(promiseLine),
    '',
  ].join('\n')
}

/** Returns the results as the sections of docs/performance.md contain them. */
export function markdownReport({ measured, promises, run }: Results): string {
  const ratios = ratioTable(measured)
  const judged = promises.filter(({ kept }) => kept !== null)
  return [
    '## What to expect\n',
    '### HTTP\n',
    `${markdownTable(figureTable(measured))}\n`,
    ...(ratios === null ? [] : [`${RATIO_HEADING}:\n\n${markdownTable(ratios)}\n`]),
    ...(judged.length === 0 ? [] : [`${promiseTable(judged)}\n`]),
    '## How it was measured\n',
    `${machineTable('HTTP', 'npm run bench', run)}\n`,
  ].join('\n')
}

export function machineTable(figures: string, command: string, run: Run): string {
  return markdownTable([
    ['Figures', 'Command', 'Machine'],
    [figures, `\`${command}\``, describeRun(run)],
  ])
}

function figureTable(all: readonly Measured[]): string[][] {
  return [
    ['', ...all.map(({ name }) => name)],
    ...REPORTED_FIGURES.map(({ title, digits, scale, of }) => [
      title,
      ...all.map((measured) => print(median(of(measured)) / scale, digits)),
    ]),
  ]
}

function ratioTable(all: readonly Measured[]): string[][] | null {
  const base = all.find(({ name }) => name === 'http-proxy')
  if (!base) return null
  return [
    ['', ...all.map(({ name }) => name)],
    ...REPORTED_FIGURES.map(({ title, of }) => [
      title.replace(/, (ms|µs|MB|%)$/, ''),
      ...all.map((measured) => print(ratio(of, measured, base), 2)),
    ]),
  ]
}

export function describeRun({ machine, date, rounds, seconds, otherPrograms }: Run): string {
  const warning = otherPrograms > MAX_OTHER_PROGRAMS ? ' (too much for reliable figures)' : ''
  return (
    `${machine}; ${date}; ${rounds} rounds of ${seconds} s; ` +
    `other programs used ${print(otherPrograms * 100, 0)} % of a core${warning}`
  )
}

export function promiseTable(promises: readonly PromiseResult[]): string {
  return markdownTable([
    ['Promise', 'Measured', 'Kept'],
    ...promises.map(({ text, measured, kept }) => [text, print(measured, 2), kept === true ? 'yes' : 'no']),
  ])
}

export function promiseLine({ text, measured, kept }: PromiseResult): string {
  if (kept === null) return `not measured: ${text}`
  return `${kept ? 'PASS' : 'FAIL'} ${text}: ${print(measured, 2)}`
}

/** Formats a figure with this many decimals, or as a dash if it is NaN. */
export function print(value: number, digits: number): string {
  if (!Number.isFinite(value)) return '–'
  return value.toLocaleString('en', { minimumFractionDigits: digits, maximumFractionDigits: digits })
}

export function alignColumns(rows: readonly string[][]): string {
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

export function markdownTable([head = [], ...body]: readonly string[][]): string {
  const isFigures = (column: number): boolean => body.every((row) => /^[\d,.–]*$/.test(row[column] ?? ''))
  const line = head.map((_, column) => (column > 0 && isFigures(column) ? '--:' : '---'))
  return [head, line, ...body].map(markdownRow).join('\n')
}

function markdownRow(cells: readonly string[]): string {
  return `| ${cells.join(' | ')} |`
}
