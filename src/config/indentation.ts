/** A line that is indented differently from its neighbors, counted from 1. */
export interface IndentationMistake {
  readonly line: number
  readonly column: number
  readonly message: string
  readonly instead: string
}

/** A line with a key or a list item. */
interface Entry {
  /** The index of the line in the text. */
  readonly index: number
  readonly indent: number
  readonly isItem: boolean
  /** The columns, counted from 0, at which an item or a key begins: several in `- path: /a`. */
  readonly columns: readonly number[]
  readonly key: string | null
}

interface Fix {
  readonly entry: Entry
  readonly target: number
  readonly lines: readonly string[]
  /** How many lines were moved. */
  readonly moved: number
  /** What is wrong with the text after the fix. */
  readonly left: Faults
}

export interface Faults {
  /** The first line with a syntax error, counted from 1, or infinity. */
  readonly errorLine: number
  /** How many keys are at a place where the schema has none of that name. */
  readonly misplacedKeys: number
}

const ENTRY = /^( *)((?:- +)*)(?:(-)$|("[^"]*"|'[^']*'|[\w./*-]+):(?: |$)|(?<=- )\S)/
const MAX_MISTAKES = 5
/** How many entries before and after an error may have caused it. */
const NEIGHBORS = 6
const MAX_SHIFT = 4

function entryOf(line: string, index: number): Entry | null {
  const found = ENTRY.exec(line.trimEnd())
  if (found === null) return null
  const [, { length: indent } = '', dashes = '', bare, key] = found
  const columns = [...dashes.matchAll(/- +/g)].map((dash) => indent + dash.index)
  const last = indent + dashes.length
  return {
    index,
    indent,
    isItem: dashes !== '' || bare !== undefined,
    columns: [...columns, last],
    key: key ?? null,
  }
}

/**
 * Finds the lines whose indentation causes the syntax errors of a YAML text: moving such a line to the indentation of a
 * neighbor removes the error.
 */
export function indentationMistakes(text: string, faultsOf: (text: string) => Faults): IndentationMistake[] {
  const mistakes: IndentationMistake[] = []
  let lines: readonly string[] = text.split('\n')
  let { errorLine } = faultsOf(text)
  while (mistakes.length < MAX_MISTAKES && errorLine !== Infinity) {
    const fixes = findFixes(lines, errorLine, faultsOf)
    const [first] = fixes
    if (first === undefined) return mistakes
    const next = faultsOf(first.lines.join('\n')).errorLine
    if (next <= errorLine) return mistakes
    const targets = fixes.map(({ target }) => target)
    mistakes.push(describe(first.entry, targets, lines))
    lines = first.lines
    errorLine = next
  }
  return mistakes
}

/** Returns the fixes of the line that most likely causes the error, the best one first. */
function findFixes(lines: readonly string[], errorLine: number, faultsOf: (text: string) => Faults): Fix[] {
  const broken = lines[errorLine - 1] ?? ''
  // A line such as `issuer https://…` lacks a colon, although moving the next line would make the text valid.
  if (/^\s*[^\s#]/.test(broken) && entryOf(broken, errorLine - 1) === null) return []
  const entries = lines.flatMap((line, index) => entryOf(line, index) ?? [])
  const after = entries.findIndex(({ index }) => index + 1 >= errorLine)
  const middle = after === -1 ? entries.length : after
  const near = entries.slice(Math.max(0, middle - NEIGHBORS), middle + NEIGHBORS)
  const usual = ({ target }: Fix): number => entries.filter(({ columns }) => columns.includes(target)).length
  const excerpt = excerptAround(lines, entries, near)
  const isDone = (fix: Fix | undefined): boolean => fix?.left.errorLine === Infinity && fix.left.misplacedKeys === 0
  const fixes: Fix[] = []
  for (let shift = 1; shift <= MAX_SHIFT && !isDone(fixes[0]); shift += 1) {
    const tried = near.flatMap((entry) =>
      [entry.indent - shift, entry.indent + shift]
        .filter((target) => entries.some((other) => other !== entry && other.columns.includes(target)))
        .flatMap((target) => shifted(lines, entry, target))
        .map((moved) => ({ ...moved, left: faultsOf(excerpt(moved.lines)) })),
    )
    fixes.push(...tried.filter(({ entry, left }) => left.errorLine > Math.max(errorLine, entry.index + 1)))
    fixes.sort(
      (a, b) =>
        compareFaults(a.left, b.left) ||
        a.moved - b.moved ||
        usual(b) - usual(a) ||
        (a.target % 2) - (b.target % 2) ||
        a.target - b.target,
    )
  }
  const [best] = fixes
  if (best === undefined) return []
  const shiftOf = ({ entry, target }: Fix): number => Math.abs(entry.indent - target)
  const asGood = fixes.filter(
    (fix) => fix.entry === best.entry && compareFaults(fix.left, best.left) === 0 && shiftOf(fix) === shiftOf(best),
  )
  return [...new Map(asGood.toReversed().map((fix) => [fix.target, fix])).values()].toReversed()
}

/**
 * Returns a function that reduces a text to the lines around `near` and the lines of their parents, because each fix is
 * parsed. The other lines are empty, so that line numbers stay the same.
 */
function excerptAround(
  lines: readonly string[],
  entries: readonly Entry[],
  near: readonly Entry[],
): (text: readonly string[]) => string {
  const first = near[0]?.index ?? 0
  const last = near.at(-1)?.index ?? 0
  const least = Math.min(...near.map(({ indent }) => indent))
  const end = entries.find(({ index, indent }) => index > last && indent <= least)?.index ?? lines.length
  const parents = new Set<number>()
  let depth = near[0]?.indent ?? 0
  for (const { index, indent } of entries.filter((entry) => entry.index < first).toReversed()) {
    if (indent >= depth) continue
    parents.add(index)
    depth = indent
  }
  return (text) =>
    text
      .slice(0, end)
      .map((line, index) => (index >= first || parents.has(index) ? line : ''))
      .join('\n')
}

/** Compares two results: the better one has its first error further down, and fewer misplaced keys. */
function compareFaults(a: Faults, b: Faults): number {
  return a.errorLine === b.errorLine ? a.misplacedKeys - b.misplacedKeys : a.errorLine > b.errorLine ? -1 : 1
}

/** Returns the text with the entry moved alone, together with the deeper lines below it, and with its neighbors below it. */
function shifted(lines: readonly string[], entry: Entry, target: number): Omit<Fix, 'left'>[] {
  const { index, indent } = entry
  const ends = [index + 1, endOfRun(lines, index, indent + 1), endOfRun(lines, index, indent)]
  return [...new Set(ends)].map((end) => ({
    entry,
    target,
    moved: end - index,
    lines: lines.map((line, at) =>
      at < index || at >= end || line.trim() === ''
        ? line
        : target > indent
          ? ' '.repeat(target - indent) + line
          : line.slice(Math.min(indent - target, line.length - line.trimStart().length)),
    ),
  }))
}

/** Returns the index of the first line after `index` that is indented by less than `indent`. */
function endOfRun(lines: readonly string[], index: number, indent: number): number {
  const end = lines.findIndex(
    (line, at) => at > index && line.trim() !== '' && line.length - line.trimStart().length < indent,
  )
  return end === -1 ? lines.length : end
}

function describe({ index, indent }: Entry, targets: readonly number[], lines: readonly string[]): IndentationMistake {
  const places = targets.map((target) => `by ${target}${targets.length > 1 ? ` ${placeOf(lines, index, target)}` : ''}`)
  return {
    line: index + 1,
    column: indent + 1,
    message: `line ${index + 1} is indented by ${indent}, its neighbours by ${targets.join(' or ')}`,
    instead: `indent it ${places.join(', or ')}`,
  }
}

function placeOf(lines: readonly string[], index: number, target: number): string {
  const parent = lines
    .slice(0, index)
    .map(entryOf)
    .findLast((entry) => entry !== null && (entry.columns.at(-1) ?? 0) < target)
  const key = parent?.key ?? null
  return key === null ? 'at the top' : `below ${key}`
}

/**
 * Finds the list item with the wrong indentation in an unquoted value that takes several lines because YAML reads the
 * items below as its continuation. `start` and `end` are the offsets of the value.
 */
export function itemWithinText(text: string, start: number, end: number): IndentationMistake | null {
  const lines = text.split('\n')
  const first = text.slice(0, start).split('\n').length - 1
  const last = text.slice(0, end).split('\n').length - 1
  const entries = lines.slice(first, last + 1).flatMap((line, index) => entryOf(line, first + index) ?? [])
  const [above, below, ...more] = entries.filter(({ isItem }) => isItem)
  if (above?.index !== first || below === undefined) return null
  const isAboveWrong =
    more.some(({ indent }) => indent === below.indent) || (more.length === 0 && above.indent % 2 === 1)
  return isAboveWrong ? describe(above, [below.indent], lines) : describe(below, [above.indent], lines)
}
