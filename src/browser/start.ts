import { openChannel, type Channel } from './channel.ts'
import { createFetch } from './fetch.ts'
import type { Gateway } from './gateway.ts'
import { createRenewal, type Renewal } from './renew.ts'
import { watchSession } from './watch.ts'

/** What a page has once, however many of the scripts it loads. */
type Page = {
  readonly gateway: Gateway
  readonly channel: Channel
  readonly renewal: Renewal
  /** Like `window.fetch`; when a login is needed it gets one, then repeats the request with its body. */
  readonly fetch: typeof fetch
}

const KEY = Symbol.for('gatehouse')

declare global {
  interface Window {
    [KEY]?: Page
  }
}

const open = (script: string): Page => {
  const gateway: Gateway = { base: new URL('.', script).href.slice(0, -1), fetch: window.fetch.bind(window), user: '' }
  const channel = openChannel()
  const renewal = createRenewal(gateway, channel)
  watchSession(gateway, channel, renewal)
  return { gateway, channel, renewal, fetch: createFetch(gateway, channel, renewal) }
}

/** Begins to watch the session of this page; `script` is the URL of one of the gateway's scripts. */
export const start = (script: string): Page => (window[KEY] ??= open(script))
