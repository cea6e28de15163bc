import { SocketAddress, isIP, type Socket } from 'node:net'
import { printable } from '../../telemetry/log.ts'

/** The address of the client whose connection a proxy passes on. It is empty if the header has no IP address. */
export interface ProxiedClient {
  readonly address: string
}

/** What a PROXY protocol header says, and its length in bytes. */
export interface ProxyHeader {
  /** `null` if the proxy has opened the connection itself, for example for a health check. */
  readonly client: ProxiedClient | null
  readonly length: number
}

const SIGNATURE = Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1')
const FIXED_LENGTH = 16
/** The longest header of version 2, as in nginx. */
const MAX_LENGTH = 4096
/** The longest line of version 1, with its line break. */
const MAX_LINE_LENGTH = 107
const LINE_START = Buffer.from('PROXY ')
const VERSION_2 = 2
const [LOCAL, PROXY] = [0, 1]
const UNSPECIFIED = 0x00
/** The lengths of an address and of the two addresses with their ports, by address family and transport protocol. */
const FAMILIES = new Map<number, { readonly size: number; readonly length: number }>([
  [0x11, { size: 4, length: 12 }],
  [0x21, { size: 16, length: 36 }],
])
const UNIX_STREAM = 0x31
const UNIX_LENGTH = 216
const TLV_HEAD_LENGTH = 3
const TLV_CRC32C = 0x03
const CRC_LENGTH = 4
/** The reversed polynomial of CRC-32C. */
const CRC_POLYNOMIAL = 0x82f63b78

/**
 * Reads the header at the start of a connection, in version 1 or 2. Returns `null` if more bytes are needed. Throws if
 * the bytes are not a valid header.
 * @see https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt
 */
export function readProxyHeader(bytes: Buffer): ProxyHeader | null {
  if (beginsLike(bytes, SIGNATURE)) return readBinary(bytes)
  if (beginsLike(bytes, LINE_START)) return readLine(bytes)
  throw new Error('the connection does not begin with a PROXY protocol header')
}

/** Returns whether the bytes, if there are any, begin with a header of either version. */
export function isProxyHeader(bytes: Buffer | undefined): boolean {
  return bytes !== undefined && [SIGNATURE, LINE_START].some((start) => bytes.indexOf(start) === 0)
}

/** Returns whether the bytes begin with `wanted`, or could do so once more bytes have arrived. */
function beginsLike(bytes: Buffer, wanted: Buffer): boolean {
  const seen = Math.min(bytes.length, wanted.length)
  return bytes.compare(wanted, 0, seen, 0, seen) === 0
}

function readBinary(bytes: Buffer): ProxyHeader | null {
  if (bytes.length < FIXED_LENGTH) return null
  const version = bytes.readUInt8(12)
  const family = bytes.readUInt8(13)
  const length = FIXED_LENGTH + bytes.readUInt16BE(14)
  const command = version & 0x0f
  if (version >> 4 !== VERSION_2 || (command !== LOCAL && command !== PROXY))
    throw new Error(`the PROXY protocol header has an unknown version or command: 0x${hex(version)}`)
  if (length > MAX_LENGTH) throw new Error(`the PROXY protocol header has ${length} bytes, more than ${MAX_LENGTH}`)
  if (bytes.length < length) return null
  const header = bytes.subarray(0, length)
  // Receivers ignore everything behind the fixed part of a header for a local connection or an unspecified family.
  if (command === LOCAL) return { client: null, length }
  if (family === UNSPECIFIED) return { client: { address: '' }, length }
  const addresses = addressesIn(header, family)
  verifyFields(header, FIXED_LENGTH + addresses.length)
  return { client: { address: addresses.client }, length }
}

