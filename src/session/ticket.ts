import { randomBytes } from 'node:crypto'
import { newDataKey } from './envelope.ts'

/** The content of the session cookie: the session's id, and the only key that opens its record. */
export interface Ticket {
  /** 128 random bits, base64url. */
  readonly id: string
  /** The 32-byte data key, base64url. */
  readonly key: string
}

const ID = /^[A-Za-z0-9_-]{22}$/
const KEY = /^[A-Za-z0-9_-]{43}$/

export function newTicket(): Ticket {
  return { id: randomBytes(16).toString('base64url'), key: newDataKey() }
}

/** Reads a ticket from plain data. Returns `null` if a member is missing or malformed. */
export function readTicket(data: { id?: unknown; key?: unknown }): Ticket | null {
  const { id, key } = data
  return typeof id === 'string' && typeof key === 'string' && ID.test(id) && KEY.test(key) ? { id, key } : null
}
