import { isIP } from 'node:net'
import {
  allOf,
  anyOf,
  claimIn,
  type ClaimValue,
  type Condition,
  EVERY_USER,
  exactly,
  isMetByEveryUser,
  notOf,
  undecided,
} from '../condition.ts'
import type { Directive } from '../readers/apache.ts'
import { hasExactPatterns, valuePatternsOf } from '../value-regex.ts'

/** Which users a set of `Require` directives lets in. The condition never lets in more users than the directives do. */
export type Policy =
  | { readonly kind: 'public' }
  | { readonly kind: 'denied' }
  | {
      readonly kind: 'users'
      readonly condition: Condition
      /** Whether the address of the client can be enough, without a login. */
      readonly anonymous: boolean
    }

/** What the meaning of `Require` depends on outside of its own arguments. */
export interface RequireContext {
  /** The method of the request; `null` for a method that no directive names. */
  readonly method: string | null
  /** Why the gateway would not know the address of the client; `null` if it would. */
  readonly unknownAddress: string | null
  /** Returns the claim that `Require user NAME` compares, and its value; `null` if no claim has such a value. */
  userClaim(name: string): { readonly claim: string; readonly value: string } | null
  /** Reports that users who meet the directive are not let in until the operator decides. */
  reportUndecided(directive: Directive, reason: string): void
}

/**
 * Returns the policy of `Require` directives; `null` without directives. A user must meet one of the directives, or all
 * of them in `<RequireAll>`.
 */
export function policyOf(directives: readonly Directive[], context: RequireContext): Policy | null {
  const requirements = directives.filter(isRequirement)
  return requirements.length === 0 ? null : anyPolicy(requirements, context, false)
}

export function isRequirement({ name }: Directive): boolean {
  return /^(Require|RequireAll|RequireAny|RequireNone)$/i.test(name)
}

/** Returns the methods that `Require method` names. */
export function methodsOf(directives: readonly Directive[]): string[] {
  return [...new Set(directives.filter(isRequirement).flatMap(methodsOfOne))]
}

function methodsOfOne({ args, inner }: Directive): string[] {
  if (inner !== null) return methodsOf(inner)
  const [kind = '', ...methods] = isNegative(args) ? args.slice(1) : args
  return kind.toLowerCase() === 'method' ? methods.map((method) => method.toUpperCase()) : []
}

function isNegative([first = '']: readonly string[]): boolean {
  return first.toLowerCase() === 'not'
}

function onlyExcludes({ name, args }: Directive): boolean {
  return /^RequireNone$/i.test(name) || isNegative(args)
}

/** `isNegated`: whether the result is negated later, so that it must not let in fewer users than the directive. */
function policyOfOne(directive: Directive, context: RequireContext, isNegated: boolean): Policy {
  const inner = (directive.inner ?? []).filter(isRequirement)
  switch (directive.name.toLowerCase()) {
    case 'requireany':
      return anyPolicy(inner, context, isNegated)
    case 'requirenone':
      return negated(anyPolicy(inner, context, !isNegated))
    case 'requireall':
      // Apache refuses a section that only excludes users.
      return inner.every(onlyExcludes) ? { kind: 'denied' } : allPolicy(inner, context, isNegated)
  }
  if (isNegative(directive.args)) return negated(plainPolicy(directive, directive.args.slice(1), context, !isNegated))
  return plainPolicy(directive, directive.args, context, isNegated)
}

function anyPolicy(directives: readonly Directive[], context: RequireContext, isNegated: boolean): Policy {
  // Apache refuses an exclusion among alternatives.
  return eitherOf(directives.filter((one) => !onlyExcludes(one)).map((one) => policyOfOne(one, context, isNegated)))
}

function eitherOf(policies: readonly Policy[]): Policy {
  if (policies.some(({ kind }) => kind === 'public')) return { kind: 'public' }
  const users = policies.filter((policy) => policy.kind === 'users')
  if (users.length === 0) return { kind: 'denied' }
  return usersWith(
    anyOf(users.map(({ condition }) => condition)),
    users.some(({ anonymous }) => anonymous),
  )
}

