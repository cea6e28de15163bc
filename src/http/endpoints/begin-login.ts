import { stepUpKey } from '../../gate/admit.ts'
import { startPageOf } from '../../gate/return-target.ts'
import { Fault } from '../../errors.ts'
import { authorizationUrl, reauthenticates, type LoginRequest } from '../../oidc/login.ts'
import type { Provider } from '../../oidc/provider.ts'
import type { Session } from '../../session/session.ts'
import type { Context } from '../context.ts'
import { fingerprint, loginSecrets, newStateId, userMark } from '../cookies/login-state.ts'
import { callbackPath, type Services } from './endpoint.ts'

interface LoginParameters extends Pick<
  LoginRequest,
  'prompt' | 'chooseAccount' | 'loginHint' | 'acrValues' | 'maxAge' | 'scope' | 'claims' | 'parameters'
> {
  readonly provider: Provider
  readonly target: string
  readonly rejectedTarget?: string | undefined
  readonly silent: boolean
  readonly keep?: boolean
  readonly user?: string | null
  readonly before: Session | null
  readonly tries?: number
  readonly afterRefusal?: boolean
}

/** With a longer return URL, `state` would exceed the limit of some providers and proxies. */
const MAX_TARGET_IN_STATE = 1024

/**
 * Begins a login. Returns the provider's login URL and the Set-Cookie values that bind the login to this browser.
 * Rejects like `authorizationUrl`.
 */
export async function beginLogin(
  { cookies, loginStates, config, log }: Services,
  { facts, now }: Context,
  parameters: LoginParameters,
): Promise<{ url: URL; setCookies: string[] }> {
  const {
    provider,
    target,
    rejectedTarget,
    silent,
    keep = false,
    user = null,
    before,
    tries = 0,
    afterRefusal = false,
    prompt,
    chooseAccount = false,
    loginHint,
    acrValues,
    maxAge,
    scope,
    claims,
    parameters: passedOn = {},
  } = parameters
  // A login that only checks the session at the provider must not get a new refresh token each time.
  const identityOnly = keep && before !== null && before.tokens.refreshToken !== null
  const { binding, setCookie } = cookies.bind(facts.headers.cookie)
  const id = newStateId()
  const isLong = target.length > MAX_TARGET_IN_STATE
  const kept = isLong ? cookies.targets.keep(facts.headers.cookie, id, now, target) : null
  if (isLong && kept === null)
    log.info(
      { event: 'return_url_too_long', length: target.length, headers: config.limits.headers },
      'the cookies of a return URL do not fit into limits.headers, so the login leads to the start page',
    )
  const acrs = acrValues === undefined || acrValues === '' ? null : acrValues.split(' ')
  const state = loginStates.seal({
    id,
    ...(provider.name === undefined ? {} : { provider: provider.name }),
    browser: fingerprint(binding),
    origin: facts.origin,
    target: isLong ? startPageAt(target, config) : target,
    ...(kept === null ? {} : { longTarget: true }),
    ...(rejectedTarget === undefined ? {} : { rejectedTarget }),
    at: now,
    silent,
    keep,
    ...(identityOnly ? { identityOnly } : {}),
    user,
    tries,
    ...(afterRefusal ? { afterRefusal } : {}),
    ...(!silent && prompt?.split(' ').includes('none') === true ? { promptNone: true } : {}),
    ...(reauthenticates(provider.settings, prompt) ? { reauthenticates: true } : {}),
    ...(chooseAccount ? { chooseAccount } : {}),
    ...(Object.keys(passedOn).length > 0 ? { parameters: passedOn } : {}),
    before: before === null ? null : { id: before.id, endsAt: before.endsAt, user: userMark(before) },
    particular: !silent && [prompt, acrValues, maxAge, scope, claims].some((wanted) => wanted !== undefined),
    acrValues: acrs,
    maxAge: maxAge ?? null,
    stepUp: stepUpKey({
      acrValues: acrs,
      maxAge: maxAge ?? null,
      ...(scope === undefined ? {} : { scope }),
      ...(claims === undefined ? {} : { claims }),
    }),
  })
  const url = await authorizationUrl(provider, {
    redirectUri: `${facts.origin}${config.basePath}/${callbackPath(provider)}`,
    state,
    ...loginSecrets(binding, id),
    acrValues,
    maxAge,
    prompt,
    chooseAccount,
    loginHint,
    scope,
    claims,
    parameters: passedOn,
    inFrame: silent,
    identityOnly,
  }).catch((error: unknown) => {
    if (error instanceof Fault) error.provider = provider.name
    throw error
  })
  return { url, setCookies: [setCookie, ...(kept ?? [])] }
}

/** Returns the start page of the origin of a return URL. */
function startPageAt(target: string, config: Services['config']): string {
  return (target.startsWith('/') ? '' : new URL(target).origin) + startPageOf(config)
}
