import type { StoredRecord } from '../store/store.ts'
import { open, seal, toKey } from './envelope.ts'
import type { Session } from './session.ts'
import type { Ticket } from './ticket.ts'

/**
 * The sealed part of a record. Its members must not be renamed, because later releases read the stored records.
 * `requestedStepUp` is therefore stored as `asked`.
 */
type Sealed = Omit<Session, 'id' | 'ticket' | 'version' | 'lastSeenAt' | 'requestedStepUp'> & {
  readonly asked: Session['requestedStepUp']
}

/** Seals a session for the store with AES-256-GCM, the ticket's data key and the id as associated data. */
export function toRecord(session: Session): StoredRecord {
  const { id, ticket, version, lastSeenAt, requestedStepUp, ...rest } = session
  const body: Sealed = { ...rest, asked: requestedStepUp }
  const sealed = seal(toKey(Buffer.from(ticket.key, 'base64url')), id, JSON.stringify(body))
  return { sealed, version, createdAt: session.createdAt, endsAt: session.endsAt, seenAt: lastSeenAt }
}

/** Opens a record with its ticket. Returns `null` if the ticket belongs to another session or the record was changed. */
export function fromRecord(ticket: Ticket, record: StoredRecord): Session | null {
  const text = open(toKey(Buffer.from(ticket.key, 'base64url')), ticket.id, record.sealed)
  if (text === null) return null
  // The text needs no validation: only `toRecord` seals with the ticket's key.
  const { asked, ...body }: Sealed = JSON.parse(text)
  return { ...body, requestedStepUp: asked, id: ticket.id, ticket, version: record.version, lastSeenAt: record.seenAt }
}
