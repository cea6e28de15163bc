import { openChannel, type Channel } from './channel.ts'
import { createFetch } from './fetch.ts'
import type { Gateway } from './gateway.ts'
import { createRenewal, type Renewal } from './renewal.ts'
import { watchSession } from './watch.ts'

interface Page {
  readonly gateway: Gateway
  readonly channel: Channel
  readonly renewal: Renewal
  readonly fetch: typeof fetch
}

const KEY = Symbol.for('gatehouse')

declare global {
  interface Window {
    [KEY]?: Page
  }
}

/** Starts watching the session of this page, once per page. `script` is the URL of one of the gateway's scripts. */
export function start(script: string): Page {
  return (window[KEY] ??= createPage(script))
}

function createPage(script: string): Page {
  const gateway: Gateway = {
    base: new URL('.', script).href.slice(0, -1),
    fetch: window.fetch.bind(window),
    user: '',
    provider: '',
  }
  const channel = openChannel()
  const renewal = createRenewal(gateway, channel)
  watchSession(gateway, channel, renewal)
  return { gateway, channel, renewal, fetch: createFetch(gateway, channel, renewal) }
}
