import { isAlias, isMap, isScalar, isSeq, LineCounter, type Node, parseDocument } from 'yaml'
import { isMapping } from '../config/key-path.ts'
import type { Entry } from './entry.ts'
import { NotUnderstood } from './not-understood.ts'

/** The keys of a YAML file by their path; items of lists keep their number in `written` only. */
export function readAlpha(text: string, file: string): Entry[] {
  const lines = new LineCounter()
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false })
  const [error] = document.errors
  if (error !== undefined) {
    const { line, col } = lines.linePos(error.pos[0])
    throw new NotUnderstood(`${file}:${line}:${col}: the YAML can't be read (${error.code})`)
  }
  const entries: Entry[] = []
  const lineOf = (node: { range?: readonly number[] | null | undefined }): number =>
    lines.linePos(node.range?.[0] ?? 0).line
  const visit = (node: Node | null, key: string, written: string, line: number): void => {
    if (isMap(node)) {
      for (const { key: name, value } of node.items) {
        const label = isScalar(name) ? String(name.value) : '?'
        const at = isScalar(name) ? lineOf(name) : line
        visit(
          isNodeLike(value) ? value : null,
          key === '' ? label : `${key}.${label}`,
          written === '' ? label : `${written}.${label}`,
          at,
        )
      }
      return
    }
    if (isSeq(node) && node.items.some((item) => isMap(item))) {
      node.items.forEach((item, index) => {
        visit(isNodeLike(item) ? item : null, key, `${written}[${index}]`, isNodeLike(item) ? lineOf(item) : line)
      })
      return
    }
    const value: unknown =
      node === null ? '' : isAlias(node) ? node.resolve(document)?.toJS(document) : node.toJS(document)
    entries.push({ key, written, value: filled(value), file, line })
  }
  visit(document.contents, '', '', 1)
  return entries
}

function isNodeLike(value: unknown): value is Node {
  return isMap(value) || isSeq(value) || isScalar(value) || isAlias(value)
}

/** The peer fills in variables like a shell; defaults within them are left out, they could be secrets. */
function filled(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(filled)
  if (isMapping(value)) return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, filled(inner)]))
  if (typeof value !== 'string') return value
  return value.replace(
    /\$\{([A-Za-z_][A-Za-z0-9_]*)[^}]*\}|\$([A-Za-z_][A-Za-z0-9_]*)/g,
    (_, braced: string | undefined, bare: string | undefined) => `\${${braced ?? bare ?? ''}}`,
  )
}
