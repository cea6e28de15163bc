import type { ProviderSettings } from '../config/schema.ts'
import type { Log } from '../telemetry/log.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import type { Tracing } from '../telemetry/tracing.ts'
import { isIssuer, openProvider, type Provider } from './provider.ts'

/** The providers of the configuration. The only provider of the key `provider` has the name `undefined`. */
export interface Providers {
  /** At least one provider, in the order of the configuration. */
  readonly all: readonly Provider[]
  /** Returns the provider of a session. Throws for a name that the configuration does not have. */
  of(session: { readonly provider?: string }): Provider
  /** Returns the providers that may issue tokens with this `iss`. */
  issuing(iss: string): readonly Provider[]
  /** Switches each provider to its settings of the same name, like `configure` of a provider. */
  configure(settings: readonly ProviderSettings[]): void
  close(): Promise<void>
}

export function openProviders(
  settings: readonly ProviderSettings[],
  log: Log,
  metrics: Metrics,
  tracing: Tracing | null,
): Providers {
  const all = settings.map((one) => openProvider(one, log, metrics, tracing))
  const byName = new Map(all.map((provider) => [provider.name, provider]))

  return {
    all,
    of({ provider: name }) {
      const provider = byName.get(name)
      if (provider === undefined) throw new Error(`there is no provider ${name}`)
      return provider
    },
    issuing: (iss) => all.filter((provider) => isIssuer(provider, iss)),
    configure(next) {
      for (const one of next) byName.get(one.name)?.configure(one)
    },
    async close() {
      await Promise.all(all.map((provider) => provider.close()))
    },
  }
}
