import { variableToken } from '../variable.ts'

/** A word of a command line. */
export interface Word {
  readonly text: string
  /** The line, counted from 1. */
  readonly line: number
  /** Whether the text assigns an array: the items follow `NAME=` or `NAME+=`, with `ITEM_SEPARATOR` between them. */
  readonly isArray?: true
}

/** Separates the items of an array, in assignments and in what `Lookup` returns for `NAME[@]`. */
export const ITEM_SEPARATOR = '\0'

/** The value of a variable that the text sets; `undefined` if it sets none. */
export type Lookup = (name: string) => string | undefined

/** Returns the value for `$NAME` or `${NAME:-default}`: the value, otherwise the default, otherwise a token. */
export function expanded(name: string, defaultValue: string | undefined, lookup: Lookup): string {
  return lookup(name) ?? defaultValue ?? variableToken(name)
}

/** `$$`, `${NAME:-default}` or `$NAME`. */
export const BRACED_OR_BARE = /\$\$|\$\{([A-Za-z_]\w*)(?:(:?[-?+])([^}]*))?\}|\$([A-Za-z_]\w*)/g

const NAME = /^[A-Za-z_][A-Za-z0-9_]*/
const BRACED = /^\{([A-Za-z_][A-Za-z0-9_]*)(\[[@*]\])?(?::?([-=?+])([^}]*))?\}/
const ASSIGNED = /^[A-Za-z_]\w*=/
const ARRAY_ASSIGNMENT = /^[A-Za-z_]\w*\+?=$/

/**
 * Splits a shell script into commands, in order, with quotes and escapes removed. A command is only parsed when the
 * caller asks for it, so `lookup` can know the variables of earlier commands. `withDefault` is called for each default.
 */
export function* commandsOf(
  text: string,
  lookup: Lookup,
  firstLine = 1,
  withDefault: (name: string, line: number) => void = () => {},
): Generator<Word[]> {
  let words: Word[] = []
  let word: { text: string; line: number } | null = null
  /** The words before an array, whose items are then in `words`. */
  let outer: Word[] | null = null
  let line = firstLine
  let at = 0
  const add = (part: string): void => {
    word ??= { text: '', line }
    word.text += part
  }
  const endWord = (): void => {
    if (word !== null) words.push(word)
    word = null
  }
  const begun = (): string => word?.text ?? ''
  /** Adds the value of a variable, which becomes several words at `separator`. */
  const addValue = (value: string, separator: RegExp | string): void => {
    value.split(separator).forEach((part, index) => {
      if (index > 0) endWord()
      if (part !== '' || index === 0) add(part)
    })
  }
  /** Reads `$…` at the current position. */
  const expand = (): string => {
    const rest = text.slice(at + 1)
    const [whole, name = '', items, operator = '', value = ''] = BRACED.exec(rest) ?? []
    if (whole !== undefined) {
      at += 1 + whole.length
      if (items !== undefined) return lookup(`${name}[@]`) ?? variableToken(name)
      const isDefault = operator === '-' || operator === '='
      if (isDefault && lookup(name) === undefined) withDefault(name, line)
      return expanded(name, isDefault ? value : undefined, lookup)
    }
    const [bare] = NAME.exec(rest) ?? []
    if (bare !== undefined) {
      at += 1 + bare.length
      return expanded(bare, undefined, lookup)
    }
    at += 1
    return '$'
  }
  while (at < text.length) {
    const char = text[at] ?? ''
    const next = text[at + 1] ?? ''
    if (char === '\\') {
      if (next === '\n' || (next === '\r' && text[at + 2] === '\n')) {
        line += 1
        at += next === '\r' ? 3 : 2
      } else {
        add(next)
        at += 2
      }
    } else if (char === "'") {
      const end = text.indexOf("'", at + 1)
      const inside = text.slice(at + 1, end === -1 ? text.length : end)
      add(inside)
      line += inside.split('\n').length - 1
      at = end === -1 ? text.length : end + 1
    } else if (char === '"') {
      add('')
      at += 1
      while (at < text.length && text[at] !== '"') {
        const inner = text[at] ?? ''
        if (inner === '\\' && '"\\$`\n'.includes(text[at + 1] ?? ' ')) {
          if (text[at + 1] === '\n') line += 1
          else add(text[at + 1] ?? '')
          at += 2
        } else if (inner === '$') addValue(expand(), ITEM_SEPARATOR)
        else {
          if (inner === '\n') line += 1
          add(inner)
          at += 1
        }
      }
      at += 1
    } else if (char === '$') {
      // A shell splits the value of a variable without quotes, unless it is assigned to another variable.
      addValue(expand(), ASSIGNED.test(begun()) ? ITEM_SEPARATOR : /[\s\0]+/)
    } else if (char === '(' && outer === null && ARRAY_ASSIGNMENT.test(begun())) {
      endWord()
      outer = words
      words = []
      at += 1
    } else if (char === ')' && outer !== null) {
      endWord()
      const name = outer.pop() ?? { text: '', line }
      words = [
        ...outer,
        { ...name, text: name.text + words.map(({ text }) => text).join(ITEM_SEPARATOR), isArray: true },
      ]
      outer = null
      at += 1
    } else if (char === '\n' && outer !== null) {
      endWord()
      line += 1
      at += 1
    } else if (char === '#' && word === null) {
      while (at < text.length && text[at] !== '\n') at += 1
    } else if (char === '\n' || ';&|'.includes(char)) {
      endWord()
      if (words.length > 0) yield words
      words = []
      if (char === '\n') line += 1
      at += 1
    } else if (/[\s<>]/.test(char)) {
      endWord()
      at += 1
    } else {
      add(char)
      at += 1
    }
  }
  endWord()
  if (words.length > 0) yield words
}

/** Splits a command line without operators, comments and variables, such as `command` in a compose file. */
export function wordsOf(text: string, firstLine: number): Word[] {
  let line = firstLine
  let end = 0
  // An expression of a template, such as `{{ .Values.host }}`, is part of the word.
  return [...text.matchAll(/(?:\{\{[^{}\n]*\}\}|[^\s"'\\]|\\[^]|"(?:[^"\\]|\\[^])*"|'[^']*')+/g)].map((match) => {
    line += text.slice(end, match.index).split('\n').length - 1
    end = match.index
    return {
      text: match[0].replace(
        /"((?:[^"\\]|\\[^])*)"|'([^']*)'|\\([^])/g,
        (_, double: string | undefined, single: string | undefined, escaped: string | undefined) =>
          double?.replace(/\\(["\\$])/g, '$1') ?? single ?? escaped ?? '',
      ),
      line,
    }
  })
}
