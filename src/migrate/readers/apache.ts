import { type Grade, UnreadableFile } from '../setting.ts'

export interface Directive {
  readonly name: string
  readonly args: readonly string[]
  /** The arguments as they are written. */
  readonly text: string
  readonly file: string
  readonly line: number
  /** The directives of a section; `null` for a plain directive. */
  readonly inner: readonly Directive[] | null
  /** What the report says about a directive that only decides how the files are read, such as `Include`. */
  readonly note?: { readonly grade: Grade; readonly text: string }
}

/** Reads the directives of an Apache configuration as a tree; throws `UnreadableFile` if a section is not closed. */
export function readApache(text: string, file: string): Directive[] {
  const top: Directive[] = []
  const open: { readonly name: string; readonly line: number; readonly inner: Directive[] }[] = []
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
    const [, sectionName, sectionArgs = ''] = /^<([A-Za-z]+)\b(.*)>$/.exec(line) ?? []
    const [name = '', ...args] = sectionName === undefined ? wordsOf(line) : [sectionName, ...wordsOf(sectionArgs)]
    const text = sectionName === undefined ? line.slice(line.search(/\s|$/)) : sectionArgs
    const directive = { name, args, text, file, line: number, inner: [] as Directive[] }
    current().push(sectionName === undefined ? { ...directive, inner: null } : directive)
    if (sectionName !== undefined) open.push(directive)
  }
  const unclosed = open.at(-1)
  if (unclosed !== undefined) throw new UnreadableFile(`${file}:${unclosed.line}: <${unclosed.name}> is never closed`)
  return top
}

/** Returns the lines without comments. A backslash at the end of a line, also of a comment, continues the line. */
function logicalLines(text: string): { line: string; number: number }[] {
  const lines: { line: string; number: number }[] = []
  let pending: { line: string; number: number } | null = null
  text.split(/\r?\n/).forEach((raw, index) => {
    const whole: string = (pending?.line ?? '') + raw
    const number: number = pending?.number ?? index + 1
    if (whole.endsWith('\\')) {
      pending = { line: whole.slice(0, -1), number }
      return
    }
    pending = null
    const line = whole.trim()
    if (line !== '' && !line.startsWith('#')) lines.push({ line, number })
  })
  return lines
}

/** Returns the words of a line, in which quotes keep words together. */
export function wordsOf(line: string): string[] {
  return [...line.matchAll(/"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)'|\S+/g)].map(
    ([word, double, single]) => (double ?? single)?.replace(/\\(["'\\])/g, '$1') ?? word,
  )
}
