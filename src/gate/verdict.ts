import type { IncomingHttpHeaders } from 'node:http'
import type { Route } from '../config/schema.ts'
import type { Claims } from '../oidc/token-set.ts'
import type { Session } from '../session/session.ts'
import type { Ticket } from '../session/ticket.ts'

/** What a request is, which decides how it is told no. */
export type RequestKind = 'navigation' | 'frame' | 'form' | 'script' | 'websocket'

/** A request as plain data: all that a verdict may depend on. */
export interface Facts {
  readonly method: string
  /** The path as it was sent, without the query. */
  readonly path: string
  /** The query as it was sent, with its `?`, or nothing. */
  readonly query: string
  readonly headers: IncomingHttpHeaders
  /** Name, value, name, value … as they were sent. */
  readonly rawHeaders: readonly string[]
  /** The public origin that the request belongs to. */
  readonly origin: string
  readonly client: Client
  /** What the session cookie holds; `null` without a readable one. */
  readonly ticket: Ticket | null
}

/** Who is asking, as far as it can be believed. */
export interface Client {
  /** The address nearest to the user that a trusted proxy vouches for, else the peer's. */
  readonly address: string
  /** The peer of the connection. */
  readonly peer: string
  /** Whether the peer is one of `trustedProxies`. */
  readonly trusted: boolean
  /** The scheme that the client used, `http` or `https`. */
  readonly scheme: string
}

/** Step-up: what a new login has to ask for. */
export interface StepUp {
  readonly acrValues: readonly string[] | null
  /** Seconds. */
  readonly maxAge: number | null
  /** Scopes to ask for beside the usual ones, space-separated. */
  readonly scope?: string
  /** The `claims` parameter (OpenID Connect Core 1.0, section 5.5), as JSON. */
  readonly claims?: string
}

/** Whom the upstream hears of: the user of a session, or the bearer of a token that the client brought itself. */
export interface Who {
  readonly claims: Claims
  readonly bearer?: true
}

/** Why a request may not pass. A value, never an exception. */
export type Denial =
  | { readonly reason: 'no-route' }
  /** `reading`: how some server would read the path, and find another route. */
  | { readonly reason: 'ambiguous-path'; readonly reading: string }
  | { readonly reason: 'login-required' }
  /** `clearCookie`: the session is over for every route, not for this one alone. */
  | { readonly reason: 'session-expired'; readonly clearCookie: boolean }
  /** `bearer`: by whoever gave the client its token, not by a login here. */
  | { readonly reason: 'step-up'; readonly stepUp: StepUp; readonly bearer?: true }
  /** `leftOut`: the provider had more to say about this user than it puts into a token, so that nobody knows. */
  | { readonly reason: 'forbidden'; readonly why: string; readonly leftOut?: true }
  | { readonly reason: 'cross-origin' }
  | { readonly reason: 'token-unavailable'; readonly retryAfter: number }
  /** The provider gave no token for this route; there is no use in trying again. */
  | { readonly reason: 'token-refused' }
  /** The client's own token is not one that this route takes (RFC 6750, section 3.1). */
  | { readonly reason: 'invalid-token'; readonly why: string }
  /** The application sends a script to a login. */
  | { readonly reason: 'upstream-login' }
  /** The application asks for a stronger login, and the provider did not deliver it just now. */
  | { readonly reason: 'step-up-refused' }

/** What a request gets. */
export type Verdict =
  | {
      readonly type: 'forward'
      readonly route: CompiledRoute
      readonly session: Session | null
      readonly who: Who | null
      readonly accessToken: string | null
    }
  | { readonly type: 'deny'; readonly denial: Denial; readonly kind: RequestKind; readonly route: CompiledRoute | null }

/** A configured route with what is worked out once. */
export interface CompiledRoute extends Route {
  readonly index: number
  /** The pattern with its host and methods, for people. */
  readonly label: string
  /** The pattern with its methods, for metrics: unique among the routes, and without the host. */
  readonly series: string
}
