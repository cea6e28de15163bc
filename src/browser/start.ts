import { openChannel } from './channel.ts'
import { createFetch } from './fetch.ts'
import type { Gateway } from './gateway.ts'
import { createRenewal } from './renew.ts'
import { watchSession } from './watch.ts'
import { createXhr } from './xhr.ts'

/** What a page has once, however many of the scripts it loads. */
type Page = {
  readonly gateway: Gateway
  /** Like `window.fetch`; when a login is needed it gets one, then repeats the request with its body. */
  readonly fetch: typeof fetch
  readonly XMLHttpRequest: () => typeof XMLHttpRequest
}

const KEY = Symbol.for('gatehouse')

declare global {
  interface Window { [KEY]?: Page }
}

/** Begins to watch the session of this page; `script` is the URL that the script came from. */
export const start = (script: string): Page => {
  const open = (): Page => {
    const gateway: Gateway = { base: new URL('.', script).href.slice(0, -1), fetch: window.fetch.bind(window), user: '' }
    const channel = openChannel()
    const renewal = createRenewal(gateway, channel)
    watchSession(gateway, channel, renewal)
    return {
      gateway,
      fetch: createFetch(gateway, channel, renewal),
      XMLHttpRequest: () => createXhr(gateway, channel, renewal, window.XMLHttpRequest),
    }
  }
  return window[KEY] ??= open()
}
