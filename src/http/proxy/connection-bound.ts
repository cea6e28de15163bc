import type { Socket } from 'node:net'
import type { Dispatcher } from 'undici'

/**
 * Schemes that log in a connection, not a request (RFC 4559, section 6; [MS-NTHT]; the last three are Windows'
 * variants).
 */
const SCHEME = /(?:^|,)[ \t]*(?:ntlm|negotiate|nego2|kerberos|credssp)(?![^\s,])/i

/** Whether credentials or a challenge log in the connection on which they are sent. */
export function logsInConnection(value: string): boolean {
  return SCHEME.test(value)
}

/** Whether a request with these headers (name, value, name …) logs in the connection on which it is sent. */
export function hasConnectionLogin(headers: readonly string[]): boolean {
  return headers.some(
    (value, i) => i % 2 === 1 && headers[i - 1]?.toLowerCase() === 'authorization' && logsInConnection(value),
  )
}

/** Whose connection to an application it is. */
interface Owner {
  /** The connection that the request has come on. */
  readonly client: Socket
  /** The client's address, as trusted proxies tell it. */
  readonly address: string
  /** The session's id; `null` without a session. */
  readonly session: string | null
}

interface Bound extends Omit<Owner, 'client'> {
  /** The pool in whose place it stands. */
  readonly pool: Dispatcher
  readonly own: Dispatcher
}

/** More are not kept for one client's connection: a load balancer may send many users' requests on it. */
const MOST = 100

const byClient = new WeakMap<Socket, Bound[]>()

/** Whether some owner has logged in a connection from this client's. */
export function hasOwnConnections(client: Socket): boolean {
  return byClient.has(client)
}

/**
 * The dispatcher for a request: `pool`, but for an owner who has logged in a connection, or does so with this request
 * (`logsIn`), a dispatcher with one connection that no other owner gets. It is made by `open` and ends with the client's
 * connection.
 */
export function dispatcherFor(
  { client, address, session }: Owner,
  pool: Dispatcher,
  logsIn: boolean,
  open: () => Dispatcher,
): Dispatcher {
  const bound = byClient.get(client)
  if (bound === undefined && !logsIn) return pool
  // Its end has been told already.
  if (client.destroyed) return pool
  const isMine = (one: Bound): boolean => one.pool === pool && one.address === address && one.session === session
  const known = bound?.find(isMine)
  if (known !== undefined) return known.own
  if (!logsIn) return pool
  const own = open()
  const all = bound ?? boundTo(client)
  all.push({ pool, address, session, own })
  if (all.length > MOST) void all.shift()?.own.close()
  return own
}

function boundTo(client: Socket): Bound[] {
  const all: Bound[] = []
  byClient.set(client, all)
  client.once('close', () => {
    for (const { own } of all) void own.destroy()
  })
  return all
}
