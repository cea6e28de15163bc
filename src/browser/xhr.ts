import { wantsLogin, type Gateway } from './gateway.ts'
import type { Renewal } from './renew.ts'

const EVENTS = ['readystatechange', 'progress', 'load', 'loadend'] as const

/**
 * An XMLHttpRequest that, when the gateway wants a login, gets one and sends itself again before the page hears of the 401.
 * Its own listeners come first, so that nobody else's are called meanwhile.
 */
export const createXhr = (gateway: Gateway, renewal: Renewal, Native: typeof XMLHttpRequest): typeof XMLHttpRequest => (
  class extends Native {
    #open: Parameters<XMLHttpRequest['open']> | null = null
    #headers: [string, string][] = []
    #body: Document | XMLHttpRequestBodyInit | null = null
    #state: 'fresh' | 'holding' | 'settled' = 'fresh'

    constructor() {
      super()
      for (const name of EVENTS) this.addEventListener(name, (event) => { this.#guard(event) })
    }

    override open(method: string, url: string | URL, ...rest: unknown[]): void {
      const [isAsync = true, user, password] = rest
      const opening: Parameters<XMLHttpRequest['open']> = [
        method, url, isAsync !== false, typeof user === 'string' ? user : null, typeof password === 'string' ? password : null,
      ]
      this.#open = isAsync === false ? null : opening
      this.#headers = []
      this.#state = 'fresh'
      super.open(...opening)
    }

    override setRequestHeader(name: string, value: string): void {
      this.#headers.push([name, value])
      super.setRequestHeader(name, value)
    }

    override send(body: Document | XMLHttpRequestBodyInit | null = null): void {
      this.#body = body
      super.send(body)
    }

    #guard(event: Event): void {
      if (this.#state === 'holding') {
        event.stopImmediatePropagation()
        return
      }
      if (this.readyState !== 4 || this.#state === 'settled' || this.#open === null) return
      const { origin, href } = new URL(this.responseURL === '' ? location.href : this.responseURL)
      if (origin !== location.origin || href.startsWith(`${gateway.base}/`) || !wantsLogin(this.status, (name) => this.getResponseHeader(name))) {
        this.#state = 'settled'
        return
      }
      this.#state = 'holding'
      event.stopImmediatePropagation()
      const loginUrl = this.#loginUrl()
      // The rest of the first answer's events is still to come.
      setTimeout(() => {
        void renewal.renew(loginUrl).then((ok) => {
          this.#state = 'settled'
          if (ok) this.#again()
          else for (const name of ['readystatechange', 'load', 'loadend']) this.dispatchEvent(new ProgressEvent(name))
        })
      })
    }

    #again(): void {
      if (this.#open === null) return
      super.open(...this.#open)
      for (const [name, value] of this.#headers) super.setRequestHeader(name, value)
      super.send(this.#body)
    }

    #loginUrl(): string | null {
      try {
        const problem: unknown = this.responseType === 'json' ? this.response : JSON.parse(this.responseType === '' || this.responseType === 'text' ? this.responseText : '{}')
        return typeof problem === 'object' && problem !== null && 'login_url' in problem && typeof problem.login_url === 'string' ? problem.login_url : null
      } catch {
        return null
      }
    }
  }
)
