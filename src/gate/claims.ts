import { claimSegments } from '../config/claim-values.ts'
import { isMapping } from '../config/key-path.ts'
import type { Claims } from '../oidc/token-set.ts'

/** A compiled name or path of a claim. */
export interface ClaimPath {
  readonly name: string
  /** For each segment, the members that it may begin. */
  readonly steps: readonly (readonly Step[])[]
  /** The claims that the provider may omit so that the path has no value: the whole name, and each beginning of it. */
  readonly sources: readonly string[]
}

interface Step {
  readonly member: string
  /** The segment after the member. */
  readonly next: number
}

/**
 * Compiles a claim's name, or its path through nested objects (`realm_access.roles`). A segment in quotes may contain
 * dots (`resource_access."my.app".roles`). Without quotes, several segments may be one member whose name has dots
 * (`resource_access.my.app.roles`). The claim with the whole text as its name takes precedence, then the shortest member
 * that leads to a value.
 */
export function compileClaimPath(name: string): ClaimPath {
  const segments = claimSegments(name)
  const end = segments.length
  const steps = segments.map((_segment, from): Step[] =>
    [end, ...segments.keys()].flatMap((next) => {
      const joined = next <= from ? null : memberOf(segments.slice(from, next))
      return joined === null ? [] : [{ member: joined, next }]
    }),
  )
  const wholeName = { member: name, next: end }
  return {
    name,
    steps: steps.map((some, from) => (from === 0 ? [wholeName, ...some] : some)),
    sources: [name, ...(steps[0] ?? []).map(({ member }) => member)],
  }
}

function isQuoted(segment: string): boolean {
  return /^".+"$/.test(segment)
}

/** Returns the member that segments name, or `null` if a quoted segment is one of several. */
function memberOf(segments: readonly string[]): string | null {
  const [only = ''] = segments
  if (segments.length === 1) return isQuoted(only) ? only.slice(1, -1) : only
  return segments.some(isQuoted) ? null : segments.join('.')
}

/**
 * Returns the value of a claim as the claims have it, or `undefined` if it is missing or null. A path continues in each
 * item of a list, and its value is then a list. Allocates nothing otherwise.
 */
export function rawValueAt(claims: Claims, { steps }: ClaimPath): unknown {
  return valueFrom(steps, 0, claims)
}

function valueFrom(steps: ClaimPath['steps'], from: number, object: Claims): unknown {
  for (const { member, next } of steps[from] ?? []) {
    if (!Object.hasOwn(object, member)) continue
    const inner = object[member]
    const value = next === steps.length ? inner : valueWithin(steps, next, inner)
    if (value !== undefined && value !== null) return value
  }
  return undefined
}

function valueWithin(steps: ClaimPath['steps'], from: number, inner: unknown): unknown {
  if (isMapping(inner)) return valueFrom(steps, from, inner)
  if (!Array.isArray(inner)) return undefined
  const values = inner.filter(isMapping).flatMap((item) => valueFrom(steps, from, item) ?? [])
  return values.length === 0 ? undefined : values
}

/**
 * Returns whether a mapping counts by its keys, because none of its values is text, as in Zitadel's roles
 * (`{ "admin": { "1234": "example.com" } }`).
 */
export function countsByKeys(mapping: Claims): boolean {
  for (const key in mapping) if (typeof mapping[key] === 'string') return false
  return true
}

/** Returns whether a key of a mapping counts. A key whose value is `false` or null does not. */
export function isSet(mapping: Claims, key: string): boolean {
  const value = mapping[key]
  return value !== false && value !== null
}

/** Returns the keys of a mapping that count, or `null` if the mapping does not count by its keys. */
export function keysOf(mapping: Claims): string[] | null {
  return countsByKeys(mapping) ? Object.keys(mapping).filter((key) => isSet(mapping, key)) : null
}

/**
 * Returns the value of a claim by its name or path, compiled or not, as templates send it: mappings that count by their
 * keys are lists of these keys, or `undefined` if no key counts.
 */
export function claimAt(claims: Claims, name: ClaimPath | string): unknown {
  const value = rawValueAt(claims, typeof name === 'string' ? compileClaimPath(name) : name)
  if (Array.isArray(value)) return value.flatMap((item) => keysOrItself(item))
  const keys = keysOrItself(value)
  return isMapping(value) && Array.isArray(keys) && keys.length === 0 ? undefined : keys
}

function keysOrItself(value: unknown): unknown {
  return isMapping(value) ? (keysOf(value) ?? value) : value
}

/**
 * Returns whether the provider omitted a claim because it has too many values (overage). The ID token then names
 * another source, which the gateway does not query, or only reports the omission, as Entra does with `hasgroups`.
 * @see https://openid.net/specs/openid-connect-core-1_0.html#AggregatedDistributedClaims
 */
export function isOmitted(claims: Claims, { sources }: ClaimPath): boolean {
  const named = claims['_claim_names']
  if (isMapping(named) && sources.some((source) => Object.hasOwn(named, source))) return true
  return claims['hasgroups'] === true && sources.includes('groups')
}
