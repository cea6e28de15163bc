/**
 * Returns whether a Transfer-Encoding only frames the message. The gateway can't decode other codings, and would lose them.
 * @see https://www.rfc-editor.org/rfc/rfc9112#section-7
 */
export function isPlainCoding(transferEncoding: string): boolean {
  return /^[\s,]*(?:chunked|identity)[\s,]*$/i.test(transferEncoding)
}
