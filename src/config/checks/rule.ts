import type { Path } from '../problems.ts'
import type { Config, Route } from '../schema.ts'

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
