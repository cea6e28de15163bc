import {
  type Document,
  isAlias,
  isMap,
  isNode,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  parseDocument,
  visit,
} from 'yaml'
import { type Faults, indentationMistakes, itemWithinText } from './indentation.ts'
import type { KeyPath } from './key-path.ts'

/** Line and column, both counted from 1. */
interface Position {
  readonly line: number
  readonly column: number
}

interface SyntaxProblem extends Position {
  readonly message: string
  readonly instead: string | null
}

export interface YamlText {
  readonly value: unknown
  readonly problems: readonly SyntaxProblem[]
  /** Returns the position of a key or of its value, or of the nearest parent key if the path does not exist. */
  locate(path: KeyPath, part: 'key' | 'value'): Position
}

/** Messages for operators that replace the library's, by error code. */
const MESSAGES: Partial<Record<string, { message: string; instead: string | null }>> = {
  DUPLICATE_KEY: { message: 'this key is given twice', instead: 'keep one of them' },
  MULTIPLE_DOCS: {
    message: 'a second YAML document begins here',
    instead: 'put everything into one document, without ---',
  },
  TAG_RESOLVE_FAILED: {
    message: 'YAML tags such as !name are not supported',
    instead: 'put text that begins with ! in quotes',
  },
  BLOCK_AS_IMPLICIT_KEY: {
    message: 'a colon at the end or before a space starts a map, which is not allowed here',
    instead: 'put the value in quotes',
  },
  MULTILINE_IMPLICIT_KEY: {
    message: 'this text is neither a key with a colon nor the value of a key',
    instead: 'write "key: value", and indent all keys of a section by the same number of spaces',
  },
}

const TAB = {
  message: 'this line is indented with a tab, which YAML does not allow',
  instead: 'indent it with spaces: two for each level',
}

/** Errors that another indentation cannot cause or remove. */
const OF_CONTENT = new Set(['DUPLICATE_KEY', 'MULTIPLE_DOCS', 'TAG_RESOLVE_FAILED'])

// `store: memory:` looks like a URL but is not valid YAML. This function replaces the last colon by a space, so that
// all columns in messages stay correct.
function tolerateBareMemory(text: string): string {
  return text.replace(/^([ \t]*store:[ \t]+memory):(?=[ \t]*(?:#.*)?\r?$)/gm, '$1 ')
}

function parse(text: string) {
  const lines = new LineCounter()
  return { lines, document: parseDocument(text, { lineCounter: lines, prettyErrors: false, stringKeys: true }) }
}

const MAX_ALIASES = 100

/** Returns the document's data, or undefined if its aliases expand too far. */
function plainData(document: Document): unknown {
  try {
    return document.toJS({ maxAliasCount: MAX_ALIASES })
  } catch (error) {
    if (error instanceof ReferenceError) return undefined
    throw error
  }
}

function parseTolerantly(text: string): ReturnType<typeof parse> {
  const parsed = parse(text)
  const tolerated = parsed.document.errors.some(({ code }) => code === 'BLOCK_AS_IMPLICIT_KEY')
  return tolerated ? parse(tolerateBareMemory(text)) : parsed
}

function faultsOf(text: string, misplacedKeys: (value: unknown) => number): Faults {
  const { document, lines } = parseTolerantly(text)
  const found = document.errors.filter(({ code }) => !OF_CONTENT.has(code)).map(({ pos }) => lines.linePos(pos[0]).line)
  return { errorLine: Math.min(...found), misplacedKeys: found.length > 0 ? 0 : misplacedKeys(plainData(document)) }
}

/** Returns the problems that the parser has found. */
function syntaxProblems(document: Document, text: string, position: (offset: number) => Position): SyntaxProblem[] {
  const errors = document.errors.toSorted((a, b) => a.pos[0] - b.pos[0])
  const lines = text.split('\n')
  const tabs = [...new Set(errors.map(({ pos }) => position(pos[0]).line))].filter((line) =>
    /^ *\t/.test(lines[line - 1] ?? ''),
  )
  if (tabs.length > 0) return tabs.map((line) => ({ line, column: 1, ...TAB }))
  const ofContent = errors.filter(({ code }) => OF_CONTENT.has(code))
  // After the first syntax error the parser misreads the rest, so only that error is reported.
  const syntaxErrors = errors.filter(({ code }) => !OF_CONTENT.has(code)).slice(0, 1)
  return [...ofContent, ...syntaxErrors, ...document.warnings].map(({ code, message, pos }) => {
    const start = position(pos[0])
    const known = MESSAGES[code]
    if (known !== undefined) return { ...start, ...known }
    const isFlow = /(?<!\$)[{[].*\$\{/.test((lines[start.line - 1] ?? '').replace(/"[^"]*"/g, ''))
    const instead = isFlow ? 'inside { } and [ ] put values with ${…} in quotes' : null
    // Some of the library's messages end with the offending text, which may be a secret.
    return { ...start, message: `is not valid YAML: ${message.replace(/: ".*$/s, '')}`, instead }
  })
}

/**
 * Parses one YAML 1.2 document; reports tags, a second document, duplicate keys and excessive aliases as problems.
 * `misplacedKeys` counts the keys at places where they have no meaning: of two possible corrections of an indentation,
 * the one with fewer such keys is suggested.
 */
export function readYaml(text: string, misplacedKeys: (value: unknown) => number = () => 0): YamlText {
  const { document, lines } = parseTolerantly(text)

  const position = (offset: number): Position => {
    const { line, col } = lines.linePos(offset)
    return { line: Math.max(line, 1), column: Math.max(col, 1) }
  }
  const start = (node: Node | null): Position => position(node?.range?.[0] ?? 0)
  const problems: SyntaxProblem[] = syntaxProblems(document, text, position)
  if (problems.length > 0 && !problems.some(({ message }) => message === TAB.message)) {
    const mistakes = indentationMistakes(text, (one) => faultsOf(one, misplacedKeys))
    if (mistakes.length > 0) return { value: null, problems: mistakes, locate }
  }
  visit(document, {
    Alias(_, alias) {
      if (alias.resolve(document) !== undefined) return
      problems.push({
        ...start(alias),
        message: 'this alias has no anchor',
        instead: 'put text that begins with * in quotes',
      })
    },
    Scalar(_, { type, range }) {
      if (type !== 'PLAIN' || !range || !text.slice(range[0], range[1]).includes('\n')) return
      const mistake = itemWithinText(text, range[0], range[1])
      if (mistake !== null && problems.length === 0) problems.push(mistake)
    },
  })
  const value = problems.length === 0 ? plainData(document) : null
  if (value === undefined) {
    problems.push({ line: 1, column: 1, message: 'has too many aliases', instead: 'repeat the values' })
  }

  function locate(path: KeyPath, part: 'key' | 'value'): Position {
    let node: unknown = document.contents
    let key: Node | null = null
    for (const step of path) {
      if (isAlias(node)) node = node.resolve(document)
      // An operator may write a single value instead of a list with one item.
      if (isScalar(node) && step === 0) break
      let next: unknown
      if (isMap(node)) {
        const pair = node.items.find((item) => isScalar(item.key) && String(item.key.value) === String(step))
        if (!pair) return start(key)
        key = isNode(pair.key) ? pair.key : key
        next = pair.value
      } else if (isSeq(node) && typeof step === 'number' && node.items[step] !== undefined) {
        next = node.items[step]
        key = isNode(next) ? next : key
      } else {
        return start(key)
      }
      node = next
    }
    if (part === 'key' || !isNode(node) || (isScalar(node) && node.value === null)) return start(key)
    return start(node)
  }

  return { value, problems, locate }
}
