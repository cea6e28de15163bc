import type { Config } from '../../config/schema.ts'
import { challenge, loginUrlFor, type Answer } from '../../gate/challenge.ts'
import { wasJustAsked, withRequirements } from '../../gate/step-up.ts'
import type { CompiledRoute, Facts, RequestKind } from '../../gate/verdict.ts'
import type { Session } from '../../session/session.ts'
import type { LoginRedirects } from './login-redirect.ts'
import type { UpstreamAnswer } from './receiver.ts'
import { readUpstreamChallenge } from './upstream-challenge.ts'

/** What becomes of an upstream's answer. */
export type Interception =
  | { readonly type: 'pass' }
  /** The gateway answers instead. */
  | { readonly type: 'answer'; readonly answer: Answer }
  /** The upstream does not take the token any more: a new one may do. */
  | { readonly type: 'renew' }

interface Passing {
  readonly route: CompiledRoute
  readonly facts: Facts
  readonly session: Session | null
  readonly kind: () => RequestKind
}

const PASS: Interception = { type: 'pass' }

/** Turns what an upstream's answer means for the login into what the client gets; any other passes unchanged. */
export function intercept(
  { status, location, authenticate }: UpstreamAnswer,
  { route, facts, session, kind }: Passing,
  redirects: LoginRedirects,
  config: Config,
  now: number,
): Interception {
  if (redirects.matches(route, status, location)) {
    if (kind() !== 'script') return PASS
    return {
      type: 'answer',
      answer: {
        status: 401,
        code: 'upstream_login_required',
        title: 'Login required',
        detail: 'The application asks for a sign-in of its own.',
        authenticate: 'Bearer',
        loginUrl: loginUrlFor(facts, 'script', config.basePath),
      },
    }
  }
  // Whose token the upstream judges: only the session's is the gateway's to renew.
  if (session === null || authenticate.length === 0) return PASS
  const wish = readUpstreamChallenge(status, authenticate)
  if (wish === null) return PASS
  if (wish.type === 'invalid-token') return { type: 'renew' }
  const stepUp = withRequirements(route, wish.stepUp)
  if (wasJustAsked(session, stepUp, now)) {
    return {
      type: 'answer',
      answer: {
        status: 403,
        code: 'forbidden',
        title: 'Not allowed',
        detail: 'The application asks for a sign-in that the sign-in service did not provide.',
      },
    }
  }
  const denial = { reason: 'step-up', stepUp } as const
  return { type: 'answer', answer: challenge(denial, kind(), facts, route, config) }
}
