import type { IncomingHttpHeaders } from 'node:http'
import type { Route } from '../config/schema.ts'
import type { Claims } from '../oidc/token-set.ts'
import type { Session } from '../session/session.ts'
import type { Ticket } from '../session/ticket.ts'
import type { StepUp, TokenDenial } from '../token/denial.ts'

/** What a request comes from, which decides the form of a denial. */
export type RequestKind = 'navigation' | 'frame' | 'form' | 'script' | 'websocket'

/** A request as plain data: all that a verdict may depend on. */
export interface Facts {
  readonly method: string
  /** The path as it was sent, without the query. */
  readonly path: string
  /** The query as it was sent, with its `?`, or an empty string. */
  readonly query: string
  readonly headers: IncomingHttpHeaders
  /** Name, value, name, value … as they were sent. */
  readonly rawHeaders: readonly string[]
  /** The public origin that the request belongs to. */
  readonly origin: string
  readonly client: Client
  /** What the session cookie holds; `null` without exactly one that opens. */
  readonly ticket: Ticket | null
}

/** The client of a request, as far as trusted proxies vouch for it. */
export interface Client {
  /** The address nearest to the user that a trusted proxy vouches for, otherwise the peer's. */
  readonly address: string
  /** The address at the other end of the connection. */
  readonly peer: string
  /** Whether the peer is one of `trustedProxies`. */
  readonly trusted: boolean
  /** The scheme that the client used, `http` or `https`. */
  readonly scheme: string
}

/** The user in whose name a request goes upstream, from a session or from a bearer token that the client sent. */
export interface Who {
  readonly claims: Claims
  readonly bearer?: true
}

/** Why the gate does not let a request pass. */
export type GateDenial =
  | TokenDenial
  | { readonly reason: 'no-route' }
  /** `variant`: a normalisation of the path that selects another route. */
  | { readonly reason: 'ambiguous-path'; readonly variant: string }
  /** `loginUrl`: where to log in, when that is not the login URL for the request itself. */
  | { readonly reason: 'login-required'; readonly loginUrl?: string }
  /** `overage`: the provider omitted the claim from the token because it has too many values. */
  | { readonly reason: 'forbidden'; readonly why: string; readonly overage?: true }
  /** `logout`: another site asked for a logout. */
  | { readonly reason: 'cross-origin'; readonly logout?: true }
  /** The client's own token does not satisfy the route. @see https://www.rfc-editor.org/rfc/rfc6750#section-3.1 */
  | { readonly reason: 'invalid-token'; readonly why: string }
  /** The client's own token is from a weaker or older login than the route requires. */
  | { readonly reason: 'insufficient-authentication'; readonly stepUp: StepUp }

/** Why a request is refused: a value, never an exception. `gate/challenge` renders each as an answer. */
export type Denial =
  | GateDenial
  /** The target, the Host or the framing has no single meaning, or a proxy describes a request in two ways. */
  | { readonly reason: 'malformed'; readonly cause: string }
  /** `unframed`: the coding does not even tell where the body ends. */
  | { readonly reason: 'transfer-coding'; readonly unframed: boolean; readonly cause: string }
  /** `allow`: the methods of the URL; `null` for a method that no URL allows. */
  | { readonly reason: 'method-not-allowed'; readonly allow: readonly string[] | null }
  /** The request has passed this gateway before. */
  | { readonly reason: 'loop' }
  /** The application redirects a script to a login. */
  | { readonly reason: 'upstream-login' }
  /** The application asks for a stronger login, and the provider did not deliver it just now. */
  | { readonly reason: 'step-up-refused' }
  /** The browser sends two session cookies that both open, and one can't be removed. */
  | { readonly reason: 'two-sessions' }
  /** The admin listener was asked by a host name that is not its own. */
  | { readonly reason: 'misdirected' }
  /** Session administration is not for this client. */
  | { readonly reason: 'not-admin'; readonly problem: 'cross-origin' | 'not-local' | 'no-token' | 'wrong-token' }

/** A denial that a login may resolve, so that the answer depends on the kind of request. */
export type LoginDenial = Extract<Denial, { readonly reason: 'login-required' | 'session-expired' | 'step-up' }>

/** A denial that is the same for every kind of request. */
export type FinalDenial = Exclude<Denial, LoginDenial | { readonly reason: 'upstream-login' }>

/** What the gate decides about a request. */
export type Verdict =
  | {
      readonly type: 'forward'
      readonly route: CompiledRoute
      readonly session: Session | null
      readonly who: Who | null
      readonly accessToken: string | null
    }
  | {
      readonly type: 'deny'
      readonly denial: GateDenial
      readonly kind: RequestKind
      readonly route: CompiledRoute | null
    }

/** A configured route with what is computed from it once. */
export interface CompiledRoute extends Route {
  readonly index: number
  /** The pattern with its host and methods, for the log. */
  readonly label: string
  /** The pattern with its methods, for metrics: unique among the routes, and without the host. */
  readonly series: string
}
