import type { Entry } from './entry.ts'

const LINE = /^\s*(?:-\s+|export\s+|ENV\s+|-e\s+)*["']?([A-Z][A-Z0-9_]*)\s*(?:=|:\s)(.*)$/

/** An item of `env` of a Kubernetes container; its value is in the next line. */
const ITEM = /^\s*-\s+name:\s*["']?([A-Z][A-Z0-9_]*)["']?\s*$/

/** The same in one line. */
const FLOW_ITEM =
  /^\s*-\s*\{\s*name:\s*["']?([A-Z][A-Z0-9_]*)["']?\s*,\s*(?:value:\s*("[^"]*"|'[^']*'|[^,}]*)|valueFrom:.*?)\s*\}\s*$/

/**
 * The variables of an environment file: `NAME=value` a line, also with `export`, as a list of a compose file, as a YAML
 * map, or as `env` of a Kubernetes container. `keyOf` says which key a variable stands for, or `null` when it is not
 * the peer's.
 */
export function readEnvironment(text: string, file: string, keyOf: (name: string) => string | null): Entry[] {
  const lines = text.split(/\r?\n/)
  return lines.flatMap((line, index): Entry[] => {
    if (/^\s*(#|$)/.test(line)) return []
    const item = ITEM.exec(line)?.[1]
    if (item !== undefined) {
      // `valueFrom` names a secret that is not here.
      const value = unquoted(/^\s*value:\s*(.*)$/.exec(lines[index + 1] ?? '')?.[1]?.trim() ?? '')
      return [{ key: keyOf(item) ?? item, written: item, value, file, line: index + 1 }]
    }
    const [, flow, inline = ''] = FLOW_ITEM.exec(line) ?? []
    if (flow !== undefined)
      return [{ key: keyOf(flow) ?? flow, written: flow, value: unquoted(inline.trim()), file, line: index + 1 }]
    const [, name, rest = ''] = LINE.exec(line) ?? []
    if (name === undefined) return []
    return [{ key: keyOf(name) ?? name, written: name, value: unquoted(rest.trim()), file, line: index + 1 }]
  })
}

function unquoted(text: string): string {
  const [, , inside] = /^(["'])(.*)\1\s*(?:#.*)?$/.exec(text) ?? []
  if (inside !== undefined) return inside
  // A list of a compose file puts the whole of NAME=value in quotes.
  return text.replace(/\s+#.*$/, '').replace(/["']$/, '')
}
