import { isIP, type Socket } from 'node:net'
import { TLSSocket } from 'node:tls'
import { isDeepStrictEqual } from 'node:util'
import { Pool, buildConnector, type Dispatcher } from 'undici'
import { withoutBrackets } from '../../config/value-types/address.ts'
import type { CompiledRoute } from '../../gate/verdict.ts'
import { Http2Upstream, type TlsSettings } from './http2-upstream.ts'
import { makeLenient } from './lenient-parser.ts'
import { patchParser } from './undici-parser.ts'
import { patchWriter } from './undici-writer.ts'

/** The connections to upstreams. Routes with the same upstream and the same connection settings share a pool. */
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

interface Identity extends Pick<
  CompiledRoute,
  'upstream' | 'upstreamTls' | 'upstreamProtocol' | 'upstreamParser' | 'upstreamConnectionAge'
> {
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
    const pool = identity.upstreamProtocol === 'http1' ? open(identity, {}) : openHttp2(identity)
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
      // Dropped pools need no `close`, because idle connections close after some seconds, HTTP/2 connections after a minute.
      pools = pools.filter(({ pool }) => all.has(pool))
    },
    async close() {
      await Promise.all(pools.map(({ pool }) => pool.destroy()))
    },
  }
}

/** An idle upstream connection stays open until the client disconnects or the application closes the connection. */
const ONE_CONNECTION = { connections: 1, keepAliveTimeout: 600_000 }

function identityOf(route: CompiledRoute, answerHeaders: number): Identity {
  const { upstream, upstreamTls, upstreamProtocol, upstreamParser, upstreamConnectionAge, timeout } = route
  const connectTimeout = Math.min(timeout, MAX_CONNECT_TIMEOUT_MS)
  return {
    upstream,
    upstreamTls,
    upstreamProtocol,
    upstreamParser,
    upstreamConnectionAge,
    connectTimeout,
    answerHeaders,
  }
}

/**
 * Adds a note to the error of a connection that ends before the first byte of a response, if the application has
 * requested a client certificate. With TLS 1.3, the application checks the certificate after the handshake has ended on
 * this side. If the application sends an alert and closes the connection, undici reports only that the connection closed.
 */
function noteCertificateRequest(socket: Socket): void {
  // A client receives these algorithms with the server's request for a certificate.
  if (!(socket instanceof TLSSocket) || socket.getSharedSigalgs().length === 0) return
  let alert: Error | null = null
  socket.prependListener('error', (error) => {
    if (socket.bytesRead > 0) return
    if (alert === null) error.message += ', after the application had requested a client certificate'
    else error.cause ??= alert
    alert ??= error
  })
}

function openHttp2(identity: Identity): Dispatcher {
  // The time that a request waits for a connection is a part of the route's timeout. The connection fails before, so
  // that the log names the reason.
  const connectTimeout = 0.9 * identity.connectTimeout
  const servername = serverNameOf(identity).sni
  return new Http2Upstream({ ...identity, connectTimeout, tls: tlsOf(identity), servername })
}

function tlsOf({ upstreamTls }: Identity): TlsSettings {
  const { caFile, certFile, keyFile, insecureSkipVerify } = upstreamTls
  return {
    ...(caFile === null ? {} : { ca: caFile.content.toString('utf8') }),
    ...(certFile === null || keyFile === null ? {} : { cert: certFile.content, key: keyFile.content }),
    rejectUnauthorized: !insecureSkipVerify,
  }
}

/**
 * Returns the name in the upstream's certificate, and the name for SNI, which is empty for an address. By default,
 * undici uses the client's Host for both, and reconnects when the Host changes.
 */
function serverNameOf({ upstream, upstreamTls }: Identity): { readonly name: string; readonly sni: string } {
  const name = upstreamTls.serverName ?? new URL(upstream.origin).hostname
  return { name, sni: isIP(withoutBrackets(name)) === 0 ? name : '' }
}

function open(identity: Identity, settings: Pool.Options): Dispatcher {
  const { upstream, upstreamParser, upstreamConnectionAge, connectTimeout, answerHeaders } = identity
  const shared = settings.connections !== 1
  // A login that authenticates a connection lasts as long as the connection.
  const maxAge = shared ? upstreamConnectionAge : Infinity
  const connect = buildConnector({
    timeout: connectTimeout,
    ...(upstream.socketPath === null ? {} : { socketPath: upstream.socketPath }),
    ...tlsOf(identity),
  })
  const { name, sni } = serverNameOf(identity)
  const pool = new Pool(upstream.origin, {
    ...settings,
    pipelining: 1,
    bodyTimeout: 0,
    maxHeaderSize: answerHeaders,
    connect: (options, callback) => {
      connect({ ...options, servername: sni }, (...made) => {
        const [error, socket] = made
        if (error === null) {
          noteCertificateRequest(socket)
          patchWriter(socket)
        }
        callback(...made)
        if (error !== null) return
        if (upstreamParser === 'lenient') makeLenient(socket)
        patchParser(socket, { shared, maxAge })
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
