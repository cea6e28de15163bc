import { rootCertificates } from 'node:tls'
import { Pool } from 'undici'
import type { CompiledRoute } from '../../gate/verdict.ts'

/** Connections to upstreams, one pool for each upstream and way of trusting it. */
export interface Upstreams {
  poolFor(route: CompiledRoute): Pool
  close(): Promise<void>
}

const CONNECT_TIMEOUT_MOST = 10_000

/** Opens no connection yet: each pool grows as it is used. */
export function openUpstreams(routes: readonly CompiledRoute[]): Upstreams {
  const pools = new Map<string, Pool>()
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

function open({ upstream, upstreamTls }: CompiledRoute, timeout: number): Pool {
  const { caFile, serverName, insecureSkipVerify } = upstreamTls
  return new Pool(upstream.origin, {
    pipelining: 1,
    bodyTimeout: 0,
    connect: {
      timeout,
      ...(upstream.socketPath === null ? {} : { socketPath: upstream.socketPath }),
      ...(caFile === null ? {} : { ca: [...rootCertificates, caFile.content.toString('utf8')] }),
      // Without a name of its own, undici would take the client's Host for SNI and for the certificate's name.
      servername: serverName ?? new URL(upstream.origin).hostname,
      rejectUnauthorized: !insecureSkipVerify,
    },
  })
}