/** Returns the client's address and the length of all addresses. */
function addressesIn(header: Buffer, family: number): { client: string; length: number } {
  const known = FAMILIES.get(family)
  const length = known?.length ?? (family === UNIX_STREAM ? UNIX_LENGTH : null)
  if (length === null) throw new Error(`the PROXY protocol header has an unknown address family: 0x${hex(family)}`)
  if (header.length < FIXED_LENGTH + length) throw new Error('the PROXY protocol header is too short for its addresses')
  if (known === undefined) return { client: '', length }
  const address = header.subarray(FIXED_LENGTH, FIXED_LENGTH + known.size)
  const text = known.size === 4 ? address.join('.') : address.toString('hex').replaceAll(/.{4}(?=.)/g, '$&:')
  return { client: shortened(text), length }
}

/** Returns the shortest form of an IPv6 address, so that a client has one name in the log, and an IPv4 address as it is. */
function shortened(address: string): string {
  return address.includes(':') ? new SocketAddress({ address, family: 'ipv6' }).address : address
}

/** Reads the type-length-value fields behind the addresses. Throws if a field is cut off or a checksum is wrong. */
function verifyFields(header: Buffer, start: number): void {
  for (let at = start; at < header.length;) {
    if (at + TLV_HEAD_LENGTH > header.length) throw new Error('the PROXY protocol header ends within a field')
    const [type, length] = [header.readUInt8(at), header.readUInt16BE(at + 1)]
    const value = at + TLV_HEAD_LENGTH
    at = value + length
    if (at > header.length) throw new Error('the PROXY protocol header ends within a field')
    if (type !== TLV_CRC32C) continue
    if (length !== CRC_LENGTH) throw new Error('the PROXY protocol header has a checksum of another length')
    // The checksum is computed with zeros in its own place.
    const zeroed = Buffer.from(header).fill(0, value, at)
    if (crc32c(zeroed) !== header.readUInt32BE(value)) throw new Error('the PROXY protocol header has a wrong checksum')
  }
}

/** @see https://www.rfc-editor.org/rfc/rfc9260#appendix-A */
function crc32c(bytes: Buffer): number {
  let crc = 0xffffffff
  for (const byte of bytes) {
    crc ^= byte
    for (let bit = 0; bit < 8; bit += 1) crc = (crc >>> 1) ^ ((crc & 1) === 0 ? 0 : CRC_POLYNOMIAL)
  }
  return (crc ^ 0xffffffff) >>> 0
}

function readLine(bytes: Buffer): ProxyHeader | null {
  const end = bytes.subarray(0, MAX_LINE_LENGTH).indexOf('\r\n')
  if (end === -1) {
    if (bytes.length < MAX_LINE_LENGTH) return null
    throw new Error(`the PROXY protocol header has more than ${MAX_LINE_LENGTH} bytes`)
  }
  const line = bytes.toString('latin1', 0, end)
  const length = end + 2
  if (line === 'PROXY UNKNOWN' || line.startsWith('PROXY UNKNOWN ')) return { client: { address: '' }, length }
  const [, family, source = '', destination = '', ...ports] =
    /^PROXY TCP([46]) ([\da-fA-F.:]+) ([\da-fA-F.:]+) (0|[1-9]\d{0,4}) (0|[1-9]\d{0,4})$/.exec(line) ?? []
  const version = Number(family)
  if (isIP(source) !== version || isIP(destination) !== version || ports.some((port) => Number(port) > 65_535))
    throw new Error(`the PROXY protocol header is malformed: ${printable(line)}`)
  return { client: { address: shortened(source) }, length }
}

function hex(byte: number): string {
  return byte.toString(16).padStart(2, '0')
}

/**
 * Makes `remoteAddress` of a connection the client's address in place of the proxy's, so that all code that reads the
 * peer of a connection sees the client.
 */
export function actFor(connection: Socket, { address }: ProxiedClient): void {
  Object.defineProperty(connection, 'remoteAddress', { value: address, configurable: true })
}

/** Returns the plain connection below a TLS connection. Node.js has no public property for it. */
export function plainConnectionOf(connection: Socket): object | null {
  const parent: unknown = Reflect.get(connection, '_parent')
  return typeof parent === 'object' ? parent : null
}
