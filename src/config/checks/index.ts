import { formatKeyPath, type KeyPath } from '../key-path.ts'
import type { Finding } from '../problems.ts'
import type { ResolvedConfig } from '../schema.ts'
import { assertionRules } from './assertion.ts'
import { bearerRules } from './bearer.ts'
import { providerRules } from './provider.ts'
import { requirementRules } from './requirements.ts'
import { routeRules } from './routes.ts'
import { groupRules } from './groups.ts'
import { metadataRules } from './metadata.ts'
import { pageRules } from './pages.ts'
import type { PlacedProvider, PlacedRoute, Rule } from './rule.ts'
import { servingRules } from './serving.ts'
import { sessionRules } from './session.ts'
import { upstreamRules } from './upstream.ts'

export const rules: readonly Rule[] = [
  ...servingRules,
  ...providerRules,
  ...groupRules,
  ...sessionRules,
  ...upstreamRules,
  ...routeRules,
  ...assertionRules,
  ...pageRules,
  ...requirementRules,
  ...bearerRules,
  ...metadataRules,
]

/** Runs the rules and returns their findings. Skips rules that read a path in `broken`, which has no value. */
export function check(config: ResolvedConfig, broken: readonly KeyPath[] = []): Finding[] {
  const missing = broken.map(formatKeyPath)
  if (missing.includes('')) return []
  const given = missing.includes('routes') ? [] : config.routes
  const routes = given.map((route, index): PlacedRoute => ({ route, at: ['routes', index] }))
  const providers = placedProviders(config)
  const hasValue = (key: string): boolean => !missing.some((path) => overlaps(path, key))
  const haveValues = (at: KeyPath, keys: readonly string[]): boolean =>
    !missing.includes(formatKeyPath(at)) && keys.every((key) => hasValue(`${formatKeyPath(at)}.${key}`))
  return rules.flatMap(({ reads, routeReads = [], providerReads = [], find }) =>
    reads.every(hasValue)
      ? find(
          config,
          routes.filter(({ at }) => haveValues(at, routeReads)),
          providers.filter(({ at }) => haveValues(at, providerReads)),
        )
      : [],
  )
}

function placedProviders({ provider, providers }: ResolvedConfig): PlacedProvider[] {
  const only: PlacedProvider[] = provider === null ? [] : [{ provider, at: ['provider'] }]
  const several = Object.entries(providers ?? {}).map(([name, one]) => ({ provider: one, at: ['providers', name] }))
  return [...only, ...several]
}

function overlaps(a: string, b: string): boolean {
  return a === b || isBelow(a, b) || isBelow(b, a)
}

function isBelow(path: string, parent: string): boolean {
  return path.startsWith(`${parent}.`) || path.startsWith(`${parent}[`)
}
