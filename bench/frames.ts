const TEXT = 0x81
const PAYLOAD = Buffer.alloc(120, 'a message as people send them. ')

/** A client's message: one masked text frame (RFC 6455, section 5.2) of 120 bytes, with a mask that changes nothing. */
export const CLIENT_FRAME = Buffer.concat([Buffer.of(TEXT, 0x80 | PAYLOAD.length, 0, 0, 0, 0), PAYLOAD])

/** The same message as a server sends it. */
export const SERVER_FRAME = Buffer.concat([Buffer.of(TEXT, PAYLOAD.length), PAYLOAD])
