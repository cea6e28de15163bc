import type { IncomingHttpHeaders } from 'node:http'
import type { Route } from '../config/schema.ts'
import type { DpopKey } from '../oidc/dpop.ts'
import type { DpopError } from '../oidc/dpop-proof.ts'
import type { Claims, TokenSet } from '../oidc/token-set.ts'
import type { Session } from '../session/session.ts'
import type { Ticket } from '../session/ticket.ts'
import type { WantedTokens } from '../token/acquire.ts'
import type { StepUp, TokenDenial } from '../token/denial.ts'
import type { ClientToken } from '../token/route-tokens.ts'

export type RequestKind = 'navigation' | 'frame' | 'form' | 'script' | 'websocket'

export interface Facts {
  /** The id of the request in the log, in responses and upstream. */
  readonly requestId: string
  readonly method: string
  /** The version of HTTP that the client used, such as `1.1`. */
  readonly httpVersion: string
  /** The raw path, without the query. */
  readonly path: string
  /** The raw query with its `?`, or an empty string. */
  readonly query: string
  readonly headers: IncomingHttpHeaders
  /** Name, value, name, value …, in their original spelling and order. */
  readonly rawHeaders: readonly string[]
  /** The public origin that the request belongs to. */
  readonly origin: string
  readonly client: Client
  /** The content of the session cookie, or `null` unless exactly one session cookie can be opened. */
  readonly ticket: Ticket | null
}

export interface Client {
  /** The client's address as reported by trusted proxies, or the peer's address. */
  readonly address: string
  readonly peer: string
  readonly trusted: boolean
  /** The scheme that the client used, `http` or `https`. */
  readonly scheme: string
}

/** The user of a forwarded request, from a session or from a bearer token that the client sent. */
export interface Who {
  readonly claims: Claims
  /** The name of the user's provider in `providers`. */
  readonly provider?: string
  readonly bearer?: true
  /** Identifies the client's own token. */
  readonly digest?: string
  /** The id and the tokens of a session. Missing for a client with a token of its own. */
  readonly id?: string
  readonly idToken?: string | null
  readonly tokens?: Pick<TokenSet, 'accessToken'>
}

/** What the user may learn about the rule that denied a request: which kind of property it concerns. */
export type ForbiddenHint = 'group' | 'email' | 'network'

/** The scheme with which a client sends a token of its own. */
export type AuthScheme = 'Bearer' | 'DPoP'

interface FromClient {
  /** The scheme of the client's Authorization. `Bearer` if missing. */
  readonly scheme?: AuthScheme
}

export type GateDenial =
  | TokenDenial
  | { readonly reason: 'no-route' }
  /** `variant`: a normalization of the path that selects another route. */
  | { readonly reason: 'ambiguous-path'; readonly variant: string }
  /**
   * `loginUrl`: sent to the client instead of the login URL derived from the URL of the request. `foreign`: the
   * provider of the session, which the route does not allow.
   */
  | { readonly reason: 'login-required'; readonly loginUrl?: string; readonly foreign?: string }
  /**
   * `why` is for the log, `hint` for the user. `overage`: the provider omitted the claim from the token because it has
   * too many values.
   */
  | { readonly reason: 'forbidden'; readonly why: string; readonly hint?: ForbiddenHint; readonly overage?: true }
  /** `logout`: another site asked for a logout. */
  | { readonly reason: 'cross-origin'; readonly logout?: true }
  /**
   * The client's own token is not valid for the route, or not proven. `error`: `invalid_token` if missing.
   * @see https://www.rfc-editor.org/rfc/rfc6750#section-3.1
   */
  | (FromClient & { readonly reason: 'invalid-token'; readonly error?: DpopError['error']; readonly why: string })
  | (FromClient & { readonly reason: 'insufficient-authentication'; readonly stepUp: StepUp })
  /** The client's own token lacks a scope that the route requires. */
  | (FromClient & { readonly reason: 'insufficient-scope'; readonly why: string })

export type Denial =
  | GateDenial
  /** The target, the Host or the framing is ambiguous, or a proxy describes a request in two ways. */
  | { readonly reason: 'malformed'; readonly cause: string }
  /** `unframed`: with this coding, the end of the body cannot be found. */
  | { readonly reason: 'transfer-coding'; readonly unframed: boolean; readonly cause: string }
  /** `allow`: the methods that the URL allows, or `null` if no URL allows the method. */
  | { readonly reason: 'method-not-allowed'; readonly allow: readonly string[] | null }
  /** The request has passed this gateway before. */
  | { readonly reason: 'loop' }
  /** The application redirects a script to a login. */
  | { readonly reason: 'upstream-login' }
  /** The application requires a stronger login, but the provider has just failed to deliver that login. */
  | { readonly reason: 'step-up-refused' }
  /** The browser sends two session cookies that both open, and the gateway cannot remove one of them. */
  | { readonly reason: 'two-sessions' }
  /** The admin listener was addressed by a host name that is not its own. */
  | { readonly reason: 'misdirected' }
  | { readonly reason: 'not-admin'; readonly problem: 'cross-origin' | 'not-local' | 'no-token' | 'wrong-token' }

/** A denial that a login may resolve. Its response depends on the kind of request. */
export type LoginDenial = Extract<Denial, { readonly reason: 'login-required' | 'session-expired' | 'step-up' }>

/** A denial with the same response for every kind of request. */
export type FinalDenial = Exclude<Denial, LoginDenial | { readonly reason: 'upstream-login' }>

export type Verdict =
  | {
      readonly type: 'forward'
      readonly route: CompiledRoute
      readonly session: Session | null
      readonly who: Who | null
      /** The token that `token.header` carries. With `token.grant: id-token`, this is the ID token. */
      readonly accessToken: string | null
      /** The key that signs a DPoP proof for the request, or `null` without a token or with a bearer token. */
      readonly proofKey: DpopKey | null
      /** The client's own token for which `accessToken` was exchanged. */
      readonly exchanged?: ClientToken
      /** The nonce for the next DPoP proof of a client that has sent one. */
      readonly dpopNonce?: string
    }
  /** The gateway answers a CORS preflight request itself. `route` is the route that the page wants to call. */
  | { readonly type: 'preflight'; readonly route: CompiledRoute }
  | {
      readonly type: 'deny'
      readonly denial: GateDenial
      readonly kind: RequestKind
      readonly route: CompiledRoute | null
      /** The nonce for DPoP proofs of clients, on a route that accepts them. */
      readonly dpopNonce?: string
      /** The session that the request was denied with, or `null`. */
      readonly session: Session | null
      /** The client that the request was denied with, if its own token has been verified. */
      readonly who?: Who
    }

export interface CompiledRoute extends Route {
  readonly token: WantedTokens
  readonly index: number
  /** The pattern with its host and methods, for the log. */
  readonly label: string
  /** The pattern with its methods, for metrics: unique among the routes, and without the host. */
  readonly series: string
}
