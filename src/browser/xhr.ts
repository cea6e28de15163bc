import type { Channel } from './channel.ts'
import { isGatewayUrl, loginCode, type Gateway } from './gateway.ts'
import type { Renewal } from './renewal.ts'

type Body = Document | XMLHttpRequestBodyInit | null

interface SentRequest {
  readonly method: string
  readonly url: string
  readonly user: string | null
  readonly password: string | null
  readonly headers: [string, string][]
  body: Body
}

/** Copies a body that the page may still change, or whose bytes it may detach. */
function copyOf(body: Body): Body {
  if (body instanceof URLSearchParams) return new URLSearchParams(body)
  if (body instanceof ArrayBuffer || ArrayBuffer.isView(body)) return new Blob([body])
  if (!(body instanceof FormData)) return body
  const copy = new FormData()
  for (const [name, value] of body) copy.append(name, value)
  return copy
}

const EVENTS = ['loadstart', 'readystatechange', 'progress', 'load', 'error', 'timeout', 'loadend'] as const

/**
 * Creates an XMLHttpRequest class that logs the user in if the gateway requires it, and repeats the request before the
 * page sees the 401. The class registers its listeners first, so it can hold back those of the page.
 */
export function createXhr(
  gateway: Gateway,
  channel: Channel,
  renewal: Renewal,
  Native: typeof XMLHttpRequest,
): typeof XMLHttpRequest {
  return class extends Native {
    /** `null` for requests that are never sent again: cross-origin and synchronous ones. */
    #request: SentRequest | null = null
    #state: 'open' | 'held' | 'resent' | 'done' = 'done'
    #previousCode = ''

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
      ...args: [string, string | URL, isAsync?: unknown, user?: string | null, password?: string | null]
    ): void {
      const [method, url, , user = null, password = null] = args
      // A third argument counts even if it is undefined.
      const isAsync = args.length < 3 || Boolean(args[2])
      const { href, origin } = new URL(url, document.baseURI)
      const repeatable = isAsync && origin === location.origin && !isGatewayUrl(gateway, channel, href)
      this.#request = repeatable ? { method, url: href, user, password, headers: [], body: null } : null
      this.#state = 'open'
      this.#previousCode = ''
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
      // The browser considers the held request finished, so `super.abort()` fires no events.
      if (held) this.#fire('abort', 'loadend')
    }

    #guard(event: Event): void {
      const headersAreIn = this.readyState > 1
      if (this.#state === 'resent' && headersAreIn) this.#state = 'open'
      if (this.#state === 'open' && headersAreIn) this.#state = this.#requiresLogin() ? 'held' : 'done'
      if (this.#state !== 'held' && this.#state !== 'resent') return
      event.stopImmediatePropagation()
      if (event.type === 'loadend' && this.#state === 'held') void this.#renew()
    }

    #requiresLogin(): boolean {
      if (this.#request === null || new URL(this.responseURL || this.#request.url).origin !== location.origin)
        return false
      const code = loginCode(this.status, (name) => this.getResponseHeader(name))
      if (code === '' || code === this.#previousCode || (this.#previousCode !== '' && code !== 'step_up_required'))
        return false
      this.#previousCode = code
      return true
    }

    async #renew(): Promise<void> {
      const request = this.#request
      const body = this.responseType === 'json' ? JSON.stringify(this.response) : this.response
      const ok = await renewal.renew(this.#previousCode, new Response(body))
      // The page may have aborted the request, or started another one on this object.
      if (this.#state !== 'held' || this.#request !== request || request === null) return
      this.#state = ok ? 'resent' : 'done'
      if (!ok) {
        this.#fire('readystatechange', 'load', 'loadend')
        return
      }
      super.open(request.method, request.url, true, request.user, request.password)
      for (const [name, value] of request.headers) super.setRequestHeader(name, value)
      super.send(request.body)
    }

    #fire(...names: string[]): void {
      for (const name of names) this.dispatchEvent(new ProgressEvent(name))
    }
  }
}
