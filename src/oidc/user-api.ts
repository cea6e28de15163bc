import type { CustomFetch } from 'openid-client'
import { groupScopes, readsGroups, userApiOf } from '../config/presets/apply.ts'
import { groupSources, type EmailsApi, type GroupsApi } from '../config/presets/apis.ts'
import type { ProviderSettings } from '../config/schema.ts'
import { numberFrom } from '../config/numbers.ts'
import { isIdentifier, isTooDeep, TOO_DEEP, type Claims } from './token-set.ts'

/** The gateway could not read the user or the groups from an API. */
export class ApiFailure extends Error {
  readonly what: 'account' | 'groups'
  /** Whether the API is overloaded or limits the rate of requests. */
  readonly isTemporary: boolean

  constructor(what: 'account' | 'groups', message: string, options: { cause?: unknown; isTemporary?: boolean } = {}) {
    super(message, { cause: options.cause })
    this.what = what
    this.isTemporary = options.isTemporary ?? false
  }
}

/**
 * Limits that protect against a faulty API. A user whose groups exceed them cannot log in, because an incomplete list of
 * groups could be misleading.
 */
const MAX_PAGES = 100
const MAX_ITEMS = 10_000

interface Caller {
  readonly settings: ProviderSettings
  readonly fetch: CustomFetch
  readonly accessToken: string
}

/** A caller with one time limit, which all its requests share. */
interface Reader extends Caller {
  readonly signal: AbortSignal
}

/**
 * Returns the claims of the user from the API of a provider without OpenID Connect. The groups are among them if the
 * configured scopes allow reading them. Rejects with `ApiFailure`.
 */
export async function readUser(caller: Caller): Promise<Claims & { readonly sub: string }> {
  const { settings } = caller
  const api = userApiOf(settings)
  const { userinfo, groups: groupsUrl } = settings.endpoints
  if (api === null || userinfo === null) throw new Error('the provider has no user API')
  const reader = { ...caller, signal: AbortSignal.timeout(settings.timeout) }
  const { emails, groups: groupsApi } = api
  const [{ body: user }, addresses, groups] = await Promise.all([
    readJson(reader, 'account', new URL(userinfo)),
    emails === undefined ? null : readEmails(reader, userinfo, emails),
    groupsUrl === null || !readsGroups(api, settings.scopes) ? null : readGroupList(reader, groupsUrl, groupsApi),
  ])
  const claims = Object.fromEntries(
    Object.entries(api.claims).flatMap(([name, template]) => {
      const value = fill(template, user)
      return value === null || value === '' ? [] : [[name, value]]
    }),
  )
  const { sub } = claims
  if (!isIdentifier(sub)) throw new ApiFailure('account', `${userinfo} names no user: it has no ${api.claims.sub}`)
  const verified = api.emailVerified === undefined ? undefined : memberAt(user, api.emailVerified)
  return {
    ...claims,
    sub,
    ...(typeof verified === 'boolean' && claims['email'] !== undefined ? { email_verified: verified } : {}),
    ...(emails === undefined || addresses === null ? {} : emailOf(emails, addresses, claims['email'])),
    ...(groups === null ? {} : { groups }),
  }
}

/** Returns the primary address if it is verified, and otherwise whether the address in the user's profile is. */
function emailOf(
  { address, primary, verified }: EmailsApi,
  addresses: readonly unknown[],
  profile: string | undefined,
): Claims {
  const main = addresses.find((one) => memberAt(one, primary) === true && memberAt(one, verified) === true)
  if (main !== undefined) return { email: memberAt(main, address), email_verified: true }
  const same = addresses.find((one) => profile !== undefined && memberAt(one, address) === profile)
  return same === undefined ? {} : { email_verified: memberAt(same, verified) === true }
}

/** Returns the user's email addresses, or none if the token does not allow reading them. */
async function readEmails(reader: Reader, userinfo: string, api: EmailsApi): Promise<unknown[]> {
  try {
    const url = new URL(userinfo)
    url.pathname += api.path
    return await readList(reader, 'account', url, api)
  } catch (error) {
    if (error instanceof ApiFailure && error.cause instanceof Response && [403, 404].includes(error.cause.status))
      return []
    throw error
  }
}

