import { type Kind, quote } from '../kind.ts'

/** Where sessions are kept: in this process, at most `max` of them, or in Redis by the URLs of its nodes. */
export type StoreLocation =
  | { kind: 'memory'; max: number }
  | { kind: 'redis'; url: string }
  | { kind: 'redis-cluster'; urls: string[] }
  | { kind: 'redis-sentinel'; urls: string[]; name: string }

const usual = 50_000
const forms = 'memory, redis://host:6379, redis+cluster://a:6379,b:6379 or redis+sentinel://a:26379,b:26379/NAME'

function parseMemory(text: string): StoreLocation | undefined {
  const [matched, digits] = /^memory:?(?:\?max=([1-9]\d{0,8}))?$/.exec(text) ?? []
  return matched === undefined ? undefined : { kind: 'memory', max: digits === undefined ? usual : Number(digits) }
}

function parseSingle(text: string): StoreLocation | undefined {
  const well = /^rediss?:\/\/[^/?#\s]+(\/\d{0,4})?$/.test(text) && URL.canParse(text)
  return well ? { kind: 'redis', url: text } : undefined
}

// Several nodes share one user name and password, written once before the first: redis+cluster://user:secret@a,b,c
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

// A user name or password with a bare % could not be read.
function decodes(text: string): boolean {
  const [, login = ''] = /^[^@]*?:\/\/([^@]*)@/.exec(text) ?? []
  try {
    decodeURIComponent(login)
    return true
  } catch {
    return false
  }
}

/** `memory`, `memory:?max=N`, or a URL of Redis, one node, a cluster or sentinels. */
export const store: Kind<StoreLocation> = {
  name: 'store',
  json: { type: 'string', pattern: '^(memory:?(\\?max=[1-9][0-9]*)?|rediss?(\\+(cluster|sentinel))?://.+)$' },
  parse(written, { refuse }) {
    const text = typeof written === 'string' ? written : ''
    if (!decodes(text)) return refuse('must have the user name and password percent-encoded: write % as %25')
    const location = parseMemory(text) ?? parseSingle(text) ?? parseNodes(text)
    if (location !== undefined) return location
    return refuse(`must be one of ${forms}${text.includes('@') ? '' : `, not ${quote(written)}`}`)
  },
  format(value) {
    if (value.kind === 'memory') return `memory:?max=${value.max}`
    if (value.kind === 'redis') return value.url
    if (value.kind === 'redis-cluster') return formatNodes('cluster', value.urls)
    return `${formatNodes('sentinel', value.urls)}/${value.name}`
  },
}
