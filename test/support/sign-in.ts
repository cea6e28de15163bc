import type { Browser, RequestOptions } from './browser.ts'
import type { Answer } from './exchange.ts'
import { htmlForms, htmlLink } from './html-form.ts'

/** A request for a page by a client without Sec-Fetch headers. */
export const plainPage: RequestOptions = { kind: 'none', headers: { accept: 'text/html' } }

/** Returns the authorization URL in the response to a login: a redirect, or a small page with a link. */
export const authorizationUrlOf = ({ status, headers, body, url }: Answer): URL => {
  const to = status === 302 ? headers.location : htmlLink(body, 'continue')
  if (to === null || to === undefined) throw new Error(`no login began at ${url} (${status}): ${body.slice(0, 300)}`)
  return new URL(to)
}

export const beginLogin = async (browser: Browser, gateway: string, query: Record<string, string> = {}): Promise<URL> =>
  authorizationUrlOf(await browser.get(`${gateway}/oauth2/login?${new URLSearchParams(query).toString()}`))

const filledIn = (page: Answer, user: string): [URL, URLSearchParams] => {
  const submitsItself = page.body.includes('document.forms[0].submit()')
  for (const { action, fields, buttons } of htmlForms(page.body)) {
    const button = buttons.find(({ value }) => value === user || value === 'confirmed')
    if (button === undefined && !submitsItself) continue
    const pressed: [string, string][] = button === undefined ? [] : [[button.name, button.value]]
    return [new URL(action === '' ? page.url : action, page.url), new URLSearchParams([...fields, ...pressed])]
  }
  throw new Error(`nothing to press at ${page.url} (${page.status}): ${page.body.slice(0, 300)}`)
}

/**
 * Signs in at the provider, or uses its session, and returns the URL of the callback without visiting it.
 */
export const signIn = async (browser: Browser, authorizationUrl: URL, user = 'alice'): Promise<URL> => {
  let answer = await browser.get(authorizationUrl.href)
  for (let steps = 0; steps < 12; steps += 1) {
    if (answer.headers.location === undefined) {
      const [action, fields] = filledIn(answer, user)
      answer = await browser.post(action.href, fields, { from: answer.url })
    } else {
      const next = new URL(answer.headers.location, answer.url)
      if (/\/oauth2\/callback(\/[a-z0-9-]+)?$/.test(next.pathname)) return next
      answer = await browser.get(next.href)
    }
  }
  throw new Error(`the sign-in did not reach the callback, but stopped at ${answer.url}`)
}

/** Starts a login, signs in, and returns the URL of the callback without visiting it. */
export const callbackFor = async (
  browser: Browser,
  gateway: string,
  { user = 'alice', ...query }: { user?: string } & Record<string, string> = {},
): Promise<URL> => signIn(browser, await beginLogin(browser, gateway, query), user)
