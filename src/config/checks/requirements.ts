import { coversRanges, EVERY_ADDRESS, intersection } from '../address-ranges.ts'
import { type ClaimValue, compileClaimValues, coversValues } from '../claim-values.ts'
import { formatKeyPath, type KeyPath } from '../key-path.ts'
import type { Finding } from '../problems.ts'
import type { ResolvedConfig, ResolvedRoute } from '../schema.ts'
import { quote } from '../value-type.ts'
import { perRoute, type Rule } from './rule.ts'

/** A rule about the user and the client: `require` of a route or of its `bearer`, or a rule of `any` or `not`. */
export type Requirement = Pick<ResolvedRoute['require'], 'claims' | 'networks'> & {
  readonly any?: readonly Requirement[] | null
  readonly not?: Requirement | null
}

interface PlacedRequirement {
  readonly requirement: Requirement
  readonly at: KeyPath
}

/** What holds wherever a rule is evaluated: what the rule requires itself, and the rules around it. */
interface Known {
  readonly claims: readonly (readonly [name: string, values: readonly ClaimValue[]])[]
  /** The ranges that contain every client. */
  readonly networks: readonly string[]
  readonly excluded: readonly PlacedRequirement[]
}

const NOTHING_KNOWN: Known = { claims: [], networks: EVERY_ADDRESS, excluded: [] }

/** Returns the rules about users and clients of a route. */
function requirementsOf({ require, bearer }: ResolvedRoute, at: KeyPath): PlacedRequirement[] {
  const own = bearer?.require ?? null
  return [
    { requirement: require, at: [...at, 'require'] },
    ...(own === null ? [] : [{ requirement: own, at: [...at, 'bearer', 'require'] }]),
  ]
}

/** Returns whether a rule has no keys, so that it always holds. */
export function isEmptyRequirement({ claims, networks, any = null, not = null }: Requirement): boolean {
  return Object.keys(claims).length === 0 && networks === null && any === null && not === null
}

/** Returns whether a rule holds only for users who have a claim. */
export function requiresClaim({ claims, any = null }: Requirement, name: string): boolean {
  return Object.hasOwn(claims, name) || any?.every((one) => requiresClaim(one, name)) === true
}

function findImpossible(route: ResolvedRoute, at: KeyPath): Finding[] {
  return requirementsOf(route, at).flatMap((placed) => contradictionsIn(placed, NOTHING_KNOWN, route.path))
}

/** Returns what keeps a rule, or a rule in it, from ever holding. */
function contradictionsIn({ requirement, at }: PlacedRequirement, around: Known, route: string): Finding[] {
  const { claims, networks, any = null, not = null } = requirement
  const known: Known = {
    claims: [...around.claims, ...Object.entries(claims)],
    networks: networks === null ? around.networks : intersection(around.networks, networks),
    excluded: [...around.excluded, ...(not === null ? [] : [{ requirement: not, at: [...at, 'not'] }])],
  }
  if (networks !== null && known.networks.length === 0) {
    const message = `no address is also in the networks of the rule around it, so the rule never holds on ${route}`
    return [{ path: [...at, 'networks'], message, instead: 'use networks that are within those of the rule around it' }]
  }
  const excluding = known.excluded.find(
    (one) => !isEmptyRequirement(one.requirement) && isImplied(one.requirement, known),
  )
  if (excluding !== undefined) return [excludedBy(excluding.at, at, route)]
  return [
    ...(any ?? []).flatMap((one, index) => findInside(one, [...at, 'any', index], known, route)),
    // What is known outside says nothing about a rule that must not hold.
    ...(not === null ? [] : findInside(not, [...at, 'not'], NOTHING_KNOWN, route)),
  ]
}

/** Returns what is wrong with a rule of `any` or `not`. */
function findInside(requirement: Requirement, at: KeyPath, known: Known, route: string): Finding[] {
  if (!isEmptyRequirement(requirement)) return contradictionsIn({ requirement, at }, known, route)
  const effect = at.at(-1) === 'not' ? 'the rule around it never holds' : 'any always holds'
  const message = `is an empty rule, which always holds, so ${effect} on ${route}`
  return [{ path: at, message, instead: 'give it claims or networks, or leave it out' }]
}

