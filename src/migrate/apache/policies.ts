import { allOf, anyOf, type Condition, EVERY_USER, undecided } from '../condition.ts'
import type { Policy } from './require.ts'

/** Which users get in, in the gateway: no user is denied for good, because the operator can decide otherwise. */
export type DecidedPolicy = Exclude<Policy, { kind: 'denied' }>

/** The policy of a path that admits no user until the operator has decided. */
export const CLOSED: DecidedPolicy = { kind: 'users', condition: undecided('Require'), anonymous: false }
export const ANY_SESSION: DecidedPolicy = { kind: 'users', condition: EVERY_USER, anonymous: false }

export function both(one: DecidedPolicy, other: DecidedPolicy): DecidedPolicy {
  if (one.kind === 'public') return other
  if (other.kind === 'public') return one
  return {
    kind: 'users',
    condition: allOf([one.condition, other.condition]),
    anonymous: one.anonymous && other.anonymous,
  }
}

export function either(one: DecidedPolicy, other: DecidedPolicy): DecidedPolicy {
  if (one.kind === 'public' || other.kind === 'public') return { kind: 'public' }
  return {
    kind: 'users',
    condition: anyOf([one.condition, other.condition]),
    anonymous: one.anonymous || other.anonymous,
  }
}

export function inNetwork(policy: DecidedPolicy, network: Condition): DecidedPolicy {
  return policy.kind === 'public'
    ? { kind: 'users', condition: network, anonymous: true }
    : { ...policy, condition: allOf([policy.condition, network]) }
}
