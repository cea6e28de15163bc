import { isDeepStrictEqual } from 'node:util'
import { providersOf, type Config, type ProviderSettings } from './schema.ts'
import type { StoreLocation } from './value-types/store.ts'

/** Keys whose values are read only at the start, or on which all sessions depend. */
const restartRequired: readonly (readonly [key: string, read: (config: Config) => unknown])[] = [
  ['listen', ({ listen }) => listen],
  ['listenH2c', ({ listenH2c }) => listenH2c],
  ['listenMode', ({ listenMode }) => listenMode],
  ['listenProxyProtocol', ({ listenProxyProtocol }) => listenProxyProtocol],
  ['tls', ({ tls }) => tls === null],
  ['tls.redirectFrom', ({ tls }) => tls?.redirectFrom ?? null],
  ['forwardAuth', ({ forwardAuth }) => forwardAuth],
  ['admin', ({ admin }) => admin?.listen ?? null],
  ['workers', ({ workers }) => workers],
  ['session.store', ({ session }) => withoutCredentials(session.store)],
  [
    'providers',
    (config) =>
      providersOf(config)
        .map(({ name = '' }) => name)
        .toSorted(),
  ],
]

export function keysRequiringRestart(running: Config, next: Config): string[] {
  const changed = restartRequired.filter(([, read]) => !isDeepStrictEqual(read(running), read(next)))
  const after = new Map(providersOf(next).map((provider) => [provider.name, provider]))
  const ofProviders = providersOf(running).flatMap((provider) => changedKeys(provider, after.get(provider.name)))
  return [...changed.map(([key]) => key), ...ofProviders]
}

/** Returns the keys of a provider that identify the gateway's client, if they have changed. */
function changedKeys(before: ProviderSettings, after: ProviderSettings | undefined): string[] {
  if (after === undefined) return []
  const section = before.name === undefined ? 'provider' : `providers.${before.name}`
  return (['issuer', 'clientId'] as const).filter((key) => before[key] !== after[key]).map((key) => `${section}.${key}`)
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
