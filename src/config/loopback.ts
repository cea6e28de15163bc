import { isIP } from 'node:net'
import { withoutBrackets } from './without-brackets.ts'

/** Whether a URL's host is this machine alone: 127.0.0.0/8, ::1 or localhost (RFC 6761 section 6.3). */
export function isLoopback(hostname: string): boolean {
  const bare = withoutBrackets(hostname).toLowerCase()
  return bare === 'localhost' || bare === '::1' || (isIP(bare) === 4 && bare.startsWith('127.'))
}
