import type { TSchema } from 'typebox'
import { withoutFinalNewlines } from './interpolate.ts'
import type { KeyPath } from './key-path.ts'
import type { Problem } from './problems.ts'
import { shapeOf } from './schema-nodes.ts'
import { suggest } from './suggest.ts'

const PREFIX = 'GATEHOUSE_'

export const FILE_VARIABLE = `${PREFIX}CONFIG`

export interface Variable {
  readonly name: string
  readonly path: KeyPath
  readonly shape: 'scalar' | 'list' | 'yaml'
}

/** Returns the variable of a key: its path in upper snake case, such as `GATEHOUSE_PROVIDER_CLIENT_ID`. */
export function variableName(path: KeyPath): string {
  const words = path.map((step) => String(step).replace(/(?<=[a-z0-9])(?=[A-Z])/g, '_'))
  return PREFIX + words.join('_').toUpperCase()
}

/** Returns all variables that set a key of the schema. A list or map of sections has one variable, and its
 * keys have none. */
export function variables(schema: TSchema, path: KeyPath = []): Variable[] {
  const shape = shapeOf(schema)
  const variable = (textShape: Variable['shape']): Variable => ({ name: variableName(path), path, shape: textShape })
  if (shape.type === 'list' || shape.type === 'map') return [variable('yaml')]
  if (shape.type === 'leaf') {
    const { shape: valueShape } = shape.leaf.valueType
    return [variable(valueShape === 'map' ? 'yaml' : (valueShape ?? 'scalar'))]
  }
  const inner = Object.entries(shape.properties).flatMap(([key, value]) => variables(value, [...path, key]))
  return shape.section.off ? [variable('scalar'), ...inner] : inner
}

// Kubernetes sets these variables in every container of a namespace that has a service named `gatehouse` or
// `gatehouse-…`.
const SERVICE_VARIABLE = /^GATEHOUSE_(PORT|SERVICE)(_|$)|_SERVICE_(HOST|PORT)(_|$)|_PORT_\d+_(TCP|UDP|SCTP)(_|$)/

export interface Setting {
  /** The name of the variable as it is set: `variable.name`, or that name with `_FILE` appended. */
  readonly name: string
  readonly variable: Variable
  readonly source: { readonly text: string } | { readonly file: string }
}

/** Returns the keys that the environment sets, the keys that it sets twice, and a problem for each unknown variable. */
export function readSettings(env: Readonly<Record<string, string | undefined>>, schema: TSchema) {
  const known = new Map(variables(schema).map((variable) => [variable.name, variable]))
  const settings = new Map<Variable, Setting>()
  const duplicates: Setting[] = []
  const unknown: Problem[] = []
  for (const [name, written = ''] of Object.entries(env).toSorted(([a], [b]) => (a < b ? -1 : 1))) {
    if (!name.startsWith(PREFIX) || name === FILE_VARIABLE) continue
    const text = withoutFinalNewlines(written)
    if (text === '') continue
    const direct = known.get(name)
    const variable = direct ?? (name.endsWith('_FILE') ? known.get(name.slice(0, -'_FILE'.length)) : undefined)
    if (variable === undefined) {
      if (SERVICE_VARIABLE.test(name) || text.startsWith('tcp://')) continue
      unknown.push(unknownVariable(name, [...known.keys(), FILE_VARIABLE]))
      continue
    }
    const setting: Setting = { name, variable, source: direct ? { text } : { file: text } }
    if (settings.has(variable)) duplicates.push(setting)
    else settings.set(variable, setting)
  }
  return { settings: [...settings.values()], duplicates, unknown }
}

function unknownVariable(name: string, known: readonly string[]): Problem {
  const words = known.map((one) => one.slice(PREFIX.length))
  const near =
    suggest(name.slice(PREFIX.length), words) ?? suggest(name.slice(PREFIX.length).replace(/_FILE$/, ''), words)
  return {
    file: name,
    line: null,
    column: null,
    path: '',
    message: 'is not a variable of Gatehouse',
    instead: near === null ? null : `did you mean ${PREFIX}${near}?`,
  }
}

/** Splits text at commas and newlines into trimmed items that are not empty. */
export function splitList(text: string): string[] {
  return text
    .split(/[,\n]/)
    .map((item) => item.trim())
    .filter((item) => item !== '')
}
