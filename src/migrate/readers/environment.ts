import type { Variable } from '../invocation.ts'
import type { Setting } from '../setting.ts'
import { variableToken } from '../variable.ts'
import { wordsOf } from './shell.ts'

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
  // A backslash at the end continues an instruction of a Dockerfile.
  const lines = text.split(/\r?\n/).map((line) => line.replace(/\s+\\$/, ''))
  return lines.flatMap((line, index): Variable[] => {
    if (/^\s*(#|$)/.test(line)) return []
    const at = { file, line: index + 1 }
    const assigned = assignmentsOf(line)
    if (assigned.length > 0) return assigned.map(([name, value]) => ({ ...at, name, value }))
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

/** Returns what `ENV` of a Dockerfile or `export` of a shell assigns in one line, if it assigns several variables. */
function assignmentsOf(line: string): [name: string, value: string][] {
  const [, keyword, rest = ''] = /^\s*(ENV|export)\s+(.+)$/.exec(line) ?? []
  const [, name, value = ''] = /^([A-Z][A-Z0-9_]*)\s+([^=\s].*)$/.exec(rest) ?? []
  // The older form, `ENV NAME value`.
  if (keyword === 'ENV' && name !== undefined) return [[name, unquoted(value.trim())]]
  const words = wordsOf(rest, 1).map(({ text }) => /^([A-Z][A-Z0-9_]*)=([^]*)$/.exec(text))
  if (words.length < 2) return []
  return words.flatMap((word) => (word === null ? [] : [[word[1] ?? '', word[2] ?? ''] as [string, string]]))
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
