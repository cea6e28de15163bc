import { isDeepStrictEqual } from 'node:util'
import type { StoreLocation } from './kinds/store.ts'
import type { Config } from './schema.ts'

/** What is opened once at the start, or what all sessions stand on. */
const fixed: readonly (readonly [key: string, read: (config: Config) => unknown])[] = [
  ['listen', ({ listen }) => listen],
  ['tls', ({ tls }) => tls === null],
  ['forwardAuth', ({ forwardAuth }) => forwardAuth],
  ['admin', ({ admin }) => admin?.listen ?? null],
  ['workers', ({ workers }) => workers],
  ['session.store', ({ session }) => placeOf(session.store)],
  ['provider.issuer', ({ provider }) => provider.issuer],
  ['provider.clientId', ({ provider }) => provider.clientId],
]

/** The keys in which `next` differs from `running` and that only a restart can change. */
export function fixedKeys(running: Config, next: Config): string[] {
  return fixed.filter(([, read]) => !isDeepStrictEqual(read(running), read(next))).map(([key]) => key)
}

/** The same place with another user or password is no other place. */
function placeOf(store: StoreLocation): unknown {
  if (store.kind === 'memory') return store
  return store.kind === 'redis' ? { ...store, url: bare(store.url) } : { ...store, urls: store.urls.map(bare) }
}

function bare(url: string): string {
  return url.replace(/\/\/[^/@]*@/, '//')
}
