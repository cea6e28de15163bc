import type { Setting } from '../setting.ts'

const FLAG = /^--?([a-z][a-z0-9.-]*)(?:=(.*))?$/s

/**
 * Reads the flags of a command line, on one or several lines, or of a YAML list of arguments. A repeated flag has a list
 * as its value. `keyOf` returns the key of a flag, `isSwitch` whether a key needs no value.
 */
export function readFlags(
  text: string,
  file: string,
  keyOf: (flag: string) => string,
  isSwitch: (key: string) => boolean,
): Setting[] {
  const words = text
    .split(/\r?\n/)
    .flatMap((line, index) =>
      /^\s*#/.test(line) ? [] : wordsOf(withoutListSyntax(line)).map((word) => ({ word, line: index + 1 })),
    )
  const found = new Map<string, Setting>()
  words.forEach(({ word, line }, index) => {
    const [, flag, inline] = FLAG.exec(word) ?? []
    if (flag === undefined) return
    const key = keyOf(flag)
    const next = words[index + 1]?.word
    const following = isSwitch(key) || next === undefined || FLAG.test(next) ? 'true' : next
    const value = inline ?? following
    const before = found.get(key)
    if (before === undefined) found.set(key, { key, written: `--${flag}`, value, file, line })
    else found.set(key, { ...before, value: [before.value, value].flat() })
  })
  return [...found.values()]
}

/** Removes list syntax from a line: `- --flag`, `args: ["--flag", "--other"]`, `CMD ["--flag"]`. */
function withoutListSyntax(line: string): string {
  const inner = /^\s*(?:-\s+)?(?:[A-Za-z]+:?\s*)?\[(.*)\]\s*,?\s*$/.exec(line)?.[1]
  return inner === undefined ? line.replace(/^\s*-\s+/, '') : inner.replace(/,(?=\s*["'-])/g, ' ')
}

function wordsOf(line: string): string[] {
  const words = [...line.matchAll(/(?:[^\s"'\\]|\\.|"(?:[^"\\]|\\.)*"|'[^']*')+/g)]
  return words.map(([word]) =>
    word
      .replace(
        /"((?:[^"\\]|\\.)*)"|'([^']*)'|\\(.)/g,
        (_, double: string | undefined, single: string | undefined, escaped: string | undefined) =>
          double?.replace(/\\(["\\$])/g, '$1') ?? single ?? escaped ?? '',
      )
      .replace(/,$/, ''),
  )
}
