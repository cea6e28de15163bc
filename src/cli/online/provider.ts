import { userApiOf } from '../../config/presets/apply.ts'
import type { Config, ProviderSettings } from '../../config/schema.ts'
import { causesBeneath } from '../../errors.ts'
import { readClientAssertion } from '../../oidc/client-assertion-file.ts'
import { tryCode, tryRedirectUri, type Trial } from '../../oidc/client-trial.ts'
import { createIntrospection } from '../../oidc/introspection.ts'
import { algorithmsOf } from '../../oidc/jwks.ts'
import { documentUrl, idTokenAlgorithms } from '../../oidc/metadata.ts'
import { proxyFor } from '../../oidc/outgoing-proxy.ts'
import { openProvider, type Discovered, type Provider } from '../../oidc/provider.ts'
import { withDeadline } from '../../resilience/deadline.ts'
import { openLog } from '../../telemetry/log.ts'
import type { Metrics } from '../../telemetry/metrics.ts'
import { redirectUrisOf } from '../registration.ts'
import {
  fail,
  noAnswerWithin,
  ok,
  QUESTION_TIMEOUT_MS,
  REQUEST_TIMEOUT_MS,
  warn,
  type Finding,
  type Question,
} from './report.ts'

/** A provider, opened for the questions, with the key of the configuration that describes the provider. */
export interface ProviderUnderCheck {
  readonly key: string
  readonly provider: Provider
  /** The warnings that the gateway would log about the provider. */
  readonly warnings: { readonly event: string; readonly msg: string }[]
}

/** Opens a provider with shorter time limits than in operation. */
export function openForCheck(settings: ProviderSettings, metrics: Metrics): ProviderUnderCheck {
  const warnings: { event: string; msg: string }[] = []
  const stream = {
    write(line: string): void {
      const { event, msg }: { event: string; msg: string } = JSON.parse(line)
      warnings.push({ event, msg })
    },
  }
  const limited = { ...settings, timeout: Math.min(settings.timeout, REQUEST_TIMEOUT_MS) }
  return {
    key: settings.name === undefined ? 'provider' : `providers.${settings.name}`,
    provider: openProvider(limited, openLog('warn', { stream }).log, metrics, null),
    warnings,
  }
}

/** Returns the questions about a provider: its document, keys and clock, and whether it accepts the gateway's client. */
export function providerQuestions(config: Config, checked: ProviderUnderCheck, introspects: boolean): Question[] {
  const { key, provider } = checked
  const file = provider.settings.clientAssertionFile
  const questions: Question[] = [{ subject: key, ask: () => askProvider(config, checked, introspects) }]
  if (file === null) return questions
  const ask = async (): Promise<Finding[]> => {
    await readClientAssertion(file)
    return [ok(`clientAssertionFile ${file} contains a JWT`)]
  }
  return [{ subject: key, ask }, ...questions]
}

async function askProvider(config: Config, checked: ProviderUnderCheck, introspects: boolean): Promise<Finding[]> {
  const { provider } = checked
  const { settings } = provider
  const startedAt = performance.now()
  let found: Discovered
  try {
    found = await provider.discovered()
  } catch (error) {
    return [fail(`document: ${causesBeneath(error)}`)]
  }
  const redirectUris = redirectUrisOf(config, settings)
  const [redirectUri = ''] = redirectUris
  // What is known about the provider is printed even if one of its endpoints does not answer.
  const remainingMs = QUESTION_TIMEOUT_MS - (performance.now() - startedAt) - REPORT_MS
  const answer = noAnswerWithin(QUESTION_TIMEOUT_MS)
  const late: Trial = { outcome: 'failed', answer, skew: null }
  const [keys, trial, introspection, ...pushed] = await Promise.all([
    withDeadline(keyFindings(found, settings), remainingMs, () => [fail(`keys ${keysUrl(found)}: ${answer}`)]),
    withDeadline(tryCode(provider, redirectUri), remainingMs, () => late),
    introspects && found.introspects
      ? withDeadline(introspectionFindings(provider), remainingMs, () => [fail(`introspection: ${answer}`)])
      : [],
    ...redirectUris.map((uri) => withDeadline(tryRedirectUri(provider, uri), remainingMs, () => late)),
  ])
  return [
    documentFinding(found, settings),
    ...keys,
    ...clockFindings(trial.skew, settings),
    ...clientFindings(trial, redirectUri, checked),
    ...pushed.flatMap((one, index) => pushFindings(one, redirectUris[index] ?? '', found, trial, settings)),
    ...scopeFindings(found, settings),
    ...introspection,
  ].map((finding) => withoutSecret(finding, settings))
}

