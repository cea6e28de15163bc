import { LineCounter, parseDocument } from 'yaml'
import { isMapping } from '../../config/key-path.ts'
import { type Setting, UnreadableFile } from '../setting.ts'
import { Cursor } from './cursor.ts'
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
  return settingsIn(new Cursor(document, lines, document.contents, 1, file), '', lookup)
}

/** Reads the settings of a part of a YAML file, as if the part were the value of `key`. */
export function settingsIn(root: Cursor, key = '', lookup: Lookup = () => undefined): Setting[] {
  const settings: Setting[] = []
  const visit = (cursor: Cursor, key: string, written: string): void => {
    const members = cursor.isMapping() ? cursor.entries() : []
    for (const [name, member] of members)
      visit(member, key === '' ? name : `${key}.${name}`, written === '' ? name : `${written}.${name}`)
    if (cursor.isMapping()) return
    const items = cursor.items()
    if (items.some((item) => item.isMapping())) {
      items.forEach((item, index) => {
        visit(item, key, `${written}[${index}]`)
      })
      return
    }
    settings.push({
      key,
      written,
      value: substituted(cursor.toJS() ?? '', lookup),
      file: cursor.file,
      line: cursor.line,
    })
  }
  visit(root, key, key)
  return settings
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
