import type { StoredRecord } from '../store/store.ts'
import { open, seal, toKey } from './envelope.ts'
import type { Session } from './session.ts'
import type { Ticket } from './ticket.ts'

type Sealed = Omit<Session, 'id' | 'ticket' | 'version' | 'lastSeenAt'>

/** Seals a session for the store: AES-256-GCM with the ticket's data key, and the id as associated data. */
export function toRecord(session: Session): StoredRecord {
  const { id, ticket, version, lastSeenAt, ...rest } = session
  const body: Sealed = rest
  const sealed = seal(toKey(Buffer.from(ticket.key, 'base64url')), id, JSON.stringify(body))
  return { sealed, version, createdAt: session.createdAt, endsAt: session.endsAt, seenAt: lastSeenAt }
}

/** Opens a record with its ticket. Returns `null` if the ticket is another session's or the record was changed. */
export function fromRecord(ticket: Ticket, record: StoredRecord): Session | null {
  const text = open(toKey(Buffer.from(ticket.key, 'base64url')), ticket.id, record.sealed)
  if (text === null) return null
  // Only `toRecord` seals with the ticket's key.
  const body: Sealed = JSON.parse(text)
  return { ...body, id: ticket.id, ticket, version: record.version, lastSeenAt: record.seenAt }
}
