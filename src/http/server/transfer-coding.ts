/**
 * Tells whether a Transfer-Encoding only frames the message: the gateway can't decode any other coding, and would lose it.
 * @see https://www.rfc-editor.org/rfc/rfc9112#section-7
 */
export function isPlainCoding(transferEncoding: string): boolean {
  return /^[\s,]*(?:chunked|identity)[\s,]*$/i.test(transferEncoding)
}
