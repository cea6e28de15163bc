import { METHODS, type Server } from 'node:http'
import type { Socket } from 'node:net'

/** The parser of a connection: `HTTPParser` of Node.js. */
interface Parser {
  readonly constructor: { readonly REQUEST: number; readonly kLenientNone: number }
  remove(): void
  initialize(type: number, resource: object, maxHeaderSize: number, leniency: number, connections: unknown): void
}

interface ParseError {
  readonly code?: string
  readonly rawPacket?: Buffer
  readonly bytesParsed?: number
}

interface RawTarget {
  /** The start of the request as the client sent it, up to the end of the request line or of the bytes so far. */
  readonly sent: Buffer
  readonly parts: number
}

const [NEWLINE, SPACE, FIRST_RAW, STAND_IN] = [0x0a, 0x20, 0x80, 0x7e]
/** Parsing each part again resets `limits.headersTimeout`. */
const MAX_PARTS = 8

const CONNECTIONS = 'http.server.connections'

const rawTargets = new WeakMap<Socket, RawTarget>()

/**
 * Makes Node.js parse a request again whose target has bytes above 0x7F, with another character in place of each of
 * these bytes, because its parser rejects them. `takeRawTarget` then returns the original target. Returns `false` if the
 * error has another cause, or if the start of the request line arrived in an earlier packet.
 */
export function parseRawTarget(error: ParseError, socket: Socket, server: Server): boolean {
  const { code, rawPacket, bytesParsed = 0 } = error
  if (code !== 'HPE_INVALID_URL' || rawPacket === undefined || (rawPacket[bytesParsed] ?? 0) < FIRST_RAW) return false
  const begun = rawTargets.get(socket)
  const lineStart = rawPacket.lastIndexOf(NEWLINE, bytesParsed) + 1
  const continued = lineStart === 0 ? begun : undefined
  const bytes = continued === undefined ? rawPacket.subarray(lineStart) : Buffer.concat([continued.sent, rawPacket])
  const parts = (continued?.parts ?? 0) + 1
  const method = bytes.toString('latin1', 0, Math.max(0, bytes.indexOf(SPACE)))
  if (parts > MAX_PARTS || !METHODS.includes(method)) return false
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- Node.js does not publish the type of its parser
  const parser = Reflect.get(socket, 'parser') as Parser | null | undefined
  if (parser === undefined || parser === null) return false
  const lineEnd = bytes.indexOf(NEWLINE)
  const line = bytes.subarray(0, lineEnd === -1 ? undefined : lineEnd)
  rawTargets.set(socket, { sent: Buffer.from(line), parts })
  const parsable = Buffer.from(bytes)
  for (let i = 0; i < line.length; i += 1) if ((parsable[i] ?? 0) >= FIRST_RAW) parsable[i] = STAND_IN
  parser.remove()
  const { REQUEST, kLenientNone } = parser.constructor
  parser.initialize(REQUEST, {}, Number(Reflect.get(server, 'maxHeaderSize') ?? 0), kLenientNone, connectionsOf(server))
  socket.emit('data', parsable)
  return true
}

/** Returns the list by which Node.js finds connections whose head takes longer than `headersTimeout`. */
function connectionsOf(server: Server): unknown {
  const symbol = Object.getOwnPropertySymbols(server).find(({ description }) => description === CONNECTIONS)
  return symbol === undefined ? undefined : Reflect.get(server, symbol)
}

/**
 * Returns the target that a client sent, with one character for each byte, for the target of a request that Node.js has
 * just parsed.
 */
export function takeRawTarget(socket: Socket, parsed: string): string {
  const raw = rawTargets.get(socket)
  if (raw === undefined) return parsed
  rawTargets.delete(socket)
  const [, target] = raw.sent.toString('latin1').split(' ', 2)
  return target?.length === parsed.length ? target : parsed
}
