import { type Condition, EVERY_USER, notOf, anyOf, allOf, undecided } from '../condition.ts'
import type { Directive } from '../readers/apache.ts'
import { rangeOf } from './require.ts'

/** What `Order`, `Allow` and `Deny` of Apache 2.2 say about the addresses of clients. */
export interface NetworkRule {
  /** The clients that are let in; `null` for none. */
  readonly condition: Condition | null
  /** Whether a login was enough for clients from other networks, or the network for clients without a login. */
  readonly isAlternative: boolean
}

/** Reads the directives of mod_access_compat in one section; `null` if there are none. */
export function networkRuleOf(directives: readonly Directive[], unknownAddress: string | null): NetworkRule | null {
  const of = (name: string): Directive[] => directives.filter((one) => one.name.toLowerCase() === name)
  const [allows, denies] = [of('allow'), of('deny')]
  const [order] = of('order')
  if (allows.length + denies.length === 0 && order === undefined) return null
  const [satisfy] = of('satisfy')
  const isAlternative = satisfy?.args[0]?.toLowerCase() === 'any'
  const allowFirst = order !== undefined && /^(allow,deny|mutual-failure)$/i.test(order.args.join(''))
  const allowed = clientsOf(allows, unknownAddress)
  const denied = clientsOf(denies, unknownAddress)
  const condition = allowFirst ? within(allowed, denied) : denied === null ? EVERY_USER : unless(denied, allowed)
  return { condition, isAlternative }
}

function within(allowed: Condition | null, denied: Condition | null): Condition | null {
  if (allowed === null || denied === EVERY_USER) return null
  return denied === null ? allowed : allOf([allowed, notOf(denied)])
}

function unless(denied: Condition, allowed: Condition | null): Condition | null {
  if (denied === EVERY_USER) return allowed
  return allowed === null ? notOf(denied) : anyOf([allowed, notOf(denied)])
}

/** Returns the clients that `Allow` or `Deny` names; `null` for none. */
function clientsOf(directives: readonly Directive[], unknownAddress: string | null): Condition | null {
  const named = directives.flatMap(({ args }) => args.slice(1))
  if (named.length === 0) return null
  if (named.some((name) => /^all$/i.test(name))) return EVERY_USER
  const ranges = named.map(rangeOf)
  const known = ranges.filter((range) => range !== null)
  // A host name or a variable of the web server.
  if (unknownAddress !== null || known.length < ranges.length) return undecided('Allow')
  return { kind: 'networks', ranges: known }
}
