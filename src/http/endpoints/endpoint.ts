import type { FastifyReply, FastifyRequest } from 'fastify'
import { percentEncodeBytes } from '../../bytes.ts'
import type { Config } from '../../config/schema.ts'
import type { Assertions } from '../../gate/assertion.ts'
import type { RouteTable } from '../../gate/match.ts'
import type { Gate } from '../../gate/pipeline.ts'
import type { PublicOrigins } from '../../gate/public-origins.ts'
import type { Provider } from '../../oidc/provider.ts'
import type { Providers } from '../../oidc/providers.ts'
import type { Sessions } from '../../session/sessions.ts'
import type { Store } from '../../store/store.ts'
import type { Log } from '../../telemetry/log.ts'
import type { Metrics } from '../../telemetry/metrics.ts'
import type { Refresher } from '../../token/refresh.ts'
import type { Answers } from '../answers/send.ts'
import type { Cookies } from '../cookies/cookies.ts'
import type { LoginState, SealedState } from '../cookies/login-state.ts'
import type { Streams } from '../proxy/open-streams.ts'

export interface Services {
  readonly config: Config
  readonly origins: PublicOrigins
  readonly routes: RouteTable
  readonly gate: Gate
  readonly providers: Providers
  readonly store: Store
  readonly sessions: Sessions
  readonly refresher: Refresher
  readonly cookies: Cookies
  readonly answers: Answers
  /** `null` if no route sends assertions and none are configured. */
  readonly assertions: Pick<Assertions, 'publicKeys'> | null
  readonly streams: Streams
  readonly loginStates: SealedState<LoginState>
  readonly logoutStates: SealedState<LogoutState>
  readonly log: Log
  readonly metrics: Metrics
}

export interface LogoutState {
  /** The return URL, absolute if its origin is not the login host, or `null` for the signed-out page. */
  readonly target: string | null
  /** The origin at which the logout was requested, which shows the signed-out page. */
  readonly origin: string
  /** The provider to which the logout leads, if there are several. */
  readonly provider?: string
}

/** Returns the path of a provider's callback below the base path. */
export function callbackPath({ name }: Pick<Provider, 'name'>): string {
  return name === undefined ? 'callback' : `callback/${name}`
}

export type Endpoint = (services: Services) => (request: FastifyRequest, reply: FastifyReply) => unknown

/** Returns the fields of a posted form, or the query parameters if there is no form. */
export function parametersOf(request: FastifyRequest): URLSearchParams {
  if (request.body instanceof URLSearchParams) return request.body
  return queryOf(request)
}

export function queryOf(request: FastifyRequest): URLSearchParams {
  return new URLSearchParams(percentEncodeBytes(request.context?.facts.query ?? ''))
}
