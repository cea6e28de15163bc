import { isIP } from 'node:net'
import { compileRanges } from '../config/address-ranges.ts'
import { isLoopback, isProxyUrl, withoutBrackets } from '../config/value-types/address.ts'

type Environment = Readonly<Record<string, string | undefined>>

/**
 * Returns the proxy for a URL, or `null` for a direct connection. `setting` is the value of `provider.proxy`. With
 * `env`, the environment decides as in Go programs: `HTTPS_PROXY` is for https URLs, `HTTP_PROXY` for http URLs,
 * `NO_PROXY` lists exceptions, and calls to loopback addresses never use a proxy. (undici's `EnvHttpProxyAgent` also
 * uses `HTTP_PROXY` for https URLs, and reads no ranges.) Throws if a variable is not the URL of an http or https proxy.
 * @see https://pkg.go.dev/golang.org/x/net/http/httpproxy#Config
 */
export function proxyFor(url: URL, setting: string, environment: Environment = process.env): URL | null {
  if (setting === 'off') return null
  if (setting !== 'env') return new URL(setting)
  const [name, value] = variableFor(url, environment)
  if (value === '' || isLoopback(url.hostname)) return null
  const exceptions = environment['NO_PROXY'] ?? environment['no_proxy'] ?? ''
  return isException(url, exceptions) ? null : parseProxy(name, value)
}

function variableFor({ protocol }: URL, environment: Environment): readonly [name: string, value: string] {
  const upper = protocol === 'https:' ? 'HTTPS_PROXY' : 'HTTP_PROXY'
  const name = [upper, upper.toLowerCase()].find((one) => (environment[one] ?? '') !== '') ?? upper
  return [name, environment[name] ?? '']
}

function parseProxy(name: string, value: string): URL {
  const text = value.includes('://') ? value : `http://${value}`
  if (/^https?:\/\//i.test(text) && isProxyUrl(text)) return new URL(text)
  // The value may contain a password.
  throw new Error(`${name} is not the URL of an http or https proxy`)
}

/**
 * Returns whether `NO_PROXY` lists a URL's host: `*`, a domain with its subdomains, an IP address or a range in CIDR
 * notation. A domain or an address may have a port.
 */
function isException({ protocol, hostname, port }: URL, exceptions: string): boolean {
  const host = withoutBrackets(hostname).toLowerCase()
  const actualPort = port === '' ? (protocol === 'https:' ? '443' : '80') : port
  return exceptions
    .toLowerCase()
    .split(/[,\s]+/)
    .filter((entry) => entry !== '')
    .some((entry) => {
      if (entry === '*' || isWithin(host, entry)) return true
      const [, name = entry, wantedPort = actualPort] =
        isIP(entry) === 6 ? [] : (/^(\[[^\]]+\]|[^:]+):(\d+)$/.exec(entry) ?? [])
      const domain = withoutBrackets(name).replace(/^\*?\./, '')
      return wantedPort === actualPort && (host === domain || host.endsWith(`.${domain}`))
    })
}

function isWithin(host: string, range: string): boolean {
  const [, network = '', prefix = ''] = /^(.+)\/(\d{1,3})$/.exec(range) ?? []
  const family = isIP(network)
  if (family === 0 || isIP(host) !== family || Number(prefix) > (family === 4 ? 32 : 128)) return false
  return compileRanges([range]).contains(host)
}

/**
 * Returns the value of `Proxy-Authorization` for the credentials in a proxy's URL, or `null`.
 * @see https://www.rfc-editor.org/rfc/rfc7617#section-2
 */
export function proxyAuthorization({ username, password }: URL): string | null {
  if (username === '' && password === '') return null
  const credentials = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`
  return `Basic ${Buffer.from(credentials).toString('base64')}`
}
