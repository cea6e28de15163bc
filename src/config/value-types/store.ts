import { quote, type ValueType } from '../value-type.ts'

/** Where sessions are stored: at most `max` in this process, or in Redis at the URLs of its nodes. */
export type StoreLocation =
  | { readonly kind: 'memory'; readonly max: number }
  | { readonly kind: 'redis'; readonly url: string }
  | { readonly kind: 'redis-cluster'; readonly urls: readonly string[] }
  | { readonly kind: 'redis-sentinel'; readonly urls: readonly string[]; readonly name: string }

const DEFAULT_MAX = 50_000
const FORMS = 'memory, redis://host:6379, redis+cluster://a:6379,b:6379 or redis+sentinel://a:26379,b:26379/NAME'

function parseMemory(text: string): StoreLocation | undefined {
  const [matched, digits] = /^memory:?(?:\?max=([1-9]\d{0,8}))?$/.exec(text) ?? []
  return matched === undefined
    ? undefined
    : { kind: 'memory', max: digits === undefined ? DEFAULT_MAX : Number(digits) }
}

function parseSingle(text: string): StoreLocation | undefined {
  const isValid = /^rediss?:\/\/[^/?#\s]+(\/\d{0,4})?$/.test(text) && URL.canParse(text)
  return isValid ? { kind: 'redis', url: text } : undefined
}

/** Parses a URL whose nodes share the user name and password before the first: `redis+cluster://user:secret@a,b,c`. */
function parseNodes(text: string): StoreLocation | undefined {
  const [, tls = '', kind, login = '', hosts = '', name] =
    /^redis(s?)\+(cluster|sentinel):\/\/([^/?#\s@]*@)?([^/?#\s@]+?)(?:\/([A-Za-z0-9_.-]*))?$/.exec(text) ?? []
  if (kind === undefined) return undefined
  const urls = hosts.split(',').map((host) => `redis${tls}://${login}${host}`)
  if (urls.some((url) => !/\/\/[^,]*[^@,]$/.test(url) || !URL.canParse(url))) return undefined
  if (kind === 'cluster') return name === undefined || name === '' ? { kind: 'redis-cluster', urls } : undefined
  return name === undefined || name === '' ? undefined : { kind: 'redis-sentinel', urls, name }
}

function formatNodes(scheme: string, urls: readonly string[]): string {
  const nodes = urls.map((url) => /^redis(s?):\/\/(?:(.*)@)?(.*)$/.exec(url) ?? [])
  const [, tls = '', login] = nodes[0] ?? []
  const hosts = nodes.map(([, , , host = '']) => host).join(',')
  return `redis${tls}+${scheme}://${login === undefined ? '' : `${login}@`}${hosts}`
}

function hasDecodableCredentials(text: string): boolean {
  const [, login = ''] = /^[^@]*?:\/\/([^@]*)@/.exec(text) ?? []
  try {
    decodeURIComponent(login)
    return true
  } catch {
    return false
  }
}

/** `memory`, `memory:?max=N`, or the URL of a Redis node, cluster or group of sentinels. */
export const store: ValueType<StoreLocation> = {
  name: 'store',
  json: { type: 'string', pattern: '^(memory:?(\\?max=[1-9][0-9]*)?|rediss?(\\+(cluster|sentinel))?://.+)$' },
  parse(written, { refuse }) {
    const text = typeof written === 'string' ? written : ''
    if (!hasDecodableCredentials(text))
      return refuse('must have the user name and password percent-encoded: write % as %25')
    const location = parseMemory(text) ?? parseSingle(text) ?? parseNodes(text)
    if (location !== undefined) return location
    return refuse(`must be one of ${FORMS}${text.includes('@') ? '' : `, not ${quote(written)}`}`)
  },
  format(value) {
    if (value.kind === 'memory') return `memory:?max=${value.max}`
    if (value.kind === 'redis') return value.url
    if (value.kind === 'redis-cluster') return formatNodes('cluster', value.urls)
    return `${formatNodes('sentinel', value.urls)}/${value.name}`
  },
}
