import type { IncomingMessage, ServerResponse } from 'node:http'
import { text } from 'node:stream/consumers'
import type { InteractionResults, Provider } from 'oidc-provider'
import { sendPage } from '../html.ts'
import { acrs, asksForSecondFactor } from './acr.ts'
import { loginPage, page, secondFactorPage } from './pages.ts'
import type { User } from './settings.ts'

type Interaction = Awaited<ReturnType<Provider['interactionDetails']>>

const ACR_REASONS = ['acr_values', 'essential_acr', 'essential_acrs']

/** Returns the signed-in user if only a second factor is missing. */
function userForSecondFactor(interaction: Interaction): string | undefined {
  return interaction.prompt.reasons.every((reason) => ACR_REASONS.includes(reason))
    ? interaction.session?.accountId
    : undefined
}

function resultOf(interaction: Interaction, accountId: string, secondFactor: boolean): InteractionResults {
  return {
    [interaction.prompt.name]: {},
    login: {
      accountId,
      acr: secondFactor ? acrs.mfa : acrs.password,
      amr: secondFactor ? ['pwd', 'otp'] : ['pwd'],
    },
  }
}

/**
 * Answers the interaction URLs of the provider: shows the users, asks for the second factor if the request requires it,
 * and redirects the browser back. It never asks for consent.
 */
export async function answerInteraction(
  provider: Provider,
  users: ReadonlyMap<string, User>,
  req: IncomingMessage,
  res: ServerResponse,
): Promise<void> {
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
    const known = needsSecondFactor ? userForSecondFactor(interaction) : undefined
    const html =
      known === undefined
        ? loginPage(users.values(), String(params.client_id), params.login_hint)
        : secondFactorPage(known)
    sendPage(res, 200, html)
    return
  }
  const form = new URLSearchParams(await text(req))
  if (form.has('cancel')) {
    const refusal = { error: 'access_denied', error_description: 'the user canceled the sign-in' }
    await provider.interactionFinished(req, res, refusal, { mergeWithLastSubmission: false })
    return
  }
  const sub = form.get('login') ?? ''
  if (!users.has(sub)) {
    sendPage(res, 400, page('Demo sign-in', '<p>There is no such user. Go back and choose one of the buttons.</p>'))
    return
  }
  const secondFactor = form.get('factor') === 'confirmed'
  if (needsSecondFactor && !secondFactor) {
    sendPage(res, 200, secondFactorPage(sub))
    return
  }
  const signedIn = resultOf(interaction, sub, secondFactor)
  await provider.interactionFinished(req, res, signedIn, { mergeWithLastSubmission: true })
}
