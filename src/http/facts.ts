import type { IncomingMessage } from 'node:http'
import { isIP } from 'node:net'
import { clientNetwork, compileRanges } from '../config/address-ranges.ts'
import type { PublicOrigins } from '../gate/public-origins.ts'
import type { Client, Facts, FinalDenial } from '../gate/verdict.ts'
import type { Ticket } from '../session/ticket.ts'
import { printable } from '../telemetry/log.ts'
import { idOf } from './request-id.ts'
import { tooManyFields, isChunkedInOld, isPlainCoding } from './server/framing.ts'
import { targetOf } from './target.ts'

export interface FactReader {
  /** Returns whether a request comes from a trusted proxy. */
  trusts(request: IncomingMessage): boolean
  /**
   * Returns the facts of a request, or a denial if its target, its Host or its framing is ambiguous. Throws
   * `bad_request` for too many header fields.
   */
  read(request: IncomingMessage, trusted?: boolean): Facts | FinalDenial
}

interface FactOptions {
  readonly headerFields: number
  readonly origins: PublicOrigins
  readonly trustedProxies: readonly string[]
  /**
   * Whether the listener is a Unix socket. Its peers have no address, and all are trusted, because the permissions of
   * the socket decide which processes may connect.
   */
  readonly overSocket: boolean
  readonly readTicket: (cookies: string | undefined) => Ticket | null
  /** Called for each request whose X-Forwarded-For is ignored, with the address of the untrusted peer. */
  readonly onUntrusted: ((peer: string) => void) | null
}

/** Creates a reader of facts. It uses forwarded headers only from trusted proxies. */
export function createFactReader({
  headerFields,
  origins,
  trustedProxies,
  overSocket,
  readTicket,
  onUntrusted,
}: FactOptions): FactReader {
  const trusted = compileRanges(trustedProxies)
  const isTrusted = (address: string): boolean => trusted.contains(address)
  const { fallback, isSingle } = origins

  function trusts({ socket }: IncomingMessage): boolean {
    return trustedProxies.length > 0 && (overSocket || isTrusted(peerOf(socket)))
  }

  return {
    trusts,
    read(request, trusted = trusts(request)) {
      // Node.js keeps the address after the first read, so the access line has it even after a disconnect.
      const peer = peerOf(request.socket)
      const { headers, rawHeaders } = request
      if (rawHeaders.length > 2 * headerFields) throw tooManyFields('header', headerFields)
      const target = targetOf(request)
      if (!target.ok) return { reason: 'malformed', cause: target.problem }
      if (isChunkedInOld(request)) return { reason: 'malformed', cause: 'an HTTP/1.0 request is chunked' }
      const coding = headers['transfer-encoding']
      if (coding !== undefined && !isPlainCoding(coding)) return unknownCoding(coding)
      const hosts = hostCount(rawHeaders)
      if (hosts > 1) return { reason: 'malformed', cause: 'the request has more than one Host' }
      if (hosts === 0 && request.httpVersion !== '1.0') return { reason: 'malformed', cause: 'the request has no Host' }
      if (!trusted && onUntrusted !== null && headers['x-forwarded-for'] !== undefined) onUntrusted(peer)
      const asked = trusted ? (firstItem(headers['x-forwarded-host']) ?? headers.host) : headers.host
      // An absolute target overrides Host: https://www.rfc-editor.org/rfc/rfc9112#section-3.2.2.
      const origin = isSingle ? fallback : (target.origin ?? origins.find(asked ?? '') ?? fallback)
      return {
        requestId: idOf(request),
        method: request.method ?? 'GET',
        httpVersion: request.httpVersion,
        path: target.path,
        query: target.query,
        headers,
        rawHeaders,
        origin,
        client: clientOf(headers, peer, trusted, origin, isTrusted),
        ticket: readTicket(headers.cookie),
      }
    },
  }
}

/**
 * Returns the denial of an unknown transfer coding. Without `chunked` as the last coding, the end of the body cannot be
 * found.
 * @see https://www.rfc-editor.org/rfc/rfc9112#section-6.3
 */
function unknownCoding(coding: string): FinalDenial {
  return {
    reason: 'transfer-coding',
    unframed: !/(?:^|,)\s*chunked$/i.test(coding),
    cause: `the request has a transfer coding other than chunked: ${printable(coding)}`,
  }
}

/** The number of addresses in X-Forwarded-For, from the right, that are read. */
const MAX_HOPS = 100

/**
 * Returns the client of a request. `X-Forwarded-For` counts only if the peer is trusted. The client has no address if the
 * proxy reports one that cannot be read, because that of the proxy would satisfy rules that name the proxy's network.
 */
export function clientOf(
  headers: IncomingMessage['headers'],
  peer: string,
  trusted: boolean,
  origin: string,
  isTrusted: (address: string) => boolean,
): Client {
  const scheme = origin.startsWith('https:') ? 'https' : 'http'
  if (!trusted) return { address: peer, peer, trusted, scheme }
  const chain = String(headers['x-forwarded-for'] ?? '')
    .split(',')
    .slice(-MAX_HOPS)
    .map((address) => plainAddress(address.trim()))
    .filter((a) => a !== '')
  // From the right, the first address that is not a trusted proxy is the client that a trusted proxy reported.
  const nearest = chain.toReversed().find((address) => !isTrusted(address)) ?? chain[0] ?? peer
  const isReadable = nearest === peer || (isIP(nearest) !== 0 && !nearest.includes('%'))
  return { address: isReadable ? nearest : '', peer, trusted, scheme }
}

function hostCount(rawHeaders: readonly string[]): number {
  let count = 0
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i]
    if (name?.length === 4 && name.toLowerCase() === 'host') count += 1
  }
  return count
}

function firstItem(header: string | string[] | undefined): string | undefined {
  const item = String(header ?? '')
    .split(',')[0]
    ?.trim()
  return item === '' ? undefined : item
}

/** Returns the address of a peer, or an empty string for a Unix socket and for a peer that has disconnected. */
export function peerOf({ remoteAddress = '' }: { readonly remoteAddress?: string | undefined }): string {
  return plainAddress(remoteAddress)
}

/** Returns an address without port, brackets, and the IPv6 prefix of an IPv4 address on a dual-stack socket. */
export function plainAddress(address: string): string {
  const [, host = address] =
    /^(?:\[([^\]]+)\](?::\d+)?|(\d+\.\d+\.\d+\.\d+):\d+)$/.exec(address)?.filter((part) => part !== undefined) ?? []
  return host.includes(':') ? withoutMapping(host) : host
}

/**
 * Returns the IPv4 address in an IPv4-mapped IPv6 address, and any other text as it is.
 * @see https://www.rfc-editor.org/rfc/rfc4291#section-2.5.5.2
 */
function withoutMapping(host: string): string {
  if (!/^[0:]+:ffff:/i.test(host)) return host
  const network = clientNetwork(host)
  return network.includes(':') ? host : network
}