/** The time before the deadline of the question at which its parts end. */
const REPORT_MS = 100

/** `withoutSecret` keeps shorter secrets, because they may be parts of words. */
const MIN_SECRET_LENGTH = 4

/**
 * Removes the client secret from a finding, as it is and as requests contain it, because a provider may repeat it in the
 * description of an error.
 */
function withoutSecret(finding: Finding, { clientId, clientSecret }: ProviderSettings): Finding {
  if (clientSecret === null || clientSecret.length < MIN_SECRET_LENGTH) return finding
  const [id, secret] = [formEncoded(clientId), formEncoded(clientSecret)]
  const forms = [
    Buffer.from(`${id}:${secret}`).toString('base64'),
    Buffer.from(`${clientId}:${clientSecret}`).toString('base64'),
    secret,
    encodeURIComponent(clientSecret),
    clientSecret,
  ]
  return { ...finding, text: forms.reduce((text, form) => text.replaceAll(form, '…'), finding.text) }
}

function formEncoded(text: string): string {
  return new URLSearchParams({ '': text }).toString().slice(1)
}

function documentFinding({ configuration }: Discovered, settings: ProviderSettings): Finding {
  const { issuer, token_endpoint: tokenEndpoint } = configuration.serverMetadata()
  const url = documentUrl(settings)
  const proxy = proxyFor(new URL(url ?? tokenEndpoint ?? settings.issuer), settings.proxy)
  const through = proxy === null ? '' : `, through the proxy ${proxy.origin}`
  return url === null
    ? ok(`document: none is needed, because the configuration has the endpoints of ${issuer}${through}`)
    : ok(`document ${url} answers 200, issuer ${issuer}${through}`)
}

async function keyFindings({ configuration, keys }: Discovered, settings: ProviderSettings): Promise<Finding[]> {
  // A provider without OpenID Connect signs nothing.
  if (userApiOf(settings) !== null) return []
  const server = configuration.serverMetadata()
  const url = keysUrl({ configuration })
  try {
    return [keyFinding(url, await keys.published(), idTokenAlgorithms(server))]
  } catch (error) {
    const text = causesBeneath(error)
    return [fail(text.includes(url) ? `keys: ${text}` : `keys ${url}: ${text}`)]
  }
}

function keysUrl({ configuration }: Pick<Discovered, 'configuration'>): string {
  return configuration.serverMetadata().jwks_uri ?? ''
}

/** Returns whether keys can verify signatures. `announced`: the algorithms that the provider announces, or `null`. */
export function keyFinding(
  url: string,
  keys: readonly Parameters<typeof algorithmsOf>[0][],
  announced: readonly string[] | null,
): Finding {
  const usable = keys
    .map((key) => algorithmsOf(key).filter((name) => announced === null || announced.includes(name)))
    .filter((names) => names.length > 0)
  const algorithms = [...new Set(usable.flat())].join(', ')
  const count = `${keys.length} ${keys.length === 1 ? 'key' : 'keys'}`
  if (usable.length > 0) return ok(`keys ${url}: ${count}, ${usable.length} for signatures (${algorithms})`)
  const expected = announced === null ? '' : ` (${announced.join(', ')})`
  return fail(`keys ${url}: none of ${count} is for a signature that the provider announces${expected}`)
}

