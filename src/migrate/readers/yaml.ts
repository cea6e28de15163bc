import { isAlias, isMap, isScalar, isSeq, LineCounter, type Node, parseDocument } from 'yaml'
import { isMapping } from '../../config/key-path.ts'
import { type Setting, UnreadableFile } from '../setting.ts'
import { expanded, type Lookup } from './shell.ts'

/** Reads the settings of a YAML file by their paths; only `written` contains the index of a list item. */
export function readYaml(text: string, file: string, lookup: Lookup = () => undefined): Setting[] {
  const lines = new LineCounter()
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false })
  const [error] = document.errors
  if (error !== undefined) {
    const { line, col } = lines.linePos(error.pos[0])
    throw new UnreadableFile(`${file}:${line}:${col}: the YAML can't be read (${error.code})`)
  }
  const settings: Setting[] = []
  const lineOf = (node: { range?: readonly number[] | null | undefined }): number =>
    lines.linePos(node.range?.[0] ?? 0).line
  const visit = (node: Node | null, key: string, written: string, line: number): void => {
    if (isMap(node)) {
      for (const { key: name, value } of node.items) {
        const label = isScalar(name) ? String(name.value) : '?'
        const at = isScalar(name) ? lineOf(name) : line
        visit(
          isNode(value) ? value : null,
          key === '' ? label : `${key}.${label}`,
          written === '' ? label : `${written}.${label}`,
          at,
        )
      }
      return
    }
    if (isSeq(node) && node.items.some((item) => isMap(item))) {
      node.items.forEach((item, index) => {
        visit(isNode(item) ? item : null, key, `${written}[${index}]`, isNode(item) ? lineOf(item) : line)
      })
      return
    }
    const value: unknown =
      node === null ? '' : isAlias(node) ? node.resolve(document)?.toJS(document) : node.toJS(document)
    settings.push({ key, written, value: substituted(value, lookup), file, line })
  }
  visit(document.contents, '', '', 1)
  return settings
}

function isNode(value: unknown): value is Node {
  return isMap(value) || isSeq(value) || isScalar(value) || isAlias(value)
}

/** Replaces `$NAME` and `${NAME:-default}` by the value or a token; a default is dropped because it may be a secret. */
function substituted(value: unknown, lookup: Lookup): unknown {
  if (Array.isArray(value)) return value.map((item: unknown) => substituted(item, lookup))
  if (isMapping(value))
    return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, substituted(inner, lookup)]))
  if (typeof value !== 'string') return value
  return value.replace(
    /\$\{([A-Za-z_][A-Za-z0-9_]*)[^}]*\}|\$([A-Za-z_][A-Za-z0-9_]*)/g,
    (_, braced: string | undefined, bare: string | undefined) => expanded(braced ?? bare ?? '', undefined, lookup),
  )
}
