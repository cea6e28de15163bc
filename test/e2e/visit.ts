import type { Browser, BrowserContext, BrowserContextOptions, Page } from 'playwright-core'
import type { Test } from 'tap'

/** A tab, and what it has said to the console. */
export type Visit = { readonly context: BrowserContext, readonly page: Page, readonly said: string[] }

/** A page in a profile of its own; an uncaught error in it fails the test. */
export const visit = async (t: Test, chromium: Browser, options: BrowserContextOptions = {}): Promise<Visit> => {
  const context = await chromium.newContext(options)
  t.teardown(async () => { await context.close() })
  context.setDefaultTimeout(10_000)
  const said: string[] = []
  context.on('console', (message) => said.push(message.text()))
  context.on('weberror', (error) => { t.fail(error.error().message) })
  return { context, page: await context.newPage(), said }
}

/** Opens a URL of a gateway and signs in on the way. */
export const signIn = async (page: Page, target: string, user = 'alice'): Promise<void> => {
  const { origin } = new URL(target)
  await page.goto(target)
  await page.getByRole('button', { name: `Sign in as ${user}` }).click()
  await page.waitForURL((at) => at.origin === origin && !at.pathname.startsWith('/oauth2/'))
}

/** Ends the session behind the page's back: its cookie is as good as before, until the gateway is asked. */
export const endSessions = async (gateway: { readonly sessions: (sub: string) => Promise<void> }, sub = 'alice'): Promise<void> => gateway.sessions(sub)
