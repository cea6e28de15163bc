/**
 * Whether a Transfer-Encoding says no more than how a message is framed (RFC 9112, sections 6.1 and 7): any other coding
 * would be lost on the way, and nothing here can undo it.
 */
export function isPlainCoding(transferEncoding: string): boolean {
  return /^[\s,]*(?:chunked|identity)[\s,]*$/i.test(transferEncoding)
}
