import { isIP } from 'node:net'
import { isDeepStrictEqual } from 'node:util'
import { Pool, buildConnector, type Dispatcher } from 'undici'
import { withoutBrackets } from '../../config/value-types/address.ts'
import type { CompiledRoute } from '../../gate/verdict.ts'
import { mendParser } from './undici-parser.ts'
import { mendWriter } from './undici-writer.ts'

/** The connections to upstreams. Routes with the same upstream and TLS settings share a pool. */
export interface Pools {
  /**
   * Returns the pools for these routes, and reuses open ones. `answerHeaders` limits the response headers, in bytes.
   */
  openFor(routes: readonly CompiledRoute[], answerHeaders: number): Upstreams
  /** Drops the pools that these upstreams do not use. Requests on dropped pools finish. */
  keepOnly(upstreams: Upstreams): void
  close(): Promise<void>
}

export interface Upstreams {
  poolFor(route: CompiledRoute): Dispatcher
  /** Creates a dispatcher with one connection for one client. The caller must close it. */
  openOne(route: CompiledRoute): Dispatcher
  readonly all: ReadonlySet<Dispatcher>
}

interface Identity {
  readonly upstream: CompiledRoute['upstream']
  readonly upstreamTls: CompiledRoute['upstreamTls']
  readonly connectTimeout: number
  readonly answerHeaders: number
}

const MAX_CONNECT_TIMEOUT_MS = 10_000

export function createPools(): Pools {
  let pools: { readonly identity: Identity; readonly pool: Dispatcher }[] = []

  function poolOf(route: CompiledRoute, answerHeaders: number): Dispatcher {
    const identity = identityOf(route, answerHeaders)
    const known = pools.find((one) => isDeepStrictEqual(one.identity, identity))
    if (known !== undefined) return known.pool
    const pool = open(identity, {})
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
        openOne: (route) =>
          open(identityOf(route, answerHeaders), ONE_CONNECTION).compose(
            (dispatch) => (options, handler) =>
              // undici closes a connection after a HEAD, because an erroneous body would be read as the next response.
              // This connection serves one client, so that risk is small, and closing it would lose the client's login.
              dispatch(options.method === 'HEAD' ? { ...options, reset: false } : options, handler),
          ),
      }
    },
    keepOnly({ all }) {
      // Dropped pools need no `close`, because idle connections close after a few seconds.
      pools = pools.filter(({ pool }) => all.has(pool))
    },
    async close() {
      await Promise.all(pools.map(({ pool }) => pool.destroy()))
    },
  }
}

/** Keeps the connection open until the client's connection or the application closes it. */
const ONE_CONNECTION = { connections: 1, keepAliveTimeout: 600_000 }

function identityOf({ upstream, upstreamTls, timeout }: CompiledRoute, answerHeaders: number): Identity {
  return { upstream, upstreamTls, connectTimeout: Math.min(timeout, MAX_CONNECT_TIMEOUT_MS), answerHeaders }
}

function open({ upstream, upstreamTls, connectTimeout, answerHeaders }: Identity, settings: Pool.Options): Dispatcher {
  const { caFile, serverName, insecureSkipVerify } = upstreamTls
  const connect = buildConnector({
    timeout: connectTimeout,
    ...(upstream.socketPath === null ? {} : { socketPath: upstream.socketPath }),
    ...(caFile === null ? {} : { ca: caFile.content.toString('utf8') }),
    rejectUnauthorized: !insecureSkipVerify,
  })
  // By default, undici uses the client's Host for SNI and the certificate check, and reconnects when the Host changes.
  const name = serverName ?? new URL(upstream.origin).hostname
  const servername = isIP(withoutBrackets(name)) === 0 ? name : ''
  const pool = new Pool(upstream.origin, {
    ...settings,
    pipelining: 1,
    bodyTimeout: 0,
    maxHeaderSize: answerHeaders,
    connect: (options, callback) => {
      connect({ ...options, servername }, (...made) => {
        const [error, socket] = made
        if (error === null) mendWriter(socket)
        callback(...made)
        if (error === null) mendParser(socket, settings.connections !== 1)
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
