import { checkProvider } from './checks/provider.ts'
import { checkRoutes } from './checks/routes.ts'
import { checkServing } from './checks/serving.ts'
import { checkSession } from './checks/session.ts'
import type { Finding, PlacedRoute, Rule } from './checks/rule.ts'
import { formatPath, type Path } from './problems.ts'
import type { Config } from './schema.ts'

/** All rules between keys, those of each section in a file of its own. */
export const rules: readonly Rule[] = [...checkServing, ...checkProvider, ...checkSession, ...checkRoutes]

const isUnder = (path: string, other: string): boolean => path.startsWith(`${other}.`) || path.startsWith(`${other}[`)
const touches = (a: string, b: string): boolean => a === b || isUnder(a, b) || isUnder(b, a)

/** Everything that is wrong between keys; `broken` lists the paths that have no value because of another problem. */
export function check(config: Config, broken: readonly Path[] = []): Finding[] {
  const gone = broken.map(formatPath)
  if (gone.includes('')) return []
  const given = gone.includes('routes') ? [] : config.routes
  const placed = given.map((route, index): PlacedRoute => ({ route, at: ['routes', index] }))
  const whole = (key: string): boolean => !gone.some((path) => touches(path, key))
  return rules.flatMap(({ reads, routeReads = [], find }) => {
    if (!reads.every(whole)) return []
    const routes = placed.filter(
      ({ at }) => !gone.includes(formatPath(at)) && routeReads.every((key) => whole(`${formatPath(at)}.${key}`)),
    )
    return find(config, routes)
  })
}
