import type { Provider } from './provider.ts'

/** The provider's issuer as its metadata has it, a template where it speaks for many; before discovery as configured. */
export function announcedIssuer(provider: Provider): string {
  return provider.peek()?.configuration.serverMetadata().issuer ?? provider.settings.issuer
}
