import type { Test } from 'tap'
import { createBrowser, type Browser } from './browser.ts'
import type { Answer } from './exchange.ts'
import { startGateway, type Running } from './gateway.ts'

export type LoggedIn = Running & {
  readonly browser: Browser
  /** Sends a script's request to the application. */
  readonly call: () => Promise<Answer>
  /** Returns the body of `GET session`. */
  readonly status: () => Promise<Record<'session' | 'tokens', Record<string, unknown>>>
}

/** Starts a gateway and logs alice in; access tokens live for 100 s. */
export const loggedIn = async (t: Test, options: Parameters<typeof startGateway>[1] = {}): Promise<LoggedIn> => {
  const running = await startGateway(t, { idp: { lifetimes: { accessToken: 100 } }, ...options })
  const browser = createBrowser()
  await browser.login(`${running.url}/`, 'alice')
  const script = { kind: 'script' } as const
  return {
    ...running,
    browser,
    call: async () => browser.get(`${running.url}/api/orders`, script),
    status: async () => {
      const answer: ReturnType<Answer['json']> & {
        session?: Record<string, unknown>
        tokens?: Record<string, unknown>
      } = (await browser.get(`${running.url}/oauth2/session`, script)).json()
      return { session: answer.session ?? {}, tokens: answer.tokens ?? {} }
    },
  }
}
