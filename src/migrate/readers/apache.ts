import { UnreadableFile } from '../setting.ts'

export interface Directive {
  readonly name: string
  readonly args: readonly string[]
  readonly line: number
  /** The directives of a section; `null` for a plain directive. */
  readonly inner: readonly Directive[] | null
}

/** Reads the directives of an Apache configuration as a tree; throws `UnreadableFile` if a section is not closed. */
export function readApache(text: string, file: string): Directive[] {
  const top: Directive[] = []
  const open: { name: string; args: string[]; line: number; inner: Directive[] }[] = []
  const current = (): Directive[] => open.at(-1)?.inner ?? top
  for (const { line, number } of logicalLines(text)) {
    const closing = /^<\/\s*([A-Za-z]+)\s*>$/.exec(line)?.[1]
    if (closing !== undefined) {
      const section = open.pop()
      if (section?.name.toLowerCase() !== closing.toLowerCase()) {
        throw new UnreadableFile(`${file}:${number}: </${closing}> closes no open section`)
      }
      continue
    }
    const [, sectionName, sectionArgs = ''] = /^<([A-Za-z]+)\s*(.*?)>$/.exec(line) ?? []
    const [name = '', ...args] = sectionName === undefined ? wordsOf(line) : [sectionName, ...wordsOf(sectionArgs)]
    const directive = { name, args, line: number, inner: [] as Directive[] }
    current().push(sectionName === undefined ? { ...directive, inner: null } : directive)
    if (sectionName !== undefined) open.push(directive)
  }
  const unclosed = open.at(-1)
  if (unclosed !== undefined) throw new UnreadableFile(`${file}:${unclosed.line}: <${unclosed.name}> is never closed`)
  return top
}

/** Returns the lines without comments; a line that ends in a backslash is joined with the next one. */
function logicalLines(text: string): { line: string; number: number }[] {
  const lines: { line: string; number: number }[] = []
  let pending: { line: string; number: number } | null = null
  text.split(/\r?\n/).forEach((raw, index) => {
    const whole: string = pending === null ? raw.trim() : `${pending.line} ${raw.trim()}`
    const number: number = pending?.number ?? index + 1
    if (whole.endsWith('\\') && !whole.startsWith('#')) {
      pending = { line: whole.slice(0, -1).trim(), number }
      return
    }
    pending = null
    if (whole !== '' && !whole.startsWith('#')) lines.push({ line: whole, number })
  })
  return lines
}

function wordsOf(line: string): string[] {
  return [...line.matchAll(/"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)'|\S+/g)].map(
    ([word, double, single]) => (double ?? single)?.replace(/\\(["'\\])/g, '$1') ?? word,
  )
}
