import { isIP } from 'node:net'
import { Pool, buildConnector, type Dispatcher } from 'undici'
import type { CompiledRoute } from '../../gate/verdict.ts'
import { tolerateContinue } from './interim.ts'

/** Connections to upstreams, one pool for each upstream and way of trusting it. */
export interface Upstreams {
  poolFor(route: CompiledRoute): Dispatcher
  close(): Promise<void>
}

const CONNECT_TIMEOUT_MOST = 10_000

/** Opens no connection yet: each pool grows as it is used. */
export function openUpstreams(routes: readonly CompiledRoute[]): Upstreams {
  const pools = new Map<string, Dispatcher>()
  const byRoute = routes.map((route) => {
    const { upstream, upstreamTls, timeout } = route
    const connectTimeout = Math.min(timeout, CONNECT_TIMEOUT_MOST)
    const identity = JSON.stringify([upstream, upstreamTls.caFile?.path, upstreamTls.serverName, upstreamTls.insecureSkipVerify, connectTimeout])
    const pool = pools.get(identity) ?? open(route, connectTimeout)
    pools.set(identity, pool)
    return pool
  })
  return {
    poolFor(route) {
      const pool = byRoute[route.index]
      if (pool === undefined) throw new Error('a route without an upstream')
      return pool
    },
    async close() {
      await Promise.all([...pools.values()].map((pool) => pool.destroy()))
    },
  }
}

function open({ upstream, upstreamTls }: CompiledRoute, timeout: number): Dispatcher {
  const { caFile, serverName, insecureSkipVerify } = upstreamTls
  const connect = buildConnector({
    timeout,
    ...(upstream.socketPath === null ? {} : { socketPath: upstream.socketPath }),
    ...(caFile === null ? {} : { ca: caFile.content.toString('utf8') }),
    rejectUnauthorized: !insecureSkipVerify,
  })
  // Left alone, undici takes the client's Host for SNI and for the certificate's name, and connects anew when it changes.
  const name = serverName ?? new URL(upstream.origin).hostname
  const servername = isIP(name.replace(/^\[|\]$/g, '')) === 0 ? name : ''
  const pool = new Pool(upstream.origin, {
    pipelining: 1,
    bodyTimeout: 0,
    connect: (options, callback) => {
      connect({ ...options, servername }, (...made) => {
        const [error, socket] = made
        if (error === null) tolerateContinue(socket)
        callback(...made)
      })
    },
  })
  return upstream.origin.startsWith('https:')
    ? pool.compose((dispatch) => (options, handler) => dispatch({ ...options, servername: name } as Dispatcher.DispatchOptions, handler))
    : pool
}
