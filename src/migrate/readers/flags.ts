import type { ProgramNames } from '../invocation.ts'
import type { Setting } from '../setting.ts'
import { onlyVariable } from '../variable.ts'
import { type Word, wordsOf } from './shell.ts'

type FlagNames = Pick<ProgramNames, 'keyOfFlag' | 'isSwitch' | 'isList'>

const FLAG = /^--?([a-z][a-z0-9._-]*)(?:=(.*))?$/s

/**
 * Reads the flags of a command line, on one or several lines, or of a YAML list of arguments.
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

/** Reads the flags in the words of a command line. A repeated flag of a list becomes one setting with all items. */
export function flagsOf(words: readonly Word[], file: string, names: FlagNames): Setting[] {
  const found: Setting[] = []
  words.forEach(({ text: word, line }, index) => {
    const [, flag, inline] = FLAG.exec(word) ?? []
    if (flag === undefined) return
    const key = names.keyOfFlag(flag)
    const next = words[index + 1]?.text
    const following = names.isSwitch(key) || next === undefined || FLAG.test(next) ? 'true' : next
    const value = inline ?? following
    const at = names.isList(key) ? found.findIndex((one) => one.key === key) : -1
    const before = found[at]
    if (before === undefined) return found.push({ key, written: `--${flag}`, value, file, line })
    const items = Array.isArray(before.value) ? before.value : itemsIn(before.value)
    const lines = before.lines ?? items.map(() => before.line)
    const added = itemsIn(value)
    found[at] = { ...before, value: [...items, ...added], lines: [...lines, ...added.map(() => line)] }
  })
  return found
}

/** Returns the words that stand for arguments which the file does not have, such as `"$@"`. */
export function unreadWords(words: readonly Word[], names: FlagNames): Word[] {
  return words.flatMap(({ text, line }, index) => {
    const [, name = onlyVariable(text)] = /^\$(?:([@*])|\{\w+\[[@*]\].*\})$/.exec(text) ?? []
    const [, flag, inline] = FLAG.exec(words[index - 1]?.text ?? '') ?? []
    const isValue = flag !== undefined && inline === undefined && !names.isSwitch(names.keyOfFlag(flag))
    return name === null || isValue ? [] : [{ text: `$${name}`, line }]
  })
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
