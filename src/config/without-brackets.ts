/** A URL's host as sockets and certificates want it: an IPv6 address without its brackets. */
export function withoutBrackets(host: string): string {
  return host.replace(/^\[|\]$/g, '')
}
