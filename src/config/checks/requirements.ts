import { EVERY_ADDRESS, intersection } from '../address-ranges.ts'
import { claimKey, type ClaimValue } from '../claim-values.ts'
import { formatKeyPath, type KeyPath } from '../key-path.ts'
import type { Finding } from '../problems.ts'
import type { ResolvedConfig, ResolvedRoute } from '../schema.ts'
import { quote } from '../value-type.ts'
import { perRoute, type Rule } from './rule.ts'
import { canHold, isSingleText, type Part, type Requirement, testsOf } from './satisfiability.ts'

interface PlacedRequirement {
  readonly requirement: Requirement
  readonly at: KeyPath
}

/** What holds wherever a rule is evaluated: what the rule requires itself, and the rules around it. */
interface Known {
  readonly tests: readonly Part[]
  /** The ranges that contain every client. */
  readonly networks: readonly string[]
  readonly excluded: readonly PlacedRequirement[]
}

const NOTHING_KNOWN: Known = { tests: [], networks: EVERY_ADDRESS, excluded: [] }

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
  const { networks, any = null, not = null } = requirement
  const tests = [...around.tests, ...testsOf(requirement)]
  const inner: Known = {
    tests,
    networks: networks === null ? around.networks : intersection(around.networks, networks),
    excluded: around.excluded,
  }
  if (networks !== null && inner.networks.length === 0) {
    const message = `no address is also in the networks of the rule around it, so the rule never holds on ${route}`
    return [{ path: [...at, 'networks'], message, instead: 'use networks that are within those of the rule around it' }]
  }
  if (!canHoldWith(inner)) return [conflictOf(requirement, at, inner, route)]
  // An empty rule is a problem of its own.
  const isExcluding = not !== null && !isEmptyRequirement(not)
  const excluded = isExcluding ? [{ requirement: not, at: [...at, 'not'] }] : []
  const known: Known = { ...inner, excluded: [...around.excluded, ...excluded] }
  if (isExcluding && !canHoldWith(known)) {
    const message = `holds wherever the rest of the rule holds, so the rule never holds on ${route}`
    return [
      { path: [...at, 'not'], part: 'key', message, instead: 'exclude less than the rule requires, or leave not out' },
    ]
  }
  return [
    ...(any ?? []).flatMap((one, index) => findInside(one, [...at, 'any', index], known, route)),
    // What is known outside says nothing about a rule that must not hold.
    ...(not === null ? [] : findInside(not, [...at, 'not'], NOTHING_KNOWN, route)),
  ]
}

function canHoldWith({ tests, excluded }: Known): boolean {
  return canHold([...tests, ...excluded.map(({ requirement }) => ({ rule: requirement, holds: false }))])
}

/** Returns what keeps the tests of a rule from holding: a single value, or what the rules around it exclude. */
function conflictOf({ claims }: Requirement, at: KeyPath, known: Known, route: string): Finding {
  if (!canHold(known.tests)) {
    const names = Object.keys(claims)
    const name = names.find((one) => !canHold(known.tests.filter((test) => isAbout(test, one))))
    const message = `never holds on ${route}: ${name ?? 'acr'} is a single value, which cannot match all rules about it`
    return { path: name === undefined ? at : [...at, 'claims', name], message, instead: 'leave one of the rules out' }
  }
  const culprit = known.excluded.find((one) => !canHoldWith({ ...known, excluded: [one] }))
  const paths = (culprit === undefined ? known.excluded : [culprit]).map((one) => formatKeyPath(one.at))
  const message = `never holds on ${route}: ${paths.join(' and ')} ${paths.length === 1 ? 'excludes' : 'exclude'} every request that it lets in`
  return { path: at, message, instead: 'leave one of the two out' }
}

function isAbout(test: Part, name: string): boolean {
  return 'claim' in test && claimKey(test.claim) === claimKey(name)
}

/** Returns what is wrong with a rule of `any` or `not`. */
function findInside(requirement: Requirement, at: KeyPath, known: Known, route: string): Finding[] {
  if (!isEmptyRequirement(requirement)) return contradictionsIn({ requirement, at }, known, route)
  const effect = at.at(-1) === 'not' ? 'the rule around it never holds' : 'any always holds'
  const message = `is an empty rule, which always holds, so ${effect} on ${route}`
  return [{ path: at, message, instead: 'give it claims or networks, or leave it out' }]
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

/** Finds texts that look like the value of a claim that is no text. Below `not`, such a text would let users in. */
function findTexts(route: ResolvedRoute, at: KeyPath): Finding[] {
  return requirementsOf(route, at)
    .flatMap(withInnerRules)
    .flatMap((placed) =>
      Object.entries(placed.requirement.claims).flatMap(([name, values]) =>
        isSingleText(claimKey(name))
          ? []
          : values
              .filter((value) => isLikeNoText(value) && !values.includes(Number(value)))
              .map((value): Finding => ({
                path: [...placed.at, 'claims', name, values.indexOf(value)],
                message: `${quote(value)} is a text, as are all values from \${…}, and does not match the claim ${value}`,
                instead:
                  value === 'true' || value === 'false'
                    ? `write ${value} without quotes, which also matches the text`
                    : `write [${value}, ${quote(value)}] for both, or ${value} without quotes`,
                warning: true,
              })),
      ),
    )
}

/** Returns whether a value is a text that would be `true`, `false` or a number without its quotes. */
function isLikeNoText(value: ClaimValue): value is string {
  if (typeof value !== 'string') return false
  return (
    value === 'true' || value === 'false' || (Number.isSafeInteger(Number(value)) && String(Number(value)) === value)
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
  { reads: [], routeReads: ['require', 'bearer'], find: perRoute(findTexts) },
]