function allPolicy(directives: readonly Directive[], context: RequireContext, isNegated: boolean): Policy {
  const policies = directives.map((one) => policyOfOne(one, context, isNegated))
  if (policies.some(({ kind }) => kind === 'denied')) return { kind: 'denied' }
  const users = policies.filter((policy) => policy.kind === 'users')
  if (users.length === 0) return { kind: 'public' }
  return usersWith(
    allOf(users.map(({ condition }) => condition)),
    users.every(({ anonymous }) => anonymous),
  )
}

function negated(policy: Policy): Policy {
  if (policy.kind === 'public') return { kind: 'denied' }
  if (policy.kind === 'denied') return { kind: 'public' }
  return isMetByEveryUser(policy.condition) ? { kind: 'denied' } : usersWith(notOf(policy.condition), true)
}

function usersWith(condition: Condition, anonymous = false): Policy {
  return { kind: 'users', condition, anonymous }
}

/** Returns the policy of `Require KIND …`, without `not`. */
function plainPolicy(
  directive: Directive,
  [kind = '', ...rest]: readonly string[],
  context: RequireContext,
  isNegated: boolean,
): Policy {
  const unclear = (reason: string): Policy => {
    context.reportUndecided(directive, reason)
    return usersWith(undecided('Require'))
  }
  const decided = (condition: Condition | null, reason: string): Policy =>
    condition === null ? unclear(reason) : usersWith(condition)
  switch (kind.toLowerCase()) {
    case 'valid-user':
      return usersWith(EVERY_USER)
    case 'all':
      return { kind: rest[0]?.toLowerCase() === 'granted' ? 'public' : 'denied' }
    case 'method':
      return { kind: rest.some((method) => method.toUpperCase() === context.method) ? 'public' : 'denied' }
    case 'claim':
      return eitherOf(
        rest.map((spec) =>
          decided(claimCondition(spec, isNegated), `no rule expresses ${JSON.stringify(spec)}: use values with *`),
        ),
      )
    case 'user':
      return eitherOf(
        rest.map((name) => {
          const user = context.userClaim(name)
          return decided(
            user === null ? null : claimIn(user.claim, [exactly(user.value)]),
            `no claim has the value ${name}: require the claim sub`,
          )
        }),
      )
    case 'local':
      // Apache also lets in clients with an address of the server itself.
      if (isNegated) break
      return networkPolicy(['127.0.0.0/8', '::1/128'], context, unclear)
    case 'ip':
      return networkPolicy(rest.map(rangeOf), context, unclear)
  }
  return unclear(`"Require ${kind}" has no equivalent`)
}

function networkPolicy(
  ranges: readonly (string | null)[],
  { unknownAddress }: RequireContext,
  unclear: (reason: string) => Policy,
): Policy {
  if (unknownAddress !== null) return unclear(unknownAddress)
  const known = ranges.filter((range) => range !== null)
  if (known.length < ranges.length || known.length === 0) return unclear('its addresses are not understood')
  return usersWith({ kind: 'networks', ranges: known }, true)
}

/** Returns an address or range as CIDR, from `10.1`, `10.1.0.0/255.255.0.0` or CIDR; `null` for other text. */
export function rangeOf(text: string): string | null {
  const partial = /^\d{1,3}(?:\.\d{1,3}){0,2}\.?$/.test(text) ? text.split('.').filter((part) => part !== '') : null
  if (partial !== null) {
    const address = [...partial, '0', '0', '0'].slice(0, 4).join('.')
    return isIP(address) === 4 ? `${address}/${partial.length * 8}` : null
  }
  const [address = '', mask, ...others] = text.split('/')
  const version = isIP(address)
  if (version === 0 || address.includes('%') || others.length > 0) return null
  const bits = version === 4 ? 32 : 128
  if (mask === undefined) return `${address}/${bits}`
  if (/^\d{1,3}$/.test(mask)) return Number(mask) <= bits ? `${address}/${Number(mask)}` : null
  const prefix = isIP(mask) === 4 ? prefixOf(mask) : null
  return version === 4 && prefix !== null ? `${address}/${prefix}` : null
}

