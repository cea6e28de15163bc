import { formatKeyPath, type KeyPath } from '../key-path.ts'
import type { Finding } from '../problems.ts'
import type { ResolvedConfig } from '../schema.ts'
import { providerRules } from './provider.ts'
import { routeRules } from './routes.ts'
import { groupRules } from './groups.ts'
import type { PlacedRoute, Rule } from './rule.ts'
import { servingRules } from './serving.ts'
import { sessionRules } from './session.ts'

export const rules: readonly Rule[] = [...servingRules, ...providerRules, ...groupRules, ...sessionRules, ...routeRules]

/** Runs the rules and returns their findings. Skips rules that read a path in `broken`, which has no value. */
export function check(config: ResolvedConfig, broken: readonly KeyPath[] = []): Finding[] {
  const missing = broken.map(formatKeyPath)
  if (missing.includes('')) return []
  const given = missing.includes('routes') ? [] : config.routes
  const placed = given.map((route, index): PlacedRoute => ({ route, at: ['routes', index] }))
  const hasValue = (key: string): boolean => !missing.some((path) => overlaps(path, key))
  return rules.flatMap(({ reads, routeReads = [], find }) => {
    if (!reads.every(hasValue)) return []
    const routes = placed.filter(
      ({ at }) =>
        !missing.includes(formatKeyPath(at)) && routeReads.every((key) => hasValue(`${formatKeyPath(at)}.${key}`)),
    )
    return find(config, routes)
  })
}

function overlaps(a: string, b: string): boolean {
  return a === b || isBelow(a, b) || isBelow(b, a)
}

function isBelow(path: string, parent: string): boolean {
  return path.startsWith(`${parent}.`) || path.startsWith(`${parent}[`)
}
