import type { TSchema } from 'typebox'
import { shapeOf } from './leaf.ts'
import type { Path } from './problems.ts'
import { suggest } from './suggest.ts'

const prefix = 'GATEHOUSE_'

/** The variable that names the configuration file. */
export const fileVariable = `${prefix}CONFIG`

/** One variable of the environment, the key that it sets, and how its text is read. */
export interface Variable {
  name: string
  path: Path
  shape: 'scalar' | 'list' | 'yaml'
}

/** The variable for a key: its path in upper snake case, `provider.clientId` as `GATEHOUSE_PROVIDER_CLIENT_ID`. */
export function variableName(path: Path): string {
  const words = path.map((step) => String(step).replace(/(?<=[a-z0-9])(?=[A-Z])/g, '_'))
  return prefix + words.join('_').toUpperCase()
}

/** Every variable that sets a key of the schema; lists of sections are one variable, and their keys have none. */
export function variables(schema: TSchema, path: Path = []): Variable[] {
  const shape = shapeOf(schema)
  const one = (kind: Variable['shape']): Variable => ({ name: variableName(path), path, shape: kind })
  if (shape.type === 'list') return [one('yaml')]
  if (shape.type === 'leaf') {
    const { shape: held } = shape.leaf.kind
    return [one(held === 'map' ? 'yaml' : (held ?? 'scalar'))]
  }
  const inner = Object.entries(shape.properties).flatMap(([key, value]) => variables(value, [...path, key]))
  return shape.section.off ? [one('scalar'), ...inner] : inner
}

// What Kubernetes puts into the containers of a namespace with a service of our name, or one that begins with it.
const injected = /^GATEHOUSE_(PORT|SERVICE)(_|$)|_SERVICE_(HOST|PORT)(_|$)|_PORT_\d+_(TCP|UDP|SCTP)(_|$)/

/** A key's value from the environment, as text. */
export interface Setting {
  /** The variable that was set: the key's own, or the one with `_FILE` behind it. */
  name: string
  variable: Variable
  source: { text: string } | { file: string }
}

/** What the environment sets, which keys it sets twice, and a warning for every variable of ours that is unknown. */
export function readSettings(env: Readonly<Record<string, string | undefined>>, schema: TSchema) {
  const known = new Map(variables(schema).map((variable) => [variable.name, variable]))
  const settings = new Map<Variable, Setting>()
  const doubles: Setting[] = []
  const warnings: string[] = []
  for (const [name, text] of Object.entries(env).toSorted(([a], [b]) => (a < b ? -1 : 1))) {
    if (!name.startsWith(prefix) || name === fileVariable || text === undefined || text === '') continue
    const direct = known.get(name)
    const variable = direct ?? (name.endsWith('_FILE') ? known.get(name.slice(0, -'_FILE'.length)) : undefined)
    if (variable === undefined) {
      if (injected.test(name) || text.startsWith('tcp://')) continue
      const near = suggest(
        name.slice(prefix.length),
        [...known.keys()].map((key) => key.slice(prefix.length)),
      )
      warnings.push(`${name}: is not a variable of Gatehouse${near === null ? '' : `; did you mean ${prefix}${near}?`}`)
      continue
    }
    const setting: Setting = { name, variable, source: direct ? { text } : { file: text } }
    if (settings.has(variable)) doubles.push(setting)
    else settings.set(variable, setting)
  }
  return { settings: [...settings.values()], doubles, warnings }
}

/** The items of a list in one text, between commas or line ends. */
export function splitList(text: string): string[] {
  return text
    .split(/[,\n]/)
    .map((item) => item.trim())
    .filter((item) => item !== '')
}