/** Returns the number of leading ones in a netmask; `null` if other ones follow. */
function prefixOf(mask: string): number | null {
  const bits = mask
    .split('.')
    .map((part) => Number(part).toString(2).padStart(8, '0'))
    .join('')
  return /^1*0*$/.test(bits) ? bits.replaceAll('0', '').length : null
}

/** Returns the condition of `Require claim SPEC`; `null` if no rule lets in exactly the same users, or fewer. */
function claimCondition(spec: string, isNegated: boolean): Condition | null {
  // Apache expands variables and references to an earlier regular expression.
  if (/%\{|\$\d|"/.test(spec)) return null
  const separators = isNegated ? separatorsOf(spec) : separatorsOf(spec).slice(0, 1)
  const conditions = separators.map((at) => {
    const [name, value] = [spec.slice(0, at), spec.slice(at + 1)]
    return spec[at] === ':' ? valueCondition(name, value, isNegated) : regexCondition(name, value, isNegated)
  })
  const known = conditions.filter((condition) => condition !== null)
  if (known.length === 0 || known.length < conditions.length) return null
  return known.some(isAddressWithoutAt) ? null : anyOf(known)
}

/** The gateway refuses a rule about `email` that matches no address. */
function isAddressWithoutAt(condition: Condition): boolean {
  if (condition.kind === 'all' || condition.kind === 'any') return condition.of.some(isAddressWithoutAt)
  return (
    condition.kind === 'claim' &&
    condition.name === 'email' &&
    condition.values.some((value) => !/[@*]/.test(String(value)))
  )
}

/**
 * Returns where the name of a claim may end, the likeliest place first. The module tries every claim whose name the text
 * begins with, and names can contain colons, as in `https://example.com/roles:admin`.
 */
function separatorsOf(spec: string): number[] {
  const all = [...spec.matchAll(/[:~]/g)].map(({ index }) => index).filter((at) => at > 0 && at < spec.length - 1)
  const likeliest = /^https?:\/\//.test(spec)
    ? all.find((at) => at > spec.indexOf('//'))
    : /^(?:urn|cognito):/.test(spec)
      ? (all.find((at) => spec[at] === '~') ?? all.at(-1))
      : all[0]
  return likeliest === undefined ? [] : [likeliest, ...all.filter((at) => at !== likeliest)]
}

function valueCondition(name: string, value: string, isNegated: boolean): Condition | null {
  // The module also matches the number 5 with `5x`, null with `null`, and `~x` as a regular expression.
  if (isNegated && (/^(?:null$|\s*[+-]?\d)/.test(value) || /^[:~.]/.test(value)) && !/^-?\d+$/.test(value)) return null
  return claimIn(name, valuesOf(value))
}

/** Returns the values that the module compares with a text: the text itself, and the number or flag that it spells. */
function valuesOf(text: string): ClaimValue[] {
  if (text === 'true' || text === 'false') return [text === 'true']
  const number = Number(text)
  return String(number) === text && Number.isFinite(number) ? [number, exactly(text)] : [exactly(text)]
}

function regexCondition(name: string, regex: string, isNegated: boolean): Condition | null {
  if (isNegated && !hasExactPatterns(regex)) return null
  const patterns = valuePatternsOf(regex, name === 'email')
  if (patterns === null) return null
  return anyOf(
    patterns.map(({ value, except }) => {
      const found = claimIn(name, [value])
      return except.length === 0 ? found : allOf([found, notOf(claimIn(name, except))])
    }),
  )
}
