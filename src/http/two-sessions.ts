import type { Answer } from '../gate/challenge.ts'
import { hostOf } from '../gate/host.ts'
import type { Facts } from '../gate/verdict.ts'
import type { Cookies } from './cookies.ts'

/** What is to be done about a browser that sends two session cookies that both open: none of them counts. */
interface Remedy {
  readonly setCookie: string[]
  /** In place of another login, which would come to the same end; `null` the first time. */
  readonly answer: Answer | null
}

/**
 * The remedy for two session cookies, or `null` where there are none. The first time both are cleared wherever they may
 * have been set; a browser that sends two again within ten minutes is told what to do, and not led round in circles.
 */
export function remedyForTwo(cookies: Cookies, { headers, origin, path }: Facts): Remedy | null {
  if (cookies.tickets(headers.cookie).length < 2) return null
  const setCookie = cookies.clearEverywhere(hostOf(origin), path)
  return { setCookie, answer: cookies.wereCleared(headers.cookie) ? STILL_TWO : null }
}

const STILL_TWO: Answer = {
  status: 400,
  code: 'login_failed',
  title: 'Sign-in failed',
  detail:
    'This browser sends two different sign-ins for this site at once, and one of them can’t be removed from ' +
    'here, so neither counts. ' +
    'Delete the cookies of this site in the browser’s settings, then sign in again.',
}
