import { BlockList, isIP, isIPv6 } from 'node:net'
import type { IncomingMessage } from 'node:http'
import { Fault } from '../errors.ts'
import { originsByHost } from '../gate/match.ts'
import type { Client, Facts } from '../gate/verdict.ts'
import type { Ticket } from '../session/ticket.ts'
import { tooManyFields } from './server/header-fields.ts'
import { isChunkedInOld } from './server/last-on-connection.ts'
import { printable } from './printable.ts'
import { targetOf } from './target.ts'
import { isPlainCoding } from './server/transfer-coding.ts'

/** Reads what is known of a request before anything is decided. */
export interface FactReader {
  /**
   * Turns a request into plain data. Throws `bad_request` for a target or a Host that has no single meaning, and for
   * more header fields than there may be.
   */
  read(request: IncomingMessage): Facts
}

interface FactOptions {
  /** How many header fields a request may have. */
  readonly headerFields: number
  readonly publicUrls: readonly string[]
  readonly trustedProxies: readonly string[]
  /** Peers come over a unix socket and have no address: who may write there, the file system decides. */
  readonly overSocket: boolean
  readonly readTicket: (cookies: string | undefined) => Ticket | null
}

/** Makes the reader of facts; forwarded headers count only from trusted proxies. */
export function createFactReader({
  headerFields,
  publicUrls,
  trustedProxies,
  overSocket,
  readTicket,
}: FactOptions): FactReader {
  const isTrusted = trustList(trustedProxies)
  const first = publicUrls[0] ?? ''
  const originOf = originsByHost(publicUrls)
  const only = publicUrls.length === 1

  return {
    read(request) {
      // Once asked for, the address is known for the access line too, however soon the client has gone.
      const peer = peerOf(request.socket)
      const { headers, rawHeaders } = request
      if (rawHeaders.length > 2 * headerFields) throw tooManyFields('header', headerFields)
      const target = targetOf(request)
      if (!target.ok) throw new Fault('bad_request', { cause: new Error(target.problem) })
      if (isChunkedInOld(request))
        throw new Fault('bad_request', { cause: new Error('an HTTP/1.0 request is chunked') })
      const coding = headers['transfer-encoding']
      if (coding !== undefined && !isPlainCoding(coding)) throw unknownCoding(coding)
      const hosts = hostCount(rawHeaders)
      if (hosts > 1) throw new Fault('bad_request', { cause: new Error('the request has more than one Host') })
      if (hosts === 0 && request.httpVersion !== '1.0')
        throw new Fault('bad_request', { cause: new Error('the request has no Host') })
      const trusted = trustedProxies.length > 0 && (overSocket || isTrusted(peer))
      const asked = trusted ? (firstItem(headers['x-forwarded-host']) ?? headers.host) : headers.host
      // The host of an absolute target counts, whatever Host says (RFC 9112, section 3.2.2).
      const origin = only ? first : (target.origin ?? originOf(asked ?? '') ?? first)
      return {
        method: request.method ?? 'GET',
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

/** RFC 9112, section 6.1; without `chunked` at its end, nobody can tell where the body ends (section 6.3). */
function unknownCoding(coding: string): Fault {
  return new Fault('bad_request', {
    status: /(?:^|,)\s*chunked$/i.test(coding) ? 501 : 400,
    title: 'Unknown transfer coding',
    detail: 'This request’s body has a transfer coding other than chunked.',
    cause: new Error(`the request has a transfer coding other than chunked: ${printable(coding)}`),
  })
}

/** Only the last 100 addresses of X-Forwarded-For are read. */
const MOST_HOPS = 100

function clientOf(
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
    .slice(-MOST_HOPS)
    .map((address) => plainAddress(address.trim()))
    .filter((a) => a !== '')
  // From the right: the last address that no proxy of ours has appended is the nearest one that can be believed.
  const nearest = chain.toReversed().find((address) => !isTrusted(address)) ?? chain[0] ?? peer
  return { address: isIP(nearest) === 0 ? peer : nearest, peer, trusted, scheme }
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

/** Returns the address of a connection's peer; empty for a Unix socket and for a peer that has left. */
export function peerOf({ remoteAddress = '' }: { readonly remoteAddress?: string | undefined }): string {
  return plainAddress(remoteAddress)
}

/** An IPv4 address that came in over an IPv6 socket is an IPv4 address; some proxies add ports and brackets. */
export function plainAddress(address: string): string {
  const [, host = address] =
    /^(?:\[([^\]]+)\](?::\d+)?|(\d+\.\d+\.\d+\.\d+):\d+)$/.exec(address)?.filter((part) => part !== undefined) ?? []
  return host.startsWith('::ffff:') ? host.slice('::ffff:'.length) : host
}

function trustList(ranges: readonly string[]): (address: string) => boolean {
  const list = new BlockList()
  for (const range of ranges) {
    const [network = '', prefix = ''] = range.split('/')
    list.addSubnet(network, Number(prefix), isIPv6(network) ? 'ipv6' : 'ipv4')
  }
  return (address) => isIP(address) !== 0 && list.check(address, isIPv6(address) ? 'ipv6' : 'ipv4')
}
