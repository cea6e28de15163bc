import type { Channel } from './channel.ts'
import { isOwn, loginCode, type Gateway } from './gateway.ts'
import type { Renewal } from './renew.ts'

type Body = Document | XMLHttpRequestBodyInit | null

/** All that was told to a request, to be told once more. */
type Sent = {
  readonly method: string
  readonly url: string
  readonly user: string | null
  readonly password: string | null
  readonly headers: [string, string][]
  body: Body
}

/** The page may go on to change what it has sent, or use up its bytes. */
const copyOf = (body: Body): Body => {
  if (body instanceof URLSearchParams) return new URLSearchParams(body)
  if (body instanceof ArrayBuffer || ArrayBuffer.isView(body)) return new Blob([body])
  if (!(body instanceof FormData)) return body
  const copy = new FormData()
  for (const [name, value] of body) copy.append(name, value)
  return copy
}

const EVENTS = ['loadstart', 'readystatechange', 'progress', 'load', 'error', 'timeout', 'loadend'] as const

/**
 * An XMLHttpRequest that, when the gateway wants a login, gets one and sends itself again before the page hears of the
 * 401. Its own listeners come first, so that nobody else's are called meanwhile.
 */
export const createXhr = (
  gateway: Gateway,
  channel: Channel,
  renewal: Renewal,
  Native: typeof XMLHttpRequest,
): typeof XMLHttpRequest =>
  class extends Native {
    /** What to send again; `null` for what is not: another origin's, and what the page stands still for. */
    #request: Sent | null = null
    #state: 'open' | 'held' | 'again' | 'done' = 'done'
    /** The code of the 401 that was met last. */
    #met = ''

    constructor() {
      super()
      for (const name of EVENTS)
        this.addEventListener(
          name,
          (event) => {
            this.#guard(event)
          },
          true,
        )
    }

    override open(
      ...what: [string, string | URL, isAsync?: unknown, user?: string | null, password?: string | null]
    ): void {
      const [method, url, , user = null, password = null] = what
      // One that is given counts, even when it is undefined.
      const isAsync = what.length < 3 || Boolean(what[2])
      const { href, origin } = new URL(url, document.baseURI)
      const ours = isAsync && origin === location.origin && !isOwn(gateway, channel, href)
      this.#request = ours ? { method, url: href, user, password, headers: [], body: null } : null
      this.#state = 'open'
      this.#met = ''
      super.open(method, url, isAsync, user, password)
    }

    override setRequestHeader(name: string, value: string): void {
      super.setRequestHeader(name, value)
      this.#request?.headers.push([name, value])
    }

    override send(body: Body = null): void {
      if (this.#request !== null) this.#request.body = copyOf(body)
      super.send(body)
    }

    override abort(): void {
      const held = this.#state === 'held' && this.readyState === 4
      this.#state = 'done'
      super.abort()
      // For the browser it had ended already.
      if (held) this.#tell('abort', 'loadend')
    }

    #guard(event: Event): void {
      const headersAreIn = this.readyState > 1
      if (this.#state === 'again' && headersAreIn) this.#state = 'open'
      if (this.#state === 'open' && headersAreIn) this.#state = this.#wantsLogin() ? 'held' : 'done'
      if (this.#state !== 'held' && this.#state !== 'again') return
      event.stopImmediatePropagation()
      if (event.type === 'loadend' && this.#state === 'held') void this.#renew()
    }

    #wantsLogin(): boolean {
      if (this.#request === null || new URL(this.responseURL || this.#request.url).origin !== location.origin)
        return false
      const code = loginCode(this.status, (name) => this.getResponseHeader(name))
      if (code === '' || code === this.#met || (this.#met !== '' && code !== 'step_up_required')) return false
      this.#met = code
      return true
    }

    async #renew(): Promise<void> {
      const request = this.#request
      const body = this.responseType === 'json' ? JSON.stringify(this.response) : this.response
      const ok = await renewal.renew(this.#met, new Response(body))
      // The page may have aborted it, or begun another one.
      if (this.#state !== 'held' || this.#request !== request || request === null) return
      this.#state = ok ? 'again' : 'done'
      if (!ok) {
        this.#tell('readystatechange', 'load', 'loadend')
        return
      }
      super.open(request.method, request.url, true, request.user, request.password)
      for (const [name, value] of request.headers) super.setRequestHeader(name, value)
      super.send(request.body)
    }

    #tell(...names: string[]): void {
      for (const name of names) this.dispatchEvent(new ProgressEvent(name))
    }
  }
