import { type Idp, startIdp } from '../src/demo/idp.ts'
import { createBrowser } from '../test/support/browser.ts'
import type { Contestant } from './contestants.ts'

/**
 * Starts the demo's provider, with tokens that outlast any run, so that no refresh disturbs a measurement. It listens on
 * a different loopback address than the contestants, so that a browser keeps their cookies separate.
 */
export async function startProvider(): Promise<Idp> {
  return startIdp({ host: '127.0.0.2', lifetimes: { accessToken: 36_000, idToken: 36_000 } })
}

/**
 * Logs alice in at a contestant through the provider. Returns the value of the `Cookie` header for the contestant.
 * `status` is what the application answers to the request for its start page.
 */
export async function logIn(contestant: Contestant, status = 200): Promise<string> {
  const url = `http://127.0.0.1:${contestant.port}/`
  const browser = createBrowser()
  const { answer, hops } = await browser.login(url, 'alice')
  if (answer.status !== status || answer.url !== url) {
    const steps = hops.map((hop) => `${hop.status} ${new URL(hop.url).origin}${new URL(hop.url).pathname}`).join(', ')
    throw new Error(`the login at ${contestant.name} did not end at the upstream's page: ${steps}`)
  }
  return browser.cookies.header(new URL(url))
}
