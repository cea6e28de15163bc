import type { Dispatcher } from 'undici'
import type { Config } from '../../config/schema.ts'
import { causes } from '../../errors.ts'
import { compileRoutes, hostOf } from '../../gate/match.ts'
import { fallbackOrigin } from '../../gate/public-origins.ts'
import { upstreamHostOf } from '../../gate/upstream-urls.ts'
import type { CompiledRoute } from '../../gate/verdict.ts'
import { createPools } from '../../http/proxy/upstreams.ts'
import { fail, ok, REQUEST_TIMEOUT_MS, warn, type Finding, type Question } from './report.ts'

/** How many routes a line names. */
const MAX_ROUTES = 3

/** Returns a question for each upstream with its connection settings: whether it answers a request, with any status. */
export function upstreamQuestions(config: Config): Question[] {
  const routes = compileRoutes(config.routes, config.basePath).routes.map((route) => ({
    ...route,
    timeout: Math.min(route.timeout, REQUEST_TIMEOUT_MS),
  }))
  const pools = createPools()
  const upstreams = pools.openFor(routes, config.limits.answerHeaders)
  const host = hostOf(fallbackOrigin(config))
  return [...upstreams.all].map((pool) => {
    const [first, ...others] = routes.filter((route) => upstreams.poolFor(route) === pool)
    return { subject: 'upstream', ask: async () => [lessSevere(await askUpstream(pool, host, first, others), config)] }
  })
}

/** With forward-auth, a proxy may forward all requests itself, so the gateway may not need the upstream. */
function lessSevere(finding: Finding, { forwardAuth }: Config): Finding {
  return finding.level === 'FAIL' && forwardAuth !== null
    ? warn(`${finding.text}: only requests to the public listener need it`)
    : finding
}

async function askUpstream(
  pool: Dispatcher,
  publicHost: string,
  route: CompiledRoute | undefined,
  others: readonly CompiledRoute[],
) {
  if (route === undefined) throw new Error('an upstream without a route')
  const { upstream, upstreamProtocol } = route
  const address = upstream.socketPath === null ? upstream.origin : `unix:${upstream.socketPath}`
  const labels = [route, ...others].map(({ label }) => label)
  const rest = labels.length > MAX_ROUTES ? `, … (${labels.length})` : ''
  const name = `${address}${upstreamProtocol === 'http1' ? '' : ` (${upstreamProtocol})`}`
  const routes = `${labels.length === 1 ? 'route' : 'routes'} ${labels.slice(0, MAX_ROUTES).join(', ')}${rest}`
  try {
    const status = await requestStatus(pool, upstream.origin, upstreamHostOf(route, publicHost))
    return ok(`${name} answers ${status}, ${routes}`)
  } catch (error) {
    return fail(`${name}: ${causes(error)}, ${routes}`)
  } finally {
    await pool.destroy()
  }
}

/** Resolves with the status of the answer to `HEAD /`. Rejects if the upstream does not answer in time. */
async function requestStatus(pool: Dispatcher, origin: string, host: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      reject(new Error(`it accepts connections, but does not answer HEAD / within ${REQUEST_TIMEOUT_MS / 1000} s`))
    }, REQUEST_TIMEOUT_MS)
    const end = (): void => {
      clearTimeout(timer)
    }
    pool.dispatch(
      { origin, path: '/', method: 'HEAD', headers: ['Host', host, 'User-Agent', 'gatehouse-check'], reset: true },
      {
        onRequestStart() {},
        onResponseStart(controller, status) {
          if (status < 200) return
          end()
          resolve(status)
          controller.abort(new Error('the status is known'))
        },
        onResponseData() {},
        onResponseEnd() {},
        onResponseError(_controller, error) {
          end()
          reject(error)
        },
      },
    )
  })
}
