import { type Idp, startIdp } from '../src/demo/idp.ts'
import { createBrowser } from '../test/support/browser.ts'
import type { Contestant } from './contestants.ts'

/**
 * Starts the demo's provider, with tokens that outlast any run: nothing is refreshed while it is measured. It listens
 * on another loopback address than the contestants, so that a browser keeps its cookies and theirs apart.
 */
export async function startProvider(): Promise<Idp> {
  return startIdp({ host: '127.0.0.2', lifetimes: { accessToken: 36_000, idToken: 36_000 } })
}

/** Logs alice in at a contestant through the provider; resolves with the contestant's cookies as a header's value. */
export async function logIn(it: Contestant): Promise<string> {
  const url = `http://127.0.0.1:${it.port}/`
  const browser = createBrowser()
  const { answer, hops } = await browser.login(url, 'alice')
  if (answer.status !== 200 || answer.url !== url) {
    const way = hops.map((hop) => `${hop.status} ${new URL(hop.url).origin}${new URL(hop.url).pathname}`).join(', ')
    throw new Error(`The login at ${it.name} did not end at the upstream's page, but went: ${way}`)
  }
  return browser.cookies.header(new URL(url))
}
