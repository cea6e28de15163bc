import type { FastifyReply, FastifyRequest } from 'fastify'
import { allowsProvider } from '../../gate/admit.ts'
import type { Facts } from '../../gate/verdict.ts'
import type { Provider } from '../../oidc/provider.ts'
import { sendPage } from '../answers/pages.ts'
import { contextOf } from '../context.ts'
import type { Services } from './endpoint.ts'

/**
 * Returns the providers at which a login may take place: those that the route of the return URL allows, and of these
 * the ones that `names` or an issuer asks for, if there are any.
 */
export function providersFor(
  { providers, routes }: Pick<Services, 'providers' | 'routes'>,
  { origin }: Facts,
  target: string,
  names: readonly string[],
  issuer: string | null,
): readonly Provider[] {
  const { host, pathname } = new URL(target, origin)
  const route = routes.match(host, 'GET', pathname)
  const allowed =
    route === null || route === 'endpoint'
      ? providers.all
      : providers.all.filter(({ name }) => allowsProvider(route, name))
  const ofIssuer = issuer === null ? allowed : providers.issuing(issuer)
  const wanted = allowed.filter(
    (provider) => (names.length === 0 || names.includes(provider.name ?? '')) && ofIssuer.includes(provider),
  )
  return wanted.length > 0 ? wanted : allowed
}

/** Sends the page on which the user chooses a provider. The one that this browser last logged in at comes first. */
export function sendChoice(
  { config, cookies }: Services,
  request: FastifyRequest,
  reply: FastifyReply,
  choices: readonly Provider[],
  parameters: URLSearchParams,
): FastifyReply {
  contextOf(request).verdict = 'choose_provider'
  const last = cookies.choice(request.headers.cookie)
  const ordered = choices.toSorted((a, b) => Number(b.name === last) - Number(a.name === last))
  return sendPage(
    request,
    reply,
    {
      text: 'choose_provider',
      actions: ordered.map(({ name = '', settings }) => {
        const repeated = new URLSearchParams(parameters)
        repeated.set('provider', name)
        return { label: { written: settings.title ?? name }, href: `${config.basePath}/login?${repeated.toString()}` }
      }),
      // Browsers keep the fragment of the requested page in the URL of this page, but not in its links.
      script: 'for(var a of document.querySelectorAll(".actions a"))a.hash=location.hash',
      isFramable: config.session.cookie.partitioned,
    },
    config.pages,
  )
}
