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
import type { Path } from './problems.ts'

/** A line and a column, both counted from 1. */
interface Position {
  line: number
  column: number
}

/** What is wrong with a YAML text, and where. */
interface SyntaxProblem extends Position {
  message: string
  instead: string | null
}

/** A YAML text as plain data, and where in the text each part of it stands. */
export interface YamlText {
  value: unknown
  problems: SyntaxProblem[]
  /** The place of a value or of a key; for what is not there, of the key that it belongs under. */
  locate: (path: Path, part: 'key' | 'value') => Position
}

const reworded: Partial<Record<string, { message: string; instead: string | null }>> = {
  DUPLICATE_KEY: { message: 'this key is given twice', instead: 'keep one of them' },
  MULTIPLE_DOCS: { message: 'a second YAML document begins here', instead: 'put all into one document, without ---' },
  TAG_RESOLVE_FAILED: {
    message: 'YAML tags such as !name are not used here',
    instead: 'put text that begins with ! in quotes',
  },
  BLOCK_AS_IMPLICIT_KEY: {
    message: 'a colon at the end or before a space begins a map, which is not possible here',
    instead: 'put the value in quotes',
  },
}

// `store: memory:` reads like a URL and is no YAML. Its last colon becomes a space, so that nothing else moves.
function tolerateBareMemory(text: string): string {
  return text.replace(/^([ \t]*store:[ \t]+memory):(?=[ \t]*(?:#.*)?\r?$)/gm, '$1 ')
}

function parse(text: string) {
  const lines = new LineCounter()
  return { lines, document: parseDocument(text, { lineCounter: lines, prettyErrors: false, stringKeys: true }) }
}

/** The document's data; undefined where its aliases would make a flood of it. */
function plainData(document: Document): unknown {
  try {
    return document.toJS({ maxAliasCount: 100 })
  } catch (error) {
    if (error instanceof ReferenceError) return undefined
    throw error
  }
}

/** Parses one YAML 1.2 document; tags, a second document, duplicate keys and floods of aliases are problems. */
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
    const known = reworded[code]
    if (known) problems.push({ ...position(pos[0]), ...known })
  }
  // Behind the first mistake of another kind everything is misread.
  const first = document.errors.find(({ code }) => reworded[code] === undefined)
  if (first) {
    const place = position(first.pos[0])
    const line = text.split('\n')[place.line - 1] ?? ''
    const instead = line.includes('${') ? 'within { } and [ ] put values with ${…} in quotes' : null
    // The library ends some messages with the text it met, which may be a secret.
    problems.push({ ...place, message: `is not YAML: ${first.message.replace(/: ".*$/s, '')}`, instead })
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

  function locate(path: Path, part: 'key' | 'value'): Position {
    let node: unknown = document.contents
    let key: Node | null = null
    for (const step of path) {
      if (isAlias(node)) node = node.resolve(document)
      // One value may stand where a list of one could.
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
