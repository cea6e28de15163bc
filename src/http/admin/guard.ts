import { createHash, timingSafeEqual } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { isLoopback, withoutBrackets } from '../../config/value-types/address.ts'
import type { Config } from '../../config/schema.ts'
import { finalAnswer } from '../../gate/challenge.ts'
import { isCrossOrigin } from '../../gate/csrf.ts'
import type { Denial } from '../../gate/verdict.ts'
import { printable, type Log } from '../../telemetry/log.ts'
import { sendProblem } from './answers.ts'
import { peerOf, plainAddress } from '../facts.ts'

const MAX_LOGGED_LENGTH = 256

/** The `admin` section of the configuration. A reload replaces its values. */
export type AdminSettings = NonNullable<Config['admin']>

/**
 * Answers 421 to a foreign Host. DNS rebinding makes the requests of a web page same-origin, but cannot change their
 * Host. HTTP/1.0 clients may omit Host, but browsers always send it.
 * @see https://www.rfc-editor.org/rfc/rfc9110#section-15.5.20
 */
export function denyForeignHosts(app: FastifyInstance, settings: AdminSettings, log: Log): void {
  app.addHook('onRequest', async ({ raw, socket }, reply) => {
    const foreign = hostsOf(raw).find((host) => !isOwnHost(host, socket.localAddress, settings))
    if (foreign === undefined) return undefined
    const cause = `the Host is ${printable(foreign.slice(0, MAX_LOGGED_LENGTH))}`
    log.info({ event: 'bad_request', listener: 'admin', cause }, 'the host name is not one of the admin listener’s')
    return sendProblem(reply, finalAnswer({ reason: 'misdirected' }))
  })
}

type NotAdmin = Extract<Denial, { readonly reason: 'not-admin' }>

/**
 * Limits the routes of this scope to the clients that `admin.sessions` allows. Answers 404 if `admin.sessions` is not
 * set, 401 to a request without the configured token, and 403 to web pages of another origin. With `loopback`, also
 * answers 403 to clients on other machines.
 */
export function guardSessions(scope: FastifyInstance, settings: AdminSettings, log: Log): void {
  scope.addHook('onRequest', async (request, reply) => {
    const { sessions } = settings
    const { headers, socket } = request
    if (sessions === null) return sendProblem(reply, finalAnswer({ reason: 'no-route' }))
    if (isCrossOrigin({ headers, origin: `http://${headers.host ?? ''}` })) return deny(request, reply, 'cross-origin')
    if (sessions === 'loopback') {
      // A local proxy connects from loopback on behalf of remote clients.
      const isForwarded = headers['x-forwarded-for'] !== undefined || headers.forwarded !== undefined
      const peer = peerOf(socket)
      // Peers on a Unix socket have no address. A TCP peer without an address has disconnected.
      const isLocal = 'path' in settings.listen || (peer !== '' && isLoopback(peer))
      return isForwarded || !isLocal ? deny(request, reply, 'not-local') : undefined
    }
    const [, token] = /^Bearer +(\S+) *$/i.exec(headers.authorization ?? '') ?? []
    if (token !== undefined && isSame(token, sessions.token)) return undefined
    return deny(request, reply, headers.authorization === undefined ? 'no-token' : 'wrong-token')
  })

  function deny(request: FastifyRequest, reply: FastifyReply, problem: NotAdmin['problem']): FastifyReply {
    const answer = finalAnswer({ reason: 'not-admin', problem })
    const client = peerOf(request.socket)
    log.warn({ event: answer.code, listener: 'admin', client }, answer.detail)
    return sendProblem(reply, answer)
  }
}

/** Returns each Host of a request, and the host of an absolute target, which would override Host. */
function hostsOf({ url = '', rawHeaders }: IncomingMessage): string[] {
  const hosts = rawHeaders.filter((_, i) => i % 2 === 1 && rawHeaders[i - 1]?.toLowerCase() === 'host')
  const [, authority] = /^[a-z][a-z\d+.-]*:\/\/([^/?#]*)/i.exec(url) ?? []
  return authority === undefined ? hosts : [...hosts, authority]
}

function isOwnHost(host: string, local: string | undefined, { listen, hosts }: AdminSettings): boolean {
  const name = nameOf(host)
  if (name === null) return false
  const own = 'host' in listen ? [listen.host] : []
  return (
    isLoopback(name) ||
    [withoutZone(local ?? ''), ...own, ...hosts].some((known) => known !== '' && nameOf(known) === name)
  )
}

/** Returns an address without its zone, because a Host has none: https://www.rfc-editor.org/rfc/rfc6874#section-4 */
function withoutZone(address: string): string {
  return address.replace(/%.*$/, '')
}

/**
 * Returns a host without its port and brackets, normalized by the URL standard, or `null` for an invalid host. An
 * IPv4-mapped IPv6 address becomes an IPv4 address.
 */
function nameOf(host: string): string | null {
  const bracketed = host.includes(':') && !/^[^:]*:\d*$|^\[/.test(host) ? `[${host}]` : host
  const url = `http://${bracketed}/`
  if (/[/?#@\\\s]/.test(host) || !URL.canParse(url)) return null
  return plainAddress(withoutBrackets(new URL(url).hostname)).replace(/\.$/, '')
}

/** Compares digests of equal length, so that the time does not depend on the sent token. */
function isSame(sent: string, wanted: string): boolean {
  const [one, other] = [sent, wanted].map((text) => createHash('sha256').update(text).digest())
  return one !== undefined && other !== undefined && timingSafeEqual(one, other)
}
