import type { Channel } from './channel.ts'
import { isGatewayUrl, loginCode, type Gateway } from './gateway.ts'
import type { Renewal } from './renewal.ts'

/** Creates a fetch that logs the user in if the gateway requires it, then repeats the request with its body. */
export function createFetch(gateway: Gateway, channel: Channel, renewal: Renewal): typeof fetch {
  return async (input, init) => {
    const { origin, href } = new URL(input instanceof Request ? input.url : input, document.baseURI)
    if (origin !== location.origin || isGatewayUrl(gateway, channel, href)) return gateway.fetch(input, init)
    let request = new Request(input, init)
    // A new session does not help a request that sends no cookies.
    if (request.credentials === 'omit') return gateway.fetch(request)
    const { signal } = request
    const aborted = new Promise<never>((_resolve, reject) => {
      signal.onabort = () => {
        reject(signal.reason)
      }
    })
    // Nothing awaits this promise unless the session is renewed.
    aborted.catch(() => {})
    for (let previousCode = ''; ;) {
      const retry = request.clone()
      const answer = await gateway.fetch(request)
      const code = loginCode(answer.status, (name) => answer.headers.get(name))
      // A step-up may follow a login. After any other repeated 401, another login would loop.
      if (code === '' || code === previousCode || (previousCode !== '' && code !== 'step_up_required')) return answer
      previousCode = code
      if (!(await Promise.race([renewal.renew(code, answer.clone()), aborted]))) return answer
      request = retry
    }
  }
}
