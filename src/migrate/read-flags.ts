import type { Entry } from './entry.ts'

const FLAG = /^--?([a-z][a-z0-9.-]*)(?:=(.*))?$/s

/**
 * The flags of a command line, spread over lines or not, also as a YAML list of arguments; a flag that is given more
 * than once is a list. `keyOf` says which key a flag stands for, `isSwitch` which keys need no value.
 */
export function readFlags(
  text: string,
  file: string,
  keyOf: (flag: string) => string,
  isSwitch: (key: string) => boolean,
): Entry[] {
  const words = text
    .split(/\r?\n/)
    .flatMap((line, index) =>
      /^\s*#/.test(line) ? [] : wordsOf(unlisted(line)).map((word) => ({ word, line: index + 1 })),
    )
  const found = new Map<string, Entry>()
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

/** A line without the signs of a list: `- --flag`, `args: ["--flag", "--other"]`, `CMD ["--flag"]`. */
function unlisted(line: string): string {
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
