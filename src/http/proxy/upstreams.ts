import { isIP } from 'node:net'
import { isDeepStrictEqual } from 'node:util'
import { Pool, buildConnector, type Dispatcher } from 'undici'
import { withoutBrackets } from '../../config/without-brackets.ts'
import type { CompiledRoute } from '../../gate/verdict.ts'
import { tolerateContinue } from './tolerate-continue.ts'

/** Connections to upstreams, one pool for each upstream and way of trusting it, whatever routes lead there. */
export interface Pools {
  /** The pools for these routes; those that are open already are used again. `answerHeaders` in bytes. */
  openFor(routes: readonly CompiledRoute[], answerHeaders: number): Upstreams
  /** Lets go of the pools that these upstreams do not use: what runs there ends by itself. */
  keepOnly(upstreams: Upstreams): void
  close(): Promise<void>
}

/** The pools of one route table. */
export interface Upstreams {
  poolFor(route: CompiledRoute): Dispatcher
  readonly all: ReadonlySet<Dispatcher>
}

interface Identity {
  readonly upstream: CompiledRoute['upstream']
  readonly upstreamTls: CompiledRoute['upstreamTls']
  readonly connectTimeout: number
  readonly answerHeaders: number
}

const CONNECT_TIMEOUT_MOST = 10_000

/** Opens no connection yet: each pool grows as it is used. */
export function createPools(): Pools {
  let pools: { readonly identity: Identity; readonly pool: Dispatcher }[] = []

  function poolOf(route: CompiledRoute, answerHeaders: number): Dispatcher {
    const { upstream, upstreamTls, timeout } = route
    const identity: Identity = {
      upstream,
      upstreamTls,
      connectTimeout: Math.min(timeout, CONNECT_TIMEOUT_MOST),
      answerHeaders,
    }
    const known = pools.find((one) => isDeepStrictEqual(one.identity, identity))
    if (known !== undefined) return known.pool
    const pool = open(identity)
    pools.push({ identity, pool })
    return pool
  }

  return {
    openFor(routes, answerHeaders) {
      const byRoute = routes.map((route) => poolOf(route, answerHeaders))
      return {
        all: new Set(byRoute),
        poolFor(route) {
          const pool = byRoute[route.index]
          if (pool === undefined) throw new Error('a route without an upstream')
          return pool
        },
      }
    },
    keepOnly({ all }) {
      // Idle connections close by themselves in a few seconds.
      pools = pools.filter(({ pool }) => all.has(pool))
    },
    async close() {
      await Promise.all(pools.map(({ pool }) => pool.destroy()))
    },
  }
}

function open({ upstream, upstreamTls, connectTimeout, answerHeaders }: Identity): Dispatcher {
  const { caFile, serverName, insecureSkipVerify } = upstreamTls
  const connect = buildConnector({
    timeout: connectTimeout,
    ...(upstream.socketPath === null ? {} : { socketPath: upstream.socketPath }),
    ...(caFile === null ? {} : { ca: caFile.content.toString('utf8') }),
    rejectUnauthorized: !insecureSkipVerify,
  })
  // Left alone, undici takes the client's Host for SNI and for the certificate's name, and connects anew when it
  // changes.
  const name = serverName ?? new URL(upstream.origin).hostname
  const servername = isIP(withoutBrackets(name)) === 0 ? name : ''
  const pool = new Pool(upstream.origin, {
    pipelining: 1,
    bodyTimeout: 0,
    maxHeaderSize: answerHeaders,
    connect: (options, callback) => {
      connect({ ...options, servername }, (...made) => {
        const [error, socket] = made
        if (error === null) tolerateContinue(socket)
        callback(...made)
      })
    },
  })
  return upstream.origin.startsWith('https:')
    ? pool.compose(
        (dispatch) => (options, handler) =>
          dispatch({ ...options, servername: name } as Dispatcher.DispatchOptions, handler),
      )
    : pool
}
