import type { Channel } from './channel.ts'
import type { Gateway } from './gateway.ts'
import { onReport } from './report.ts'

const WINDOW_TIMEOUT = 300_000
/** A window that is gone after so little was never there for the user, ms. */
const BLOCKED_WITHIN = 1_500

/** A login that the user is asked for. */
export type LoginWindow = {
  /** The browser has opened none: the page is told, and may open it on a click. */
  readonly blocked: boolean
  /** Resolves when the user has logged in or has given up. */
  readonly closed: Promise<void>
}

/** Opens the login in a window, given up after five minutes; with `stepUp` nothing but that very login helps. */
export const openLogin = (
  { base }: Gateway,
  channel: Channel,
  loginUrl: string | null,
  stepUp: boolean,
): LoginWindow => {
  const url = new URL(loginUrl ?? `${base}/login`)
  url.searchParams.set('redirect', `${new URL(base).pathname}/silent?outcome=ok`)
  let opened: Window | null = null
  let openedAt = 0
  const open = (): void => {
    opened = window.open(url.href, 'gatehouse-login', 'popup,width=520,height=680')
    openedAt = Date.now()
  }
  const needed = (): void => {
    opened = null
    dispatchEvent(new CustomEvent('gatehouse:login-needed', { detail: { login: open } }))
  }
  // From a tab that nobody looks at a window would come out of nowhere.
  if (!document.hidden) open()
  const closed = new Promise<void>((resolve) => {
    const finish = (): void => {
      clearInterval(timer)
      stop()
      forget()
      opened?.close()
      resolve()
    }
    const stop = onReport(() => opened, finish)
    const forget = channel.listen((word) => {
      if (word === 'signed-in' || (word === 'renewed' && !stepUp)) finish()
    })
    const startedAt = Date.now()
    const timer = setInterval(() => {
      if (Date.now() - startedAt > WINDOW_TIMEOUT) finish()
      // A provider that isolates its window (COOP) makes it look closed; but then the user is not back here.
      else if (opened?.closed === true && document.hasFocus()) {
        if (Date.now() - openedAt < BLOCKED_WITHIN) needed()
        else finish()
      }
    }, 500)
  })
  const blocked = opened === null
  if (blocked) needed()
  return { blocked, closed }
}
