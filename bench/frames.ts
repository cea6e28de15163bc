const TEXT = 0x81
const PAYLOAD = Buffer.alloc(120, 'a message of a typical chat. ')

/**
 * A client's message: one masked text frame with 120 bytes of payload. The mask is all zeros, so it changes nothing.
 * @see https://www.rfc-editor.org/rfc/rfc6455#section-5.2
 */
export const CLIENT_FRAME = Buffer.concat([Buffer.of(TEXT, 0x80 | PAYLOAD.length, 0, 0, 0, 0), PAYLOAD])

/** The same message from a server, which does not mask it. */
export const SERVER_FRAME = Buffer.concat([Buffer.of(TEXT, PAYLOAD.length), PAYLOAD])
