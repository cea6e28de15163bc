import type { Browser, BrowserContext, BrowserContextOptions, Page } from 'playwright-core'
import type { Test } from 'tap'
import { createBrowser } from '../support/browser.ts'
import type { Running } from '../support/gateway.ts'

/** A tab, and its console messages. */
export type Visit = { readonly context: BrowserContext; readonly page: Page; readonly said: string[] }

/** Opens a page in its own profile; an uncaught error in it fails the test. */
export const visit = async (t: Test, chromium: Browser, options: BrowserContextOptions = {}): Promise<Visit> => {
  const context = await chromium.newContext(options)
  t.teardown(async () => {
    await context.close()
  })
  context.setDefaultTimeout(20_000)
  // What a test runs in a page has been compiled: its functions are given their names by this.
  await context.addInitScript('globalThis.__name = (given) => given')
  const said: string[] = []
  context.on('console', (message) => said.push(message.text()))
  context.on('weberror', (error) => {
    t.fail(error.error().message)
  })
  return { context, page: await context.newPage(), said }
}

/** Opens a URL of a gateway and signs in on the way. */
export const signIn = async (page: Page, target: string, user = 'alice'): Promise<void> => {
  const { origin } = new URL(target)
  await page.goto(target)
  await page.getByRole('button', { name: `Sign in as ${user}` }).click()
  await page.waitForURL((at) => at.origin === origin && !at.pathname.startsWith('/oauth2/'))
}

/**
 * Opens a page of a gateway in its own profile with a signed-in user; with `atProvider: false` the
 * provider has no session.
 */
export const arrive = async (
  t: Test,
  chromium: Browser,
  target: string,
  { user = 'alice', atProvider = true }: { user?: string; atProvider?: boolean } = {},
): Promise<Visit> => {
  const { origin, hostname } = new URL(target)
  const quick = createBrowser()
  await quick.login(`${origin}/`, user)
  const visited = await visit(t, chromium)
  const cookies = quick.cookies.all().filter(({ name }) => atProvider || !name.startsWith('demo_idp'))
  if (!cookies.some(({ domain }) => domain === hostname)) throw new Error(`${user} could not sign in at ${origin}`)
  await visited.context.addCookies(
    cookies.map(({ name, value, domain, path, httpOnly }) => ({
      name,
      value,
      domain,
      path,
      httpOnly,
      sameSite: 'Lax',
    })),
  )
  await visited.page.goto(target)
  return visited
}

/** Waits for the application's response to a form: the page that keeps the form has the same URL. */
export const isPosted = async (page: Page): Promise<void> => {
  await page.waitForFunction(() => document.contentType === 'application/json')
}

/** Returns the login cookies of a gateway's host, which change when a login starts. */
export const loginCookies = async (context: BrowserContext, cookie = 'gatehouse'): Promise<string[]> =>
  (await context.cookies())
    .filter(({ name }) => name.startsWith(`${cookie}-`))
    .map(({ name, value }) => `${name}=${value}`)
    .toSorted()

/** Whether the browser has a session cookie. */
export const hasSession = async (context: BrowserContext, cookie = 'gatehouse'): Promise<boolean> =>
  (await context.cookies()).some(({ name }) => name === cookie)

/**
 * Ends a user's sessions without the browser: its cookie stays until its next request. Needs an admin
 * listener.
 */
export const endSessions = async ({ gateway }: Running, sub = 'alice'): Promise<void> => {
  const answer = await gateway.admin?.inject({ method: 'DELETE', url: `/sessions?sub=${sub}` })
  if (answer?.statusCode !== 204)
    throw new Error(`the sessions could not be ended: ${answer?.statusCode ?? 'no admin listener'}`)
}

/** Fills in and saves the page of the tests that save. */
export async function save(page: Page, work: string): Promise<void> {
  await page.locator('#work').fill(work)
  await page.getByRole('button', { name: 'Save' }).click()
}

/** Waits for the result of `save` and returns its text. */
export async function saved(page: Page): Promise<string> {
  await page.locator('#out:not(:empty)').waitFor()
  return page.locator('#out').innerText()
}
