import type { Provider } from './provider.ts'

/** The provider's name as its tokens have it, once it has been discovered; else as it is configured. */
export function issuerOf(provider: Provider): string {
  return provider.peek()?.configuration.serverMetadata().issuer ?? provider.settings.issuer
}
