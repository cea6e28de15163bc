import { createHash, timingSafeEqual } from 'node:crypto'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { isLoopback } from '../../config/kinds/address.ts'
import type { Config } from '../../config/schema.ts'
import { Fault } from '../../errors.ts'
import { isCrossOrigin } from '../../gate/csrf.ts'
import type { Log } from '../../telemetry/log.ts'
import { sendProblem } from './answers.ts'
import { peerOf, plainAddress } from '../facts.ts'

/** What the configuration says about the admin listener; a reload replaces the values. */
export type AdminSettings = NonNullable<Config['admin']>

/**
 * Answers 421 (RFC 9110, section 15.5.20) to a Host that is none of the listener's: DNS rebinding makes a web page's
 * requests same-origin, but can't change the name in Host. Only HTTP/1.0 clients, never browsers, send no Host.
 */
export function refuseForeignHosts(app: FastifyInstance, settings: AdminSettings): void {
  app.addHook('onRequest', async ({ headers: { host }, socket }) => {
    if (host === undefined || isOwnHost(host, socket.localAddress, settings)) return
    throw new Fault('bad_request', {
      status: 421,
      detail: 'The admin listener does not answer to this host name. The key admin.hosts can add it.',
      cause: new Error(`the admin listener was asked as ${host}`),
    })
  })
}

/**
 * Admits to the routes of this scope only the clients that `admin.sessions` names. Else 404 where it is not set, 401 without
 * the token, 403 to peers that are not on this machine and to web pages of another origin.
 */
export function guardSessions(scope: FastifyInstance, settings: AdminSettings, log: Log): void {
  scope.addHook('onRequest', async (request, reply) => {
    const { sessions } = settings
    const { headers, socket } = request
    if (sessions === null) throw new Fault('not_found')
    if (isCrossOrigin({ headers, origin: `http://${headers.host ?? ''}` })) return refuse(request, reply, CROSS_ORIGIN)
    if (sessions === 'loopback') {
      // A proxy on this machine connects from loopback for clients that may be anywhere.
      const passedOn = headers['x-forwarded-for'] !== undefined || headers.forwarded !== undefined
      const peer = peerOf(socket)
      // A peer on a Unix socket has no address; one over TCP that has none has gone.
      const isHere = 'path' in settings.listen || (peer !== '' && isLoopback(peer))
      return passedOn || !isHere ? refuse(request, reply, ELSEWHERE) : undefined
    }
    const [, token] = /^Bearer +(\S+) *$/i.exec(headers.authorization ?? '') ?? []
    if (token !== undefined && isSame(token, sessions.token)) return undefined
    return refuse(request, reply, headers.authorization === undefined ? TOKEN_MISSING : TOKEN_WRONG)
  })

  async function refuse(request: FastifyRequest, reply: FastifyReply, refusal: Refusal): Promise<FastifyReply> {
    const { code, authenticate } = refusal
    log.warn({ event: code, listener: 'admin', client: peerOf(request.socket) }, refusal.detail)
    if (authenticate !== undefined) reply.header('www-authenticate', authenticate)
    return sendProblem(reply, refusal)
  }
}

const CROSS_ORIGIN = {
  status: 403,
  code: 'cross_origin',
  title: 'Request from another site',
  detail: 'A web page of another origin asked for session administration.',
} as const
const ELSEWHERE = {
  status: 403,
  code: 'forbidden',
  title: 'Not allowed',
  detail: 'Session administration is for clients on the gateway’s own machine.',
} as const
const TOKEN_MISSING = {
  status: 401,
  code: 'invalid_token',
  title: 'Token required',
  detail: 'Session administration asks for the token of admin.sessions in Authorization: Bearer.',
  authenticate: 'Bearer',
} as const
const TOKEN_WRONG = {
  ...TOKEN_MISSING,
  title: 'Token not accepted',
  authenticate: 'Bearer error="invalid_token"',
} as const

type Refusal = Parameters<typeof sendProblem>[1] & { readonly authenticate?: string }

function isOwnHost(host: string, local: string | undefined, { listen, hosts }: AdminSettings): boolean {
  const name = nameOf(host)
  if (name === null) return false
  const own = 'host' in listen ? [listen.host] : []
  return (
    isLoopback(name) ||
    [plainAddress(local ?? ''), ...own, ...hosts].some((mine) => mine !== '' && nameOf(mine) === name)
  )
}

/** A host as URLs write it (no port, one spelling for each address), without brackets; `null` for what is none. */
function nameOf(host: string): string | null {
  const bracketed = host.includes(':') && !/^[^:]*:\d*$|^\[/.test(host) ? `[${host}]` : host
  const url = `http://${bracketed}/`
  if (/[/?#@\\\s]/.test(host) || !URL.canParse(url)) return null
  return new URL(url).hostname.replace(/\.$/, '')
}

/** Takes as long whatever was sent: digests have one length, and are compared in constant time. */
function isSame(sent: string, wanted: string): boolean {
  const [one, other] = [sent, wanted].map((text) => createHash('sha256').update(text).digest())
  return one !== undefined && other !== undefined && timingSafeEqual(one, other)
}
