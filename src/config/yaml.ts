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
}

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

/** Parses one YAML 1.2 document; reports tags, a second document, duplicate keys and excessive aliases as problems. */
export function readYaml(text: string): YamlText {
  let { document, lines } = parse(text)
  if (document.errors.some(({ code }) => code === 'BLOCK_AS_IMPLICIT_KEY')) {
    ;({ document, lines } = parse(tolerateBareMemory(text)))
  }

  const position = (offset: number): Position => {
    const { line, col } = lines.linePos(offset)
    return { line: Math.max(line, 1), column: Math.max(col, 1) }
  }
  const start = (node: Node | null): Position => position(node?.range?.[0] ?? 0)
  const problems: SyntaxProblem[] = []
  for (const { code, pos } of [...document.errors, ...document.warnings]) {
    const known = MESSAGES[code]
    if (known) problems.push({ ...position(pos[0]), ...known })
  }
  // After the first syntax error the parser misreads the rest, so only that error is reported.
  const first = document.errors.find(({ code }) => MESSAGES[code] === undefined)
  if (first) {
    const errorStart = position(first.pos[0])
    const line = text.split('\n')[errorStart.line - 1] ?? ''
    const instead = line.includes('${') ? 'inside { } and [ ] put values with ${…} in quotes' : null
    // Some of the library's messages end with the offending text, which may be a secret.
    problems.push({ ...errorStart, message: `is not valid YAML: ${first.message.replace(/: ".*$/s, '')}`, instead })
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
