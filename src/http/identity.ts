import type { IncomingHttpHeaders } from 'node:http'
import { replaceControls } from '../errors.ts'
import { compileClaimPath, rawValueAt } from '../gate/claims.ts'
import type { Facts, Who } from '../gate/verdict.ts'
import type { Claims } from '../oidc/token-set.ts'
import type { Session } from '../session/session.ts'
import { printable, userName, type NameUser } from '../telemetry/log.ts'

/** The sender of a request, as log lines name it. */
interface Identity {
  readonly session?: string | undefined
  readonly user?: string | undefined
  readonly client_id?: string | undefined
}

/** What is known about the sender of a request. */
interface Sender {
  readonly facts: Pick<Facts, 'ticket'>
  readonly session: Session | null
  readonly who: Who | null
}

const UNKNOWN: Identity = {}
const MAX_USER_LENGTH = 256
const MAX_HEADER_LENGTH = 500
/** The claims that name the client of an access token: RFC 9068, OpenID Connect, Okta, and Entra's older tokens. */
const CLIENT_CLAIMS = ['client_id', 'azp', 'cid', 'appid']

/**
 * Returns who has sent a request, for the log. The session is the one in the session cookie, even if the route has not
 * looked it up or if it has ended. A request with the client's own token has no session.
 */
export function identityOf(sender: Sender | null, log: object): Identity {
  if (sender === null) return UNKNOWN
  const { facts, session, who } = sender
  if (who?.bearer === true)
    return { session: undefined, user: userName(log, who.claims), client_id: clientOf(who.claims) }
  const claims = session?.claims
  const user = claims === undefined ? undefined : userName(log, claims)
  return { session: session?.id ?? facts.ticket?.id, user, client_id: undefined }
}

interface Request {
  readonly id: string
  readonly context: (Sender & { readonly facts: Pick<Facts, 'client'> }) | null
  readonly log: object
}

/** Returns the fields of an event that say which request it is about, and who has sent the request. */
export function requestFields({ id, context, log }: Request): Readonly<Record<string, string | undefined>> {
  return { id, client: context?.facts.client.address, ...identityOf(context, log) }
}

/** Returns the function that names users as `log.user` says, or `null` for `none`. */
export function compileUserName(setting: string): NameUser | null {
  if (setting === 'none') return null
  const path = compileClaimPath(setting)
  const known = new WeakMap<Claims, string>()
  return (claims) => {
    const cached = known.get(claims)
    if (cached !== undefined) return cached === '' ? undefined : cached
    const name = safe(textOf(rawValueAt(claims, path)))
    known.set(claims, name)
    return name === '' ? undefined : name
  }
}

function clientOf(claims: Claims): string | undefined {
  const name = CLIENT_CLAIMS.find((claim) => typeof claims[claim] === 'string')
  return name === undefined ? undefined : safe(String(claims[name]))
}

/** Returns the start of a claim's text, or of the texts in a list. Lists in a list have no text. */
function textOf(value: unknown): string {
  return Array.isArray(value) ? value.slice(0, MAX_USER_LENGTH).map(textOfItem).join(',') : textOfItem(value)
}

function textOfItem(value: unknown): string {
  return typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean' ? String(value) : ''
}

function safe(text: string): string {
  return replaceControls(text.slice(0, MAX_USER_LENGTH), '\ufffd')
}

export function userAgentOf(headers: IncomingHttpHeaders): string | undefined {
  const sent = headers['user-agent']
  return sent === undefined ? undefined : printable(sent.slice(0, MAX_HEADER_LENGTH))
}

/** The longest Referer that is parsed. Browsers send the origin alone in place of a longer one. */
const MAX_REFERER_LENGTH = 4096

/**
 * Returns the Referer without user name, password, query and fragment, which may contain tokens. Returns `undefined`
 * unless it is an http or https URL.
 */
export function refererOf({ referer = '' }: IncomingHttpHeaders): string | undefined {
  if (referer.length > MAX_REFERER_LENGTH || !/^https?:/i.test(referer) || !URL.canParse(referer)) return undefined
  const { origin, pathname } = new URL(referer)
  return printable((origin + pathname).slice(0, MAX_HEADER_LENGTH))
}
