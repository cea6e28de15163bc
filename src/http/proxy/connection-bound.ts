import type { Socket } from 'node:net'
import type { Dispatcher } from 'undici'

/**
 * Schemes that authenticate a connection instead of a request. The last three are Windows variants.
 * @see https://www.rfc-editor.org/rfc/rfc4559#section-6
 */
const SCHEME = /(?:^|,)[ \t]*(?:ntlm|negotiate|nego2|kerberos|credssp)(?![^\s,])/i

export function logsInConnection(value: string): boolean {
  return SCHEME.test(value)
}

/** Returns whether a request with these headers (name, value, name …) authenticates its connection. */
export function hasConnectionLogin(headers: readonly string[]): boolean {
  return headers.some(
    (value, i) => i % 2 === 1 && headers[i - 1]?.toLowerCase() === 'authorization' && logsInConnection(value),
  )
}

interface Owner {
  readonly client: Socket
  /** The client's address, as reported by trusted proxies. */
  readonly address: string
  readonly session: string | null
}

interface Bound extends Omit<Owner, 'client'> {
  /** The pool that this connection replaces. */
  readonly pool: Dispatcher
  readonly own: Dispatcher
}

/** The maximum number of users per client connection. A load balancer may send requests of many users on one. */
const MAX_OWNERS = 100

const byClient = new WeakMap<Socket, Bound[]>()

export function hasOwnConnections(client: Socket): boolean {
  return byClient.has(client)
}

/**
 * Returns the dispatcher for a request, usually `pool`. An owner that has authenticated a connection, or authenticates
 * one with this request (`logsIn`), gets a dispatcher with one connection that no other owner uses. The dispatcher is
 * destroyed when the client's connection closes.
 */
export function dispatcherFor(
  { client, address, session }: Owner,
  pool: Dispatcher,
  logsIn: boolean,
  open: () => Dispatcher,
): Dispatcher {
  const bound = byClient.get(client)
  if (bound === undefined && !logsIn) return pool
  // A destroyed client may have emitted `close` already, so nothing would destroy a new dispatcher.
  if (client.destroyed) return pool
  const isMine = (one: Bound): boolean => one.pool === pool && one.address === address && one.session === session
  const known = bound?.find(isMine)
  if (known !== undefined) return known.own
  if (!logsIn) return pool
  const own = open()
  const all = bound ?? boundTo(client)
  all.push({ pool, address, session, own })
  if (all.length > MAX_OWNERS) void all.shift()?.own.close()
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
