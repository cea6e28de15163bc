import type { Channel } from './channel.ts'
import { readSession, type Gateway } from './gateway.ts'
import { oneAtATime } from './lock.ts'
import { openLogin } from './login-window.ts'
import { loginSilently } from './silently.ts'

/** Gets a session again. */
export type Renewal = {
  /** With the user where it takes one; `code` and `answer` are the gateway's. One renewal serves all calls. */
  readonly renew: (code: string, answer: Response) => Promise<boolean>
  /** A new login while there is still a session: silently, else in a window. */
  readonly login: () => Promise<boolean>
}

/** Where a 401 says that the user logs in. */
const loginUrlIn = async (answer: Response): Promise<string | null> => {
  const problem: { login_url?: unknown } | null = await answer.json().catch(() => null)
  return typeof problem?.login_url === 'string' ? problem.login_url : null
}

/** Makes the page's way back to a session. */
export const createRenewal = (gateway: Gateway, channel: Channel): Renewal => {
  let underWay: Promise<boolean> | null = null

  /** Whether there is a session of this page's user. */
  const isBack = (): Promise<boolean> =>
    readSession(gateway).then(
      (info) => info?.session.user === gateway.user,
      () => false,
    )

  /** One tab at a time, but not while it waits for a click that may never come. */
  const alone = async (code: string, loginUrl: string | null): Promise<boolean> => {
    const stepUp = code === 'step_up_required'
    let elsewhere = false
    const stop = channel.listen((word) => {
      elsewhere ||= word === 'signed-in'
    })
    const { back } = await oneAtATime('renew', async (): Promise<{ readonly back: boolean | Promise<boolean> }> => {
      stop()
      // Another tab may have been first.
      if (elsewhere) return { back: isBack() }
      if (!stepUp) {
        // A session whose token is spent does not help.
        const info = code === 'upstream_login_required' ? null : await readSession(gateway).catch(() => null)
        if (info !== null && (info.tokens.refreshable || info.tokens.expire_in_seconds !== 0)) {
          return { back: info.session.user === gateway.user }
        }
        if ((await loginSilently(gateway, false)) === 'ok') return { back: true }
      }
      const { blocked, closed } = openLogin(gateway, channel, loginUrl, stepUp)
      const back = closed.then(isBack)
      return { back: blocked ? back : await back }
    })
    return back
  }

  return {
    renew: (code, answer) => {
      underWay ??= loginUrlIn(answer)
        .then((loginUrl) => alone(code, loginUrl))
        .finally(() => {
          underWay = null
        })
      return underWay
    },
    login: async () =>
      (await loginSilently(gateway, false)) === 'ok' || openLogin(gateway, channel, null, true).closed.then(isBack),
  }
}
