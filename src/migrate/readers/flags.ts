import type { ProgramNames } from '../invocation.ts'
import type { Setting } from '../setting.ts'
import { type Word, wordsOf } from './shell.ts'

type FlagNames = Pick<ProgramNames, 'keyOfFlag' | 'isSwitch'>

const FLAG = /^--?([a-z][a-z0-9._-]*)(?:=(.*))?$/s

/**
 * Reads the flags of a command line, on one or several lines, or of a YAML list of arguments. A repeated flag has a list
 * as its value.
 */
export function readFlags(text: string, file: string, names: FlagNames): Setting[] {
  const words = text.split(/\r?\n/).flatMap((line, index) =>
    /^\s*#/.test(line)
      ? []
      : wordsOf(withoutListSyntax(line).replace(/\\\s*$/, ''), index + 1).map((word) => ({
          ...word,
          text: word.text.replace(/,$/, ''),
        })),
  )
  return flagsOf(words, file, names)
}

/** Reads the flags in the words of a command line. */
export function flagsOf(words: readonly Word[], file: string, names: FlagNames): Setting[] {
  const found = new Map<string, Setting>()
  words.forEach(({ text: word, line }, index) => {
    const [, flag, inline] = FLAG.exec(word) ?? []
    if (flag === undefined) return
    const key = names.keyOfFlag(flag)
    const next = words[index + 1]?.text
    const following = names.isSwitch(key) || next === undefined || FLAG.test(next) ? 'true' : next
    const value = inline ?? following
    const before = found.get(key)
    if (before === undefined) return found.set(key, { key, written: `--${flag}`, value, file, line })
    const items = Array.isArray(before.value) ? before.value : itemsIn(before.value)
    const lines = before.lines ?? items.map(() => before.line)
    const added = itemsIn(value)
    found.set(key, { ...before, value: [...items, ...added], lines: [...lines, ...added.map(() => line)] })
  })
  return [...found.values()]
}

/** Splits a value at its commas, as the programs do for each occurrence of a repeated flag. */
function itemsIn(value: unknown): string[] {
  return String(value).split(',')
}

/** Removes list syntax from a line: `- --flag`, `args: ["--flag", "--other"]`, `CMD ["--flag"]`. */
function withoutListSyntax(line: string): string {
  const inner = /^\s*(?:-\s+)?(?:[A-Za-z]+:?\s*)?\[(.*)\]\s*,?\s*$/.exec(line)?.[1]
  return inner === undefined ? line.replace(/^\s*-\s+/, '') : inner.replace(/,(?=\s*["'-])/g, ' ')
}