/**
 * Returns the groups of a user from the API that `groupsFrom` names. `claims` are the claims of the user's ID token.
 * Rejects with `ApiFailure`.
 */
export async function readGroups(
  caller: Caller,
  source: NonNullable<ProviderSettings['groupsFrom']>,
  claims: Claims,
): Promise<string[]> {
  const { settings } = caller
  const api = groupSources[source]
  const reader = { ...caller, signal: AbortSignal.timeout(settings.timeout) }
  const query = { ...api.query }
  if (api.user !== undefined) {
    const value = fill(api.user.value, claims, (text) => text.replace(/[\\']/g, '\\$&'))
    if (value === null)
      throw new ApiFailure('groups', `the ID token lacks a claim for ${api.user.value}: request the scope email`)
    query[api.user.parameter] = value
  }
  return readGroupList(reader, settings.endpoints.groups ?? '', { ...api, query }, groupScopes(source))
}

async function readGroupList(
  reader: Reader,
  from: string,
  api: GroupsApi,
  scopes: readonly string[] = api.scopes.slice(0, 1),
): Promise<string[]> {
  const items = await readList(reader, 'groups', new URL(from), api, scopes)
  const names = items.flatMap((item) => api.group.map((one) => fill(one, item)).find((name) => name !== null) ?? [])
  return [...new Set(names)]
}

/** Returns the items of all pages of a list. Rejects with `ApiFailure`, also if a page is on another origin. */
async function readList(
  reader: Reader,
  what: ApiFailure['what'],
  first: URL,
  api: Pick<GroupsApi, 'query' | 'headers' | 'items' | 'omitsEmpty' | 'next'>,
  scopes: readonly string[] = [],
): Promise<unknown[]> {
  const found: unknown[] = []
  for (const [name, value] of Object.entries(api.query ?? {})) first.searchParams.set(name, value)
  let url: URL | null = first
  for (let pages = 0; url !== null; pages += 1) {
    if (pages === MAX_PAGES) throw new ApiFailure(what, `${shown(first)} has more than ${MAX_PAGES} pages`)
    const { body, headers } = await readJson(reader, what, url, api.headers, scopes)
    const items = api.items === undefined ? body : (memberAt(body, api.items) ?? (api.omitsEmpty === true ? [] : null))
    if (!Array.isArray(items)) {
      const where = api.items === undefined ? 'which is not a list' : `in which ${api.items} is not a list`
      throw new ApiFailure(what, `${shown(url)} answers 200 with JSON ${where}`)
    }
    if (found.length + items.length > MAX_ITEMS)
      throw new ApiFailure(what, `${shown(first)} has more than ${MAX_ITEMS} items`)
    for (const item of items) found.push(item)
    url = nextPage(what, url, api.next, body, headers, found.length, items.length)
  }
  return found
}

/**
 * Returns the URL of the next page, or `null` for the last page.
 * @see https://www.rfc-editor.org/rfc/rfc8288#section-3
 */
function nextPage(
  what: ApiFailure['what'],
  current: URL,
  next: GroupsApi['next'],
  body: unknown,
  headers: Headers,
  found: number,
  onThisPage: number,
): URL | null {
  if (next === 'link') {
    const link = headers.get('link')
    if (link !== null) return onSameOrigin(what, current, /<([^>]*)>[^,<]*;\s*rel="?next\b/i.exec(link)?.[1])
    // Gitea lists teams without the header Link, but with the total number.
    if (onThisPage === 0 || found >= (numberFrom(headers.get('x-total-count')) ?? 0)) return null
    return withParameter(current, 'page', String((numberFrom(current.searchParams.get('page')) ?? 1) + 1))
  }
  if ('url' in next) return onSameOrigin(what, current, memberAt(body, next.url))
  const token = memberAt(body, next.token)
  return typeof token === 'string' && token !== '' ? withParameter(current, next.parameter, token) : null
}

function withParameter(url: URL, name: string, value: string): URL {
  const copy = new URL(url)
  copy.searchParams.set(name, value)
  return copy
}

/** The access token must not reach another origin, whatever the API names as its next page. */
function onSameOrigin(what: ApiFailure['what'], current: URL, next: unknown): URL | null {
  if (next === undefined || next === null || next === '') return null
  const url = typeof next === 'string' && URL.canParse(next, current.href) ? new URL(next, current) : null
  if (url?.origin === current.origin) return url
  throw new ApiFailure(what, `${shown(current)} names a next page on another origin: ${url?.origin ?? 'not a URL'}`)
}

async function readJson(
  { fetch, accessToken, signal }: Reader,
  what: ApiFailure['what'],
  url: URL,
  headers: Readonly<Record<string, string>> = {},
  scopes: readonly string[] = [],
): Promise<{ readonly body: unknown; readonly headers: Headers }> {
  const response = await fetch(url.href, {
    method: 'GET',
    // GitHub and Discord refuse requests without a User-Agent.
    headers: {
      'accept': 'application/json',
      'authorization': `Bearer ${accessToken}`,
      'user-agent': 'gatehouse',
      ...headers,
    },
    body: undefined,
    redirect: 'manual',
    signal,
  }).catch((cause: unknown) => {
    throw new ApiFailure(what, `${shown(url)} can’t be read`, { cause })
  })
  const type = response.headers.get('content-type') ?? 'no media type'
  if (response.status !== 200) {
    const hint = response.status === 403 && scopes.length > 0 ? `; the token needs ${scopes.join(' ')}` : ''
    throw Object.assign(
      new ApiFailure(what, `${shown(url)} answers ${response.status} (${type}), not 200 with JSON${hint}`, {
        cause: response,
        isTemporary: isRateLimited(response),
      }),
      await errorIn(response),
    )
  }
  const body: unknown = await response
    .text()
    .then(JSON.parse)
    .catch((cause: unknown) => {
      throw new ApiFailure(what, `${shown(url)} answers 200 (${type}), which is not JSON`, { cause })
    })
  if (typeof body === 'object' && body !== null && isTooDeep(body))
    throw new ApiFailure(what, `${shown(url)} is unusable: ${TOO_DEEP}`)
  return { body, headers: response.headers }
}

/** GitHub limits the rate with 403 as well as 429. */
function isRateLimited({ headers }: Response): boolean {
  return headers.has('retry-after') || headers.get('x-ratelimit-remaining') === '0'
}

/** Returns the error in the body of an API as an OAuth error, so that `causes` removes secrets from it. */
async function errorIn(response: Response): Promise<{ error?: string; error_description?: string }> {
  try {
    const body: unknown = JSON.parse(await response.clone().text())
    const details = memberAt(body, 'error')
    const from = typeof details === 'object' ? details : body
    const [code, message] = [memberAt(from, 'code') ?? memberAt(from, 'status'), memberAt(from, 'message')]
    return {
      error: typeof code === 'string' || typeof code === 'number' ? String(code) : 'error',
      ...(typeof message === 'string' ? { error_description: message } : {}),
    }
  } catch {
    return {}
  }
}

/** Returns a URL without its query, which may name the user. */
function shown(url: URL): string {
  return url.origin + url.pathname
}

/** Fills in a template such as `{organization.login}/{slug}`. Returns `null` if a member is missing. */
function fill(template: string, from: unknown, escape: (text: string) => string = (text) => text): string | null {
  let isComplete = true
  const text = template.replace(/\{([^{}]+)\}/g, (_, path: string) => {
    const value = memberAt(from, path)
    if (typeof value === 'string' || typeof value === 'number') return escape(String(value))
    isComplete = false
    return ''
  })
  return isComplete ? text : null
}

function memberAt(value: unknown, path: string): unknown {
  if (typeof value !== 'object' || value === null) return undefined
  if (Object.hasOwn(value, path)) return Reflect.get(value, path)
  const dot = path.indexOf('.')
  return dot === -1 ? undefined : memberAt(memberAt(value, path.slice(0, dot)), path.slice(dot + 1))
}
