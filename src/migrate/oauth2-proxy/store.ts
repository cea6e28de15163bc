import { type Draft, has, put, remark, secret, secretOf } from '../draft.ts'
import { type Entry, flagOf, listOf, literal, textOf } from '../entry.ts'

/** Reads together where sessions are kept. */
export function finishStore(draft: Draft): void {
  const given = (key: string): Entry | undefined => draft.given.get(key)
  const type = given('session_store_type')
  const usesRedis = type === undefined ? false : textOf(type) === 'redis'
  if (!usesRedis) {
    if (type === undefined && !given('redis_connection_url')) return keysOf(draft)
    put(draft, 'session.store', 'memory:', ...(type === undefined ? [] : [type]))
    remark(
      draft,
      'differs',
      type ?? null,
      'sessions are kept in memory here, not in cookies: a restart ends them, and several replicas need ' +
        'session.store: redis://…',
    )
    return keysOf(draft)
  }
  const cluster = given('redis_use_cluster')
  const sentinel = given('redis_use_sentinel')
  const sources = [
    type,
    given('redis_connection_url'),
    cluster,
    sentinel,
    given('redis_cluster_connection_urls'),
    given('redis_sentinel_connection_urls'),
    given('redis_sentinel_master_name'),
  ].filter((entry) => entry !== undefined)
  const { urls, scheme, name } = nodesOf(draft)
  const parsed = urls.map((url) => ({ url, ...authority(url) }))
  const tls = urls.some((url) => url.startsWith('rediss:')) ? 's' : ''
  const hosts = parsed.map(({ host }) => host).filter((host) => host !== '')
  if (hosts.length === 0 || (scheme === '+sentinel' && name === '')) {
    put(draft, 'session.store', 'redis://redis.change-me.invalid:6379', ...sources)
    remark(draft, 'todo', type ?? null, 'no URL of Redis is given: set session.store')
  } else {
    const end = scheme === '' ? (parsed[0]?.database ?? '') : scheme === '+sentinel' ? `/${name}` : ''
    put(
      draft,
      'session.store',
      literal(`redis${tls}${scheme}://${scheme === '' ? (hosts[0] ?? '') : hosts.join(',')}${end}`),
      ...sources,
    )
  }
  credentials(draft, parsed, sources)
  const apart = given('redis_sentinel_password')
  if (apart !== undefined)
    remark(draft, 'differs', apart, 'sentinels and servers share session.redis.username and session.redis.password')
  keysOf(draft)
}

function nodesOf(draft: Draft): { urls: string[]; scheme: string; name: string } {
  const on = (key: string): boolean => {
    const entry = draft.given.get(key)
    return entry !== undefined && flagOf(entry) === true
  }
  const list = (key: string): string[] => {
    const entry = draft.given.get(key)
    return entry === undefined ? [] : listOf(entry)
  }
  const master = draft.given.get('redis_sentinel_master_name')
  if (on('redis_use_sentinel')) {
    return {
      urls: list('redis_sentinel_connection_urls'),
      scheme: '+sentinel',
      name: master === undefined ? '' : textOf(master),
    }
  }
  if (on('redis_use_cluster')) return { urls: list('redis_cluster_connection_urls'), scheme: '+cluster', name: '' }
  return { urls: list('redis_connection_url').slice(0, 1), scheme: '', name: '' }
}

interface Authority {
  readonly host: string
  readonly database: string
  readonly username: string
  readonly hasPassword: boolean
}

/** What a URL of Redis says; its password stays where it is. */
export function authority(url: string): Authority {
  const [, login = '', host = '', database = ''] =
    /^(?:rediss?:\/\/)?(?:(.*)@)?([^/?#@\s]+)(\/\d{0,4})?/.exec(url) ?? []
  const colon = login.indexOf(':')
  return {
    host,
    database: database === '/' ? '' : database,
    username: colon === -1 ? '' : login.slice(0, colon),
    // Without a colon it is a user by the standard, and as often a password.
    hasPassword: colon === -1 ? login !== '' : login.length > colon + 1,
  }
}

function credentials(draft: Draft, nodes: readonly Authority[], sources: readonly Entry[]): void {
  const username = draft.given.get('redis_username')
  const password = draft.given.get('redis_password')
  const inUrl = nodes.find((node) => node.username !== '')?.username
  if (username !== undefined) put(draft, 'session.redis.username', literal(textOf(username)), username)
  else if (inUrl !== undefined) put(draft, 'session.redis.username', literal(decode(inUrl)), ...sources)
  if (password !== undefined)
    put(draft, 'session.redis.password', secretOf(draft, password, 'REDIS_PASSWORD'), password)
  else if (nodes.some(({ hasPassword }) => hasPassword)) {
    put(
      draft,
      'session.redis.password',
      secret(draft, 'REDIS_PASSWORD', 'the password in the URL of Redis'),
      ...sources,
    )
  }
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

/** Without a key of its own every restart would end all sessions. */
function keysOf(draft: Draft): void {
  if (has(draft, 'session.keys')) return
  put(draft, 'session.keys', [secret(draft, 'SESSION_KEY', 'a new key: gatehouse keygen prints one')])
}
