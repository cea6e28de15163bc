import { isDeepStrictEqual } from 'node:util'
import type { Config } from '../../config/schema.ts'
import { replaceControls, type Code } from '../../errors.ts'
import { admit } from '../../gate/admit.ts'
import { loginUrlFor, type Answer } from '../../gate/challenge.ts'
import { hostOf, type RouteTable } from '../../gate/match.ts'
import { fallbackOrigin } from '../../gate/public-origins.ts'
import { startPageOf } from '../../gate/return-target.ts'
import type { CompiledRoute, Facts, RequestKind } from '../../gate/verdict.ts'
import type { Session } from '../../session/session.ts'
import type { Action, Page } from './pages.ts'

export interface PageServices {
  readonly config: Pick<Config, 'pages' | 'session' | 'basePath' | 'publicUrl' | 'loginHost'>
  readonly routes: Pick<RouteTable, 'match'>
}

/** What is known about the request that an answer is for. */
export interface Situation {
  readonly kind: RequestKind
  /** `null` if the request could not be read. */
  readonly facts: Facts | null
  readonly route: CompiledRoute | null
  readonly session: Session | null
  /** When the request arrived, in ms since the epoch. */
  readonly now: number
}

/** Returns the page of an answer. None of its links leads to the same page again. */
export function pageFor(answer: Answer, situation: Situation, services: PageServices): Page {
  const { text = answer.code, more, values, code } = answer
  const start = startPageAfter(answer, situation, services)
  const account = accountActions(answer, situation, services, start !== null)
  const { session } = situation
  return {
    text,
    name: code,
    ...(more === undefined ? {} : { more }),
    ...(values === undefined ? {} : { values }),
    ...(account.length === 0 || session === null ? {} : { user: userName(session) }),
    hasContact: account.length > 0 || code === 'forbidden',
    actions: actionsFor(answer, situation, services, account, start),
    isFramable: services.config.session.cookie.partitioned,
  }
}

function actionsFor(
  answer: Answer,
  situation: Situation,
  { config }: PageServices,
  account: readonly Action[],
  start: string | null,
): Action[] {
  const { loginUrl, status } = answer
  const toStart: Action[] = start === null ? [] : [{ label: 'start_page', href: start }]
  if (loginUrl !== undefined) {
    const signIn: Action = { label: 'sign_in', href: loginUrl, top: leavesFrame(situation, config) }
    return status === 401 ? [signIn] : [signIn, ...toStart]
  }
  const retry: Action[] = mayRetry(answer) && situation.kind === 'navigation' ? [{ label: 'try_again', href: '' }] : []
  const actions = [...retry, ...account, ...toStart]
  return actions.length > 0 ? actions : [{ label: 'go_back', back: true }]
}

const RETRY_STATUSES = new Set([408, 429, 431])

function mayRetry({ mayRetry: own, status }: Answer): boolean {
  return own ?? (status >= 500 || RETRY_STATUSES.has(status))
}

/** Returns the actions offered to a user whose account is not sufficient. */
function accountActions(answer: Answer, situation: Situation, { config }: PageServices, hasStart: boolean): Action[] {
  const { facts, session, kind } = situation
  const isAboutUser =
    answer.code === 'forbidden' ||
    answer.text === 'token_unavailable.refused' ||
    (answer.code === 'cross_origin' && !hasStart)
  if (!isAboutUser || facts === null || session === null) return []
  const { basePath, loginHost } = config
  const login = new URL(loginUrlFor(facts, kind, basePath, undefined, loginHost))
  login.searchParams.set('prompt', 'select_account')
  const top = leavesFrame(situation, config)
  return [
    { label: 'use_another_account', href: login.href, top },
    { label: 'sign_out', href: `${facts.origin}${basePath}/logout`, top },
  ]
}

/** A login in the top window would set cookies that a frame with partitioned cookies does not have. */
function leavesFrame({ kind }: Situation, { session }: PageServices['config']): boolean {
  return kind === 'frame' && !session.cookie.partitioned
}

/** Returns the URL of the start page, or `null` if there is no route for it. */
export function startPage({ config, routes }: PageServices, origin: string): string | null {
  return startRoute({ config, routes }, origin) === null ? null : origin + startPageOf(config)
}

function startRoute({ config, routes }: PageServices, origin: string): CompiledRoute | null {
  const route = routes.match(hostOf(origin), 'GET', startPageOf(config))
  return route === 'endpoint' ? null : route
}

type Repeats = (start: CompiledRoute, situation: Situation, answer: Answer, path: string) => boolean

/** Whether the start page, with its route `start` and its path `path`, would show the user the same page again. */
const REPEATS: { readonly [code in Code]?: Repeats } = {
  forbidden: isForbidden,
  cross_origin: isForbidden,
  upstream_unreachable: (start, { route }) => isDeepStrictEqual(start.upstream, route?.upstream),
  token_unavailable: (start, { route }) => isDeepStrictEqual(start.token, route?.token),
  provider_unavailable: leadsToLogin,
  store_unavailable: ({ access }) => access === 'required',
  rate_limited: () => true,
  login_failed: (start, situation, { loginUrl }, path) =>
    leadsToLogin(start, situation) && loginUrl !== undefined && targetOf(loginUrl, path) === path,
}

function isForbidden(start: CompiledRoute, { facts, session, now }: Situation): boolean {
  return session !== null && admit(start, session, true, now, facts?.client.address ?? '')?.reason === 'forbidden'
}

function targetOf(loginUrl: string, path: string): string {
  return new URL(loginUrl).searchParams.get('redirect') ?? path
}

function leadsToLogin({ access }: CompiledRoute, { facts }: Situation): boolean {
  return access === 'required' && facts?.ticket === null
}

/** Returns the URL of the start page, or `null` if the start page would show the user the same page again. */
function startPageAfter(answer: Answer, situation: Situation, services: PageServices): string | null {
  const { facts } = situation
  const origin = facts?.origin ?? fallbackOrigin(services.config)
  const start = startRoute(services, origin)
  if (start === null) return null
  const path = startPageOf(services.config)
  if (facts !== null && facts.path === path && (facts.method === 'GET' || facts.method === 'HEAD')) return null
  return REPEATS[answer.code]?.(start, situation, answer, path) === true ? null : origin + path
}

const MAX_NAME_CHARACTERS = 80

/** The claims, in addition to the name, by which a user recognizes an account. */
const IDENTIFIERS = ['email', 'preferred_username', 'upn', 'login'] as const

/** Returns the name of a user with what distinguishes the user's accounts: `Alice Doe (alice@example.com)`. */
function userName({ claims, subject }: Session): string {
  const [name, ...identifiers] = ['name', ...IDENTIFIERS].map((claim) => displayable(claims[claim]))
  const identifier = identifiers.find((one) => one !== '' && one !== name)
  if (name === undefined || name === '') return identifier ?? displayable(subject)
  return identifier === undefined ? name : `${name} (${identifier})`
}

/** Returns a short text without characters that change how the text around it is shown. */
function displayable(value: unknown): string {
  if (typeof value !== 'string') return ''
  const text = replaceControls(value.slice(0, 2 * MAX_NAME_CHARACTERS), '').trim()
  if (text.length <= MAX_NAME_CHARACTERS) return text
  // Half of a surrogate pair is not a character.
  return `${text.slice(0, MAX_NAME_CHARACTERS).replace(/[\uD800-\uDBFF]$/, '')}…`
}
