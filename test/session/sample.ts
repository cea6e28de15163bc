import type { Session } from '../../src/session/session.ts'
import { newTicket } from '../../src/session/ticket.ts'

/** Returns a session that started at 1,000,000 ms with an access token of 100 s, with changes. */
export const sampleSession = (change: Partial<Session> = {}): Session => {
  const ticket = change.ticket ?? newTicket()
  return {
    id: ticket.id,
    ticket,
    version: 1,
    issuer: 'https://idp.example.com',
    subject: 'alice',
    sid: 'sid-1',
    origin: 'https://orders.example.com',
    claims: { sub: 'alice', name: 'Zoë' },
    requestedStepUp: null,
    idToken: 'an-id-token',
    tokens: {
      accessToken: 'an-access-token',
      expiresAt: 1_100_000,
      issuedAt: 1_000_000,
      refreshToken: 'a-refresh-token',
      scope: 'openid',
    },
    createdAt: 1_000_000,
    endsAt: 4_600_000,
    refreshedAt: 1_000_000,
    lastSeenAt: 1_000_000,
    ...change,
  }
}
