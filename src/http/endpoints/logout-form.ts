import type { FastifyReply, FastifyRequest } from 'fastify'
import { Fault } from '../../errors.ts'
import type { EndSession } from '../../oidc/logout.ts'
import { anySite, sendPage } from '../answers/pages.ts'
import { contextOf } from '../context.ts'
import { createSealedState, newStateId, type SealedState } from '../cookies/login-state.ts'
import { queryOf, type Endpoint, type Services } from './endpoint.ts'

type LogoutForm = Extract<EndSession, { method: 'POST' }>

/** How long a script's page may take to open the logout form. */
const FORM_LIFE_MS = 60_000

export const LOGOUT_FORM_PATH = 'logout/form'

/**
 * Keeps a logout form in the store and returns its URL. Only this browser's login cookie can open the form, because the
 * form has the ID token.
 */
export async function keepLogoutForm(
  { store, cookies, config }: Services,
  request: FastifyRequest,
  reply: FastifyReply,
  form: LogoutForm,
): Promise<string> {
  const { facts } = contextOf(request)
  const { binding, setCookie } = cookies.bind(facts.headers.cookie)
  const id = newStateId()
  await store.setNote(logoutFormName(id), sealOf(binding, id).seal(form), FORM_LIFE_MS)
  reply.header('set-cookie', setCookie)
  return `${facts.origin}${config.basePath}/${LOGOUT_FORM_PATH}?id=${id}`
}

function logoutFormName(id: string): string {
  return JSON.stringify(['logout form', id])
}

function sealOf(binding: string, id: string): SealedState<LogoutForm> {
  return createSealedState<LogoutForm>([Buffer.from(binding, 'base64url')], logoutFormName(id))
}

/** `GET logout/form`: sends the form of a script's logout, once. */
export const logoutForm: Endpoint = (services) => async (request, reply) => {
  const { store, cookies } = services
  const id = queryOf(request).get('id') ?? ''
  const name = logoutFormName(id)
  const sealed = await store.getNote(name)
  const form = cookies
    .bindings(request.headers.cookie)
    .map(({ secret }) => (sealed === null ? null : sealOf(secret, id).open(sealed)))
    .find((opened) => opened !== null)
  // Claims the form only for the browser that can open it.
  if (form === undefined || form === null || !(await store.claimOnce(name, FORM_LIFE_MS)))
    throw new Fault('logout_refused', {
      cause: new Error('the logout form is used, older than a minute, or of another browser'),
      text: 'logout_refused.used',
    })
  contextOf(request).verdict = 'logout'
  return sendLogoutForm(services, request, reply, form)
}

/** Sends a page that posts the logout to the provider. */
export function sendLogoutForm(
  { config }: Services,
  request: FastifyRequest,
  reply: FastifyReply,
  { url, fields }: LogoutForm,
): FastifyReply {
  const { origin } = contextOf(request).facts
  return sendPage(
    request,
    reply,
    {
      text: 'signing_out',
      actions: [{ label: 'continue', post: url, fields }],
      script: 'document.forms[0].submit()',
      // `form-action` applies to the provider and to the redirects of the provider.
      formTargets: [new URL(url).origin, ...anySite(origin)],
      isFramable: config.session.cookie.partitioned,
    },
    config.pages,
  )
}
