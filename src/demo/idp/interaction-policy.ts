import type { interactionPolicy } from 'oidc-provider'
import { acrs, asksForSecondFactor } from './acr.ts'
import type { IdpSettings } from './settings.ts'

/**
 * When a user has to be asked: as oidc-provider does by itself, and besides when `acr_values` want a second factor
 * that the session lacks (RFC 9470) and when `prompt=select_account` is requested.
 */
export const createInteractionPolicy = (
  { base, Check, Prompt }: typeof interactionPolicy,
  settings: Pick<IdpSettings, 'ignoreStepUp'>,
): interactionPolicy.Prompt[] => {
  const policy = base()
  policy
    .get('login')
    ?.checks.add(
      new Check(
        'acr_values',
        'a second factor is needed',
        'interaction_required',
        ({ oidc }) =>
          !settings.ignoreStepUp && asksForSecondFactor(oidc.params ?? {}) && oidc.session?.acr !== acrs.mfa,
      ),
    )
  for (const check of ['max_age', 'essential_acr', 'essential_acrs']) {
    const usual = policy.get('login')?.checks.get(check)
    if (usual === undefined) throw new Error(`oidc-provider has no check ${check} any more`)
    const { check: isNeeded } = usual
    usual.check = async (ctx) => (settings.ignoreStepUp ? Check.NO_NEED_TO_PROMPT : isNeeded(ctx))
  }
  policy.add(new Prompt({ name: 'select_account', requestable: true }), 0)
  return policy
}
