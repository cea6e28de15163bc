import { METHODS, type Server } from 'node:http'
import type { Socket } from 'node:net'

/** The parser of a connection: `HTTPParser` of Node.js. Its callbacks have numbers, which its class names. */
interface Parser {
  [callback: number]: ((...args: unknown[]) => unknown) | undefined
  [kConnection]?: Connection
  readonly constructor: {
    readonly REQUEST: number
    readonly kLenientNone: number
    readonly kOnMessageBegin: number
    readonly kOnMessageComplete: number
    readonly kOnExecute: number
  }
  remove(): void
  initialize(type: number, resource: object, maxHeaderSize: number, leniency: number, connections: unknown): void
}

interface ParseError extends Error {
  readonly code?: string
  readonly rawPacket?: Buffer
  readonly bytesParsed?: number
}

interface Connection {
  readonly parser: Parser
  /** The number of the packet that is parsed now or next. */
  packet: number
  /** The packet with the first byte of the latest request. */
  begunIn: number
  /** The packet with the last byte of the latest complete request. */
  endedIn: number
  /** The target that the client sent, and the one that the parser must report for it. */
  target: { readonly sent: string; readonly standIn: string } | null
  /** The rest of a packet, from a request line that is to be parsed again. */
  rest: Buffer | null
  isParsing: boolean
}

const [NEWLINE, FIRST_RAW, STAND_IN] = [0x0a, 0x80, 0x7e]
const RAW = /[\u0080-\u00ff]/g
const REQUEST_LINE = /^([A-Z-]+) ([!-~\u0080-\u00ff]+) HTTP\/1\.[01]\r\n$/
/** A target that the gateway refuses. */
const REFUSED_TARGET = '\\'

const CONNECTIONS = 'http.server.connections'

const kConnection = Symbol('connection')
const connections = new WeakMap<Socket, Connection>()

/**
 * Tracks in which packets the requests of a connection begin and end, for `parseRawTarget`. The caller must call this
 * function after Node.js has set up the connection.
 */
export function trackPackets(socket: Socket): void {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- Node.js does not publish the type of its parser
  const parser = Reflect.get(socket, 'parser') as Parser | null | undefined
  // Without the parser, requests with raw bytes are refused.
  if (parser === undefined || parser === null) return
  const connection: Connection = {
    parser,
    packet: 0,
    begunIn: -1,
    endedIn: -1,
    target: null,
    rest: null,
    isParsing: false,
  }
  connections.set(socket, connection)
  const { kOnMessageBegin, kOnExecute } = parser.constructor
  const onExecute = parser[kOnExecute]
  parser[kOnMessageBegin] = () => {
    connection.begunIn = connection.packet
  }
  parser[kOnExecute] = (parsed) => {
    onExecute?.(parsed)
    endPacket(connection)
  }
  if (parser[kConnection] === undefined) trackEnds(parser)
  parser[kConnection] = connection
  // The parser gets the bytes that were read for the protocol detection from the socket, without `kOnExecute`.
  if (socket.readableLength > 0) socket.once('resume', () => process.nextTick(endPacket, connection))
}

/** Replaces the one callback that Node.js does not set again when it uses a parser for another connection. */
function trackEnds(parser: Parser): void {
  const { kOnMessageComplete } = parser.constructor
  const onComplete = parser[kOnMessageComplete]
  parser[kOnMessageComplete] = () => {
    const connection = parser[kConnection]
    if (connection !== undefined) connection.endedIn = connection.packet
    return onComplete?.call(parser)
  }
}

function endPacket(connection: Connection): void {
  connection.packet += 1
}

/**
 * Makes Node.js parse a request again whose target has bytes above 0x7F, with another character in place of each of
 * these bytes, because its parser rejects them. `takeRawTarget` then returns the original target. `isBehindBody`:
 * whether the latest request has a body.
 *
 * Returns `false` if the request must be refused: if the error has another cause, or if it is not certain where the
 * request line begins and ends. The error then says why.
 */
export function parseRawTarget(error: ParseError, socket: Socket, server: Server, isBehindBody: boolean): boolean {
  const { code, rawPacket, bytesParsed = 0 } = error
  if (code !== 'HPE_INVALID_URL' || rawPacket === undefined || (rawPacket[bytesParsed] ?? 0) < FIRST_RAW) return false
  const connection = connections.get(socket)
  const start = rawPacket.lastIndexOf(NEWLINE, bytesParsed) + 1
  const end = rawPacket.indexOf(NEWLINE, bytesParsed) + 1
  if (connection === undefined || end === 0 || connection.begunIn !== connection.packet) {
    error.message = 'the target has bytes above 0x7F, and the request line arrived in several packets'
    return false
  }
  // The body could be followed by the request line without a line break.
  if (isBehindBody && connection.endedIn === connection.packet) {
    error.message = 'the target has bytes above 0x7F, and the request line arrived with the body of another request'
    return false
  }
  const line = rawPacket.toString('latin1', start, end)
  const [, method = '', sent = ''] = REQUEST_LINE.exec(line) ?? []
  if (!METHODS.includes(method) || line.search(RAW) !== bytesParsed - start || connection.target !== null) {
    error.message = 'the target has bytes above 0x7F, and the request line is malformed'
    return false
  }
  connection.target = { sent, standIn: sent.replaceAll(RAW, String.fromCharCode(STAND_IN)) }
  for (let i = start; i < end; i += 1) if ((rawPacket[i] ?? 0) >= FIRST_RAW) rawPacket[i] = STAND_IN
  connection.rest = rawPacket.subarray(start)
  const { parser } = connection
  parser.remove()
  const { REQUEST, kLenientNone } = parser.constructor
  parser.initialize(REQUEST, {}, Number(Reflect.get(server, 'maxHeaderSize') ?? 0), kLenientNone, connectionsOf(server))
  // If this request line follows another one in the same packet, the caller's loop parses the rest.
  if (!connection.isParsing) parseRest(socket, connection)
  return true
}

function parseRest(socket: Socket, connection: Connection): void {
  connection.isParsing = true
  while (connection.rest !== null && Reflect.get(socket, 'parser') === connection.parser) {
    // Node.js stops reading while the client does not read the responses.
    if (Reflect.get(socket, '_paused') === true) {
      socket.once('resume', () => {
        parseRest(socket, connection)
      })
      break
    }
    const { rest } = connection
    connection.rest = null
    socket.emit('data', rest)
    endPacket(connection)
  }
  connection.isParsing = false
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
  const connection = connections.get(socket)
  const target = connection?.target ?? null
  if (connection === undefined || target === null) return parsed
  connection.target = null
  if (parsed === target.standIn) return target.sent
  socket.destroy()
  return REFUSED_TARGET
}
