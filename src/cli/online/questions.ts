import { providersOf, type Config } from '../../config/schema.ts'
import type { Provider } from '../../oidc/provider.ts'
import { createTokenIssuers, type TokenIssuerSettings } from '../../oidc/token-issuers.ts'
import { createMetrics } from '../../telemetry/metrics.ts'
import { keyFinding, openForCheck, providerQuestions } from './provider.ts'
import type { Question } from './report.ts'
import { storeQuestion } from './store.ts'
import { upstreamQuestions } from './upstreams.ts'

/** Returns what to ask the systems that a configuration names: providers, issuers of tokens, store and upstreams. */
export function questionsFor(config: Config): Question[] {
  const metrics = createMetrics()
  const checked = providersOf(config).map((settings) => openForCheck(settings, metrics))
  const providers = checked.map(({ provider }) => provider)
  return [
    ...checked.flatMap((one) => providerQuestions(config, one, introspectsFor(config, one.provider))),
    ...issuerQuestions(config, providers),
    storeQuestion(config.session),
    ...upstreamQuestions(config),
  ]
}

/** Returns whether a route may ask the provider about tokens that are not JWTs. */
function introspectsFor({ routes }: Config, { name }: Provider): boolean {
  return routes.some(
    ({ bearer, provider }) =>
      bearer !== null &&
      bearer.introspection !== 'off' &&
      (provider === null || name === undefined || provider.includes(name)),
  )
}

/** Returns a question for each of `bearer.issuers`: whether its keys can be read. */
function issuerQuestions({ routes }: Config, providers: readonly Provider[]): Question[] {
  const issuers = createTokenIssuers()
  const distinct = new Map<string, { readonly settings: TokenIssuerSettings; readonly provider: Provider }>()
  for (const { bearer, provider: names } of routes) {
    const provider = providers.find(({ name }) => names === null || name === undefined || names.includes(name))
    for (const settings of bearer?.issuers ?? [])
      if (provider !== undefined) distinct.set(`${settings.issuer} ${settings.jwksUri ?? ''}`, { settings, provider })
  }
  return [...distinct.values()].map(({ settings, provider }) => ({
    subject: `bearer.issuers ${settings.issuer}`,
    async ask() {
      const { url, keys } = await issuers.of(settings, provider).published()
      return [keyFinding(url, keys, null)]
    },
  }))
}
