import type { Path } from './problems.ts'

/** Whether a value is a map of YAML or JSON: an object, and not a list. */
export const isMapping = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** The value at a path of plain data; undefined where there is none. */
export function valueAt(tree: unknown, path: Path): unknown {
  let value = tree
  for (const step of path) {
    if (Array.isArray(value)) value = value[Number(step)]
    else value = isMapping(value) && Object.hasOwn(value, step) ? value[step] : undefined
  }
  return value
}

/** A copy of the tree with one value put in, whatever stood on the way to it. */
export function withValue(tree: unknown, [step, ...rest]: Path, value: unknown): unknown {
  if (step === undefined) return value
  const map = isMapping(tree) ? tree : {}
  return { ...map, [step]: withValue(map[step], rest, value) }
}
