import { has, type Migration, put, putSessionKey, remark, secretVariable, secretVariableFor } from '../migration.ts'
import { parseRedisUrl } from '../redis-url.ts'
import { flagOf, listOf, literal, type Setting, textOf } from '../setting.ts'
import { onlyVariable } from '../variable.ts'

export function migrateStore(migration: Migration): void {
  const type = migration.effective.get('session_store_type')
  if (type !== undefined && textOf(type) === 'redis') migrateRedis(migration, type)
  else if (type !== undefined || migration.effective.has('redis_connection_url')) {
    put(migration, 'session.store', 'memory:', ...(type === undefined ? [] : [type]))
    remark(
      migration,
      'differs',
      type ?? null,
      'sessions are kept in memory here, not in cookies: a restart ends them, and several replicas need ' +
        'session.store: redis://…',
    )
  }
  if (!has(migration, 'session.keys')) putSessionKey(migration)
}

function migrateRedis(migration: Migration, type: Setting): void {
  const sources = [
    'session_store_type',
    'redis_connection_url',
    'redis_use_cluster',
    'redis_use_sentinel',
    'redis_cluster_connection_urls',
    'redis_sentinel_connection_urls',
    'redis_sentinel_master_name',
  ].flatMap((key) => migration.effective.get(key) ?? [])
  const { urls, scheme, master } = redisNodes(migration)
  const nodes = urls.map(parseRedisUrl)
  const hosts = nodes.map(({ host }) => host).filter((host) => host !== '')
  const variable = urls.find((url) => onlyVariable(url) !== null)
  if (variable !== undefined && urls.length === 1 && scheme === '')
    put(migration, 'session.store', variable, ...sources)
  else if (hosts.length === 0 || (scheme === '+sentinel' && master === '')) {
    put(migration, 'session.store', 'redis://redis.change-me.invalid:6379', ...sources)
    remark(migration, 'todo', type, 'no URL of Redis is given: set session.store')
  } else {
    const tls = urls.some((url) => url.startsWith('rediss:')) ? 's' : ''
    const database = scheme === '' ? (nodes[0]?.database ?? '') : ''
    const path = scheme === '+sentinel' ? `/${master}` : database
    put(migration, 'session.store', literal(`redis${tls}${scheme}://${hosts.join(',')}${path}`), ...sources)
  }
  const username = migration.effective.get('redis_username')
  const usernameInUrl = nodes.find((node) => node.username !== '')?.username
  if (username !== undefined) put(migration, 'session.redis.username', literal(textOf(username)), username)
  else if (usernameInUrl !== undefined)
    put(migration, 'session.redis.username', literal(decodeComponent(usernameInUrl)), ...sources)
  const password = migration.effective.get('redis_password')
  if (password !== undefined)
    put(migration, 'session.redis.password', secretVariableFor(migration, password, 'REDIS_PASSWORD'), password)
  else if (nodes.some(({ hasPassword }) => hasPassword)) {
    const variable = secretVariable(migration, 'REDIS_PASSWORD', 'the password in the URL of Redis')
    put(migration, 'session.redis.password', variable, ...sources)
  }
  const sentinelPassword = migration.effective.get('redis_sentinel_password')
  if (sentinelPassword !== undefined)
    remark(
      migration,
      'differs',
      sentinelPassword,
      'sentinels and servers share session.redis.username and session.redis.password',
    )
}

/** Returns the URLs of the servers, and the suffix of the scheme in `session.store`, such as `+sentinel`. */
function redisNodes(migration: Migration): { urls: string[]; scheme: string; master: string } {
  const isOn = (key: string): boolean => {
    const setting = migration.effective.get(key)
    return setting !== undefined && flagOf(setting) === true
  }
  const list = (key: string): string[] => {
    const setting = migration.effective.get(key)
    return setting === undefined ? [] : listOf(setting)
  }
  if (isOn('redis_use_sentinel')) {
    const master = migration.effective.get('redis_sentinel_master_name')
    return {
      urls: list('redis_sentinel_connection_urls'),
      scheme: '+sentinel',
      master: master === undefined ? '' : textOf(master),
    }
  }
  if (isOn('redis_use_cluster')) return { urls: list('redis_cluster_connection_urls'), scheme: '+cluster', master: '' }
  return { urls: list('redis_connection_url').slice(0, 1), scheme: '', master: '' }
}

function decodeComponent(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}
