import type { IncomingMessage, ServerResponse } from 'node:http'
import { text } from 'node:stream/consumers'
import type { InteractionResults, Provider } from 'oidc-provider'
import { acrs, asksForSecondFactor } from './acr.ts'
import { loginPage, secondFactorPage } from './login-page.ts'
import { page } from './page.ts'
import type { User } from './users.ts'

type Interaction = Awaited<ReturnType<Provider['interactionDetails']>>

const acrReasons = ['acr_values', 'essential_acr', 'essential_acrs']

const sendPage = (res: ServerResponse, status: number, html: string): void => {
  res.writeHead(status, { 'content-type': 'text/html; charset=utf-8', 'cache-control': 'no-store' }).end(html)
}

const signedInFor = (interaction: Interaction): string | undefined =>
  interaction.prompt.reasons.every((reason) => acrReasons.includes(reason)) ? interaction.session?.accountId : undefined

const outcome = (interaction: Interaction, accountId: string, secondFactor: boolean): InteractionResults => ({
  [interaction.prompt.name]: {},
  login: {
    accountId,
    acr: secondFactor ? acrs.mfa : acrs.password,
    amr: secondFactor ? ['pwd', 'otp'] : ['pwd'],
  },
})

/**
 * Answers the provider's interaction URLs: shows who can sign in, asks for the second factor where the request does,
 * and sends the browser back. Consent is never asked for.
 */
export const answerInteraction = async (
  provider: Provider,
  users: ReadonlyMap<string, User>,
  req: IncomingMessage,
  res: ServerResponse,
): Promise<void> => {
  const interaction = await provider.interactionDetails(req, res).catch(() => null)
  if (interaction === null) {
    sendPage(res, 400, page('Demo sign-in', '<p>This sign-in is over or belongs to another browser. Start again.</p>'))
    return
  }
  const { params, prompt } = interaction
  if (prompt.name === 'consent') {
    await provider.interactionFinished(req, res, { consent: {} }, { mergeWithLastSubmission: true })
    return
  }
  const needsSecondFactor = asksForSecondFactor(params)
  if (req.method !== 'POST') {
    const known = needsSecondFactor ? signedInFor(interaction) : undefined
    const html =
      known === undefined
        ? loginPage(users.values(), String(params.client_id), params.login_hint)
        : secondFactorPage(known)
    sendPage(res, 200, html)
    return
  }
  const form = new URLSearchParams(await text(req))
  if (form.has('cancel')) {
    const refusal = { error: 'access_denied', error_description: 'the user cancelled the sign-in' }
    await provider.interactionFinished(req, res, refusal, { mergeWithLastSubmission: false })
    return
  }
  const sub = form.get('login') ?? ''
  if (!users.has(sub)) {
    sendPage(res, 400, page('Demo sign-in', '<p>There is no such user. Go back and press one of the buttons.</p>'))
    return
  }
  const secondFactor = form.get('factor') === 'confirmed'
  if (needsSecondFactor && !secondFactor) {
    sendPage(res, 200, secondFactorPage(sub))
    return
  }
  const signedIn = outcome(interaction, sub, secondFactor)
  await provider.interactionFinished(req, res, signedIn, { mergeWithLastSubmission: true })
}
