import type { Config } from '../../config/schema.ts'
import { causes } from '../../errors.ts'
import { withDeadline } from '../../resilience/deadline.ts'
import { fail, noAnswerWithin, ok, REQUEST_TIMEOUT_MS, warn, type Finding, type Question } from './report.ts'

/** The eviction policies with which Redis keeps the index of every session in use. */
const SAFE_POLICIES = new Set(['noeviction', 'volatile-ttl'])

/** Returns the question about the store: whether the gateway can connect, write and read. */
export function storeQuestion({ store, redis }: Config['session']): Question {
  return {
    subject: 'store',
    async ask() {
      if (store.kind === 'memory') return [ok('memory, nothing to ask')]
      const addresses = addressesOf(store)
      const { probeRedis } = await import('../../store/redis/probe.ts')
      try {
        const found = await withDeadline(probeRedis(store, redis), REQUEST_TIMEOUT_MS, () => {
          throw new Error(noAnswerWithin(REQUEST_TIMEOUT_MS))
        })
        const masters = found.masters > 1 ? `, ${found.masters} masters` : ''
        const server = found.server === null ? '' : ` (${found.server}${masters})`
        return [
          found.isOld
            ? fail(`${addresses}: ${found.server ?? 'Redis'} is too old: the gateway requires Redis 6.2 or Valkey 7.2`)
            : ok(`${addresses}${server}: wrote, read and deleted a key`),
          ...evictionFinding(found.evictionPolicy),
        ]
      } catch (error) {
        return [fail(`${addresses}: ${causes(error)}${adviceOn(error)}`)]
      }
    },
  }
}

function evictionFinding(policy: string | null): Finding[] {
  if (policy === null || SAFE_POLICIES.has(policy)) return []
  return [
    warn(`maxmemory-policy is ${policy}, which may drop the index of a session in use: set noeviction or volatile-ttl`),
  ]
}

/** Returns the addresses of the store, without credentials. */
function addressesOf(store: Exclude<Config['session']['store'], { kind: 'memory' }>): string {
  const urls = (store.kind === 'redis' ? [store.url] : store.urls).map((url) => new URL(url))
  const hosts = urls.map(({ host }) => host).join(',')
  const tls = urls[0]?.protocol === 'rediss:' ? 'rediss' : 'redis'
  switch (store.kind) {
    case 'redis':
      return `${tls}://${hosts}${urls[0]?.pathname ?? ''}`
    case 'redis-cluster':
      return `${tls}+cluster://${hosts}`
    case 'redis-sentinel':
      return `${tls}+sentinel://${hosts}/${store.name}`
  }
}

function adviceOn(error: unknown): string {
  const text = causes(error)
  return /WRONGPASS|NOAUTH|without any password/.test(text)
    ? ': set session.redis.username and session.redis.password as Redis has them'
    : ''
}
