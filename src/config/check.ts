import { checkProvider } from './check-provider.ts'
import { checkRoutes } from './check-routes.ts'
import { checkServing } from './check-serving.ts'
import { checkSession } from './check-session.ts'
import { formatPath, type Path } from './problems.ts'
import type { Config, Route } from './schema.ts'

/** What is wrong between keys that are each fine by themselves; a warning does not stop the start. */
export interface Finding {
  path: Path
  message: string
  instead?: string | null
  part?: 'key' | 'value'
  warning?: true
}

/** A route and where it stands. */
export interface PlacedRoute {
  route: Route
  at: Path
}

/** A rule between keys. It runs only when the keys that it reads have values, and sees only routes where that is so. */
export interface Rule {
  reads: readonly string[]
  routeReads?: readonly string[]
  find: (config: Config, routes: readonly PlacedRoute[]) => Finding[]
}

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
