import type { interactionPolicy } from 'oidc-provider'
import { acrs, asksForSecondFactor } from './acr.ts'

/**
 * When a user has to be asked: as oidc-provider does by itself, and besides when `acr_values` want a second factor
 * that the session lacks (RFC 9470) and when `prompt=select_account` is requested.
 */
export const createInteractionPolicy = (
  { base, Check, Prompt }: typeof interactionPolicy,
): interactionPolicy.Prompt[] => {
  const policy = base()
  policy.get('login')?.checks.add(new Check(
    'acr_values',
    'a second factor is needed',
    'interaction_required',
    ({ oidc }) => asksForSecondFactor(oidc.params ?? {}) && oidc.session?.acr !== acrs.mfa,
  ))
  policy.add(new Prompt({ name: 'select_account', requestable: true }), 0)
  return policy
}