function clockFindings(skew: number | null, { clockTolerance }: ProviderSettings): Finding[] {
  if (skew === null) return [warn('clock: not compared, because the token endpoint has sent no Date')]
  const seconds = Math.round(Math.abs(skew) / 1000)
  const difference = `clock: ${seconds} s ${skew > 0 ? 'behind' : 'ahead of'} the provider`
  if (seconds <= 1) return [ok('clock: equal to that of the provider')]
  return [
    Math.abs(skew) > clockTolerance
      ? fail(`${difference}, more than clockTolerance (${clockTolerance / 1000} s): synchronize both clocks with NTP`)
      : ok(difference),
  ]
}

function clientFindings(trial: Trial, redirectUri: string, { key, provider, warnings }: ProviderUnderCheck): Finding[] {
  const { clientId } = provider.settings
  const client = `client ${clientId}`
  const { answer } = trial
  switch (trial.outcome) {
    case 'accepted':
      return [ok(`${client} may authenticate (a code that does not exist: ${answer})`)]
    case 'redirect':
      return [fail(`${client}: ${answer}: register the redirect URI ${redirectUri}`)]
    case 'unclear':
      return [warn(`${client}: ${answer}: the answer does not say whether the client may authenticate`)]
    case 'failed':
      return [fail(`${client}: ${answer}`)]
    case 'client':
      return [
        fail(`${client}: ${answer}: ${credentialAdvice(provider.settings, key)}`),
        ...warnings.filter(({ event }) => event === 'basic_refused').map(({ msg }) => warn(`${client}: ${msg}`)),
      ]
  }
}

/** Returns the keys that the provider's refusal of the client concerns, and what to write there. */
function credentialAdvice(settings: ProviderSettings, key: string): string {
  const id = `write the client ID of the registration in ${key}.clientId`
  if (settings.clientAssertionFile !== null)
    return `${id}, and let the provider trust the issuer and subject of the JWT in ${key}.clientAssertionFile`
  if (settings.privateKey !== null) return `${id}, and register the public key of ${key}.privateKey at the provider`
  if (settings.clientSecret !== null)
    return (
      `${id} and its secret in ${key}.clientSecret, or set ${key}.clientAuthentication to the method for which the ` +
      'client is registered'
    )
  if (settings.clientCertificate !== null)
    return `${id}, and register the certificate of ${key}.clientCertificate at the provider`
  return `${id}, and register a public client, or set ${key}.clientSecret`
}

function pushFindings(
  pushed: Trial | null,
  redirectUri: string,
  { configuration }: Discovered,
  { outcome }: Trial,
  { pushedAuthorization }: ProviderSettings,
): Finding[] {
  if (pushed === null) {
    const { pushed_authorization_request_endpoint: endpoint } = configuration.serverMetadata()
    if (endpoint === undefined || pushedAuthorization === 'off' || outcome !== 'accepted') return []
    return [warn('the provider refuses pushed requests to this client, so logins send the parameters in the URL')]
  }
  if (pushed.outcome === 'accepted') return [ok(`redirect URI ${redirectUri} is registered`)]
  return pushed.outcome === 'redirect'
    ? [fail(`redirect URI ${redirectUri}: ${pushed.answer}: register it at the provider`)]
    : [fail(`pushed request with the redirect URI ${redirectUri}: ${pushed.answer}`)]
}

function scopeFindings({ configuration }: Discovered, { scopes }: ProviderSettings): Finding[] {
  const { scopes_supported: announced } = configuration.serverMetadata()
  if (scopes === null || announced === undefined) return []
  const missing = scopes.filter((scope) => !announced.includes(scope))
  return missing.length === 0
    ? [ok(`scopes ${scopes.join(' ')} are announced`)]
    : [warn(`scopes: the document does not announce ${missing.join(' ')} in scopes_supported`)]
}

async function introspectionFindings(provider: Provider): Promise<Finding[]> {
  try {
    await createIntrospection(provider).ask('gatehouse-check', '127.0.0.1', Date.now())
    return [ok('the introspection endpoint answers')]
  } catch (error) {
    return [fail(`introspection: ${causesBeneath(error)}`)]
  }
}
