import { isDeepStrictEqual } from 'node:util'
import type { Config } from './schema.ts'
import type { StoreLocation } from './value-types/store.ts'

/** Keys whose values are read only at the start, or on which all sessions depend. */
const restartRequired: readonly (readonly [key: string, read: (config: Config) => unknown])[] = [
  ['listen', ({ listen }) => listen],
  ['tls', ({ tls }) => tls === null],
  ['forwardAuth', ({ forwardAuth }) => forwardAuth],
  ['admin', ({ admin }) => admin?.listen ?? null],
  ['workers', ({ workers }) => workers],
  ['session.store', ({ session }) => withoutCredentials(session.store)],
  ['provider.issuer', ({ provider }) => provider.issuer],
  ['provider.clientId', ({ provider }) => provider.clientId],
]

export function keysRequiringRestart(running: Config, next: Config): string[] {
  return restartRequired.filter(([, read]) => !isDeepStrictEqual(read(running), read(next))).map(([key]) => key)
}

/** Returns a store's location without user name and password, which a reload may change. */
function withoutCredentials(store: StoreLocation): StoreLocation {
  if (store.kind === 'memory') return store
  return store.kind === 'redis'
    ? { ...store, url: urlWithoutCredentials(store.url) }
    : { ...store, urls: store.urls.map(urlWithoutCredentials) }
}

function urlWithoutCredentials(url: string): string {
  return url.replace(/\/\/[^/@]*@/, '//')
}