function excludedBy(not: KeyPath, at: KeyPath, route: string): Finding {
  if (not.length === at.length + 1) {
    const message = `holds wherever the rest of the rule holds, so the rule never holds on ${route}`
    return { path: not, part: 'key', message, instead: 'exclude less than the rule requires, or leave not out' }
  }
  const message = `never holds on ${route}: ${formatKeyPath(not)} excludes every request that it lets in`
  return { path: at, message, instead: 'leave one of the two out' }
}

/** Returns whether a rule holds wherever this is known. May miss that it does. */
function isImplied({ claims, networks, any = null, not = null }: Requirement, known: Known): boolean {
  return (
    Object.entries(claims).every(([name, values]) => {
      const wide = compileClaimValues(name, values)
      return known.claims.some(([other, narrow]) => other === name && coversValues(wide, narrow))
    }) &&
    (networks === null || coversRanges(networks, known.networks)) &&
    (any === null || any.some((one) => isImplied(one, known))) &&
    (not === null || isRefuted(not, known))
  )
}

/** Returns whether a rule holds nowhere where this is known. May miss that it does not. */
function isRefuted({ networks, any = null, not = null }: Requirement, known: Known): boolean {
  return (
    (networks !== null && intersection(networks, known.networks).length === 0) ||
    any?.every((one) => isRefuted(one, known)) === true ||
    (not !== null && isImplied(not, known))
  )
}

/** Returns a rule and all rules in it. */
function withInnerRules(placed: PlacedRequirement): PlacedRequirement[] {
  const { requirement, at } = placed
  const { any = null, not = null } = requirement
  const inner = [
    ...(any ?? []).map((one, index) => ({ requirement: one, at: [...at, 'any', index] })),
    ...(not === null ? [] : [{ requirement: not, at: [...at, 'not'] }]),
  ]
  return [placed, ...inner.flatMap(withInnerRules)]
}

/** Finds networks that compare no address or the wrong one, because the gateway ignores X-Forwarded-For. */
function findNetworks(
  route: ResolvedRoute,
  at: KeyPath,
  { listen, forwardAuth, trustedProxies }: ResolvedConfig,
): Finding[] {
  if (trustedProxies.length > 0) return []
  const isSocket = 'path' in listen && (forwardAuth === null || 'path' in forwardAuth.listen)
  if (!isSocket && forwardAuth === null) return []
  return requirementsOf(route, at)
    .flatMap(withInnerRules)
    .filter(({ requirement }) => requirement.networks !== null)
    .map((placed): Finding => {
      const path = [...placed.at, 'networks']
      return isSocket
        ? {
            path,
            message: `can never be compared on ${route.path}: the clients of a Unix socket have no address`,
            instead: 'set trustedProxies to any address, such as [127.0.0.1], so that X-Forwarded-For counts',
          }
        : {
            path,
            message: 'compare the address of the proxy that asks the forward-auth listener, not that of its client',
            instead: 'set trustedProxies to the address of the proxy, so that X-Forwarded-For counts',
            warning: true,
          }
    })
}

/**
 * Finds values of `email` that match no email address, or addresses of other domains too.
 * @see https://openid.net/specs/openid-connect-core-1_0.html#StandardClaims
 */
function findAddresses(route: ResolvedRoute, at: KeyPath): Finding[] {
  return requirementsOf(route, at)
    .flatMap(withInnerRules)
    .flatMap((placed) =>
      (placed.requirement.claims['email'] ?? []).flatMap((value, index): Finding[] => {
        const path = [...placed.at, 'claims', 'email', index]
        const text = String(value)
        if (!/[@*]/.test(text)) {
          const message = `${quote(value)} is not an email address, so it never matches on ${route.path}`
          return [{ path, message, instead: `write the whole address, or *@${text} for a domain` }]
        }
        const [, domain] = /^\*([^@.*][^@*]*)$/.exec(text) ?? []
        if (domain === undefined) return []
        const message = `${quote(value)} also matches other domains that end in ${domain}`
        return [{ path, message, instead: `write *@${domain}`, warning: true }]
      }),
    )
}

export const requirementRules: readonly Rule[] = [
  { reads: [], routeReads: ['path', 'require', 'bearer'], find: perRoute(findImpossible) },
  {
    reads: ['listen', 'forwardAuth', 'trustedProxies'],
    routeReads: ['path', 'require', 'bearer'],
    find: perRoute(findNetworks),
  },
  { reads: [], routeReads: ['path', 'require', 'bearer'], find: perRoute(findAddresses) },
]
