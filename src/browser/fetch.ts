import type { Channel } from './channel.ts'
import { isOwn, loginCode, type Gateway } from './gateway.ts'
import type { Renewal } from './renew.ts'

/** A fetch that, when the gateway wants a login, gets one and repeats the request with its body. */
export const createFetch =
  (gateway: Gateway, channel: Channel, renewal: Renewal): typeof fetch =>
  async (input, init) => {
    const { origin, href } = new URL(input instanceof Request ? input.url : input, document.baseURI)
    if (origin !== location.origin || isOwn(gateway, channel, href)) return gateway.fetch(input, init)
    let request = new Request(input, init)
    // What goes without cookies no login helps.
    if (request.credentials === 'omit') return gateway.fetch(request)
    const { signal } = request
    const aborted = new Promise<never>((_resolve, reject) => {
      signal.onabort = () => {
        reject(signal.reason)
      }
    })
    // Nobody may be waiting for it.
    aborted.catch(() => {})
    for (let met = ''; ;) {
      const again = request.clone()
      const answer = await gateway.fetch(request)
      const code = loginCode(answer.status, (name) => answer.headers.get(name))
      // A login can be followed by step-up; more than that leads nowhere.
      if (code === '' || code === met || (met !== '' && code !== 'step_up_required')) return answer
      met = code
      if (!(await Promise.race([renewal.renew(code, answer.clone()), aborted]))) return answer
      request = again
    }
  }
