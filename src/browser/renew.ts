import type { Channel } from './channel.ts'
import { readSession, type Gateway } from './gateway.ts'

/** What a round trip with `prompt=none` came to. */
export type Outcome = 'ok' | 'login_required' | 'interaction_required' | 'error'

/** Gets a session again. */
export type Renewal = {
  /** Without the user: the provider is asked in a hidden frame. Given up after 10 s. */
  readonly silently: () => Promise<Outcome>
  /** With the user, where it takes one; one renewal serves all callers in all tabs. */
  readonly renew: (loginUrl: string | null) => Promise<boolean>
}

const FRAME_TIMEOUT = 10_000
const WINDOW_TIMEOUT = 300_000
/** A provider that isolates its window (COOP) makes it look closed at once. */
const TOO_SOON_TO_BE_CLOSED = 3_000

const later = (ms: number): Promise<void> => new Promise((resolve) => { setTimeout(resolve, ms) })

const isOutcome = (value: unknown): value is Outcome => (
  value === 'ok' || value === 'login_required' || value === 'interaction_required' || value === 'error'
)

/** The outcome that a window of ours reports from this origin. */
const reported = (from: () => Window | null): { readonly outcome: Promise<Outcome>, readonly stop: () => void } => {
  const listening = new AbortController()
  const outcome = new Promise<Outcome>((resolve) => {
    addEventListener('message', ({ origin, source, data }: MessageEvent) => {
      if (origin === location.origin && source === from() && data?.type === 'gatehouse' && isOutcome(data.outcome)) resolve(data.outcome)
    }, { signal: listening.signal })
  })
  return { outcome, stop: () => { listening.abort() } }
}

/** Makes the page's way back to a session. */
export const createRenewal = (gateway: Gateway, channel: Channel): Renewal => {
  let underWay: Promise<boolean> | null = null

  const silently = async (): Promise<Outcome> => {
    const frame = document.createElement('iframe')
    frame.hidden = true
    frame.title = 'Session renewal'
    frame.src = `${gateway.base}/silent`
    const { outcome, stop } = reported(() => frame.contentWindow)
    document.documentElement.append(frame)
    try {
      return await Promise.race([outcome, later(FRAME_TIMEOUT).then((): Outcome => 'error')])
    } finally {
      stop()
      frame.remove()
    }
  }

  /** Resolves when the user has logged in, `false` when they have given up. */
  const inWindow = (loginUrl: string | null): Promise<boolean> => new Promise((resolve) => {
    const url = new URL(loginUrl ?? `${gateway.base}/login`)
    url.searchParams.set('redirect', `${new URL(gateway.base).pathname}/silent?outcome=ok`)
    let opened: Window | null = null
    let openedAt = 0
    const { outcome, stop } = reported(() => opened)
    const finish = (ok: boolean): void => {
      clearInterval(timer)
      stop()
      forget()
      opened?.close()
      resolve(ok)
    }
    const forget = channel.listen((word) => { if (word === 'renewed') finish(true) })
    const open = (): boolean => {
      opened = window.open(url.href, 'gatehouse-login', 'popup,width=520,height=680')
      openedAt = Date.now()
      return opened !== null
    }
    const needed = (): void => {
      dispatchEvent(new CustomEvent('gatehouse:login-needed', { detail: { login: () => { open() } } }))
    }
    const startedAt = Date.now()
    const timer = setInterval(() => {
      if (Date.now() - startedAt > WINDOW_TIMEOUT) finish(false)
      else if (opened?.closed === true && Date.now() - openedAt > TOO_SOON_TO_BE_CLOSED) {
        opened = null
        void readSession(gateway).then((session) => { finish(session !== null) }, () => { finish(false) })
      } else if (opened?.closed === true && Date.now() - openedAt > 500) {
        opened = null
        needed()
      }
    }, 500)
    void outcome.then((word) => { finish(word === 'ok') })
    if (!open()) needed()
  })

  const renewAlone = async (loginUrl: string | null): Promise<boolean> => {
    // Another tab may have been first; a login for more than there is (step-up) is wanted all the same.
    const stepUp = loginUrl !== null && /[?&](?:acr_values|max_age|scope|claims)=/.test(loginUrl)
    if (!stepUp && await readSession(gateway).catch(() => null) !== null) return true
    const ok = (!stepUp && await silently() === 'ok') || await inWindow(loginUrl)
    if (ok) channel.say('renewed')
    return ok
  }

  return {
    silently,
    renew: (loginUrl) => {
      underWay ??= Promise.resolve(navigator.locks.request('gatehouse:renew', () => renewAlone(loginUrl))).finally(() => { underWay = null })
      return underWay
    },
  }
}
