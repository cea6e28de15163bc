import { withLock, type Channel } from './channel.ts'
import { readSession, type Gateway } from './gateway.ts'

const FRAME_TIMEOUT_MS = 10_000
const WINDOW_TIMEOUT_MS = 300_000
/** A window that closes within this time was blocked before the user saw it. */
const BLOCKED_WITHIN_MS = 1_500

export interface Renewal {
  /** Renews the session after a 401 with `code`, with the user's help if necessary. Concurrent calls share one renewal. */
  renew(code: string, answer: Response): Promise<boolean>
  /** Logs the user in again while there is still a session: silently if possible, otherwise in a window. */
  login(): Promise<boolean>
}

export function createRenewal(gateway: Gateway, channel: Channel): Renewal {
  let pending: Promise<boolean> | null = null

  const hasSessionOfUser = (): Promise<boolean> =>
    readSession(gateway).then(
      (info) => info?.session.user === gateway.user,
      () => false,
    )

  // The promise of a blocked window is wrapped in an object, so that the lock does not wait for a click.
  const renewWithLock = async (code: string, loginUrl: string | null): Promise<boolean> => {
    const stepUp = code === 'step_up_required'
    let signedInElsewhere = false
    const stopListening = channel.listen((message) => {
      signedInElsewhere ||= message === 'signed-in'
    })
    const { ok } = await withLock('renew', async (): Promise<{ readonly ok: boolean | Promise<boolean> }> => {
      stopListening()
      if (signedInElsewhere) return { ok: hasSessionOfUser() }
      if (!stepUp) {
        // If the application has rejected the token of the session, the existing session does not help.
        const info = code === 'upstream_login_required' ? null : await readSession(gateway).catch(() => null)
        if (info !== null && (info.tokens.refreshable || info.tokens.expire_in_seconds !== 0)) {
          return { ok: info.session.user === gateway.user }
        }
        if ((await loginSilently(gateway, false)) === 'ok') return { ok: true }
      }
      const { blocked, closed } = openLoginWindow(gateway, channel, loginUrl, stepUp)
      const ok = closed.then(hasSessionOfUser)
      return { ok: blocked ? ok : await ok }
    })
    return ok
  }

  return {
    renew(code, answer) {
      pending ??= loginUrlIn(answer)
        .then((loginUrl) => renewWithLock(code, loginUrl))
        .finally(() => {
          pending = null
        })
      return pending
    },
    async login() {
      if ((await loginSilently(gateway, false)) === 'ok') return true
      return openLoginWindow(gateway, channel, null, true).closed.then(hasSessionOfUser)
    },
  }
}

async function loginUrlIn(answer: Response): Promise<string | null> {
  const problem: { login_url?: unknown } | null = await answer.json().catch(() => null)
  return typeof problem?.login_url === 'string' ? problem.login_url : null
}

type Outcome = 'ok' | 'login_required' | 'interaction_required' | 'error'

const OUTCOMES: readonly unknown[] = ['ok', 'login_required', 'interaction_required', 'error'] satisfies Outcome[]

function onOutcome(from: () => Window | null, listener: (outcome: Outcome) => void): () => void {
  const onMessage = ({ origin, source, data }: MessageEvent): void => {
    const isFromGateway = origin === location.origin && source === from() && data?.type === 'gatehouse'
    if (isFromGateway && OUTCOMES.includes(data.outcome)) listener(data.outcome)
  }
  addEventListener('message', onMessage)
  return () => {
    removeEventListener('message', onMessage)
  }
}

/**
 * Asks the provider for a login without user interaction, in a hidden frame (`prompt=none`). Fails after ten seconds,
 * or at once where the page's own policy (CSP, COEP) forbids the frame. With `keep`, the session stays, and its tokens
 * are replaced only if they cannot be refreshed.
 */
export function loginSilently({ base, user }: Gateway, keep: boolean): Promise<Outcome> {
  return new Promise((resolve) => {
    const frame = document.createElement('iframe')
    frame.style.display = 'none'
    frame.title = 'Session renewal'
    // A provider that shows its login page despite `prompt=none` must not navigate the top window.
    frame.setAttribute('sandbox', 'allow-scripts allow-same-origin allow-forms')
    frame.src = `${base}/silent?user=${user}${keep ? '&keep' : ''}`
    const finish = (outcome: Outcome): void => {
      clearTimeout(timer)
      stopListening()
      document.removeEventListener('securitypolicyviolation', onViolation)
      frame.remove()
      resolve(outcome)
    }
    const onViolation = ({ effectiveDirective, disposition }: SecurityPolicyViolationEvent): void => {
      if (effectiveDirective === 'frame-src' && disposition === 'enforce') finish('error')
    }
    const stopListening = onOutcome(() => frame.contentWindow, finish)
    const timer = setTimeout(() => {
      finish('error')
    }, FRAME_TIMEOUT_MS)
    document.addEventListener('securitypolicyviolation', onViolation)
    // Under COEP, a page can show only frames that allow embedding by their own headers.
    if (crossOriginIsolated) finish('error')
    else document.documentElement.append(frame)
  })
}

interface LoginWindow {
  /** Whether the browser blocked the window. The page may then open the window on a click. */
  readonly blocked: boolean
  /** Resolves when the user has logged in or has given up. */
  readonly closed: Promise<void>
}

/** Opens the login in a window for up to five minutes. A silent login in any tab closes the window unless `stepUp`. */
function openLoginWindow({ base }: Gateway, channel: Channel, loginUrl: string | null, stepUp: boolean): LoginWindow {
  const url = new URL(loginUrl ?? `${base}/login`)
  // The login may take place at another host, so the return URL has its origin.
  url.searchParams.set('redirect', `${base}/silent?outcome=ok`)
  let opened: Window | null = null
  let openedAt = 0
  const open = (): void => {
    opened = window.open(url.href, 'gatehouse-login', 'popup,width=520,height=680')
    openedAt = Date.now()
  }
  const askForClick = (): void => {
    opened = null
    dispatchEvent(new CustomEvent('gatehouse:login-needed', { detail: { login: open } }))
  }
  // A window from a hidden tab would surprise the user.
  if (!document.hidden) open()
  const closed = new Promise<void>((resolve) => {
    const finish = (): void => {
      clearInterval(timer)
      stopOutcomes()
      stopMessages()
      opened?.close()
      resolve()
    }
    const stopOutcomes = onOutcome(() => opened, finish)
    const stopMessages = channel.listen((message) => {
      if (message === 'signed-in' || (message === 'renewed' && !stepUp)) finish()
    })
    const startedAt = Date.now()
    const timer = setInterval(() => {
      if (Date.now() - startedAt > WINDOW_TIMEOUT_MS) finish()
      // With COOP, an open window of the provider looks closed, but then this page does not have the focus.
      else if (opened?.closed === true && document.hasFocus()) {
        if (Date.now() - openedAt < BLOCKED_WITHIN_MS) askForClick()
        else finish()
      }
    }, 500)
  })
  const blocked = opened === null
  if (blocked) askForClick()
  return { blocked, closed }
}
