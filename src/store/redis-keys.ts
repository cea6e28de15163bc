import { createHmac, type KeyObject } from 'node:crypto'
import type { Criterion } from './store.ts'

// The braces keep a session's keys in one slot of a cluster.

/** The key of a session's record. */
export function recordKey(id: string): string {
  return `gatehouse:session:{${id}}`
}

/** The key of a session's refresh lock. */
export function lockKey(id: string): string {
  return `gatehouse:lock:{${id}}`
}

/** The key of a list of sessions. It names nobody: who has only the store can't even guess whose sessions there are. */
export function indexKey(key: KeyObject, criterion: Criterion): string {
  const [kind, value] = 'sid' in criterion ? ['sid', criterion.sid] : ['sub', criterion.subject]
  return `gatehouse:index:${mac(key, JSON.stringify([kind, criterion.issuer, value]))}`
}

/** The key of a note; its name may tell something about a user, the key does not. */
export function markKey(key: KeyObject, name: string): string {
  return `gatehouse:mark:${mac(key, name)}`
}

/** The key of a counter; its name may tell something about a user, the key does not. */
export function rateKey(key: KeyObject, name: string): string {
  return `gatehouse:rate:${mac(key, name)}`
}

/** The key of a value that may be used once. */
export function onceKey(value: string): string {
  return `gatehouse:once:${value}`
}

function mac(key: KeyObject, text: string): string {
  return createHmac('sha256', key).update(text).digest('base64url')
}
