import type { ProviderSettings } from '../config/schema.ts'
import type { Log } from '../telemetry/log.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import type { Tracing } from '../telemetry/tracing.ts'
import { mayHaveIssued } from './issuer.ts'
import { announcedIssuer, isIssuer, openProvider, type Provider } from './provider.ts'
import { unverifiedClaims } from './token-set.ts'

/** The members of a session that say which provider it belongs to. */
interface Ownership {
  readonly provider?: string
  readonly client?: string
}

/** The providers of the configuration. The only provider of the key `provider` has the name `undefined`. */
export interface Providers {
  /** At least one provider, in the order of the configuration. */
  readonly all: readonly Provider[]
  /** Returns the provider of a name, or `null`. A single provider is returned for every name. */
  find(name: string | undefined): Provider | null
  /** Returns the provider of a session. Throws for a session that `adopt` refuses. */
  of(session: Ownership): Provider
  /**
   * Returns a stored session under the current name of its provider. Returns `null` if no provider has that name, or if
   * the provider of that name has another issuer or client ID than the one at which the session began.
   */
  adopt<S extends Ownership>(session: S): S | null
  /** Returns the providers that may issue tokens with this `iss`. */
  issuing(iss: string): readonly Provider[]
  /**
   * Returns those of `among` that may have issued a token, by its unverified `iss`. A provider has the issuers that
   * `issuersOf` returns, by default the one in its metadata. If none has that issuer, returns those that have not been
   * discovered yet, because their issuer may differ from the configured one. If `among` has one provider, returns it
   * without a comparison.
   */
  mayHaveIssued(
    token: string,
    among: readonly Provider[],
    issuersOf?: (provider: Provider) => readonly string[],
  ): readonly Provider[]
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
  const single = all.length === 1 ? (all[0] ?? null) : null

  function find(name: string | undefined): Provider | null {
    return byName.get(name) ?? single
  }

  /** Returns the provider at which a stored session began, by the client's identity where the name does not tell. */
  function ownerOf({ provider: name, client }: Ownership): Provider | null {
    // Records of earlier releases do not name the client.
    const same = all.filter((provider) => client === undefined || provider.client === client)
    const named = same.find((provider) => provider.name === name)
    if (named !== undefined) return named
    // The operator may have replaced the key `provider` with `providers`, or `providers` with `provider`.
    const isUnambiguous = same.length === 1 && (name === undefined || single !== null)
    return isUnambiguous ? (same[0] ?? null) : null
  }

  return {
    all,
    find,
    of({ provider: name }) {
      const provider = find(name)
      if (provider === null) throw new Error(`there is no provider ${name}`)
      return provider
    },
    adopt(session) {
      const owner = ownerOf(session)
      if (owner === null) return null
      if (owner.name === session.provider) return session
      const { provider: _, ...others } = session
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- `provider` is an optional member of S
      return { ...others, ...ownershipOf(owner) } as typeof session
    },
    issuing: (iss) => all.filter((provider) => isIssuer(provider, iss)),
    mayHaveIssued(token, among, issuersOf = (provider) => [announcedIssuer(provider)]) {
      if (among.length === 1) return among
      const { iss } = unverifiedClaims(token)
      const issuers = among.filter(
        (provider) => typeof iss === 'string' && issuersOf(provider).some((issuer) => mayHaveIssued(issuer, iss)),
      )
      return issuers.length > 0 ? issuers : among.filter((provider) => provider.peek() === null)
    },
    configure(next) {
      for (const one of next) byName.get(one.name)?.configure(one)
    },
    async close() {
      await Promise.all(all.map((provider) => provider.close()))
    },
  }
}

/** Returns the members of a session that say which provider it belongs to. */
export function ownershipOf({ name, client }: Pick<Provider, 'name' | 'client'>): Ownership {
  return { ...(name === undefined ? {} : { provider: name }), client }
}
