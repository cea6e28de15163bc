import type { Channel } from './channel.ts'
import { readSession, type Gateway } from './gateway.ts'

/** What a round trip with `prompt=none` came to. */
export type Outcome = 'ok' | 'login_required' | 'interaction_required' | 'error'

/** Gets a session again. */
export type Renewal = {
  /**
   * Without the user: the provider is asked in a hidden frame. Given up after 10 s. With `keep` the session stays the one
   * that it is; only its tokens are renewed where they can't be refreshed.
   */
  readonly silently: (keep: boolean) => Promise<Outcome>
  /** With the user where it takes one; `code` and `answer` are the gateway's. One renewal serves all callers in all tabs. */
  readonly renew: (code: string, answer: Response) => Promise<boolean>
  /** A new login while there is still a session: silently, else in a window. */
  readonly login: () => Promise<boolean>
}

const FRAME_TIMEOUT = 10_000
const WINDOW_TIMEOUT = 300_000
/** A window that is gone after so little was never there for the user, ms. */
const BLOCKED_WITHIN = 1_500

const OUTCOMES: readonly unknown[] = ['ok', 'login_required', 'interaction_required', 'error'] satisfies Outcome[]

/** Calls back with the outcome that a window or frame of ours reports. */
const onReport = (from: () => Window | null, heard: (outcome: Outcome) => void): (() => void) => {
  const listener = ({ origin, source, data }: MessageEvent): void => {
    if (origin === location.origin && source === from() && data?.type === 'gatehouse' && OUTCOMES.includes(data.outcome)) heard(data.outcome)
  }
  addEventListener('message', listener)
  return () => { removeEventListener('message', listener) }
}

/** Where a 401 says that the user logs in. */
const loginUrlIn = async (answer: Response): Promise<string | null> => {
  const problem: { login_url?: unknown } | null = await answer.json().catch(() => null)
  return typeof problem?.login_url === 'string' ? problem.login_url : null
}

/** Makes the page's way back to a session. */
export const createRenewal = (gateway: Gateway, channel: Channel): Renewal => {
  let underWay: Promise<boolean> | null = null

  const silently = (keep: boolean): Promise<Outcome> => new Promise((resolve) => {
    const frame = document.createElement('iframe')
    frame.style.display = 'none'
    frame.title = 'Session renewal'
    // A provider that shows its login page all the same must not take the whole page there.
    frame.setAttribute('sandbox', 'allow-scripts allow-same-origin allow-forms')
    frame.src = `${gateway.base}/silent?user=${gateway.user}${keep ? '&keep' : ''}`
    const finish = (outcome: Outcome): void => {
      clearTimeout(timer)
      stop()
      frame.remove()
      resolve(outcome)
    }
    const stop = onReport(() => frame.contentWindow, finish)
    const timer = setTimeout(() => { finish('error') }, FRAME_TIMEOUT)
    document.documentElement.append(frame)
  })

  /** Whether there is a session of this page's user. */
  const isBack = (): Promise<boolean> => readSession(gateway).then((info) => info?.session.user === gateway.user, () => false)

  /** Opens the login window. `ok` resolves when the user has logged in, with `false` when they have given up. */
  const inWindow = (loginUrl: string | null, stepUp: boolean): { readonly blocked: boolean, readonly ok: Promise<boolean> } => {
    const url = new URL(loginUrl ?? `${gateway.base}/login`)
    url.searchParams.set('redirect', `${new URL(gateway.base).pathname}/silent?outcome=ok`)
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
    const ok = new Promise<boolean>((resolve) => {
      const finish = (): void => {
        clearInterval(timer)
        stop()
        forget()
        opened?.close()
        resolve(isBack())
      }
      const stop = onReport(() => opened, finish)
      const forget = channel.listen((word) => { if (word === 'signed-in' || (word === 'renewed' && !stepUp)) finish() })
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
    return { blocked, ok }
  }

  /** One tab at a time, but not while it waits for a click that may never come. */
  const alone = async (code: string, loginUrl: string | null): Promise<boolean> => {
    const stepUp = code === 'step_up_required'
    const { ok } = await navigator.locks.request('gatehouse:renew', async (): Promise<{ readonly ok: boolean | Promise<boolean> }> => {
      if (!stepUp) {
        // Another tab may have been first. A session whose token is spent does not help.
        const info = code === 'upstream_login_required' ? null : await readSession(gateway).catch(() => null)
        if (info !== null && (info.tokens.refreshable || info.tokens.expire_in_seconds !== 0)) return { ok: info.session.user === gateway.user }
        if (await silently(false) === 'ok') return { ok: true }
      }
      const { blocked, ok } = inWindow(loginUrl, stepUp)
      return { ok: blocked ? ok : await ok }
    })
    return ok
  }

  return {
    silently,
    renew: (code, answer) => {
      underWay ??= loginUrlIn(answer).then((loginUrl) => alone(code, loginUrl)).finally(() => { underWay = null })
      return underWay
    },
    login: async () => await silently(false) === 'ok' || inWindow(null, true).ok,
  }
}
