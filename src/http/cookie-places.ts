import { isIP } from 'node:net'
import { withoutBrackets } from '../config/without-brackets.ts'

/** Where a cookie may have been set that came with a request: `domain` is `null` for the host alone. */
interface Place {
  readonly domain: string | null
  readonly path: string
}

/** More would not fit into an answer's head everywhere. */
const MOST = 24
/** RFC 6265bis, section 5.6, bytes. */
const MAX_LENGTH = 1024

/**
 * The places from which cookies of one name can have come with a request (RFC 6265, sections 5.1.3 and 5.1.4), the
 * likeliest first, 24 at most. `host` may have a port.
 */
export function placesOf(host: string, path: string): Place[] {
  const name = host.replace(/:\d+$/, '')
  const labels = isIP(withoutBrackets(name)) === 0 ? name.split('.') : []
  // A domain of one label is a public suffix, or the host itself.
  const domains = labels
    .slice(0, -1)
    .slice(0, MOST)
    .map((_label, i) => labels.slice(i).join('.'))
  return pathsOf(path)
    .flatMap((at) => [null, ...domains].map((domain) => ({ domain, path: at })))
    .slice(0, MOST)
}

/** `/`, then the directories of the path, with a slash at their end and without, as many as count. */
function pathsOf(path: string): string[] {
  const paths = ['/']
  for (let at = 0; paths.length < MOST;) {
    const slash = path.indexOf('/', at + 1)
    paths.push(path.slice(0, slash === -1 ? undefined : slash))
    if (slash === -1) break
    paths.push(path.slice(0, slash + 1))
    at = slash
  }
  // A semicolon would end the attribute; a long one browsers ignore.
  return [...new Set(paths)].filter((one) => one.length <= MAX_LENGTH && !one.includes(';'))
}
