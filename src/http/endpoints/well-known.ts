import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { allowsProvider } from '../../gate/admit.ts'
import { hostOf } from '../../gate/match.ts'
import { resourceUrl, type WellKnown } from '../../gate/protected-resource.ts'
import type { CompiledRoute } from '../../gate/verdict.ts'
import { PROOF_ALGORITHMS } from '../../oidc/dpop-proof.ts'
import { isTemplate, issuerOfTenant, withOrigin } from '../../oidc/issuer.ts'
import { announcedIssuer, type Provider } from '../../oidc/provider.ts'
import { contextOf } from '../context.ts'
import type { Services } from './endpoint.ts'

const ALLOWED = ['GET', 'HEAD', 'OPTIONS']

/** How long clients may cache a document. */
const MAX_AGE_S = 300
/** How long clients may cache metadata from before the first discovery, when the provider's own issuer is unknown. */
const MAX_PRELIMINARY_AGE_S = 5

type WellKnownServices = Pick<Services, 'answers' | 'config' | 'providers' | 'routes'>

/**
 * Registers the hook that serves the documents below `/.well-known/` of routes with metadata. The hook comes before the
 * rate limits. All other requests continue.
 */
export function registerWellKnown(app: FastifyInstance, services: WellKnownServices): void {
  const { answers, config, routes } = services
  if (!config.routes.some(({ bearer }) => bearer?.metadata === true)) return
  app.addHook('onRequest', (request, reply, done) => {
    const { origin, method, path } = contextOf(request).facts
    const found = routes.wellKnown(hostOf(origin), method, path)
    if (found === null) {
      done()
      return
    }
    // The documents are public, so pages of every origin may read them.
    reply.header('access-control-allow-origin', '*').header('x-content-type-options', 'nosniff')
    if (!ALLOWED.includes(method)) answers.deny(request, reply, { reason: 'method-not-allowed', allow: ALLOWED })
    else if (method === 'OPTIONS') answerPreflight(request, reply)
    else
      send(services, found, request, reply).catch((error: unknown) => {
        void reply.send(error)
      })
  })
}

/** Allows `MCP-Protocol-Version`, which MCP clients send, and every other header that is not a credential. */
function answerPreflight(request: FastifyRequest, reply: FastifyReply): void {
  contextOf(request).verdict = 'preflight'
  void reply
    .code(204)
    .headers({
      'access-control-allow-methods': 'GET, HEAD',
      'access-control-allow-headers': 'MCP-Protocol-Version, *',
      'access-control-max-age': String(MAX_AGE_S),
      'allow': ALLOWED.join(', '),
    })
    .send()
}

async function send(
  { config, providers }: WellKnownServices,
  { about, route }: WellKnown,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<void> {
  const context = contextOf(request)
  const allowed = providers.all.filter(({ name }) => allowsProvider(route, name))
  const isDiscovered = about === 'provider' || allowed.every((provider) => provider.peek() !== null)
  const document =
    about === 'provider'
      ? // At least one provider is allowed. Its document has the origin's well-known URLs, which name no resource.
        ((await allowed[0]?.discovered())?.document ?? {})
      : resourceMetadata(route, context.facts.origin, allowed.map(issuerForClients), config.pages.title)
  context.verdict = 'metadata'
  void reply
    .code(200)
    .headers({
      'content-type': 'application/json',
      'cache-control': `public, max-age=${isDiscovered ? MAX_AGE_S : MAX_PRELIMINARY_AGE_S}`,
    })
    .send(JSON.stringify(document))
}

/**
 * Returns the issuer from which clients derive the URL of the provider's metadata. An issuer with a placeholder for the
 * tenant is not such a URL, so clients get the configured one, or that of all tenants.
 */
function issuerForClients(provider: Provider): string {
  const announced = announcedIssuer(provider)
  const { issuer, browserIssuerUrl } = provider.settings
  const url = isTemplate(announced) ? issuerOfTenant(issuer, 'common') : announced
  return browserIssuerUrl === null ? url : withOrigin(url, browserIssuerUrl)
}

/** @see https://www.rfc-editor.org/rfc/rfc9728#section-2 */
function resourceMetadata(
  { path, bearer }: CompiledRoute,
  origin: string,
  issuers: readonly string[],
  title: string | null,
): object {
  const { scopes = [], dpop = 'off' } = bearer ?? {}
  return {
    resource: resourceUrl({ path }, origin),
    authorization_servers: [...new Set(issuers)],
    ...(scopes.length === 0 ? {} : { scopes_supported: scopes }),
    bearer_methods_supported: ['header'],
    resource_name: title ?? new URL(origin).hostname,
    ...(dpop === 'off'
      ? {}
      : {
          dpop_signing_alg_values_supported: PROOF_ALGORITHMS,
          dpop_bound_access_tokens_required: dpop === 'required',
        }),
  }
}
