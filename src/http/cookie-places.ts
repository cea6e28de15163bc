import { isIP } from 'node:net'
import { withoutBrackets } from '../config/without-brackets.ts'

/** Where a cookie may have been set that came with a request: `domain` is `null` for the host alone. */
interface Place {
  readonly domain: string | null
  readonly path: string
}

/** More would not fit into an answer's head everywhere. */
const MOST = 24

/**
 * The places from which cookies of one name can have come with a request (RFC 6265, sections 5.1.3 and 5.1.4), the
 * likeliest first, 24 at most. `host` may have a port.
 */
export function placesOf(host: string, path: string): Place[] {
  const name = host.replace(/:\d+$/, '')
  const labels = isIP(withoutBrackets(name)) === 0 ? name.split('.') : []
  // A domain of one label is a public suffix, or the host itself.
  const domains = labels.slice(0, -1).map((_label, i) => labels.slice(i).join('.'))
  return pathsOf(path)
    .flatMap((at) => [null, ...domains].map((domain) => ({ domain, path: at })))
    .slice(0, MOST)
}

/** `/`, then every directory of the path, with a slash at its end and without. */
function pathsOf(path: string): string[] {
  const segments = path.split('/').slice(1)
  const ancestors = segments.flatMap((_segment, i) => {
    const whole = `/${segments.slice(0, i + 1).join('/')}`
    return i === segments.length - 1 ? [whole] : [whole, `${whole}/`]
  })
  // A semicolon would end the attribute.
  return [...new Set(['/', ...ancestors])].filter((one) => !one.includes(';'))
}
