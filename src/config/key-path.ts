export type KeyPath = readonly (string | number)[]

/** Formats a path the way operators write it: `routes[0].headers.set`. */
export function formatKeyPath(path: KeyPath): string {
  let text = ''
  for (const step of path) {
    if (typeof step === 'number') text += `[${step}]`
    else text += text === '' ? step : `.${step}`
  }
  return text
}

/** Returns whether a value is a map of YAML or JSON: an object, but not a list. */
export function isMapping(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** Returns the value at a path of plain data, or undefined if the path does not exist. */
export function valueAt(tree: unknown, path: KeyPath): unknown {
  let value = tree
  for (const step of path) {
    if (Array.isArray(value)) value = value[Number(step)]
    else value = isMapping(value) && Object.hasOwn(value, step) ? value[step] : undefined
  }
  return value
}

/** Returns a copy of `tree` with `value` at the path. Maps replace all values along the path that are not maps. */
export function withValue(tree: unknown, [step, ...rest]: KeyPath, value: unknown): unknown {
  if (step === undefined) return value
  const map = isMapping(tree) ? tree : {}
  return { ...map, [step]: withValue(map[step], rest, value) }
}
