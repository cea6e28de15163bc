import { NotUnderstood } from './not-understood.ts'

/** One directive of an Apache configuration. */
export interface Directive {
  readonly name: string
  readonly args: readonly string[]
  readonly line: number
  /** The directives within, where it is a section. */
  readonly inner: readonly Directive[] | null
}

interface Open {
  readonly directive: { name: string; args: string[]; line: number; inner: Directive[] }
}

/** The directives of an Apache configuration, sections as trees; throws `NotUnderstood` where sections do not close. */
export function readApache(text: string, file: string): Directive[] {
  const top: Directive[] = []
  const open: Open[] = []
  const here = (): Directive[] => open.at(-1)?.directive.inner ?? top
  for (const { line, number } of joined(text)) {
    const closing = /^<\/\s*([A-Za-z]+)\s*>$/.exec(line)?.[1]
    if (closing !== undefined) {
      const section = open.pop()
      if (section?.directive.name.toLowerCase() !== closing.toLowerCase()) {
        throw new NotUnderstood(`${file}:${number}: </${closing}> closes nothing that is open there`)
      }
      continue
    }
    const [, sectionName, sectionArgs = ''] = /^<([A-Za-z]+)\s*(.*?)>$/.exec(line) ?? []
    const [name = '', ...args] = sectionName === undefined ? wordsOf(line) : [sectionName, ...wordsOf(sectionArgs)]
    const directive = { name, args, line: number, inner: [] as Directive[] }
    here().push(sectionName === undefined ? { ...directive, inner: null } : directive)
    if (sectionName !== undefined) open.push({ directive })
  }
  const unclosed = open.at(-1)?.directive
  if (unclosed !== undefined) throw new NotUnderstood(`${file}:${unclosed.line}: <${unclosed.name}> is never closed`)
  return top
}

/** Lines without comments, those that end in a backslash joined with the next. */
function joined(text: string): { line: string; number: number }[] {
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
