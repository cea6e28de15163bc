import type { Variable } from '../invocation.ts'
import type { Setting } from '../setting.ts'
import { variableToken } from '../variable.ts'

const LINE = /^\s*(?:-\s+|export\s+|ENV\s+|-e\s+)*["']?([A-Z][A-Z0-9_]*)\s*(?:=|:\s)(.*)$/

/** An item of `env` in a Kubernetes container; its value is on the next line. */
const BLOCK_ITEM = /^\s*-\s+name:\s*["']?([A-Z][A-Z0-9_]*)["']?\s*$/

/** The same item on one line. */
const FLOW_ITEM =
  /^\s*-\s*\{\s*name:\s*["']?([A-Z][A-Z0-9_]*)["']?\s*,\s*(?:value:\s*("[^"]*"|'[^']*'|[^,}]*)|valueFrom:.*?)\s*\}\s*$/

/**
 * Reads the variables of an environment file with lines such as `NAME=value`, of a Dockerfile, or of a part of a compose
 * file or a Kubernetes manifest.
 */
export function variablesOf(text: string, file: string): Variable[] {
  const lines = text.split(/\r?\n/)
  return lines.flatMap((line, index): Variable[] => {
    if (/^\s*(#|$)/.test(line)) return []
    const at = { file, line: index + 1 }
    const item = BLOCK_ITEM.exec(line)?.[1]
    if (item !== undefined) {
      // With `valueFrom` the value is in another resource.
      const value = /^\s*value:\s*(.*)$/.exec(lines[index + 1] ?? '')?.[1]?.trim()
      return [{ ...at, name: item, value: value === undefined ? variableToken(item) : unquoted(value) }]
    }
    const [, flow, inline] = FLOW_ITEM.exec(line) ?? []
    if (flow !== undefined)
      return [{ ...at, name: flow, value: inline === undefined ? variableToken(flow) : unquoted(inline.trim()) }]
    const [, name, rest = ''] = LINE.exec(line) ?? []
    return name === undefined ? [] : [{ ...at, name, value: unquoted(rest.trim()) }]
  })
}

/** Reads variables as settings. `keyOf` returns the key of a variable, or `null` for those of other programs. */
export function readEnvironment(text: string, file: string, keyOf: (name: string) => string | null): Setting[] {
  return variablesOf(text, file).map(({ name, value, line }) => ({
    key: keyOf(name) ?? name,
    written: name,
    value,
    file,
    line,
  }))
}

function unquoted(text: string): string {
  const [, , inside] = /^(["'])(.*)\1\s*(?:#.*)?$/.exec(text) ?? []
  if (inside !== undefined) return inside
  // A compose file may quote NAME=value as a whole.
  return text.replace(/\s+#.*$/, '').replace(/["']$/, '')
}
