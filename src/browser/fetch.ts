import { wantsLogin, type Gateway } from './gateway.ts'
import type { Renewal } from './renew.ts'

/** A fetch that, when the gateway wants a login, gets one and repeats the request with its body. */
export const createFetch = (gateway: Gateway, renewal: Renewal): typeof fetch => async (input, init) => {
  const url = new URL(input instanceof Request ? input.url : String(input), document.baseURI)
  if (url.origin !== location.origin || url.href.startsWith(`${gateway.base}/`)) return gateway.fetch(input, init)
  const request = new Request(input, init)
  const again = request.clone()
  const answer = await gateway.fetch(request)
  if (!wantsLogin(answer.status, (name) => answer.headers.get(name))) return answer
  const problem: unknown = await answer.clone().json().catch(() => null)
  const loginUrl = typeof problem === 'object' && problem !== null && 'login_url' in problem && typeof problem.login_url === 'string' ? problem.login_url : null
  return await renewal.renew(loginUrl) ? gateway.fetch(again) : answer
}
