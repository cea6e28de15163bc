import { METHODS, type Server } from 'node:http'
import type { Socket } from 'node:net'

/** The parser of a connection: `HTTPParser` of Node.js. */
interface Parser {
  /** Called after each packet, with the number of parsed bytes or an error. A member of the class has the index. */
  [kOnExecute: number]: (parsed: unknown) => void
  readonly constructor: { readonly REQUEST: number; readonly kLenientNone: number; readonly kOnExecute: number }
  remove(): void
  initialize(type: number, resource: object, maxHeaderSize: number, leniency: number, connections: unknown): void
  /** Returns how long a request has been arriving, or 0 between two requests. */
  duration(): number
}

interface ParseError extends Error {
  readonly code?: string
  readonly rawPacket?: Buffer
  readonly bytesParsed?: number
}

interface Connection {
  readonly parser: Parser
  /** Whether no packet has been parsed yet. */
  isFresh: boolean
  /** Whether the parsed packets end between two requests. */
  isBetween: boolean
  /** The target that the client sent, and the one that the parser must report for it. */
  target: { readonly sent: string; readonly standIn: string } | null
  /** The rest of a packet, from a request line that is to be parsed again. */
  rest: Buffer | null
  isParsing: boolean
}

const [NEWLINE, FIRST_RAW, STAND_IN] = [0x0a, 0x80, 0x7e]
const RAW = /[\u0080-\u00ff]/g
const REQUEST_LINE = /^([A-Z-]+) ([!-~\u0080-\u00ff]+) HTTP\/1\.[01]\r\n$/
const BLANK_LINES = /^[\r\n]*$/
/** A target that the gateway refuses. */
const REFUSED_TARGET = '\\'

const CONNECTIONS = 'http.server.connections'

const connections = new WeakMap<Socket, Connection>()

/**
 * Tracks whether the packets of a connection begin with a request, for `parseRawTarget`. The caller must call this
 * function after Node.js has set up the connection.
 */
export function trackPackets(socket: Socket): void {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- Node.js does not publish the type of its parser
  const parser = Reflect.get(socket, 'parser') as Parser
  const { kOnExecute } = parser.constructor
  const connection: Connection = {
    parser,
    isFresh: true,
    isBetween: true,
    target: null,
    rest: null,
    isParsing: false,
  }
  connections.set(socket, connection)
  const onExecute = parser[kOnExecute]
  parser[kOnExecute] = (parsed) => {
    onExecute?.(parsed)
    notePacket(connection)
  }
  // The parser gets the bytes that were read for the protocol detection from the socket, without this callback.
  if (socket.readableLength > 0) socket.once('resume', () => process.nextTick(notePacket, connection))
}

function notePacket(connection: Connection): void {
  connection.isFresh = false
  connection.isBetween = connection.parser.duration() === 0
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
  if (connection === undefined || end === 0 || !beginsWithRequest(rawPacket, socket, connection)) {
    error.message = 'the target has bytes above 0x7F, and the request line arrived in several packets'
    return false
  }
  // The body could be followed by the request line without a line break.
  if (isBehindBody && !BLANK_LINES.test(rawPacket.toString('latin1', 0, start))) {
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

/** Returns whether the parser was between two requests when it got this packet. */
function beginsWithRequest(packet: Buffer, socket: Socket, { isFresh, isBetween }: Connection): boolean {
  return isFresh ? socket.bytesRead === packet.length : isBetween
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
    Object.assign(connection, { rest: null, isFresh: false, isBetween: true })
    socket.emit('data', rest)
    notePacket(connection)
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
