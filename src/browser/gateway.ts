import type { Channel } from './channel.ts'
import type { SessionInfo } from './types.ts'

export interface Gateway {
  /** `https://…/oauth2` */
  readonly base: string
  /** The browser's own fetch, even if a script has wrapped `window.fetch`. */
  readonly fetch: typeof fetch
  /** The `user` of the first session that this page has read: the page belongs to that user. */
  user: string
  /** The name of that session's provider, or an empty string if there is only one. */
  provider: string
}

const LOGIN_CODES = /^(?:login_required|session_expired|step_up_required|upstream_login_required)$/

/** Returns the code of a 401 from the gateway that a login would resolve, or an empty string. */
export function loginCode(status: number, header: (name: string) => string | null): string {
  const code = status === 401 ? (header('Gatehouse') ?? '') : ''
  return LOGIN_CODES.test(code) ? code : ''
}

/** Returns whether a URL is one of the gateway's own. If the URL signs the user out, all tabs read the session again. */
export function isGatewayUrl({ base }: Gateway, channel: Channel, url: string): boolean {
  if (!url.startsWith(`${base}/`)) return false
  if (/^\/(?:logout|sign_out)/.test(url.slice(base.length))) channel.post('look')
  return true
}

/** Returns the session, or `null` without one. Rejects if the gateway does not answer. */
export async function readSession(gateway: Gateway): Promise<SessionInfo | null> {
  const answer = await gateway.fetch(`${gateway.base}/session`, {
    headers: { accept: 'application/json' },
    cache: 'no-store',
  })
  if (answer.status === 401) return null
  if (!answer.ok) throw new Error(`the session can’t be read: ${answer.status}`)
  const info: SessionInfo = await answer.json()
  if (gateway.user === '') {
    gateway.user = info.session.user
    gateway.provider = typeof info.provider === 'string' ? info.provider : ''
  }
  return info
}
