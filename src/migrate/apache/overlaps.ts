import { isMetByEveryUser, undecided, UNDECIDED_CLAIM } from '../condition.ts'
import { type Migration, remark, requireOnAllRoutes } from '../migration.ts'
import { type Area, covers, inNetworkOf, mergedInto, patternsAround, policies } from './areas.ts'
import { ANY_SESSION } from './policies.ts'
import type { Section } from './sections.ts'

/**
 * Returns the areas with patterns, in which an earlier area no longer opens paths that a later section without patterns
 * may protect, and with an area for the paths that two areas share. In Apache, the later section takes effect there, and
 * in Gatehouse the more specific pattern.
 */
export function withoutOverlaps(areas: readonly Area[], isProxied: boolean, migration: Migration): Area[] {
  const withPatterns = areas.filter(({ section }) => section.patterns !== null)
  const closed = withPatterns.map((area) => {
    const later = areas
      .slice(areas.indexOf(area) + 1)
      .find(
        ({ section, policy }) =>
          section.patterns === null &&
          policy.kind === 'users' &&
          !(isProxied && isOfFiles(section)) &&
          patternsAround(section).some((around) =>
            area.section.patterns?.some((path) => sharedPath(path, around) !== null),
          ),
      )
    const opens = area.access !== 'required' || area.exceptions.some(({ policy }) => policy.kind === 'public')
    if (later === undefined || !opens) return area
    const paths = area.section.patterns?.join(', ') ?? ''
    const text = `some requests to ${paths} needed a login, and all of them need one here: add routes for those that must be open`
    remark(migration, 'security', later.section.setting, text)
    return { ...area, policy: ANY_SESSION, exceptions: [], access: 'required' as const }
  })
  return closed.flatMap((area, index) => [
    area,
    ...closed.slice(0, index).flatMap((earlier) => sharedArea(earlier, area)),
  ])
}

function sharedArea(earlier: Area, later: Area): Area[] {
  if (later.replaces && later.merging !== 'off') return []
  if (covers(earlier.section, later.section) || covers(later.section, earlier.section)) return []
  const shared = (earlier.section.patterns ?? []).flatMap((one) =>
    (later.section.patterns ?? []).flatMap((other) => sharedPath(one, other) ?? []),
  )
  const patterns = shared.filter((path) => later.section.patterns?.includes(path) !== true)
  if (patterns.length === 0) return []
  const area =
    later.replaces && earlier.hasNetworks && !later.hasNetworks
      ? { ...later, ...policies(later, (policy) => inNetworkOf(earlier, policy)) }
      : later.replaces
        ? later
        : mergedInto(earlier, later)
  return [{ ...area, section: { ...later.section, patterns, except: [] } }]
}

/** Returns the pattern of the paths that two patterns match; `null` if they share none. */
export function sharedPath(one: string, other: string): string | null {
  const [a, b] = [one.split('/'), other.split('/')]
  const shared: string[] = []
  for (let index = 0; ; index += 1) {
    const [left, right] = [a[index], b[index]]
    if (left === '**') return [...shared, ...b.slice(index)].join('/')
    if (right === '**') return [...shared, ...a.slice(index)].join('/')
    if (left === undefined && right === undefined) return shared.join('/')
    if (left === undefined || right === undefined) {
      // `/a/**` also matches `/a`.
      return (left ?? right) === '**' ? shared.join('/') : null
    }
    if (left !== right && left !== '*' && right !== '*') return null
    shared.push(left === '*' ? right : left)
  }
}

function isOfFiles({ kind }: Section): boolean {
  return kind === 'directory' || kind === 'files'
}

/** Returns whether a later section covers all paths of `area`. In Apache, the later section then takes effect. */
export function isOverridden(area: Area, areas: readonly Area[], migration: Migration): boolean {
  const later = areas
    .slice(areas.indexOf(area) + 1)
    .find((one) => one.replaces && one.merging === 'off' && covers(one.section, area.section))
  if (later === undefined) return false
  if (area.section.setting !== null) {
    remark(
      migration,
      'security',
      area.section.setting,
      `the section in line ${later.section.setting?.line ?? 0} covers it and comes later, so this section has no ` +
        'effect in Apache and is left out',
    )
  }
  return true
}

/**
 * Reports a section whose paths route patterns cannot express. Paths that Apache made public require a session here. If
 * Apache required more than a session, no user is admitted to any path around them until the operator adds a route.
 */
export function reportWithoutPatterns(area: Area, isProxied: boolean, migration: Migration): void {
  const { section, policy } = area
  const { setting } = section
  if (setting === null) return
  if (isProxied && isOfFiles(section))
    return remark(
      migration,
      'differs',
      setting,
      'it applies to files of the web server, and all requests go to the application (ProxyPass): it is left out',
    )
  if (!area.replaces && !area.hasNetworks)
    return remark(
      migration,
      'gap',
      setting,
      "a route can't express its paths exactly: set challenge on routes for them",
    )
  if (policy.kind === 'public') {
    return remark(
      migration,
      'security',
      setting,
      "a route can't express its paths exactly, so they stay closed: add routes with access: public for paths that " +
        'must be open',
    )
  }
  if (isMetByEveryUser(policy.condition)) {
    return remark(
      migration,
      'differs',
      setting,
      "a route can't express its paths exactly; they need a session like all other paths",
    )
  }
  const around = patternsAround(section)
  const remedy = `no user is let in until you add a route for them and remove ${UNDECIDED_CLAIM}`
  if (around.includes('/**')) {
    requireOnAllRoutes(migration, undecided('section'))
    return remark(
      migration,
      'security',
      setting,
      `it requires more than a login on paths that a route can't express exactly: ${remedy}`,
    )
  }
  for (const path of around)
    migration.exceptions.push({ path, methods: null, access: 'required', closed: true, from: setting })
  remark(
    migration,
    'security',
    setting,
    `it requires more than a login for some requests to ${around.join(', ')}: ${remedy}`,
  )
}
