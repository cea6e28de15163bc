import type { Setting } from '../setting.ts'

const LINE = /^\s*(?:-\s+|export\s+|ENV\s+|-e\s+)*["']?([A-Z][A-Z0-9_]*)\s*(?:=|:\s)(.*)$/

/** An item of `env` in a Kubernetes container; its value is on the next line. */
const BLOCK_ITEM = /^\s*-\s+name:\s*["']?([A-Z][A-Z0-9_]*)["']?\s*$/

/** The same item on one line. */
const FLOW_ITEM =
  /^\s*-\s*\{\s*name:\s*["']?([A-Z][A-Z0-9_]*)["']?\s*,\s*(?:value:\s*("[^"]*"|'[^']*'|[^,}]*)|valueFrom:.*?)\s*\}\s*$/

/**
 * Reads the variables of an environment file with lines such as `NAME=value`, of a shell script, of a compose file (list
 * or map), or of `env` in a Kubernetes container. `keyOf` returns the key of a variable, or `null` for those of other programs.
 */
export function readEnvironment(text: string, file: string, keyOf: (name: string) => string | null): Setting[] {
  const lines = text.split(/\r?\n/)
  return lines.flatMap((line, index): Setting[] => {
    if (/^\s*(#|$)/.test(line)) return []
    const item = BLOCK_ITEM.exec(line)?.[1]
    if (item !== undefined) {
      // With `valueFrom` the value is in another resource.
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
  // A compose file may quote NAME=value as a whole.
  return text.replace(/\s+#.*$/, '').replace(/["']$/, '')
}
